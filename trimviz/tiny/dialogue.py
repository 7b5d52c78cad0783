"""Packs many independent question-answer pairs about one picture into one sequence; it knows no model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .questions import KINDS, Question, ask, split, vocabulary
from .shape import SPECIAL
from .world import COLORS, SHAPES, SIDE, SIZES, Scene

HEAD = ("<s>", "user", ":")  # what stands before the picture
TAIL = ("assistant", ":")  # what stands between question and answer
# Row and column are thirds of the picture here.
MARK_TASKS = {"shape": 1 + len(SHAPES), "color": 1 + len(COLORS), "size": 1 + len(SIZES), "row": 3, "column": 3}
IGNORE = -100
NUMBER = {word: i for i, word in enumerate((*SPECIAL, *vocabulary()))}


@dataclass(frozen=True)
class Talk:
    """The text of a batch of sequences; each stands after HEAD and the visual tokens. All int64."""

    ids: np.ndarray  # (B, S)
    pair: np.ndarray  # (B, S) which pair a word belongs to; -1: padding
    place: np.ndarray  # (B, S) position, counted from the first word after the picture at inference
    labels: np.ndarray  # (B, S) the next word where the model must say it, else IGNORE
    kind: np.ndarray  # (B, S) index into KINDS
    marked: np.ndarray  # (M, 2) sequence and word that names a thing
    named: dict[str, np.ndarray]  # task -> (M,) what it names; IGNORE where it is not there


def pairs(scene: Scene, rng: np.random.Generator, n: int, shares: Sequence[int]) -> list[Question]:
    """n questions about a scene; `shares` says how often each of KINDS is asked for."""
    chance = np.array(shares) / sum(shares)
    found: list[Question] = []
    while len(found) < n:
        for kind in rng.choice(KINDS, size=n - len(found), p=chance):
            question = ask(scene, str(kind), rng)
            if question is not None:
                found.append(question)
    return found


def pack(scenes: list[Scene], asked: list[list[Question]], length: int, rng: np.random.Generator | None = None) -> Talk:
    """One sequence a scene, of at most `length` words; with `rng`, half of the pairs stand elsewhere than usual."""
    shape = (len(scenes), length)
    ids = np.full(shape, NUMBER["<pad>"])
    pair, place, kind = np.full(shape, -1), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    labels = np.full(shape, IGNORE)
    marked: list[tuple[int, int]] = []
    named: dict[str, list[int]] = {task: [] for task in (*MARK_TASKS, "x", "y")}
    for b, (scene, questions) in enumerate(zip(scenes, asked, strict=True)):
        end = 0
        for number, question in enumerate(questions):
            words = [*split(question.text), *TAIL]
            answer = [*split(question.answer), "</s>"]
            numbers = [NUMBER[word] for word in (*words, *answer)][:-1]
            if end + len(numbers) > length:
                break
            span = slice(end, end + len(numbers))
            ids[b, span], pair[b, span], kind[b, span] = numbers, number, KINDS.index(question.kind)
            shift = int(rng.integers(-500, 401)) if rng is not None and rng.random() < 0.5 else 0
            place[b, span] = shift + np.arange(len(numbers))
            labels[b, end + len(words) - 1 : end + len(numbers)] = [NUMBER[word] for word in answer]
            for word, thing in question.marks:
                marked.append((b, end + word))
                for task, value in _named(scene, thing).items():
                    named[task].append(value)
            end += len(numbers)
    arrays = {task: np.array(values, np.int64) for task, values in named.items()}
    return Talk(ids, pair, place, labels, kind, np.array(marked, np.int64).reshape(-1, 2), arrays)


def _named(scene: Scene, number: int) -> dict[str, int]:
    if number < 0:
        return {"shape": 0, "color": 0, "size": 0, "row": IGNORE, "column": IGNORE, "x": IGNORE, "y": IGNORE}
    thing = scene.things[number]
    return {
        "shape": 1 + SHAPES.index(thing.shape),
        "color": 1 + list(COLORS).index(thing.color),
        "size": 1 + list(SIZES).index(thing.size),
        "row": 3 * thing.y // SIDE,
        "column": 3 * thing.x // SIDE,
        "x": thing.x,
        "y": thing.y,
    }
