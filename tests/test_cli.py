"""The command line: what it writes can be recomputed, and what it cannot do it says in one sentence."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from test_video import write
from tiny_models import FAMILIES, QUESTION, llava, picture

import trimviz.models
from trimviz.__main__ import main
from trimviz.models import MODELS
from trimviz.pruners import PRUNERS


def loaded(name, device, dtype, quantize, **settings):
    """The random model of a family by its key; "tiny" is the first."""
    return FAMILIES.get(name, llava)().set(**settings)


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Call the command line on the random model; returns exit code, stdout and stderr."""
    monkeypatch.setattr(trimviz.models, "load", loaded)
    monkeypatch.chdir(tmp_path)
    picture().save(tmp_path / "picture.png")

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["trimviz", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        return int(stopped.value.code or 0), out, err

    return call


def naive_selection(visual: np.ndarray, words: np.ndarray, n1: int, k: int) -> list[int]:
    """TrimTokenator's equations 3, 4, 8 to 16 written out for one picture."""
    alpha = -np.array([np.mean([np.sqrt(((v - w) ** 2).sum()) for w in words]) for v in visual])
    pool = sorted(range(len(visual)), key=lambda i: (-alpha[i], i))[:n1]
    cos = [[visual[i] @ visual[j] / np.linalg.norm(visual[i]) / np.linalg.norm(visual[j]) for j in pool] for i in pool]
    picked = [int(np.argmin([np.mean(row) for row in cos]))]
    while len(picked) < k:
        left = [i for i in range(n1) if i not in picked]
        picked.append(min(left, key=lambda i: np.mean([cos[i][j] for j in picked])))
    return [pool[i] for i in picked]


def test_files_let_anyone_recompute_the_selection(run, tmp_path):
    arguments = ["--keep", "9", "--n1", "0.7", "--json", "out.json", "--npz", "out.npz"]
    code, out, _ = run("compare", "picture.png", QUESTION, *arguments)
    assert code == 0 and "trimtokenator" in out and "dense" in out
    record = json.loads((tmp_path / "out.json").read_text())
    with np.load(tmp_path / "out.npz") as file:
        arrays = dict(file)
    assert (record["n"], record["n1"], record["k"]) == (36, 25, 9)
    assert arrays["visual"].shape == (36, 64) and arrays["visual"].dtype == np.float32
    words = arrays["text"][arrays["question"]].astype(float)
    assert len(words) == len(QUESTION.split())
    alpha = [-np.mean(np.linalg.norm(v - words, axis=1)) for v in arrays["visual"].astype(float)]
    np.testing.assert_allclose(record["alpha"], alpha, rtol=1e-5)
    assert record["order"] == naive_selection(arrays["visual"].astype(float), words, 25, 9)
    assert [stage["name"] for stage in record["stages"]] == ["X^v(1)", "X^v(2)"]
    assert record["stages"][1]["kept"] == sorted(record["order"])
    assert record["cost"]["pruned"]["visual_alive"] == [9] * 6
    for side in ("dense", "pruned"):
        assert set(record[side]) == {"text", "ids", "logprobs", "finished"}
    assert len(record["agreement"]["kl"]) == len(record["dense"]["ids"])


def test_several_methods_share_one_file(run, tmp_path):
    code, out, _ = run(
        "compare", "picture.png", QUESTION, "--method", "random", "--method", "uniform", "--keep", "25%", "--json", "-"
    )
    body = json.loads(out)
    assert code == 0 and [c["method"] for c in body["comparisons"]] == ["random", "uniform"]
    assert [c["k"] for c in body["comparisons"]] == [9, 9]
    a, b = (set(c["stages"][-1]["kept"]) for c in body["comparisons"])
    assert body["jaccard"][0][1] == pytest.approx(len(a & b) / len(a | b))
    assert body["comparisons"][0]["dense"] == body["comparisons"][1]["dense"]


def test_a_budget_is_told_in_every_way_of_counting(run, tmp_path):
    methods = ("--method", "pyramiddrop", "--method", "tome")
    code, out, _ = run("compare", "picture.png", QUESTION, *methods, "--keep", "18", "--json", "out.json")
    deep, tower = json.loads((tmp_path / "out.json").read_text())["comparisons"]
    alive = deep["cost"]["pruned"]["visual_alive"]
    left = [*alive[1:], alive[-1]]
    counts = {"input": sum(alive) / len(alive), "output": sum(left) / len(left), "final": alive[-1]}
    assert deep["cost"]["pruned"]["counts"] == counts and deep["k"] == alive[-1]
    assert deep["cost"]["pruned"]["mean_visual_tokens"] == counts["input"] > counts["output"] > counts["final"]
    row = next(line for line in out.splitlines() if line.split()[:1] == ["pyramiddrop"] and "." in line)
    assert row.split()[1:4] == [f"{counts['input']:.1f}", f"{counts['output']:.1f}", f"{counts['final']:.0f}"]
    assert code == 0 and "mean of those that enter" in " ".join(out.split())
    assert tower["cost"]["pruned"]["counts"] == {"input": 18, "output": 18, "final": 18} and tower["k"] == 18
    last = tower["stages"][-1]
    assert len(set(last["kept"]) - set(last["merged"])) == 18 and len(last["kept"]) == 36


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("compare", "missing.png", QUESTION), "no file missing.png"),
        (("compare", "picture.png", "  "), "question is empty"),
        (("compare", "picture.png", "what is <image> ?"), "'<image>'"),
        (("compare", "picture.png", QUESTION, "--keep", "0"), "got '0'"),
        (("compare", "picture.png", QUESTION, "--keep", "many"), "got 'many'"),
        (("compare", "picture.png", QUESTION, "--n1", "nan"), "n1"),
        (("compare", "picture.png", QUESTION, "--n1", "1.5"), "n1"),
        (("compare", "picture.png", QUESTION, "--method", "magic"), "no method 'magic'"),
        (("compare", "picture.png", QUESTION, "--knob", "align=sideways"), "align"),
        (("compare", "picture.png", QUESTION, "--knob", "colour=red"), "no knob 'colour'"),
        (("compare", "picture.png", "word " * 2000), "ask a shorter question"),
        (("compare", "picture.png", QUESTION, "--also", "missing.png"), "no file missing.png"),
        (("compare", "picture.png", QUESTION, "--before", "is it red ?"), "Expected --before QUESTION=ANSWER"),
        (("compare", "picture.png", QUESTION, "--before", '["is it red ?"]'), "Expected earlier turns as JSON"),
    ],
)
def test_bad_input_is_one_sentence_on_stderr(run, arguments, sentence):
    code, out, err = run(*arguments)
    assert code == 2
    assert sentence in err and err.startswith("trimviz: ") and err.count("\n") == 1
    assert "Traceback" not in err and "trimtokenator  " not in out


def test_files_go_into_folders_that_do_not_exist_yet(run, tmp_path):
    code, _, _ = run("compare", "picture.png", QUESTION, "--json", "new/out.json", "--npz", "other/out.npz")
    assert code == 0 and (tmp_path / "new/out.json").is_file() and (tmp_path / "other/out.npz").is_file()


def test_keep_beyond_n_keeps_everything(run, tmp_path):
    code, _, _ = run("compare", "picture.png", QUESTION, "--keep", "5000", "--json", "out.json")
    record = json.loads((tmp_path / "out.json").read_text())
    assert code == 0 and record["k"] == 36 and record["agreement"]["same"]


def test_a_first_stage_below_keep_is_raised_to_it(run, tmp_path):
    run("compare", "picture.png", QUESTION, "--keep", "20", "--n1", "5", "--json", "out.json")
    record = json.loads((tmp_path / "out.json").read_text())
    assert record["k"] == record["n1"] == 20


def test_lists_hold_every_method_and_family(run):
    _, out, _ = run("methods", "--json")
    assert [row["key"] for row in json.loads(out)] == list(PRUNERS)
    _, out, _ = run("models", "--json")
    assert [row["model_type"] for row in json.loads(out)] == list(MODELS)
    for key in PRUNERS:
        assert f"`{key}`" in run("methods", "--markdown")[1]


@pytest.mark.parametrize("source", ["clip.mp4", "frames"])
def test_a_video_or_a_folder_of_its_frames(run, tmp_path, source):
    write(tmp_path / "clip.mp4", [10 * i for i in range(24)], size=(112, 84))
    (tmp_path / "frames").mkdir()
    for i in range(12):
        picture(112, 84, i).save(tmp_path / "frames" / f"{i}.png")
    for command, extra in (("compare", ["--json", "out.json"]), ("figure", ["-o", "drawn.png", "--dpi", "60"])):
        arguments = [source, QUESTION, "--model", "llava_next_video", "--frames", "3", "--keep", "5", "--limit", "2"]
        code, _, err = run(command, *arguments, *extra)
        assert code == 0, err
    assert json.loads((tmp_path / "out.json").read_text())["n"] == 3 * 9
    code, _, err = run("compare", source, QUESTION, "--keep", "5")
    assert code == 2 and "looks at pictures, not at videos" in err


def test_settings_of_the_model(run, tmp_path):
    counts = {}
    for tiling in ("native", "paper"):
        arguments = ["--model", "llava_next", "--setting", f"tiling={tiling}", "--keep", "9", "--limit", "1"]
        code, _, _ = run("compare", "picture.png", QUESTION, *arguments, "--json", "out.json")
        record = json.loads((tmp_path / "out.json").read_text())
        counts[tiling] = record["n"]
        assert code == 0 and record["settings"]["tiling"] == tiling
    assert counts == {"native": 36 + 6 * 8, "paper": 5 * 36}
    for setting, words in (("tiling=round", "tiling is one of native, paper"), ("tiling", "Expected --setting NAME=")):
        code, _, err = run("compare", "picture.png", QUESTION, "--model", "llava_next", "--setting", setting)
        assert code == 2 and words in err


def test_tokens_take_the_place_of_a_method(run, tmp_path):
    code, out, _ = run("compare", "picture.png", QUESTION, "--tokens", "7,3,7", "--json", "out.json")
    assert code == 0 and "chosen" in out
    assert json.loads((tmp_path / "out.json").read_text())["stages"][-1]["kept"] == [3, 7]
    assert run("figure", "picture.png", QUESTION, "--tokens", "3,7", "-o", "out.svg")[0] == 0
    for wrong in ("3;7", "36", "-1"):
        code, _, err = run("compare", "picture.png", QUESTION, "--tokens", wrong)
        assert code == 2 and "token" in err
