"""The real lmms-eval runs trimviz on a task defined here: its command line, local pictures and a video, no network."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from test_load import write
from tiny_models import picture

import trimviz
from trimviz.compare import answer, ask, finish
from trimviz.written import methods

if importlib.util.find_spec("lmms_eval") is None and "CI" not in os.environ:
    pytest.skip("needs lmms-eval, which `make test` installs", allow_module_level=True)

METHOD, KEEP, LIMIT = "trimtokenator:n1=0.7", 3, 5
WORDS = "<image>\nwhat is in the picture ?\nred or blue ?"
TASK = """
task: trimviz_local
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: generate_until
doc_to_visual: !function parts.visual
doc_to_text: !function parts.words
doc_to_target: "answer"
process_results: !function parts.results
generation_kwargs:
  max_new_tokens: {limit}
  temperature: 0
  do_sample: false
metric_list:
  - metric: said
    aggregation: !function parts.share
    higher_is_better: true
"""
PARTS = """
from PIL import Image

def visual(doc):
    return [doc["source"]] if doc["source"].endswith(".mp4") else [Image.open(doc["source"]).convert("RGB")]

def words(doc, lmms_eval_specific_kwargs=None):
    return doc["question"]

def results(doc, answers):
    return {"said": float(len(answers[0]) > 0)}

def share(values):
    return sum(values) / len(values)
"""


def film(path: Path) -> None:
    """A second of random colours."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=4)
        stream.width, stream.height, stream.pix_fmt = 112, 84, "yuv420p"
        for number in range(4):
            frame = av.VideoFrame.from_ndarray(np.array(picture(112, 84, number)), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A checkpoint, and a task with two pictures and a video."""
    place = tmp_path_factory.mktemp("lmms")
    (place / "model").mkdir()
    write("qwen2_vl", place / "model")
    picture(100, 84, 1).save(place / "one.png")
    picture(60, 90, 2).save(place / "two.png")
    film(place / "three.mp4")
    names = ("one.png", "two.png", "three.mp4")
    docs = [{"source": str(place / name), "question": WORDS, "answer": "red"} for name in names]
    (place / "task").mkdir()
    (place / "data.jsonl").write_text("".join(json.dumps(doc) + "\n" for doc in docs), encoding="utf-8")
    task = TASK.format(data=place / "data.jsonl", limit=LIMIT)
    (place / "task" / "trimviz_local.yaml").write_text(task, encoding="utf-8")
    (place / "task" / "parts.py").write_text(PARTS, encoding="utf-8")
    return place


def lmms_eval(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """The command as documented, offline."""
    command = [sys.executable, "-m", "lmms_eval", "--model", "trimviz", "--tasks", "trimviz_local", *more]
    command += ["--include_path", str(folder / "task"), "--batch_size", "1"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "home"), "HF_DATASETS_OFFLINE": "1"}
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=600)


@pytest.mark.timeout(700)
def test_lmms_eval_gets_the_engines_answers(folder):
    """Two pictures and a video: the kept samples hold what the engine answers to the same prompt with the same cut."""
    chosen = f"pretrained={folder / 'model'},method={METHOD},keep={KEEP},frames=4,device=cpu"
    done = lmms_eval(folder, "--model_args", chosen, "--output_path", str(folder / "out"), "--log_samples")
    assert done.returncode == 0, done.stderr[-3000:]
    (file,) = (folder / "out").rglob("*samples_trimviz_local.jsonl")
    samples = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    said = {sample["doc_id"]: sample["filtered_resps"] for sample in samples}
    model, pruner = trimviz.load(folder / "model", device="cpu"), methods([METHOD])[0]
    words = WORDS.removeprefix("<image>").strip()
    for number, name in enumerate(("one.png", "two.png", "three.mp4")):
        prompt = ask(model, folder / name, words, frames=4)
        assert words in prompt.text, "a line break belongs to a prompt"
        run = finish(answer(model, prompt, pruner, KEEP, LIMIT)).run
        assert said[number] == run.answer.text and len(run.kept) == KEEP < prompt.n
    (results,) = (folder / "out").rglob("*_results.json")
    assert json.loads(results.read_text(encoding="utf-8"))["results"]["trimviz_local"]["said,none"] == 1.0


UNIT = """
import sys
from lmms_eval.models import get_model
cls = get_model("trimviz")
assert cls.__module__ == "trimviz.evaluate.lmms", cls
from trimviz.evaluate.lmms import shortened
assert shortened("red. blue. green", ["blue", "."]) == "red" and shortened("red", []) == "red"
for wrong in ({"method": "random"}, {"keep": 5}, {"batch_size": 2}, {"method": "nothing", "keep": 5}):
    try:
        cls(**{"pretrained": sys.argv[1], "device": "cpu"} | wrong)
    except ValueError as error:
        print(error)
    else:
        raise SystemExit(f"{wrong} was taken")
dense = cls(sys.argv[1], device="cpu")
dense.task_dict = {"t": {"test": [None]}}
for wanted in ({"temperature": 0.7}, {"num_beams": 3}):
    try:
        dense._answer("what ?", wanted, lambda doc: [], 0, "t", "test")
    except ValueError as error:
        assert "greedily" in str(error)
    else:
        raise SystemExit(f"{wanted} was taken")
for refused in (dense.loglikelihood, dense.generate_until_multi_round):
    try:
        refused([])
    except NotImplementedError as error:
        print(error)
    else:
        raise SystemExit("was taken")
"""


@pytest.mark.timeout(400)
def test_what_does_not_fit_is_a_sentence(folder):
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", UNIT, str(folder / "model")]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=350)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line for line in done.stdout.splitlines() if line]
    assert len(lines) == 6 and "keep" in lines[0] and "batch_size" in lines[2] and "likelihoods" in lines[4]
