"""Turns scenes into arrays to learn from: pictures, crops, and what each patch shows; it knows no model."""

import multiprocessing
import os
from dataclasses import dataclass

import numpy as np

from .world import COLORS, GROUNDS, SHAPES, SIDE, SIZES, TEXTURES, WORDS, Scene, paint, scene

PATCH = 14
GRID = SIDE // PATCH
SEEN = 12  # pixels (of 196) of an owner that a patch must show to be called by its name

# What each patch is asked for, and how many answers there are; answer 0 of the first four means "none".
PATCH_TASKS = {
    "shape": 1 + len(SHAPES),
    "color": 1 + len(COLORS),
    "size": 1 + len(SIZES),
    "word": 1 + len(WORDS),
    "center": 2,
    "row": GRID,
    "column": GRID,
    "texture": len(TEXTURES),
    "ground": len(GROUNDS),
}
PICTURE_TAGS = (*SHAPES, *COLORS, *WORDS, *TEXTURES, *GROUNDS)  # a picture or crop is asked for: in it or not


@dataclass(frozen=True)
class Album:
    """Painted scenes as arrays; the first axis of each is the scene."""

    scenes: list[Scene]
    pictures: np.ndarray  # (S, 336, 336, 3) uint8
    owners: np.ndarray  # (S, 336, 336) uint8: the background, then O - 1 things and words
    names: dict[str, np.ndarray]  # shape, color, size, word -> (S, O) answer of each owner
    centers: np.ndarray  # (S, O, 2) x and y of each owner, -1 where there is none
    things: np.ndarray  # (S,) number of things
    grounds: np.ndarray  # (S, 2) texture and ground


@dataclass(frozen=True)
class Patches:
    """Windows of pictures and what their patches show; the first axis of each is the window."""

    pixels: np.ndarray  # (B, side, side, 3) uint8
    rows: np.ndarray  # (B, P) row of each patch in the 24 x 24 grid
    columns: np.ndarray  # (B, P)
    answers: dict[str, np.ndarray]  # task -> (B, P)
    tags: np.ndarray  # (B, len(PICTURE_TAGS)) 0 or 1


def album(seeds: list[int], most: int = 6, words: int = 2, workers: int = 0) -> Album:
    """Paints the scenes of these seeds, in `workers` processes (0: in this one)."""
    pictures = np.empty((len(seeds), SIDE, SIDE, 3), np.uint8)
    owners = np.empty((len(seeds), SIDE, SIDE), np.uint8)
    scenes: list[Scene] = []
    jobs = [(seed, most, words) for seed in seeds]
    if workers:
        with multiprocessing.get_context("fork").Pool(workers) as pool:
            for i, (made, picture, owner) in enumerate(pool.imap(_painted, jobs, chunksize=16)):
                scenes.append(made)
                pictures[i], owners[i] = picture, owner
    else:
        for i, job in enumerate(jobs):
            made, pictures[i], owners[i] = _painted(job)
            scenes.append(made)
    held = 1 + most + words
    names = {task: np.zeros((len(seeds), held), np.int64) for task in ("shape", "color", "size", "word")}
    centers = np.full((len(seeds), held, 2), -1, np.int64)
    for s, made in enumerate(scenes):
        for i, thing in enumerate(made.things, 1):
            names["shape"][s, i] = 1 + SHAPES.index(thing.shape)
            names["color"][s, i] = 1 + list(COLORS).index(thing.color)
            names["size"][s, i] = 1 + list(SIZES).index(thing.size)
            centers[s, i] = thing.x, thing.y
        for i, word in enumerate(made.words, 1 + len(made.things)):
            names["word"][s, i] = 1 + WORDS.index(word.text)
            centers[s, i] = word.x, word.y
    grounds = np.array([(TEXTURES.index(s.texture), list(GROUNDS).index(s.ground)) for s in scenes], np.int64)
    things = np.array([len(s.things) for s in scenes], np.int64)
    return Album(scenes, pictures, owners, names, centers, things, grounds)


def crops(book: Album, rng: np.random.Generator, n: int, side: int, spread: int) -> Patches:
    """n windows of `side` pixels, three in four with a thing or word within `spread` pixels of the middle."""
    which = rng.integers(len(book.scenes), size=n)
    free = SIDE - side
    corner = rng.integers(0, free + 1, size=(n, 2))  # x, y of the upper left pixel
    if free:
        for b in np.flatnonzero(rng.random(n) < 0.75):
            held = len(book.scenes[which[b]].things) + len(book.scenes[which[b]].words)
            middle = book.centers[which[b], rng.integers(1, held + 1)]
            corner[b] = np.clip(middle - side // 2 + rng.integers(-spread, spread + 1, size=2), 0, free)
    return _patches(book, which, corner, side)


def whole(book: Album) -> Patches:
    """Every picture of an album, in order."""
    return _patches(book, np.arange(len(book.scenes)), np.zeros((len(book.scenes), 2), np.int64), SIDE)


def _patches(book: Album, which: np.ndarray, corner: np.ndarray, side: int) -> Patches:
    n, across = len(which), side // PATCH
    pixels = np.empty((n, side, side, 3), np.uint8)
    owners = np.empty((n, side, side), np.uint8)
    for b, (s, (x, y)) in enumerate(zip(which, corner, strict=True)):
        pixels[b] = book.pictures[s, y : y + side, x : x + side]
        owners[b] = book.owners[s, y : y + side, x : x + side]
    cells = owners.reshape(n, across, PATCH, across, PATCH).transpose(0, 1, 3, 2, 4)
    cells = cells.reshape(n, across * across, PATCH**2)
    others = range(1, book.centers.shape[1])
    shown = np.stack([np.count_nonzero(cells == i, axis=-1) for i in others], axis=-1)  # (B, P, O - 1)
    owner = np.where(shown.max(-1) >= SEEN, 1 + shown.argmax(-1), 0)  # (B, P)
    batch = np.arange(n)[:, None]
    answers = {task: names[which][batch, owner] for task, names in book.names.items()}

    place = (book.centers[which] - corner[:, None]) // PATCH  # (B, O, 2) column and row of each owner in the window
    inside = (place >= 0).all(-1) & (place < across).all(-1) & (book.centers[which] >= 0).all(-1)
    order = np.arange(book.centers.shape[1])
    is_thing = (order >= 1) & (order <= book.things[which, None])
    center = np.zeros((n, across * across), np.int64)
    window, thing = np.nonzero(inside & is_thing)
    center[window, place[window, thing, 1] * across + place[window, thing, 0]] = 1
    answers["center"] = center

    start = np.rint(corner / PATCH).astype(np.int64)  # (B, 2) column and row of the window in the grid
    cell = np.arange(across * across)
    rows, columns = start[:, 1:] + cell // across, start[:, :1] + cell % across
    answers["row"], answers["column"] = rows, columns
    for i, task in enumerate(("texture", "ground")):
        answers[task] = np.repeat(book.grounds[which, i, None], across * across, axis=1)

    tags = np.zeros((n, len(PICTURE_TAGS)), np.float32)
    at = np.arange(n)
    for task, offset in (("shape", 0), ("color", len(SHAPES)), ("word", len(SHAPES) + len(COLORS))):
        for p in range(across * across):
            found = answers[task][:, p]
            tags[at[found > 0], offset + found[found > 0] - 1] = 1
    base = len(SHAPES) + len(COLORS) + len(WORDS)
    tags[at, base + book.grounds[which, 0]] = 1
    tags[at, base + len(TEXTURES) + book.grounds[which, 1]] = 1
    return Patches(pixels, rows, columns, answers, tags)


def _painted(job: tuple[int, int, int]) -> tuple[Scene, np.ndarray, np.ndarray]:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    made = scene(*job)
    picture, owner = paint(made)
    return made, np.asarray(picture), owner
