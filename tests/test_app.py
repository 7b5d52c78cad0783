"""The app without a browser: endpoints, tools, addresses, words, and that what can be copied gives the same patches."""

from __future__ import annotations

import ast
import asyncio
import base64
import io
import json
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl

import gradio as gr
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from PIL import Image
from serve import served
from test_video import write as film
from tiny_models import QUESTION, llava, picture, qwen2_vl
from typer.testing import CliRunner

import trimviz
from trimviz.pruners import PRUNERS
from trimviz.types import Panel, Stage
from trimviz.ui import address, events, spaces, start, text
from trimviz.ui.app import header
from trimviz.ui.examples import examples
from trimviz.ui.service import Ask, Service
from trimviz.video import read_video

METHOD = next(iter(PRUNERS))
ENDPOINTS = {"/analyze", "/answer", "/compare", "/figure"}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with served("random") as url:
        yield url


@pytest.fixture(scope="module")
def client(server: str) -> Client:
    return Client(server, verbose=False)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "picture.png"
    picture().save(path)
    return path


# --- endpoints ----------------------------------------------------------------------------------------------------


def test_four_endpoints_are_public_and_documented(client: Client) -> None:
    named = client.view_api(return_format="dict")["named_endpoints"]
    assert set(named) == ENDPOINTS
    for endpoint in named.values():
        assert endpoint["description"]
        assert [p["parameter_name"] for p in endpoint["parameters"]][:2] == ["image", "question"]


def test_analyze_gives_the_selection_that_a_run_uses(client: Client, image: Path) -> None:
    said = client.predict(handle_file(image), QUESTION, METHOD, "9", "30", "", api_name="/analyze")
    expected = trimviz.compare(llava(), image, QUESTION, METHOD, 9, n1=30)
    assert said["n"] == 36 and said["n1"] == 30 and said["k"] == 9
    assert sorted(said["order"]) == expected.pruned.kept.tolist()
    np.testing.assert_allclose(said["alpha"], expected.pruned.stages[-1].scores["alpha"], rtol=1e-6)


def test_answer_sets_both_answers_side_by_side(client: Client, image: Path) -> None:
    said = client.predict(handle_file(image), QUESTION, METHOD, "9", "", '{"positions": "keep"}', api_name="/answer")
    expected = trimviz.compare(llava(), image, QUESTION, METHOD, 9, positions="keep")
    assert said["knobs"]["positions"] == "keep"
    assert (said["dense"]["text"], said["pruned"]["text"]) == (expected.dense.answer.text, expected.pruned.answer.text)
    assert said["agreement"]["badge"] == expected.badge


def test_an_endpoint_takes_several_pictures(client: Client, image: Path) -> None:
    asked = handle_file(image), QUESTION, METHOD, "9", "", ""
    said = client.predict(*asked, [handle_file(image)], api_name="/answer")
    expected = trimviz.compare(llava(), [image, image], QUESTION, METHOD, 9)
    assert said["n"] == 72 and said["before"] == []
    assert (said["dense"]["text"], said["pruned"]["text"]) == (expected.dense.answer.text, expected.pruned.answer.text)


def test_an_endpoint_takes_earlier_turns_or_says_why_not(client: Client, image: Path) -> None:
    asked = handle_file(image), QUESTION, METHOD, "9", "", ""
    with pytest.raises(AppError, match="earlier turns as JSON"):
        client.predict(*asked, before="what is this?", api_name="/answer")
    with pytest.raises(AppError, match="leaves out earlier answers"):  # the turns reached the model's chat template
        client.predict(*asked, before='[["what is this ?", "red"]]', api_name="/answer")


def test_compare_gives_a_record_for_each_method(client: Client, image: Path) -> None:
    said = client.predict(handle_file(image), QUESTION, ", ".join(list(PRUNERS)[:3]), "9", api_name="/compare")
    done = [record["method"] for record in said["comparisons"]]
    assert sorted([*done, *said["refused"]]) == sorted(list(PRUNERS)[:3]) and done
    assert len({json.dumps(record["dense"]) for record in said["comparisons"]}) == 1, "one dense run for all"
    assert np.diag(said["jaccard"]).tolist() == [1.0] * len(done)


@pytest.mark.parametrize("kind", ["pdf", "svg", "png"])
def test_figure_gives_a_file(client: Client, image: Path, kind: str) -> None:
    path = client.predict(handle_file(image), QUESTION, METHOD, "9", "", "", kind, "cvpr-text", api_name="/figure")
    start = {"pdf": b"%PDF", "svg": b"<?xm", "png": b"\x89PNG"}[kind]
    assert Path(path).read_bytes()[:4] == start


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"keep": "0"}, "from 1 to 36"),
        ({"keep": "400"}, "between 1 and 36"),
        ({"keep": "lots"}, "got 'lots'"),
        ({"question": ""}, "question is empty"),
        ({"knobs": "{"}, "JSON"),
        ({"knobs": '{"n1": NaN}'}, "n1"),
        ({"knobs": '{"speed": 3}'}, "has no knob 'speed'"),
    ],
)
def test_bad_requests_get_a_sentence_and_the_next_is_right(
    client: Client, image: Path, change: dict, words: str
) -> None:
    good = {"image": handle_file(image), "question": QUESTION, "method": METHOD, "keep": "9", "n1": "", "knobs": ""}
    with pytest.raises(AppError, match=words):
        client.predict(**{**good, **change}, api_name="/analyze")
    assert client.predict(**good, api_name="/analyze")["k"] == 9


def test_a_file_that_is_no_picture_gets_a_sentence(client: Client, image: Path, tmp_path: Path) -> None:
    bad = tmp_path / "words.png"
    bad.write_text("plain words")
    with pytest.raises(AppError, match="not a picture"):
        client.predict(handle_file(bad), QUESTION, METHOD, "9", "", "", api_name="/analyze")


def called_over_mcp(server: str, kind: str, path: Path) -> tuple[set[str], dict]:
    """The names of the tools, and what `analyze` says of a file sent as data."""

    async def call() -> tuple[set[str], dict]:
        async with (
            streamable_http_client(server + "gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = (await session.list_tools()).tools
            name = next(tool.name for tool in tools if tool.name.endswith("analyze"))
            data = f"data:{kind};base64," + base64.b64encode(path.read_bytes()).decode()
            arguments = {"image": data, "question": QUESTION, "method": METHOD, "keep": "9", "n1": "", "knobs": ""}
            reply = await session.call_tool(name, arguments)
            assert not reply.isError, reply.content
            return {tool.name for tool in tools}, ast.literal_eval(reply.content[0].text)

    return asyncio.run(call())


def test_a_tool_can_be_called_over_mcp(server: str, image: Path) -> None:
    names, said = called_over_mcp(server, "image/png", image)
    assert {name.rsplit("_", 1)[-1] for name in names} == {name[1:] for name in ENDPOINTS}
    assert said["k"] == 9 and len(said["order"]) == 9


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("videos") / "clip.mp4", [10 * i for i in range(24)], size=(112, 84))


def test_every_endpoint_takes_a_video_where_the_model_does(image: Path, clip: Path) -> None:
    one = (QUESTION, METHOD, "9", "", "")
    expected = trimviz.compare(qwen2_vl(), clip, QUESTION, METHOD, 9)
    with served("qwen2_vl") as url:
        client = Client(url, verbose=False)
        said = client.predict(handle_file(clip), *one, api_name="/analyze")
        assert said["n"] == expected.n and sorted(said["order"]) == expected.pruned.kept.tolist()
        said = client.predict(handle_file(clip), *one, api_name="/answer")
        assert said["dense"]["text"] == expected.dense.answer.text
        assert said["pruned"]["text"] == expected.pruned.answer.text
        said = client.predict(handle_file(clip), QUESTION, METHOD, "9", api_name="/compare")
        assert [record["n"] for record in said["comparisons"]] == [expected.n]
        drawn = client.predict(handle_file(clip), *one, "png", "cvpr-text", api_name="/figure")
        assert Path(drawn).read_bytes()[:4] == b"\x89PNG"
        assert called_over_mcp(url, "video/mp4", clip)[1]["n"] == expected.n
        assert client.predict(handle_file(image), *one, api_name="/analyze")["n"] != expected.n


def test_a_video_gets_a_sentence_where_the_model_takes_none(client: Client, clip: Path) -> None:
    with pytest.raises(AppError, match="looks at pictures, not at videos"):
        client.predict(handle_file(clip), QUESTION, METHOD, "9", "", "", api_name="/analyze")


def test_a_filmstrip_shows_each_frame_that_is_taken_and_its_time(clip: Path) -> None:
    strip = text.filmstrip(read_video(clip, 3))
    assert strip.count("<img") == 3 and "3 frames are taken" in strip
    assert [at for at in ("0:00.0", "0:02.0", "0:04.0") if at in strip] == ["0:00.0", "0:02.0", "0:04.0"]


# --- handlers -----------------------------------------------------------------------------------------------------


def test_the_controls_become_a_request() -> None:
    ask = events.gather(
        "p.png", "q", {"method": METHOD, "knobs": {"positions": "keep"}}, {"k": 5, "n1": 20, "kept": [1]}
    )
    assert ask == Ask("p.png", "q", METHOD, {"positions": "keep"}, 5, 20, None)
    assert events.gather("p.png", "q", None, {"k": 5, "n1": 2, "kept": [3, 1]}, by_hand=True).chosen == (3, 1)
    assert events.gather(None, None, None, None) == Ask("", "")
    turns = {"turns": [["is it red ?", "yes"]]}
    ask = events.gather("p.png", "q", None, None, "clip.mp4", ["a.png", "b.png"], turns)
    assert ask == Ask("clip.mp4", "q", more=("a.png", "b.png"), before=(("is it red ?", "yes"),))


@pytest.mark.parametrize(
    ("settings", "sliders"),
    [("x", None), (None, [1]), ({"method": "nonsense"}, None), (None, {"kept": ["a"]}), (None, {"kept": 3})],
)
def test_a_request_that_no_page_sends_is_refused(settings: object, sliders: object) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        events.gather("p.png", "q", settings, sliders, by_hand=True)


@pytest.mark.parametrize("turns", ["x", {"turns": [["only a question"]]}, {"turns": 3}, {"turns": [["a", 3]]}])
def test_a_conversation_that_no_page_sends_is_refused(turns: object) -> None:
    with pytest.raises(ValueError, match=r"load the page again|earlier turns as JSON"):
        events.gather("p.png", "q", None, None, turns=turns)


def test_errors_become_sentences_in_one_place() -> None:
    def fails(error: Exception):
        @events.told
        def handler() -> None:
            raise error

        return handler

    with pytest.raises(gr.Error, match="too small"):
        fails(ValueError("too small"))()
    with pytest.raises(gr.Error, match="too little memory"):
        fails(RuntimeError("CUDA out of memory. Tried to allocate"))()
    with pytest.raises(gr.Error, match="GPU time of this visitor"):
        fails(gr.Error("You have exceeded your GPU quota"))()
    with pytest.raises(RuntimeError, match="a real bug"):
        fails(RuntimeError("a real bug"))()


def test_without_the_spaces_package_the_decorator_does_nothing() -> None:
    def work() -> int:
        return 3

    assert spaces.gpu(lambda: 1)(work) is work or spaces.LENT


def test_a_newer_run_ends_an_older_one(image: Path) -> None:
    service = Service(llava())
    runner = events.Runner(service)
    ask = Ask(str(image), QUESTION, keep=9)
    epoch = service.bump("me")
    steps = runner.follow(ask, "me", epoch)
    while next(steps).pruned is None:
        pass
    service.bump("me")
    assert list(steps) == [] and service.recall(ask) is None


def test_compare_says_why_a_method_cannot_run(image: Path) -> None:
    service = Service(llava())
    rows = dict(
        events.contested(
            events.Runner(service), Ask(str(image), QUESTION, keep=1), list(PRUNERS), "me", service.bump("me")
        )
    )
    assert list(rows) == list(PRUNERS)
    for reason in service.methods().values():
        assert not reason or reason in rows.values()
    table = text.contest([(key, PRUNERS[key].name, row) for key, row in rows.items()])
    done = sum(not isinstance(row, str) for row in rows.values())
    assert (
        table.count("<tr>") == 2 * (1 + done) + 1 + len(rows) - done
    )  # head, dense, rows; head and rows of the overlap


def test_the_table_of_methods_tells_both_means_and_what_was_merged(image: Path) -> None:
    service = Service(llava())
    ask = Ask(str(image), QUESTION, keep=18)
    done = {
        key: service.finish(replace(ask, method=key)) for key in ("pyramiddrop", "tome") if not service.methods()[key]
    }
    assert len(done) == 2
    table = text.contest([(key, PRUNERS[key].name, row) for key, row in done.items()])
    for result in done.values():
        counts = result.comparison.pruned.counts
        assert f"<td>{counts['input']:.1f}</td><td>{counts['output']:.1f}</td><td>{counts['final']:.0f}</td>" in table
    assert "18 of 36 patches kept, 18 merged" in table and "half veiled" in table


def test_a_thumbnail_shows_kept_merged_and_dropped_patches_apart(image: Path) -> None:
    panel = Panel(
        "image", Image.new("RGB", (60, 20), "white"), np.array([[0, 1, 2]]), np.ones((1, 3), bool), (0, 0, 60, 20)
    )
    stage = Stage("kept", 0, np.array([True, True, False]), np.array([0, 0, -1]), stands=np.array([False, True, False]))
    run = replace(Service(llava()).finish(Ask(str(image), QUESTION, keep=9)).comparison.pruned, stages=(stage,))
    shown = text.thumb(replace(run, panels=(panel,)))
    assert "1 of 3 patches kept, 1 merged" in shown
    picture = Image.open(io.BytesIO(base64.b64decode(shown.split("base64,")[1].split('"')[0]))).convert("L")
    merged, kept, dropped = (
        picture.getpixel((x, picture.height // 2)) for x in np.array([1, 3, 5]) * picture.width // 6
    )
    assert kept > 240 and 120 < merged < 190 and dropped < 100


# --- words --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def result(image: Path):
    return Service(llava()).finish(Ask(str(image), QUESTION, keep=4))


def test_nothing_that_a_model_or_person_says_becomes_markup(result) -> None:
    evil = "<img src=x onerror=alert(1)>"
    comparison = replace(
        result.comparison, diff=(("same", evil), ("dense", evil), ("pruned", evil)), divergence=None, question=evil
    )
    changed = replace(result, comparison=comparison, ask=replace(result.ask, question=evil))
    for part in (
        text.pruned_card(changed),
        text.dense_card(changed),
        text.streaming("a", evil, ""),
        text.waiting(evil, evil),
    ):
        assert "<img" not in part


def test_the_cards_say_what_differs(result) -> None:
    comparison = result.comparison
    assert comparison.divergence is not None, "the example should differ"
    card = text.pruned_card(result)
    assert comparison.badge in card and "<mark>" in card and "4 of 36 patches (11.1%)" in card
    assert f"word {comparison.divergence.word}" in text.divergence(comparison.divergence)


@pytest.mark.parametrize("method", PRUNERS)
def test_every_method_says_the_budget_that_was_asked_for(image: Path, method: str) -> None:
    service = Service(llava())
    if service.methods()[method]:
        pytest.skip(service.methods()[method])
    result = service.finish(Ask(str(image), QUESTION, method, keep=24))
    assert (
        text.settings_said(result).startswith("keep 24") and "k=24" in events.whole(result, service, examples(True))[4]
    )
    run = result.comparison.pruned
    if not any(stage.depth for stage in run.stages):  # else a later cut leaves fewer than enter the last layer
        assert run.visual_alive[-1] - text.left(run, 36) in (0, 1)  # a CLS token comes from no patch


def test_the_cost_box_says_what_is_computed_and_what_is_measured(result) -> None:
    box = text.cost(result.comparison)
    assert "computed" in box and "measured on cpu" in box
    for run in (result.comparison.dense, result.comparison.pruned):
        assert f"{run.alive[0]}" in box and f"{run.kv_bytes / 1e6:.2f} MB" in box


# --- addresses, copying -------------------------------------------------------------------------------------------


def test_an_address_brings_its_request_back() -> None:
    offered = examples(drawn_first=True)
    for ask in (
        Ask(str(offered[2].path), offered[2].questions[0], keep=40, n1=300),
        Ask(str(offered[0].path), "is there a star & more?", keep=7, n1=None, knobs={"positions": "keep"}),
        Ask(str(offered[1].path), "and?", keep=7, before=(("a, b: c=d & \u201ce\u201d?", "yes"), ("or?", "no"))),
    ):
        assert address.read(dict(parse_qsl(address.write(ask, ask.keep, ask.n1, offered))), offered) == ask


@pytest.mark.parametrize(
    "query",
    [{"example": "none"}, {"k": "x"}, {"method": "x"}, {"knobs": "x:1"}, {"knobs": "positions:up"}, {"before": "x"}],
)
def test_an_address_that_makes_no_sense_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        address.read(query, examples(drawn_first=True))


def test_copied_code_and_command_keep_the_same_patches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    from trimviz.__main__ import cli

    monkeypatch.chdir(Path(__file__).parents[1])
    service = Service(trimviz.load("tiny", device="cpu"))
    example = examples(drawn_first=True)[0]
    ask = Ask(str(example.path), example.questions[0], keep=41, n1=333, knobs={"positions": "keep"}, limit=64)
    result = service.finish(ask)
    kept = result.comparison.pruned.kept.tolist()
    where = example.path.relative_to(Path.cwd()).as_posix()
    exec(text.as_python(result, "tiny", [where]), {})
    assert capsys.readouterr().out.startswith(str(kept))
    command = shlex.split(text.as_command(result, "tiny", [where]))
    assert command[:4] == ["python", "-m", "trimviz", "compare"]
    out = tmp_path / "comparison.json"
    done = CliRunner().invoke(cli, [*command[3:-1], str(out)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert sorted(json.loads(out.read_text())["order"]) == kept
    more = replace(ask, keep=30, more=(str(examples(drawn_first=True)[1].path),), before=(("is 1 = 1 ?", "yes"),))
    result = service.finish(more)
    files = [where, where.replace("scene-1", "scene-2")]
    exec(text.as_python(result, "tiny", files), {})
    assert capsys.readouterr().out.startswith(str(result.comparison.pruned.kept.tolist()))
    command = shlex.split(text.as_command(result, "tiny", files))
    assert CliRunner().invoke(cli, [*command[3:-1], str(out)], catch_exceptions=False).exit_code == 0
    written = json.loads(out.read_text())
    assert written["before"] == [["is 1 = 1 ?", "yes"]] and written["n"] == 1152
    assert sorted(written["order"]) == result.comparison.pruned.kept.tolist()
    by_hand = service.finish(replace(ask, chosen=(5, 1, 9)))
    exec(text.as_python(by_hand, "tiny", [where]), {})
    assert capsys.readouterr().out.startswith("[1, 5, 9]")
    command = shlex.split(text.as_command(by_hand, "tiny", [where]))
    assert CliRunner().invoke(cli, [*command[3:-1], str(out)], catch_exceptions=False).exit_code == 0
    assert json.loads(out.read_text())["stages"][-1]["kept"] == [1, 5, 9]


# --- starting -----------------------------------------------------------------------------------------------------


def test_without_a_name_the_model_follows_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def load(name: str, *options: object) -> object:
        asked.append(name)
        if "/" in name:
            raise ValueError("No network.")
        return object()

    monkeypatch.setattr(start, "load", load)
    assert start.choose(None, "cpu", "auto", None)[1] == "" and asked == ["tiny"]
    monkeypatch.setattr(start, "pick_device", lambda device: "cuda")
    note = start.choose(None, "auto", "auto", None)[1]
    assert note == "No network. The bundled model is shown instead." and asked[2] == "tiny"
    with pytest.raises(ValueError, match="No network"):
        start.choose("some/model", "auto", "auto", None)


def test_the_header_says_what_the_model_is() -> None:
    service = Service(llava(), note="No <network>.")
    assert "toy" not in header(service) and "No &lt;network&gt;." in header(service)
    assert service.unknown("any words at all") == []


def test_options_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import typer

    seen: dict[str, object] = {}
    monkeypatch.setattr(start, "launch", lambda *options: seen.update(options=options))
    cli = typer.Typer()
    cli.command()(start.main)
    environment = {"TRIMVIZ_MODEL": "folder", "GRADIO_SERVER_NAME": "0.0.0.0", "GRADIO_SERVER_PORT": "7999"}
    assert CliRunner().invoke(cli, ["--dtype", "float16"], env=environment).exit_code == 0
    assert seen["options"] == ("folder", "auto", "float16", None, "0.0.0.0", 7999, False)
