"""Names and numbers of a comparison in words, as a figure prints them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from trimviz.draw import raster
from trimviz.draw.page import Piece
from trimviz.draw.picture import lost, pairs
from trimviz.types import Run, Stage

if TYPE_CHECKING:
    from PIL import Image

    from trimviz.compare import Comparison


def pretty(name: str) -> list[Piece]:
    """A name from the data as it is printed: "alpha" as the Greek letter, "X^v(1)" with its superscript raised."""
    base, _, raised = name.partition("^")
    base = " ".join(_greek(word) for word in base.split())
    return [(base, ""), (raised, "sup")] if raised else [(base, "")]


def _greek(word: str) -> str:
    try:
        return unicodedata.lookup(f"GREEK SMALL LETTER {word.upper()}") if word.islower() else word
    except KeyError:
        return word


def number(value: float, digits: int = 3) -> str:
    """A number at a few significant digits, with a true minus sign."""
    return f"{value:.{digits}g}".replace("-", "\N{MINUS SIGN}")


def told_apart(runs: Sequence[Run]) -> tuple[str, ...]:
    """The method of each run, with the settings that tell two runs of one method apart."""
    out = []
    for run in runs:
        same = [other for other in runs if other.method == run.method]
        told = {**run.knobs, "budget": run.budget}
        apart = [f"{k}={v}" for k, v in told.items() if any({**o.knobs, "budget": o.budget}.get(k) != v for o in same)]
        out.append(" ".join([run.method, *apart]))
    return tuple(out)


def kept_in_words(run: Run) -> str:
    """ "k/N = 64/576 (11.1 %)", or the mean over layers of a method that cuts late."""
    total, alive = len(tokens_of(run)), run.visual_alive
    mean = float(alive.mean())
    part = f"{mean / total:.1%}".replace("%", "\N{NO-BREAK SPACE}%")
    if (alive == alive[0]).all():
        return f"k/N = {int(alive[0])}/{total} ({part})"
    return f"k/N = {mean:.1f}/{total} ({part}), mean per layer; {int(alive[-1])} in the last"


def tokens_of(run: Run) -> np.ndarray:
    """(N0,) the encoder's token numbers."""
    if run.stages:
        return np.arange(len(run.stages[0].kept))
    return np.arange(1 + max(int(p.token.max()) for p in run.panels))


def outputs(stage: Stage) -> int:
    """Tokens that a stage leaves; a merged group is one."""
    return len(np.unique(stage.owner[stage.owner >= 0]))


def place(stage: Stage) -> str:
    """Where a stage cuts: "layer 8" of the language model, "tower −3" counted from the end of the vision tower."""
    if stage.depth < 0:
        return f"tower {number(stage.depth)}"
    return f"layer {stage.depth}" if stage.depth else ""


def padding_in_words(run: Run) -> str:
    """ "37 of 128 kept tokens are padding", or "" for a picture without padding."""
    empty = raster.padding(run.panels, len(tokens_of(run)))
    if not empty.any() or not run.stages:
        return ""
    kept = run.stages[-1].kept
    return f"{int((kept & empty).sum())} of {int(kept.sum())} kept tokens are padding"


def margin_in_words(run: Run, originals: Sequence[Image.Image]) -> str:
    """ "40.0 % of the picture was cropped away", or "" where the model saw all of it or that is not known."""
    shares = [lost(panel, original) for panel, original in pairs(run.panels, originals) if original is not None]
    share = min(shares, default=0.0)  # of several views of one picture, the fullest
    return f"{share:.1%} of the picture was cropped away".replace("%", "\N{NO-BREAK SPACE}%") if share else ""


def scale_in_words(found: Sequence[Sequence[tuple[Stage, str]]]) -> str:
    """Whether the colours of several runs can be compared."""
    names = {name for pairs in found for _, name in pairs}
    if sum(bool(pairs) for pairs in found) < 2:
        return ""
    return (
        "All scores share one colour scale."
        if len(names) == 1
        else "Scores of different names have different colour scales."
    )


def scores_of(run: Run) -> list[tuple[Stage, str]]:
    """(stage, name) of every score, each once although steps of one cut share theirs."""
    out: list[tuple[Stage, str]] = []
    for stage in run.stages:
        for name, values in stage.scores.items():
            if np.isfinite(values).any() and not any(
                n == name and s.depth == stage.depth and np.array_equal(s.scores[n], values, equal_nan=True)
                for s, n in out
            ):
                out.append((stage, name))
    return out


def badge(c: Comparison) -> str:
    """The outcome in brackets, not to be broken across lines."""
    return f"({c.badge})".replace(" ", "\N{NO-BREAK SPACE}")


def answer_pieces(c: Comparison, which: str) -> list[Piece]:
    """An answer as stretches of words, marked where the other one differs; an empty one says so."""
    pieces = [(words, "mark" if kind == which else "") for kind, words in c.diff if kind in ("same", which)]
    return pieces or [("(nothing)", "")]
