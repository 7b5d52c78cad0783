"""The benches at tiny sizes: what they count, that candidates take turns, and what they write; never how fast."""

from __future__ import annotations

import json
import weakref
from itertools import pairwise

import pytest
import torch
from tiny_models import PATCH, SIDE, clip, llama, llava, picture
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlavaConfig
from typer.testing import CliRunner

from trimviz import engine
from trimviz.bench import cli, latency, report, shapes
from trimviz.bench.floor import Ceiling, vision_flops, work
from trimviz.bench.measure import race
from trimviz.bench.memory import peak_bytes
from trimviz.bench.select import at_the_door, plain_loop, random_view
from trimviz.bench.shapes import SHAPES, Shape, random_model
from trimviz.compare import prefill_flops
from trimviz.models import MODELS
from trimviz.models.base import linear_weights
from trimviz.pruners import PRUNERS
from trimviz.select import cosine, mask, ranking, repmax, seed_of, seeds

LAYER = 64 * 64 + 2 * 64 * 32 + 64 * 64 + 3 * 64 * 96  # q, k and v, o, and the feed-forward of tiny_models.llama
WORDS = len(shapes.tokenizer())


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """A shape that takes no time."""
    config = LlavaConfig(vision_config=clip(), text_config=llama(shapes.tokenizer(), 4), image_token_index=4)
    monkeypatch.setitem(SHAPES, "small", Shape("llava", lambda: config, SIDE))


def run(*arguments: str) -> str:
    done = CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_operations_are_those_of_a_count_by_hand():
    model = llava(2)
    pairs = 2 * 4 * 16 * (10**2 + 3**2)  # QK and AV, 4 heads of 16, over half of all pairs
    assert prefill_flops(model, torch.tensor([10, 3]).numpy()) == 2 * LAYER * (10 + 3) + pairs


def test_operations_of_the_linear_maps_are_those_that_torch_counts():
    model = llava(2)
    prompt = model.encode(picture(), "what is in the picture ?")
    with FlopCounterMode(display=False) as counter:  # which does not count attention's kernel on the CPU
        state = engine.prefill(model, prompt)
    total = len(prompt.embeds)
    assert state.alive.tolist() == [total, total]
    head = 2 * 64 * WORDS  # the last token alone
    assert counter.get_total_flops() == 2 * LAYER * 2 * total + head


def test_packed_weights_count_by_their_shape():
    packed = nn.Linear(64, 32, bias=False)
    packed.weight = nn.Parameter(torch.zeros(64 * 32 // 2, 1, dtype=torch.uint8), requires_grad=False)
    assert linear_weights(packed) == 64 * 32
    assert linear_weights(nn.LayerNorm(64)) == 0


def test_the_floor_is_made_of_operations_and_bytes():
    model = llava(2)
    state = engine.prefill(model, model.encode(picture(), "what is in the picture ?"))
    total = int(state.alive[0])
    least = work(model, state, seeing=100.0, tokens=3)
    head = 64 * WORDS
    assert least.flops["prefill"] == prefill_flops(model, state.alive) + 2 * head
    assert least.flops["decode"] == 2 * (2 * (2 * LAYER + head) + 4 * 64 * 2 * total)
    caches = 2 * total * 2 * 2 * 16 * 4  # layers, tokens, keys and values, key-value heads, width, bytes
    assert least.bytes["prefill"] == 4 * (2 * LAYER + head)
    assert least.bytes["decode"] == 2 * (4 * (2 * LAYER + head) + caches)
    assert Ceiling(10.0, 5.0).seconds(100.0, 10.0) == 10.0
    assert Ceiling(10.0, 5.0).seconds(10.0, 100.0) == 20.0
    one = {part: Ceiling(10.0, 5.0).seconds(least.flops[part], least.bytes[part]) for part in least.flops}
    assert least.floor(Ceiling(10.0, 5.0)) == pytest.approx(sum(one.values()))


def test_looking_is_counted_with_its_attention():
    patches, width, layers = (SIDE // PATCH) ** 2, 32, 4
    seen = patches + 1  # CLS
    linear = layers * seen * (4 * width**2 + 2 * width * 64)
    projector = patches * (width * 64 + 64 * 64)
    pixels = patches * width * 3 * PATCH**2
    attention = layers * 2 * seen**2 * width
    assert vision_flops(llava(2), [picture()]) >= 2 * (linear + projector + pixels + attention)
    assert vision_flops(llava(2), [picture()]) <= 2.2 * (linear + projector + pixels + attention)


@pytest.mark.parametrize(("name", "billions"), [("llava-1.5-7b", 7.06), ("llava-next-7b", 7.06), ("qwen2-vl-7b", 8.29)])
def test_known_shapes_have_the_published_sizes(name, billions):
    with torch.device("meta"):
        core = MODELS[SHAPES[name].family].auto_class(SHAPES[name].config())
    assert sum(p.numel() for p in core.parameters()) / 1e9 == pytest.approx(billions, abs=0.005)


def test_a_random_shape_is_built_in_its_dtype_and_answers():
    model = random_model("random:small", "cpu", "bfloat16")
    assert {p.dtype for p in model.core.parameters()} == {torch.bfloat16}
    prompt = model.encode(shapes.subject("random:small"), shapes.QUESTION)
    assert prompt.n == (SIDE // PATCH) ** 2 and int(prompt.question.sum()) == len(shapes.QUESTION.split())
    tokens = [logits for _, logits in engine.stream(model, engine.prefill(model, prompt), 3, ends=())]
    assert len(tokens) == 3 and all(logits.isfinite().all() for logits in tokens)
    with pytest.raises(ValueError, match="random:mid"):
        random_model("random:huge")


def test_the_mid_shape_has_the_papers_tokens():
    shape = SHAPES["mid"]
    with torch.device("meta"):
        config = shape.config()
    assert (shape.side, dict(shape.settings)) == (672, {"tiling": "paper"})
    assert 5 * (config.vision_config.image_size // config.vision_config.patch_size) ** 2 == 2880


def test_candidates_take_turns_and_the_first_round_is_not_counted():
    turns: list[str] = []
    times = race({"a": lambda: turns.append("a"), "b": lambda: turns.append("b")}, 3)
    assert turns == ["a", "b"] * 4
    assert all(len(timing.seconds) == 3 for timing in times.values())
    assert all(t.spread[0] <= t.median <= t.spread[1] for t in times.values())


def test_both_greedy_loops_pick_the_same():
    similarity = cosine(random_view(90, 16, torch.device("cpu"), torch.float32).visual)
    chosen = ranking(torch.randn(90, generator=torch.Generator().manual_seed(1)))[:70]
    start = seed_of(similarity, chosen)
    assert plain_loop(similarity, mask(chosen, 90), start, 40).equal(repmax(similarity, mask(chosen, 90), start, 40)[0])


def test_one_seed_is_that_of_all_seeds():
    similarity = cosine(random_view(60, 8, torch.device("cpu"), torch.float32).visual)
    similarity[:, 7], similarity[7] = similarity[:, 3], similarity[3]  # a tie between two tokens
    rank = ranking(torch.randn(60, generator=torch.Generator().manual_seed(2)))
    assert [seed_of(similarity, rank[: i + 1]) for i in range(60)] == seeds(similarity, rank).tolist()


def test_selections_are_of_methods_that_cut_at_the_door_alone():
    keys = [pruner.key for pruner in at_the_door(32, 576, 64)]
    assert keys[0] == next(iter(PRUNERS)) and set(keys) < set(PRUNERS)
    for key in set(PRUNERS) - set(keys):
        method = PRUNERS[key]()
        try:
            assert set(method.schedule(32, 576, 64)) != {0} or method.early(32, 576, 64)
        except ValueError:
            continue


def test_peak_memory_sees_what_is_held():
    cpu = torch.device("cpu")
    assert 0.95 * 2**26 < peak_bytes(lambda: torch.ones(2**24).sum(), cpu, 0) < 2**28
    assert peak_bytes(lambda: torch.ones(2**10).sum(), cpu, 5) < 2**24


def test_every_bench_writes_what_the_page_is_made_of(tmp_path):
    common = ["--model", "random:small", "--rounds", "2", "--json"]
    calls = {
        "engine": ["--tokens", "3", *common],
        "select": ["--n", "36", "--n", "18", *common],
        "table": ["--n", "12", "--width", "8", "--rounds", "2", "--json"],
        "pair": ["--keep", "9", *common],
        "latency": ["--keep", "9", *common],
        "memory": ["--keep", "9", *common],
        "cost": ["--top", "128", *common],
    }
    files, found = [], {}
    for name, arguments in calls.items():
        record = found[name] = json.loads(run(name, *arguments))
        assert record["bench"] == name and record["date"] and record["settings"]["rounds"] == 2
        assert {"device", "cores", "threads", "load", "python", "torch", "transformers"} <= set(record["machine"])
        assert all(list(row) == list(record["rows"][0]) for row in record["rows"])
        for row in record["rows"]:
            if "median s" in row:
                assert 0 < row["fastest s"] <= row["median s"] <= row["slowest s"]
        files.append(str(tmp_path / f"{name}.json"))
        (tmp_path / f"{name}.json").write_text(json.dumps(record), encoding="utf-8")
    assert {row["N"] for row in found["select"]["rows"]} == {36, 18}
    assert all(row["% of the dense prefill"] > 0 for row in found["select"]["rows"])
    for name in ("latency", "memory"):
        dense, pruned = found[name]["rows"]
        assert dense["method"] == "dense" and dense["of dense"] == 1
        assert (dense["visual tokens"], pruned["visual tokens"]) == (36, 9)
    assert found["latency"]["rows"][1]["floor s"] < found["latency"]["rows"][0]["floor s"]
    assert found["memory"]["rows"][1]["caches GB"] < found["memory"]["rows"][0]["caches GB"]
    assert all(a["TFLOP"] < b["TFLOP"] for a, b in pairwise(found["cost"]["rows"]))

    page = tmp_path / "docs" / "page.md"
    told = run("report", *files, "--out", str(page)).split()
    text = page.read_text(encoding="utf-8")
    assert told[0] == str(page) and (page.parent / "performance-cost.svg").read_text().startswith("<?xml")
    titles = {name: title for name, (title, _) in report.BENCHES.items()}
    assert [title for title in titles.values() if f"## {title}" in text] == [titles[name] for name in calls]
    cells = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(cells) == sum(1 + len(record["rows"]) for record in found.values())


def test_the_page_says_whether_a_gpu_was_measured(tmp_path):
    machine = {"device": "Some CPU", "cores": 2}
    cpu = {"bench": "pair", "command": "c", "date": "d", "machine": machine, "settings": {}, "rows": [{"a": 1}]}
    cpu["facts"] = {}
    gpu = {**cpu, "machine": {**machine, "device": "Some GPU", "cuda": "13.0"}}
    report.write([cpu], tmp_path / "cpu.md")
    report.write([cpu, gpu], tmp_path / "both.md")
    alone, both = ((tmp_path / name).read_text(encoding="utf-8") for name in ("cpu.md", "both.md"))
    assert "Measured on: Some CPU. No CUDA GPU" in alone
    assert "Measured on: Some CPU, Some GPU.\n" in both


def test_the_page_refuses_what_no_bench_wrote(tmp_path):
    (tmp_path / "other.json").write_text('{"bench": "other"}', encoding="utf-8")
    done = CliRunner().invoke(cli.app, ["report", str(tmp_path / "other.json"), "--out", str(tmp_path / "page.md")])
    assert isinstance(done.exception, ValueError) and "other" in str(done.exception)
    assert not (tmp_path / "page.md").exists()


def test_latency_holds_one_cache_of_each_candidate(monkeypatch):
    made = []
    ask = latency.ask

    def noted(*args):
        assert sum(state() is not None for state in made) < 2, "of two, the other's last alone"
        state = ask(*args)
        made.append(weakref.ref(state))
        return state

    monkeypatch.setattr(latency, "ask", noted)
    latency.bench_latency(llava(), picture(), [PRUNERS["random"]()], 9, 2, rounds=3)
    assert len(made) == 8


def test_a_table_on_a_narrow_screen(monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    shown = run("table", "--n", "12", "--width", "8", "--rounds", "1")
    assert "numpy loop" in shown and "torch" in shown and "…" not in shown
