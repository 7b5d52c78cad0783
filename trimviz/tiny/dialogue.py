"""Packs many independent question-answer pairs about one picture into one sequence; it knows no model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .questions import KINDS, NO_THING, NO_WORD, Question, ask, split, vocabulary
from .shape import SPECIAL
from .world import COLORS, SHAPES, SIDE, SIZES, WORDS, Scene, Thing, Word

HEAD = ("<s>", "user", ":")  # what stands before the picture
TAIL = ("assistant", ":")  # what stands between question and answer
# Row and column are thirds of the picture here.
MARK_TASKS = {
    "shape": 1 + len(SHAPES),
    "color": 1 + len(COLORS),
    "size": 1 + len(SIZES),
    "word": 1 + len(WORDS),
    "row": 3,
    "column": 3,
}
# Coordinates: of the thing that a phrase names, and at a question's second phrase also those of its first.
MARK_PLACES = ("x", "y", "first x", "first y")
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
    named: dict[str, list[int]] = {task: [] for task in (*MARK_TASKS, *MARK_PLACES)}
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
            for i, (word, what) in enumerate(question.marks):
                marked.append((b, end + word))
                first = _named(scene, question.marks[0][1]) if i else {}
                answers = _named(scene, what) | {f"first {v}": first[v] for v in ("x", "y") if v in first}
                for task, values in named.items():
                    values.append(answers.get(task, IGNORE))
            end += len(numbers)
    arrays = {task: np.array(values, np.int64) for task, values in named.items()}
    return Talk(ids, pair, place, labels, kind, np.array(marked, np.int64).reshape(-1, 2), arrays)


def _named(scene: Scene, number: int) -> dict[str, int]:
    """What a phrase names, by task; what is left out is not asked."""
    if number == NO_THING:
        return {"shape": 0, "color": 0, "size": 0}
    if number == NO_WORD:
        return {"word": 0}
    items: list[Thing | Word] = [*scene.things, *scene.words]
    item = items[number]
    place = {"row": 3 * item.y // SIDE, "column": 3 * item.x // SIDE, "x": item.x, "y": item.y}
    if isinstance(item, Word):
        return place | {"word": 1 + WORDS.index(item.text)}
    return place | {
        "shape": 1 + SHAPES.index(item.shape),
        "color": 1 + list(COLORS).index(item.color),
        "size": 1 + list(SIZES).index(item.size),
    }
