"""What the app asks of the model: cancelling, caching by bytes, hand-chosen patches, and input nobody should send."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import QUESTION, llava, picture

import trimviz
from trimviz import engine
from trimviz.compare import compare
from trimviz.pruners import PRUNERS
from trimviz.ui.service import Ask, Service, Store, size_of
from trimviz.ui.spaces import meaning

LIMIT = 12


@pytest.fixture
def service() -> Service:
    return Service(llava())


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    path = tmp_path / "picture.png"
    picture().save(path)
    return Ask(str(path), QUESTION, keep=9, limit=LIMIT)


def test_a_run_streams_pruned_then_dense_and_equals_compare(service: Service, ask: Ask) -> None:
    steps = list(service.run(ask))
    first_dense = next(i for i, step in enumerate(steps) if step.dense is not None)
    pruned = [step.pruned for step in steps[:first_dense] if step.pruned]
    assert len(set(pruned)) >= 3, "the answer grows"
    assert all(step.dense is None for step in steps[:first_dense])
    seen = [step.view for step in steps if step.view is not None and step.result is None]
    assert seen, "the selection is known before the dense answer is"
    result = steps[-1].result
    expected = compare(service.model, picture(), QUESTION, ask.method, 9, limit=LIMIT)
    assert result.comparison.pruned.answer.ids == expected.pruned.answer.ids
    assert result.comparison.dense.answer.ids == expected.dense.answer.ids
    assert result.comparison.pruned.kept.tolist() == expected.pruned.kept.tolist() == seen[0].run.kept.tolist()


def test_several_pictures_and_earlier_turns_equal_compare(tmp_path: Path) -> None:
    service = Service(trimviz.load("tiny", device="cpu"))
    files = [tmp_path / f"{seed}.png" for seed in (0, 1)]
    for seed, path in enumerate(files):
        picture(seed=seed).save(path)
    one = Ask(str(files[0]), "what is the colour ?", keep=12, limit=4)
    two = replace(one, more=(str(files[1]),))
    talk = replace(two, before=(("what is this ?", "a red circle"),))
    for ask in (two, talk):
        comparison = service.finish(ask).comparison
        expected = trimviz.compare(service.model, files, ask.question, keep=12, limit=4, before=ask.before)
        assert comparison.n == 1152 and comparison.before == ask.before
        assert comparison.prompt == expected.prompt and ("a red circle" in expected.prompt) == bool(ask.before)
        assert comparison.dense.answer.ids == expected.dense.answer.ids
        assert comparison.pruned.kept.tolist() == expected.pruned.kept.tolist()
        assert service.said(ask) == expected.dense.answer.text
    assert service.said(one) is None, "one picture is another question"
    with pytest.raises(ValueError, match="about 9 pictures; at most 8"):
        service.finish(replace(one, more=(one.picture,) * 8))


def test_the_table_holds_what_runs_keep(service: Service, ask: Ask) -> None:
    for n1, keep in ((36, 36), (30, 9), (12, 5), (9, 9), (20, 1)):
        result = service.finish(replace(ask, keep=keep, n1=n1))
        table = result.view.table
        row = table.sizes.tolist().index(n1)
        assert sorted(table.orders[row][:keep].tolist()) == result.comparison.pruned.kept.tolist()


def test_moving_a_slider_neither_looks_nor_answers_dense_again(
    service: Service, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.finish(ask)
    monkeypatch.setattr(service.model, "look", lambda pictures: pytest.fail("the picture was looked at again"))
    steps = list(service.run(replace(ask, keep=5)))
    assert not any(step.dense for step in steps[:-1]) and steps[-1].result.comparison.dense.answer.text
    monkeypatch.setattr(engine, "prefill", lambda *args: pytest.fail("the same settings ran again"))
    assert next(step.result for step in service.run(ask)) is service.recall(ask)


def test_a_click_that_was_overtaken_on_its_way_ends_nothing() -> None:
    service = Service(llava())
    assert service.bump("me", 3) == 3
    assert service.bump("me", 2) == 2
    assert service.wanted("me", 3) and not service.wanted("me", 2)
    assert service.bump("me") == 4


def test_a_newer_epoch_ends_a_run_within_one_token(service: Service, ask: Ask) -> None:
    mine = service.bump("me")
    other = service.bump("you")
    said = []
    for step in service.run(ask, lambda: not service.wanted("me", mine)):
        if step.pruned is not None:
            said.append(step.pruned)
            if len(said) == 3:
                service.bump("me")
    assert len(said) == 3 and service.recall(ask) is None
    assert service.wanted("you", other)
    assert not service.model.lock.locked()
    assert service.finish(ask).comparison.pruned.answer.text, "the next request is right"


def test_patches_chosen_by_hand_are_the_ones_used(service: Service, ask: Ask) -> None:
    run = service.finish(replace(ask, chosen=(30, 2, 7, 7))).comparison.pruned
    assert run.kept.tolist() == [2, 7, 30] and run.visual_alive.tolist() == [3] * len(run.visual_alive)


@pytest.mark.parametrize("chosen", [(), (99,), (-1, 3)])
def test_chosen_patches_that_do_not_exist_are_refused(service: Service, ask: Ask, chosen: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"at least one|from 0 to 35"):
        service.finish(replace(ask, chosen=chosen))


def test_old_things_go_first_and_bytes_are_counted() -> None:
    block = np.zeros(1000, np.uint8)
    assert size_of({"a": block, "b": (block, "four")}) == 1004, "an array that is there twice counts once"
    store = Store(2500)
    for key in "abc":
        store.put(key, np.zeros(1000, np.uint8))
    assert store.get("a") is None and store.get("b") is not None
    store.put("d", np.zeros(1000, np.uint8))
    assert store.get("c") is None and store.get("b") is not None, "what was asked for last stays"
    store.put("large", np.zeros(9000, np.uint8))
    assert len(store) == 1


def test_an_evicted_analysis_is_made_again(ask: Ask) -> None:
    service = Service(llava(), cache_bytes=1)
    first = service.finish(ask)
    again = service.finish(replace(ask, keep=8))
    assert again.comparison.dense.answer.ids == first.comparison.dense.answer.ids


@pytest.mark.parametrize("method", PRUNERS)
def test_every_method_that_fits_runs(service: Service, ask: Ask, method: str) -> None:
    reason = service.methods()[method]
    if reason:
        with pytest.raises(ValueError, match="choose another method"):
            service.finish(replace(ask, method=method))
        return
    run = service.finish(replace(ask, method=method, keep="50%")).comparison.pruned
    assert run.method == method and len(run.kept) <= 36 and run.visual_alive.mean() <= 19


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried"),
        MemoryError(),
    ],
)
@pytest.mark.parametrize("where", ["prefill", "score"])
def test_too_little_memory_frees_what_was_kept_and_the_next_request_is_right(
    service: Service, ask: Ask, monkeypatch: pytest.MonkeyPatch, error: Exception, where: str
) -> None:
    expected = service.finish(replace(ask, keep=10)).comparison.pruned
    assert len(service.store) > 0
    freed: list[bool] = []

    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(engine, where, fail)
        patch.setattr(service.model, "free", lambda: freed.append(True))
        with pytest.raises(type(error)):
            service.finish(replace(ask, keep=11))
    assert freed and len(service.store) == 0 and not service.model.lock.locked()
    assert meaning(error) and meaning(error).endswith(".")
    assert service.finish(replace(ask, keep=10)).comparison.pruned.answer.ids == expected.answer.ids


def test_another_error_keeps_what_was_kept(service: Service, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    service.finish(ask)
    kept = len(service.store)

    def fail(*_: object) -> None:
        raise RuntimeError("a real bug")

    monkeypatch.setattr(engine, "prefill", fail)
    with pytest.raises(RuntimeError, match="a real bug"):
        service.finish(replace(ask, keep=11))
    assert len(service.store) >= kept and meaning(RuntimeError("a real bug")) is None


# --- bad input ----------------------------------------------------------------------------------------------------


def header_only_png(side: int) -> bytes:
    """A PNG that claims to be side x side pixels of which none follow."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    size = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


ROTATED = Image.Exif()
ROTATED[0x0112] = 6  # a quarter turn
REFUSED = {
    "not an image": b"plain words",
    "zero bytes": b"",
    "truncated": saved(picture(), "PNG")[:150],
    "20,000 px wide": saved(Image.new("RGB", (20000, 10)), "PNG"),
    "bomb": header_only_png(13000),
    "larger bomb": header_only_png(60000),
}
TAKEN = {
    "1x1": saved(Image.new("RGB", (1, 1), "red"), "PNG"),
    "CMYK": saved(picture().convert("CMYK"), "JPEG"),
    "palette": saved(picture().convert("P"), "PNG"),
    "transparent palette": saved(picture().convert("P"), "PNG", transparency=0),
    "16-bit": saved(Image.fromarray(np.full((60, 60), 40000, np.uint16)), "PNG"),
    "animated": saved(picture(), "GIF", save_all=True, append_images=[picture(seed=1)]),
    "EXIF-rotated": saved(picture(), "JPEG", exif=ROTATED),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_an_unusable_picture_is_refused_in_a_sentence_and_the_next_is_right(
    service: Service, ask: Ask, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(REFUSED[name])
    with pytest.raises(ValueError) as caught:
        service.finish(replace(ask, picture=str(path)))
    said = str(caught.value)
    assert said.endswith((".", ")")) and "Traceback" not in said and len(said) < 250
    assert service.finish(ask).comparison.pruned.kept.size == 9


@pytest.mark.parametrize("name", TAKEN)
def test_an_odd_picture_is_answered(service: Service, ask: Ask, tmp_path: Path, name: str) -> None:
    path = tmp_path / "odd.png"
    path.write_bytes(TAKEN[name])
    assert service.finish(replace(ask, picture=str(path))).comparison.pruned.kept.size == 9


def test_a_rotated_photograph_stands_upright(service: Service, ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "rotated.jpg"
    path.write_bytes(TAKEN["EXIF-rotated"])
    assert service.finish(replace(ask, picture=str(path))).view.originals[0].size == (84, 100)


@pytest.mark.parametrize("question", ["", "   ", "x" * 10_000, "what is <image> ?", "hello </s>", "a " * 990])
def test_an_unusable_question_is_refused(service: Service, ask: Ask, question: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        service.finish(replace(ask, question=question))
    assert service.finish(ask).comparison.dense.answer.text


@pytest.mark.parametrize("question", ["这是什么颜色？", "ما هذا؟", "🙂", "what is {red} `x` ${y} ?"])
def test_other_scripts_are_answered(service: Service, ask: Ask, question: str) -> None:
    assert service.finish(replace(ask, question=question)).comparison.n == 36


@pytest.mark.parametrize("keep", [0, -1, 37, float("nan"), float("inf"), "many", "0%", None])
def test_a_keep_that_makes_no_sense_is_refused(service: Service, ask: Ask, keep: object) -> None:
    with pytest.raises(ValueError, match="keep"):
        service.finish(replace(ask, keep=keep))


def test_a_first_stage_below_keep_is_raised_to_it(service: Service, ask: Ask) -> None:
    run = service.finish(replace(ask, keep=9, n1=4)).comparison.pruned
    assert len(run.kept) == 9


@pytest.mark.parametrize("n1", [float("nan"), 0, -3, "lots", True])
def test_a_first_stage_that_is_no_size_is_refused(service: Service, ask: Ask, n1: object) -> None:
    with pytest.raises(ValueError, match="first stage"):
        service.finish(replace(ask, n1=n1))


def test_knobs_are_checked(service: Service, ask: Ask) -> None:
    every = [(key, knob) for key, pruner in PRUNERS.items() for knob in pruner.knobs()]
    number = next((key, knob) for key, knob in every if type(knob.default) in (int, float))
    for knobs, method in (
        ({number[1].name: float("nan")}, number[0]),
        ({"nonsense": 1}, ask.method),
        ({"positions": "up"}, ask.method),
    ):
        with pytest.raises(ValueError, match=r"[Kk]nob"):
            service.finish(replace(ask, method=method, knobs=knobs))


def test_a_picture_that_is_gone_is_a_sentence(service: Service, ask: Ask) -> None:
    with pytest.raises(ValueError, match="choose or upload it again"):
        service.finish(replace(ask, picture="/nowhere/at/all.png"))
    with pytest.raises(ValueError, match="no picture"):
        service.finish(replace(ask, picture=""))
