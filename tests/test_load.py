"""Loading: every family from a folder in both published layouts of keys, and one sentence for what can go wrong."""

from __future__ import annotations

import json
import re

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import FAMILIES, QUESTION, picture

import trimviz
from trimviz import models
from trimviz.compare import answer, contest, finish, misfit
from trimviz.pruners import PRUNERS

OLDER = {  # key today -> key in older checkpoints
    "llava": ((r"^model\.language_model\.", "language_model.model."), (r"^lm_head", "language_model.lm_head")),
    "qwen": ((r"^model\.language_model\.", "model."), (r"^model\.visual", "visual")),
}
LAYOUTS = [(family, "today") for family in FAMILIES]
ONE = ("idefics3", "smolvlm")  # layout is all that these ever had
LAYOUTS += [(family, "older") for family in FAMILIES if family not in ONE]
REST = ((r"^model\.(vision_tower|multi_modal_projector|image_newline)", r"\1"),)


def older(family: str, key: str) -> str:
    kind = "qwen" if family.startswith("qwen") else "llava"
    for pattern, old in (*OLDER[kind], *(REST if kind == "llava" else ())):
        if re.search(pattern, key):
            return re.sub(pattern, old, key)
    return key


def write(family: str, folder, layout: str = "today"):
    """A tiny checkpoint on disk, as a published one lies there."""
    model = FAMILIES[family]()
    parts = model.processor
    model.core.config.save_pretrained(folder)
    model.core.generation_config.save_pretrained(folder)
    parts.tokenizer.save_pretrained(folder)
    parts.image_processor.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(parts.chat_template)
    if getattr(parts, "video", None):
        (folder / "video_preprocessor_config.json").write_text(json.dumps(parts.video))
    weights = {key: p.contiguous() for key, p in model.core.state_dict().items()}
    if layout == "older":
        weights = {older(family, key): p for key, p in weights.items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return model


@pytest.mark.parametrize(("family", "layout"), LAYOUTS)
def test_a_checkpoint_in_either_layout_answers_as_the_model_did(tmp_path, family, layout):
    model = write(family, tmp_path, layout)
    keys = load_file(tmp_path / "model.safetensors").keys()
    names = set(model.core.state_dict())
    assert (set(keys) == names) == (layout == "today")
    again = trimviz.load(tmp_path, device="cpu", dtype="float32")
    assert type(again) is type(model) and again.dtype == torch.float32
    read = again.core.state_dict()
    assert all(torch.equal(weight, read[name]) for name, weight in model.core.state_dict().items())
    first, second = (finish(answer(m, m.encode(picture(), QUESTION), limit=4)) for m in (model, again))
    # On some processors the last bit of a product depends on where in memory the weights lie.
    torch.testing.assert_close(first.logits, second.logits, rtol=0, atol=1e-5)
    assert getattr(again.processor, "video", {}) == dict(getattr(model.processor, "video", {}))


def test_a_small_checkpoint_as_its_publisher_laid_it_out(tmp_path):
    """Settings of the picture processor in the words of an older release, template as JSON, weights in bfloat16."""
    model = write("idefics3", tmp_path)
    (tmp_path / "chat_template.jinja").unlink()
    (tmp_path / "chat_template.json").write_text(json.dumps({"chat_template": model.processor.chat_template}))
    tokens = model.grid**2
    own = {"processor_class": "Idefics3Processor"}
    (tmp_path / "processor_config.json").write_text(json.dumps(own | {"image_seq_len": tokens}))
    saved = json.loads((tmp_path / "preprocessor_config.json").read_text())
    older = {name: saved[name] for name in ("size", "max_image_size", "image_mean", "image_std", "resample")}
    older |= {"do_image_splitting": True, "do_pad": True, "image_processor_type": "Idefics3ImageProcessor"}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(own | older))
    config = json.loads((tmp_path / "config.json").read_text())
    config.pop("dtype", None)
    (tmp_path / "config.json").write_text(json.dumps(config | {"torch_dtype": "bfloat16"}))
    halved = {key: p.bfloat16() for key, p in load_file(tmp_path / "model.safetensors").items()}
    save_file(halved, tmp_path / "model.safetensors", metadata={"format": "pt"})
    again = trimviz.load(tmp_path, device="cpu")
    assert type(again) is type(model) and again.dtype == torch.float32
    first, second = (m.encode(picture(), QUESTION) for m in (model, again))
    assert first.ids.tolist() == second.ids.tolist() and first.n == second.n
    assert first.n % tokens == 0 and first.n > tokens
    assert len(finish(answer(again, second, limit=3)).run.answer.ids)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_answers(tmp_path, family, dtype):
    write(family, tmp_path)
    model = trimviz.load(tmp_path, device="cpu", dtype=dtype)
    assert model.dtype == getattr(torch, dtype)
    prompt = model.encode(picture(), QUESTION)
    for pruner in [method() for method in PRUNERS.values() if not misfit(method, model)]:
        run = contest(model, prompt, [pruner], "60%", limit=2)[0].pruned
        assert len(run.answer.ids) and run.visual_alive[-1] < prompt.n
        assert torch.tensor(run.answer.logprobs).isfinite().all()


@pytest.fixture
def folder(tmp_path):
    write("llava", tmp_path)
    return tmp_path


def test_settings_of_a_family(tmp_path):
    write("llava_next", tmp_path)
    model = trimviz.load(tmp_path, device="cpu", newlines="keep", tiling="paper")
    assert model.settings == {"newlines": "keep", "tiling": "paper", "selection": "global"}
    with pytest.raises(ValueError, match="newlines is one of drop, keep; selection is one of global, per tile; tiling"):
        trimviz.load(tmp_path, device="cpu", newlines="maybe")


def test_a_family_without_settings_says_so(folder):
    with pytest.raises(ValueError, match=r"LLaVA-1\.5 has no setting tiling='paper'; it has none at all"):
        trimviz.load(folder, device="cpu", tiling="paper")


def refused(sentence: str, *args, **options) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        trimviz.load(*args, **options)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 400, message


@pytest.mark.parametrize("place", ["/nowhere/at/all", "/nowhere", "./nowhere", "~/nowhere", "some/deep/folder"])
def test_a_missing_folder(place):
    refused("There is no folder", place)


@pytest.mark.parametrize("name", ["nobody/no-such-model", "nothing"])
def test_an_unreachable_name(name):
    refused("neither a folder here nor could it be fetched from the Hub", name)


def test_a_folder_without_config(tmp_path):
    refused("holds no config.json", tmp_path)


@pytest.mark.parametrize("content", [b"{ not json", b"", b"\xff\xfe\x00"])
def test_a_broken_config(folder, content):
    (folder / "config.json").write_bytes(content)
    refused("not valid JSON", folder)


def test_an_unsupported_family(folder):
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    refused(r"of the family 'bert'; supported are .*llava", folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "no-such-thing"}))
    refused("not one that transformers knows", folder)


def test_no_weights(folder):
    (folder / "model.safetensors").unlink()
    refused("The weights in .* cannot be read", folder)


def test_damaged_weights(folder):
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    refused("The weights in .* cannot be read", folder)


def test_weights_that_are_not_all_there(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["model.multi_modal_projector.linear_1.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    refused("lacks 1 of its weights, such as model.multi_modal_projector.linear_1.weight", folder)


@pytest.mark.parametrize("missing", ["tokenizer.json", "preprocessor_config.json"])
def test_no_tokenizer_or_no_picture_processor(folder, missing):
    (folder / missing).unlink()
    for extra in ("tokenizer_config.json", "special_tokens_map.json"):
        if missing == "tokenizer.json":
            (folder / extra).unlink(missing_ok=True)
    refused("lacks its tokenizer or its picture processor", folder)


def test_too_little_memory(folder, monkeypatch):
    monkeypatch.setattr(models, "_free", lambda device: 1000)
    refused("needs .* GiB for its weights and cpu has", folder, device="cpu")


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "cpu:x", "gpu", ""])
def test_a_bad_device(device):
    refused(r"device|GPU", "tiny", device=device)


def test_a_bad_dtype():
    refused("Expected a dtype of auto, float32, bfloat16, float16; got 'int8'", "tiny", dtype="int8")


def test_quantization(folder, monkeypatch):
    refused("quantize to be 4bit or 8bit, got '2bit'", folder, quantize="2bit")
    refused("needs a CUDA GPU and the package bitsandbytes", folder, quantize="4bit", device="cpu")
    monkeypatch.setattr(models.importlib.util, "find_spec", lambda name: object())
    for quantize, field in (("4bit", "load_in_4bit"), ("8bit", "load_in_8bit")):
        for family in models.MODELS.values():
            asked = models._quantization(quantize, torch.bfloat16, "cuda", family.whole)
            assert getattr(asked, field) and asked.llm_int8_skip_modules == list(family.whole)
            assert quantize == "8bit" or asked.bnb_4bit_compute_dtype == torch.bfloat16


@pytest.mark.parametrize("quantize", ["4bit", "8bit"])
def test_the_documented_call_of_bitsandbytes_is_made(folder, monkeypatch, quantize):
    model, calls = FAMILIES["llava"](), []

    def from_pretrained(place, **options):
        calls.append(options)
        return model.core, {"missing_keys": []}

    monkeypatch.setattr(models.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(models, "_free", lambda device: float("inf"))
    monkeypatch.setattr(type(model).auto_class, "from_pretrained", from_pretrained)
    trimviz.load(folder, device="split", dtype="float16", quantize=quantize)
    monkeypatch.setattr(models, "pick_device", lambda device: device)
    monkeypatch.setattr(type(model.core), "to", None)  # bitsandbytes refuses to move what it quantized
    trimviz.load(folder, device="cuda:1", dtype="float16", quantize=quantize)
    for call, where in zip(calls, ("auto", {"": "cuda:1"}), strict=True):
        assert call["device_map"] == where and call["dtype"] == torch.float16
        assert call["quantization_config"].to_dict()["quant_method"] == "bitsandbytes"
        assert call["quantization_config"].llm_int8_skip_modules == list(type(model).whole)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_in_pieces_equals_the_whole(tmp_path, family):
    """accelerate moves weights in for each layer; what the engine does between layers still has to fit."""
    from accelerate import cpu_offload

    write(family, tmp_path)
    model = trimviz.load(tmp_path, device="cpu")
    asked = {"model": model, "picture": picture(), "question": QUESTION, "keep": "60%", "limit": 3}
    methods = ("trimtokenator", "fastv", "pyramiddrop")  # at the door; by attention; by that of the layer about to run
    whole = [trimviz.compare(method=method, **asked) for method in methods]
    cpu_offload(model.core)
    assert model.embed.weight.device.type == "meta" and model.device.type == "cpu"
    for method, before in zip(methods, whole, strict=True):
        after = trimviz.compare(method=method, **asked)
        assert after.pruned.answer.ids == before.pruned.answer.ids
        assert (after.pruned.kept == before.pruned.kept).all()


def test_a_model_that_is_partly_on_disk_equals_the_whole(folder, tmp_path_factory):
    from accelerate import dispatch_model

    model = trimviz.load(folder, device="cpu")
    whole = trimviz.compare(model, picture(), QUESTION, "pyramiddrop", keep=20, limit=3)
    parts = ("model.vision_tower", "model.multi_modal_projector", "model.language_model.embed_tokens", "lm_head")
    spread = dict.fromkeys((*parts, "model.language_model.norm", "model.language_model.rotary_emb"), "cpu")
    spread |= {f"model.language_model.layers.{i}": "cpu" if i < 3 else "disk" for i in range(len(model.layers))}
    dispatch_model(model.core, spread, main_device="cpu", offload_dir=tmp_path_factory.mktemp("disk"))
    assert {p.device.type for p in model.layers[4].parameters()} == {"meta"}
    split = trimviz.compare(model, picture(), QUESTION, "pyramiddrop", keep=20, limit=3)
    assert split.pruned.answer.ids == whole.pruned.answer.ids
    assert (split.pruned.kept == whole.pruned.kept).all()
