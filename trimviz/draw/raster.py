"""Per-token values on a panel's cells: who left when, outlines and hatches; it knows cells and numbers, no colours.

Cell coordinates are (column, row) from the top left corner, one unit a cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from trimviz.types import Panel, Stage

EMPTY = -1  # state of a cell without a token
MID, STRONG = 0.6, 0.85  # veil on what left last and on what left first; 0 on what is kept

Loop = list[tuple[int, int]]
Line = tuple[tuple[float, float], tuple[float, float]]


def spread(values: np.ndarray, panel: Panel) -> np.ndarray:
    """(rows, cols) float: values (N0,) in the cells of a panel, NaN in cells without a token."""
    return np.where(panel.token >= 0, np.asarray(values, dtype=float)[panel.token], np.nan)


def leaving(stages: Sequence[Stage]) -> np.ndarray:
    """(N0,) int: the stage, counted from 0, at which each token left; the number of stages for one that never did."""
    kept = np.stack([stage.kept for stage in stages])  # (S, N0)
    return np.where(kept.all(axis=0), len(stages), (~kept).argmax(axis=0))


def states(panel: Panel, stages: Sequence[Stage], upto: int | None = None) -> np.ndarray:
    """(rows, cols) int: the stage at which each cell's token left, `len(stages)` where it is kept, `EMPTY` without one.

    `upto` shows the state after that stage, counted from 0; without it, after the last.
    """
    left = leaving(stages)
    if upto is not None:
        left = np.where(left > upto, len(stages), left)
    return np.where(panel.token >= 0, left[panel.token], EMPTY)


def veil(stage: int, count: int) -> float:
    """How strongly to veil what left at a stage of `count`: mid at the last, strong at the first of several."""
    return STRONG - (STRONG - MID) * stage / (count - 1) if count > 1 else MID


def hatched(stage: int, count: int) -> bool:
    """Whether to hatch what left at a stage of `count`: at the first of several."""
    return stage == 0 and count > 1


def groups(panel: Panel, owner: np.ndarray) -> list[np.ndarray]:
    """One (rows, cols) bool mask for each output that several tokens (N0,) were merged into, as far as shown here."""
    sizes = np.bincount(owner[owner >= 0])
    told = np.where(panel.token >= 0, owner[panel.token], -1)
    return [told == g for g in np.flatnonzero(sizes > 1) if (told == g).any()]


def padding(panels: Sequence[Panel], tokens: int) -> np.ndarray:
    """(N0,) bool: the tokens whose cell holds only the processor's padding."""
    out = np.zeros(tokens, dtype=bool)
    for panel in panels:
        out[panel.token[~panel.content & (panel.token >= 0)]] = True
    return out


def outline(mask: np.ndarray) -> list[Loop]:
    """Closed loops of cell corners around a (rows, cols) bool mask; holes run the other way round."""
    padded = np.pad(mask, 1)
    step: dict[tuple[int, int], list[tuple[int, int]]] = {}

    def edge(x0: int, y0: int, x1: int, y1: int) -> None:
        step.setdefault((x0, y0), []).append((x1, y1))

    for row, col in np.argwhere(mask).tolist():  # each side towards an empty cell, clockwise on the page
        if not padded[row, col + 1]:
            edge(col, row, col + 1, row)
        if not padded[row + 1, col + 2]:
            edge(col + 1, row, col + 1, row + 1)
        if not padded[row + 2, col + 1]:
            edge(col + 1, row + 1, col, row + 1)
        if not padded[row + 1, col]:
            edge(col, row + 1, col, row)
    loops = []
    while step:
        start = min(step)
        loop: Loop = []
        before, at = start, start
        while True:
            choices = step[at]
            # Where two cells touch at a corner, turn right, so that each gets a loop of its own.
            after = min(choices, key=partial(_left_turn, before, at)) if len(choices) > 1 else choices[0]
            choices.remove(after)
            if not choices:
                del step[at]
            if not loop or _left_turn(before, at, after) != 0:
                loop.append(at)
            before, at = at, after
            if at == start:
                break
        loops.append(loop)
    return loops


def _left_turn(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> int:
    """-1 for a right turn at b on the page, whose rows run down, 0 for straight on, 1 for a left turn."""
    cross = (b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0])
    return -1 if cross > 0 else int(cross < 0)


def hatch(mask: np.ndarray, falling: bool = False, every: int = 1) -> list[Line]:
    """Diagonals through the cells of a (rows, cols) mask, joined along runs; `every` n-th diagonal is drawn."""
    rows, cols = mask.shape
    lines: list[Line] = []
    flipped = mask[:, ::-1] if falling else mask
    for diagonal in range(0, rows + cols - 1, every):
        run: list[int] = []
        for row in range(max(0, diagonal - cols + 1), min(rows, diagonal + 1) + 1):
            inside = row < rows and diagonal - row >= 0 and bool(flipped[row, diagonal - row])
            if inside:
                run.append(row)
            elif run:
                first, last = run[0], run[-1]
                lines.append(((diagonal - first + 1, first), (diagonal - last, last + 1)))
                run = []
        if run:
            lines.append(((diagonal - run[0] + 1, run[0]), (diagonal - run[-1], run[-1] + 1)))
    if falling:
        lines = [((cols - x0, y0), (cols - x1, y1)) for (x0, y0), (x1, y1) in lines]
    return lines
