"""What an evaluation asks: records of JSONL files, or held-out scenes of the bundled model; it knows no method."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from trimviz.types import Video
from trimviz.video import FRAMES, open_source

Opened = list[Image.Image | Video]


@dataclass(frozen=True, eq=False)
class Sample:
    """One question about pictures or a video; opening them can wait until it is asked."""

    task: str
    id: str
    question: str
    answers: tuple[str, ...]  # references, none where nobody knows the answer
    source: str  # the same for samples that share their pictures
    open: Callable[[], Opened]  # ValueError, in one sentence, for what cannot be read

    @property
    def key(self) -> tuple[str, str]:
        return self.task, self.id


@dataclass(frozen=True, eq=False)
class Data:
    """Samples in order, and what identifies them: the same text means the same samples."""

    samples: tuple[Sample, ...]
    origin: tuple[str, ...]


def read(sources: Sequence[str], n: int = 200, seed: int = 0, frames: int = FRAMES) -> Data:
    """Samples of JSONL files, or of "tiny": n held-out questions of the bundled model, drawn by `seed`.

    Raises ValueError, in one sentence, naming file and line, for a record that cannot be used.
    """
    parts = [held_out(n, seed) if source == "tiny" else read_jsonl(Path(source), frames) for source in sources]
    samples = tuple(sample for part in parts for sample in part.samples)
    if not samples:
        raise ValueError("There is nothing to ask; give --data a JSONL file with records, or tiny.")
    if len({sample.key for sample in samples}) < len(samples):
        raise ValueError("Two files hold the same task and id; rename one file, or give its records a task.")
    return Data(samples, tuple(origin for part in parts for origin in part.origin))


def read_jsonl(path: Path, frames: int = FRAMES) -> Data:
    """Records {image or video, question, answer, id, task}, the last three optional; paths relative to the file.

    `image` and `answer` are a string or a list of strings; `id` is the line number, `task` the file's name, where they
    are missing. Raises ValueError naming the line of a record that cannot be used.
    """
    if not path.is_file():
        raise ValueError(f"There is no file {path}; give --data the path of a JSONL file, or tiny.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path.name} is not UTF-8 text; save it as JSONL in UTF-8.") from None
    samples: list[Sample] = []
    seen: dict[tuple[str, str], int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path.name}, line {number}"
        sample = _sample(line, number, where, path, frames)
        if sample.key in seen:
            raise ValueError(f"{where}: the id {sample.id!r} is already on line {seen[sample.key]}; give it another.")
        seen[sample.key] = number
        samples.append(sample)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return Data(tuple(samples), (f"{path.name} {digest}",))


def held_out(n: int, seed: int) -> Data:
    """n questions about scenes that the bundled model has not seen; the task is the kind of question."""
    import numpy as np

    from trimviz.tiny.questions import quiz
    from trimviz.tiny.world import scene, seeds

    if n < 1:
        raise ValueError(f"Expected at least one question, got {n}; choose n of 1 or more.")
    samples: list[Sample] = []
    for place, number in enumerate(seeds("test", seed, n)):  # a scene allows at least one question
        for question in quiz(scene(number), np.random.default_rng(number))[: n - len(samples)]:
            name, source = f"{place}-{question.kind}", f"scene {number}"
            opened = partial(_painted, number)
            samples.append(Sample(question.kind, name, question.text, (question.answer,), source, opened))
        if len(samples) == n:
            break
    return Data(tuple(samples), (f"tiny n={n} seed={seed}",))


def _painted(number: int) -> Opened:
    from trimviz.tiny.world import paint, scene

    return [paint(scene(number))[0]]


def _sample(line: str, number: int, where: str, path: Path, frames: int) -> Sample:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: not valid JSON ({error.msg}); write one object a line.") from None
    if not isinstance(record, dict):
        raise ValueError(f'{where}: expected an object such as {{"image": ..., "question": ...}}, got {line[:40]!r}.')
    given = [name for name in ("image", "video") if name in record]
    if len(given) != 1:
        raise ValueError(f"{where}: expected either image or video, got {' and '.join(given) or 'neither'}.")
    files = _texts(record[given[0]], given[0], where)
    question = record.get("question")
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f"{where}: expected question to be a text with words in it, got {question!r}.")
    answers = _texts(record["answer"], "answer", where) if record.get("answer") is not None else ()
    name, task = record.get("id", number), record.get("task", path.stem)
    for label, value in (("id", name), ("task", task)):
        if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
            raise ValueError(f"{where}: expected {label} to be a text or a whole number, got {value!r}.")
    paths = [path.parent / file for file in files]
    source = "\n".join(map(str, paths))
    return Sample(str(task), str(name), question, answers, source, partial(_open, paths, frames))


def _texts(value: Any, name: str, where: str) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(v, str) and v.strip() for v in values):
        raise ValueError(f"{where}: expected {name} to be a text or a list of texts, got {value!r}.")
    return tuple(values)


def _open(paths: Sequence[Path], frames: int) -> Opened:
    return [open_source(path, frames) for path in paths]
