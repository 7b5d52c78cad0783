"""Evaluation: metrics worked by hand, results that survive a kill, two processes that agree with one, the report."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import sync_playwright
from pycocoevalcap.bleu.bleu import Bleu
from scipy.stats import binomtest
from sklearn.metrics import f1_score, precision_score, recall_score
from test_load import write
from tiny_models import QUESTION, llava, picture
from typer.testing import CliRunner

from trimviz.__main__ import cli
from trimviz.evaluate import run as running
from trimviz.evaluate import store, tables
from trimviz.evaluate.data import read, read_jsonl
from trimviz.evaluate.evaluation import evaluate
from trimviz.evaluate.metrics import METRICS, caption, choose
from trimviz.evaluate.settings import settings
from trimviz.evaluate.summary import ALL, Column, columns, difference, estimate, mean, summarize
from trimviz.tiny.evaluate import exam
from trimviz.written import methods, written

ROOT = Path(__file__).parents[1]
CHROMIUM = "/usr/bin/chromium"

# --- metrics --------------------------------------------------------------------------------------------------


def value(name: str, answers: list[str], references: list[list[str]]) -> float:
    rows = METRICS[name].rows(answers, references)
    assert rows.shape[0] == len(answers) and rows.ndim == 2
    return float(METRICS[name].total(rows.sum(axis=0), len(rows)))


@pytest.mark.parametrize(
    ("name", "answer", "references", "expected"),
    [
        ("exact", " Red. ", ["blue", "red"], 1),
        ("exact", "red thing", ["red"], 0),
        ("relaxed", "104.9", ["100"], 1),  # 4.9 % off
        ("relaxed", "105.1", ["100"], 0),
        ("relaxed", "1,200", ["1200"], 1),
        ("relaxed", "45%", ["0.45"], 1),
        ("relaxed", "0.01", ["0"], 0),  # a reference of 0 forgives nothing
        ("relaxed", "Yes", ["yes"], 1),
        ("relaxed", "95 %", ["yes"], 0),
        ("vqa", "two", ["2"] * 2 + ["3"] * 8, 0.6),  # 8 subsets see 2 of it, 2 see 1: (8 * 2/3 + 2 * 1/3) / 10
        ("vqa", "The dog.", ["dog"] * 4 + ["cat"] * 6, 1),  # every subset sees at least 3
        ("vqa", "cat", ["cat"], 1),
        ("vqa", "dont", ["Don't!"], 1),
        ("anls", "hallo", ["world", "hello"], 0.8),  # one of five letters
        ("anls", "abcd", ["abxy"], 0),  # exactly one half does not count
        ("accuracy", "No, there is not.", ["no"], 1),
        ("accuracy", "There is one. No doubt.", ["yes"], 1),  # the first sentence decides
        ("bleu-1", "the the cat", ["the cat"], 2 / 3),  # clipped: one "the" and one "cat" of three words
        ("bleu-2", "a red thing", ["a red box"], math.sqrt(2 / 3 * 1 / 2)),
        ("rouge", "a red thing", ["a red box"], 2 / 3),  # recall = precision = 2/3
    ],
)
def test_metrics_by_hand(name, answer, references, expected):
    assert value(name, [answer], [references]) == pytest.approx(expected)


def test_cider_by_hand():
    """Two captions without a word in common: each of its words has idf log 2, so the perfect one has similarity 1."""
    answers, references = ["a red cat sat", "one two three four"], [["a red cat sat"], ["five six seven eight"]]
    assert METRICS["cider"].rows(answers, references)[:, 0].tolist() == pytest.approx([10, 0])


def test_yes_no_metrics_are_those_of_scikit_learn():
    said = ["yes", "yes", "no", "no", "yes", "no"]
    true = ["yes", "no", "yes", "no", "yes", "no"]
    a, b = [[text == "yes" for text in texts] for texts in (said, true)]
    for name, score in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        assert value(name, said, [[t] for t in true]) == pytest.approx(score(b, a)), name
    assert math.isnan(value("precision", ["no"], [["yes"]]))  # nobody said yes


def test_bleu_is_that_of_coco():
    answers = ["A cat on a mat.", "a dog runs over the green grass", "two birds", ""]
    references = [
        ["a cat on the mat", "the cat sat on a mat"],
        ["a dog runs over green grass", "dogs"],
        ["birds fly"],
        ["x y"],
    ]
    theirs, _ = Bleu(4).compute_score(
        {i: [caption(r) for r in several] for i, several in enumerate(references)},
        {i: [caption(a)] for i, a in enumerate(answers)},
        verbose=0,
    )
    for k, expected in enumerate(theirs, 1):
        assert value(f"bleu-{k}", answers, references) == pytest.approx(expected, abs=1e-6)


def test_metrics_go_to_their_tasks():
    chosen = choose(["exact", "charts=relaxed", "pope=precision,f1"], ["charts", "pope", "vqa"])
    assert {task: [m.name for m in several] for task, several in chosen.items()} == {
        "charts": ["relaxed"],
        "pope": ["precision", "f1"],
        "vqa": ["exact"],
    }
    with pytest.raises(ValueError, match="no metric 'exakt'; choose from exact"):
        choose(["exakt"], ["vqa"])
    with pytest.raises(ValueError, match="no task 'chart'"):
        choose(["chart=relaxed"], ["charts"])
    with pytest.raises(ValueError, match="yes or no"):
        METRICS["f1"].check([["yes"], ["maybe"]], "pope")
    with pytest.raises(ValueError, match="answer in every record"):
        METRICS["exact"].check([["red"], []], "vqa")


# --- data and settings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{", "line 2: not valid JSON"),
        ("[1]", "line 2: expected an object"),
        ('{"question": "what ?"}', "line 2: expected either image or video, got neither"),
        ('{"image": "a.png", "video": "b.mp4", "question": "what ?"}', "got image and video"),
        ('{"image": 3, "question": "what ?"}', "line 2: expected image to be a text or a list"),
        ('{"image": "a.png"}', "line 2: expected question to be a text with words"),
        ('{"image": "a.png", "question": "  "}', "line 2: expected question"),
        ('{"image": "a.png", "question": "what ?", "answer": [1]}', "line 2: expected answer"),
        ('{"image": "a.png", "question": "what ?", "id": [1]}', "line 2: expected id"),
        ('{"image": "a.png", "question": "what ?", "id": "one"}', "line 2: the id 'one' is already on line 1"),
    ],
)
def test_a_bad_record_is_one_sentence_with_its_line(tmp_path, line, sentence):
    path = tmp_path / "data.jsonl"
    path.write_text('{"image": "a.png", "question": "what ?", "id": "one"}\n' + line)
    with pytest.raises(ValueError, match=r"^data\.jsonl, line 2: ") as raised:
        read_jsonl(path)
    assert sentence in str(raised.value) and "\n" not in str(raised.value)


def test_records_are_read_as_written(tmp_path):
    (tmp_path / "sub").mkdir()
    picture().save(tmp_path / "sub/a.png")
    path = tmp_path / "data.jsonl"
    path.write_text('\n{"image": ["sub/a.png", "sub/a.png"], "question": "q ?", "answer": "red"}\r\n\n', "utf-8")
    data = read_jsonl(path)
    (sample,) = data.samples
    assert (sample.task, sample.id, sample.answers) == ("data", "2", ("red",))
    assert [p.size for p in sample.open()] == [(100, 84)] * 2
    path.write_text(path.read_text() + '{"video": "none.mp4", "question": "q ?"}')
    assert read_jsonl(path).origin != data.origin
    with pytest.raises(ValueError, match="There is no file"):
        read_jsonl(path).samples[1].open()
    for sources, sentence in (
        ([str(tmp_path / "no.jsonl")], "There is no file"),
        ([str(path)] * 2, "same task and id"),
    ):
        with pytest.raises(ValueError, match=sentence):
            read(sources)


def test_held_out_questions_are_those_of_the_exam():
    samples = read(["tiny"], n=25, seed=3).samples
    theirs = [(q.kind, q.text, q.answer, shown) for shown, questions in exam(25, 3) for q in questions]
    assert [(s.task, s.question, s.answers[0]) for s in samples] == [t[:3] for t in theirs]
    assert len({s.key for s in samples}) == 25
    for i in (0, 24):
        np.testing.assert_array_equal(np.asarray(samples[i].open()[0]), np.asarray(theirs[i][3]))


def test_settings_are_every_method_at_every_budget():
    chosen = settings(["trimtokenator:align=cos", "random", "trimtokenator:align=cos:n1=0.7"], ["9", "25%"], [0.7, 0.9])
    assert [s.name for s in chosen] == [
        "trimtokenator:n1=0.7:align=cos@9",
        "trimtokenator:n1=0.7:align=cos@25%",
        "trimtokenator:n1=0.9:align=cos@9",
        "trimtokenator:n1=0.9:align=cos@25%",
        "random@9",
        "random@25%",
    ]
    assert chosen[0].label == "TrimTokenator (n1=0.7, align=cos)" and chosen[4].label == "Random"
    assert [methods([s.method])[0] for s in chosen] == [s.pruner for s in chosen]
    assert written(methods(["trimtokenator"])[0]) == "trimtokenator"
    with pytest.raises(ValueError, match="at least one method"):
        settings([], ["9"])


# --- statistics and tables ------------------------------------------------------------------------------------


def shares(rows) -> Column:
    return Column("t", "exact", "Exact match", True, True, mean, {"a": np.array(rows, float)[:, None]})


def test_shares_have_wilson_intervals():
    column = shares([1, 1, 1, 0, np.nan])
    found = estimate(column, column.rows["a"])
    low, high = binomtest(3, 4).proportion_ci(method="wilson")
    assert (found.samples, found.value, found.low, found.high) == (4, 0.75, low, high)


def test_other_means_are_resampled():
    values = np.random.default_rng(1).normal(2, 0.5, 400)
    column = shares(values)
    found = estimate(column, column.rows["a"])
    half = 1.96 * values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.02)
    assert found.high == pytest.approx(values.mean() + half, abs=0.02)


def test_differences_are_paired():
    a = np.array([1] * 9 + [0] + [1] * 20 + [np.nan], float)[:, None]
    b = np.array([0] * 9 + [1] + [1] * 20 + [1.0], float)[:, None]
    found = difference(shares(a[:, 0]), a, b)
    assert found.samples == 30 and found.value == pytest.approx(8 / 30)
    assert found.p == pytest.approx(2 * 11 / 2**10)  # ten pairs differ; one or none of them the other way, both sides
    assert 0 < found.low < 8 / 30 < found.high
    same = difference(shares(a[:, 0]), a, a)
    assert (same.value, same.low, same.high, same.p) == (0, 0, 0, 1)


def result(task: str, name: str, true: str, dense: str, runs: dict[str, str | None]) -> dict:
    """A sample as `store` describes it; KL 0 where the words are the same, 0.5 elsewhere."""
    cost = {"flops": 1e9, "kv_bytes": 10**6, "seconds": {"first token": 0.1, "decode": 0.01, "total": 0.1}}
    told = {
        key: {"error": "Too few."}
        if said is None
        else {"text": said, "tokens": float(key.split("@")[1]), "same": said == dense, **cost}
        | {"kl": 0.0 if said == dense else 0.5, "divergence": None if said == dense else 0}
        | {"stages": [["kept", 0, store.pack(np.arange(36) < 9)]]}
        for key, said in runs.items()
    }
    return {"task": task, "id": name, "question": "q", "answers": [true], "n": 36} | {
        "dense": {"text": dense, "tokens": 36.0, **cost},
        "runs": told,
    }


def example() -> tuple[list[dict], list, pd.DataFrame]:
    chosen = settings(["divprune", "uniform", "random"], ["9"])
    records = [
        result("a", "1", "red", "red", {"divprune@9": "red", "uniform@9": "red", "random@9": None}),
        result("a", "2", "red", "red", {"divprune@9": "red", "uniform@9": "blue", "random@9": None}),
        result("b", "1", "one", "one", {"divprune@9": "one", "uniform@9": "one", "random@9": None}),
        result("b", "2", "two", "one", {"divprune@9": "one", "uniform@9": "two", "random@9": None}),
    ]
    judged = {task: [METRICS["exact"]] for task in ("a", "b")}
    return records, chosen, summarize(records, chosen, columns(records, chosen, judged))


def test_tables_have_the_shape_of_the_papers():
    _, chosen, summary = example()
    table = tables.main_table(summary, chosen, 36)
    lines = tables.markdown(table).splitlines()
    assert lines[2:9] == [
        "| Method | a | b | All | Average (%) |",
        "|---|---:|---:|---:|---:|",
        "| *Upper bound, 36 tokens (100 %)* |  |  |  |  |",
        "| Dense | 100.0 | 50.0 | 75.0 | 100.0 |",
        "| *Retain 9 tokens (↓ 75.0 %)* |  |  |  |  |",
        "| DivPrune | **100.0** | 50.0 | 75.0 | 100.0 |",
        "| Uniform | 50.0 | **100.0** | 75.0 | **125.0** |",  # (50 % + 200 %) / 2
    ]
    assert lines[9] == "| Random | – | – | – | – |"
    text = tables.latex(table)
    assert r"\multicolumn{5}{c}{\textit{Retain 9 tokens ($\downarrow$ 75.0 \%)}} \\" in text
    assert r"Uniform & 50.0 & \textbf{100.0} & 75.0 & \textbf{125.0} \\" in text
    assert text.count("{") == text.count("}")
    free = tables.markdown(tables.free_table(summary, chosen, 36)).splitlines()
    assert "| DivPrune | **100.0** | **0.000** | – |" in free  # nothing differs
    assert "| Uniform | 50.0 | 0.250 | 0.00 |" in free


def test_one_method_with_one_knob_is_told_by_the_knob():
    chosen = settings(["trimtokenator"], ["9"], [0.7, 0.8])
    records = [result("a", str(i), "red", "red", {s.name: "red" for s in chosen}) for i in range(3)]
    summary = summarize(records, chosen, columns(records, chosen, {"a": [METRICS["exact"], METRICS["anls"]]}))
    table = tables.main_table(summary, chosen, 36)
    assert table.head == ("n1", "Exact match", "ANLS", "Average (%)")
    assert [label for label, _ in table.groups[1].rows] == ["0.7", "0.8"]


def test_the_summary_holds_paired_differences():
    _, _, summary = example()
    rows = summary.set_index(["setting", "task", "metric"])
    uniform = rows.loc["uniform@9", "b", "exact"]
    assert (uniform.value, uniform.vs_dense, uniform.vs_first, uniform.relative) == (1, 0.5, 0.5, 2)
    assert math.isnan(rows.loc["divprune@9", "b", "exact"].vs_first)  # it is the first
    assert rows.loc["random@9", ALL, "exact"].samples == 0
    assert rows.loc["uniform@9", ALL, "kl"].value == 0.25


# --- runs -----------------------------------------------------------------------------------------------------


def ask_about(folder: Path, count: int = 4) -> Path:
    """A JSONL of questions about few pictures."""
    for i in range(2):
        picture(seed=i).save(folder / f"{i}.png")
    path = folder / "data.jsonl"
    colours = ("red", "blue", "green")
    with path.open("w") as file:
        for i in range(count):
            question = f"what is the colour of the {colours[i % 3]} thing {'a ' * (i // 3 % 9)}?"
            record = {"image": f"{i * 2 // count}.png", "question": question, "answer": [colours[i % 3]], "id": i}
            file.write(json.dumps(record) + "\n")
    return path


def told(folder: Path) -> list[dict]:
    """All that was written about samples but for measured times."""
    lines = (folder / "samples.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    for record in records:
        for run in (record.get("dense", {}), *record.get("runs", {}).values()):
            run.pop("seconds", None)
    return records


def alike(ours: Path, theirs: Path) -> None:
    """Two folders say the same; divergences up to rounding, since sums may differ with where the weights lie."""
    first, second = told(ours), told(theirs)
    drifts = [[run.pop("kl") for r in records for run in r.get("runs", {}).values()] for records in (first, second)]
    assert len(drifts[0]) > 0
    assert first == second
    assert drifts[0] == pytest.approx(drifts[1], rel=1e-4, abs=1e-5)


def test_everything_is_written_once(tmp_path, monkeypatch):
    path = ask_about(tmp_path)
    (tmp_path / "broken.png").write_text("no picture")
    with path.open("a") as file:
        file.write(json.dumps({"image": "broken.png", "question": QUESTION, "answer": "red", "id": "broken"}) + "\n")
    model, chosen, out = llava(), settings(["trimtokenator", "fastv"], ["18", "2"]), tmp_path / "out"
    looks, runs = [], []
    look, answer = type(model).look, running.answer
    monkeypatch.setattr(type(model), "look", lambda self, pictures: looks.append(1) or look(self, pictures))
    monkeypatch.setattr(running, "answer", lambda *a, **k: runs.append(a[2:3]) or answer(*a, **k))
    asked = []
    monkeypatch.setattr(running, "_answers", lambda *a, real=running._answers: asked.append(len(looks)) or real(*a))
    data = read([str(path)])
    summary = evaluate(model, data, chosen, out, limit=5)
    assert asked == [1, 1, 2, 2]  # two pictures, each encoded once
    assert runs.count(()) == 4 and len(runs) == 4 * 5  # one dense run a sample
    records = told(out)
    assert [r["id"] for r in records] == ["0", "1", "2", "3", "broken"]
    assert "broken.png is not a picture" in records[4]["error"] and "runs" not in records[4]
    assert "error" in records[0]["runs"]["fastv@2"]
    assert records[0]["runs"]["fastv@18"]["tokens"] == pytest.approx(18, abs=1)
    for record in records[:4]:
        run = record["runs"]["trimtokenator@18"]
        assert [name for name, _, _ in run["stages"]] == ["X^v(1)", "X^v(2)"]
        assert store.unpack(run["stages"][1][2], record["n"]).sum() == 18
        assert run["kl"] >= 0 and run["same"] == (run["text"] == record["dense"]["text"])
        assert (run["divergence"] is None) == run["same"]
    assert set(summary.metric) == {"exact", "same", "kl", "divergence"}
    for name in ("summary", "samples"):
        csv, parquet = pd.read_csv(out / f"{name}.csv"), pd.read_parquet(out / f"{name}.parquet")
        assert len(csv) == len(parquet) and list(csv.columns) == list(parquet.columns)
    assert len(parquet := pd.read_parquet(out / "samples.parquet")) == 4 * 5 + 1 and parquet.exact.dtype == float
    assert "FastV: " in (out / "tables.md").read_text()
    assert r"\toprule" in (out / "tables.tex").read_text()

    before = (out / "samples.jsonl").read_bytes()
    evaluate(model, data, chosen, out, limit=5, metrics=["anls"])  # another metric asks nothing again
    assert len(asked) == 4 and (out / "samples.jsonl").read_bytes() == before
    text = (out / "tables.md").read_text()
    assert "ANLS" in text and "5 samples, of which 1 could not be asked. random llava, float32." in text
    for other, sentence in ((settings(["random"], ["9"]), "settings"), (chosen, "limit")):
        with pytest.raises(ValueError, match=f"another {sentence}; give another --out"):
            evaluate(model, data, other, out, limit=5 if other is not chosen else 6)


def test_a_torn_last_line_is_done_again(tmp_path):
    with store.appender(tmp_path, 0) as file:
        store.append(file, {"task": "a", "id": "1", "error": "ä"})
    path = tmp_path / "samples-0.jsonl"
    whole = path.read_bytes()
    for cut in (b'{"task": "a", "id": "2', b'{"task": "a", "id": "2", "error": "x"}', "{ä".encode()[:-1]):
        path.write_bytes(whole + cut)
        assert list(store.results(tmp_path)) == [("a", "1")]
        store.appender(tmp_path, 0).close()
        assert path.read_bytes() == whole
    with store.appender(tmp_path, 1) as file:
        store.append(file, {"task": "a", "id": "0", "error": "y"})
    merged = store.merge(tmp_path, [("a", "0"), ("a", "1")])
    assert [r["id"] for r in merged] == ["0", "1"]
    assert [p.name for p in tmp_path.iterdir()] == ["samples.jsonl"]
    with pytest.raises(ValueError, match="1 samples have no result"):
        store.merge(tmp_path, [("a", "0"), ("a", "1"), ("a", "2")])


def command(model: Path, data: Path, out: Path) -> list[str]:
    given = {"--model": model, "--data": data, "--out": out, "--keep": "9,4", "--limit": "6", "--device": "cpu"}
    return ["trimviz", "evaluate", "--method", "trimtokenator", *(str(v) for pair in given.items() for v in pair)]


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A checkpoint, a data file, and the results of one undisturbed process."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "model").mkdir()
    write("llava", folder / "model")
    data = ask_about(folder, count=60)
    ran = CliRunner().invoke(cli, command(folder / "model", data, folder / "out")[1:], catch_exceptions=False)
    assert ran.exit_code == 0 and "Retain 9 tokens" in ran.output
    return folder


def test_a_killed_run_goes_on(whole, tmp_path):
    arguments = [sys.executable, "-m", *command(whole / "model", whole / "data.jsonl", tmp_path / "out")]
    part = tmp_path / "out" / "samples-0.jsonl"
    process = subprocess.Popen(arguments, cwd=tmp_path, env=environment(), stderr=subprocess.DEVNULL)
    while not part.is_file() or part.read_bytes().count(b"\n") < 3:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = part.read_bytes()
    done = done[: done.rfind(b"\n") + 1]
    assert 3 <= done.count(b"\n") < 60
    with part.open("ab") as file:
        file.write(b'{"task": "data", "id": "5')  # as if it had been in the middle of a line
    subprocess.run(arguments, cwd=tmp_path, env=environment(), check=True, capture_output=True)
    alike(tmp_path / "out", whole / "out")
    assert (tmp_path / "out" / "samples.jsonl").read_bytes().startswith(done)  # kept as it was, times and all
    assert (tmp_path / "out" / "report.html").is_file()


def test_two_processes_agree_with_one(whole, tmp_path):
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "-m"]
    arguments = launch + command(whole / "model", whole / "data.jsonl", tmp_path / "out")
    ran = subprocess.run(arguments, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert json.loads((tmp_path / "out" / "settings.json").read_text())["made"]["processes"] == 2
    alike(tmp_path / "out", whole / "out")
    ours, theirs = (pd.read_csv(folder / "out" / "summary.csv") for folder in (tmp_path, whole))
    pd.testing.assert_frame_equal(ours, theirs)


def test_the_report_opens_without_a_network(whole, tmp_path):
    path = whole / "out" / "report.html"
    assert "</script><b>" not in path.read_text()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_context(offline=True).new_page()
        page.set_default_timeout(120_000)
        problems: list[str] = []
        page.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else problems.append(r.url))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_selector("#curves .scatterlayer .trace")
        assert page.locator("table").count() == 4
        assert page.locator("#curves .legend .traces").count() == 1
        cards = page.locator("#cards .card")
        everything = cards.count()
        page.locator("select[data-by=keep]").select_option("9")
        assert 0 < cards.count() < everything
        assert "9 tokens" in (cards.first.text_content() or "")
        page.locator("#words").fill("no such words")
        assert cards.count() == 0
        page.locator("#words").fill("colour")
        images = page.locator("#cards img")
        assert images.count() == 2 * cards.count()
        assert page.evaluate("[...document.querySelectorAll('#cards img')].every((i) => i.complete && i.naturalWidth)")
        page.locator("#masks").uncheck()
        assert not page.locator("#cards .mask").first.is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
        assert problems == []
        browser.close()


def test_texts_cannot_break_out_of_the_report(tmp_path):
    model, out = llava(), tmp_path / "out"
    path = ask_about(tmp_path, 1)
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"answer": "</script><b>bold", "id": "<i>", "task": "<u>"}) + "\n")
    evaluate(model, read([str(path)]), settings(["trimtokenator"], ["9"], [0.5, 0.9]), out, limit=3)
    page = (out / "report.html").read_text()
    assert "</script><b>" not in page and "<i>" not in page and "<u>" not in page
    assert 'id="heat"' in page  # N1 was swept


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--method", "magic"], "There is no method 'magic'"),
        (["--method", "random:n1=0.5"], "no knob 'n1'"),
        (["--data", "missing.jsonl"], "There is no file missing.jsonl"),
        (["--metric", "exakt"], "There is no metric 'exakt'"),
        (["--metric", "f1"], "yes or no"),
        (["--n1", "big"], "Expected --n1"),
        (["--keep", " , "], "give --method and --keep"),
        (["--keep", "9,few"], "--keep to be numbers of visual tokens or shares such as 11.1%; got 'few'"),
        (["--keep", "0%"], "got '0%'"),
        (["--setting", "tiling"], "--setting NAME=VALUE"),
    ],
)
def test_bad_input_is_one_sentence(whole, tmp_path, arguments, sentence):
    given = command(whole / "model", whole / "data.jsonl", tmp_path / "out")[1:]
    if arguments[0] == "--data":
        given[given.index("--data") + 1] = arguments[1]
        arguments = []
    with pytest.raises(ValueError, match=sentence) as raised:
        CliRunner().invoke(cli, [*given, *arguments], catch_exceptions=False)
    assert "\n" not in str(raised.value) and not (tmp_path / "out").exists()


def test_a_run_in_which_nothing_can_be_asked_says_so(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps({"image": "none.png", "question": QUESTION}) + "\n")
    with pytest.raises(ValueError, match=r"None of the 1 samples could be asked; the first says: There is no file"):
        evaluate(llava(), read([str(path)]), settings(["random"], ["9"]), tmp_path / "out")


def test_the_help_names_every_metric():
    shown = CliRunner().invoke(cli, ["evaluate", "--help"], env={"COLUMNS": "400"}).output
    for name in METRICS:
        assert name in shown or name.startswith("bleu-")
