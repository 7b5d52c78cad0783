"""N1 against keep for one prompt: how far each pair moves the model from its dense answer.

The vision encoding, the dense answer and the scores of the method are shared by all pairs. No answer is written for a
pair: the dense one is read by the pruned model in one pass, which tells both how likely it has become and whether
greedy decoding would have said the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from trimviz import engine
from trimviz.compare import Trace, check, pick
from trimviz.models.base import Model
from trimviz.types import Encoded

FIRST = "n1"  # the knob that holds the size of a first stage
MOST = 400  # pairs
SIZE = re.compile(r"\d{1,7}(\.\d{1,7})?%?|\d{1,7}/\d{1,7}")


@dataclass(frozen=True)
class Point:
    """What one pair of sizes did to the answer."""

    n1: int | None  # tokens asked of the first stage; None for a method without one
    keep: int  # visual tokens per layer that were asked for
    kl: float | None = None  # mean over the dense answer's tokens, in nats; None where the pair could not run
    same: bool = False  # greedy decoding says the dense answer again
    agreed: int = 0  # leading tokens of the dense answer that it says again
    reason: str = ""  # why the pair could not run


def sizes(text: str, n: int) -> list[int]:
    """Numbers of tokens out of n, as a person writes them: counts, shares such as 0.8, 1/9 or 11.1%, and commas.

    Shares are exact and rounded down, percentages to the nearest. Raises ValueError for anything else.
    """
    out = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        if not SIZE.fullmatch(part) or part.endswith("/0"):
            raise ValueError(f"Expected sizes such as 64, 0.8, 1/9 or 11.1%, with commas between; got {part[:40]!r}.")
        value = Fraction(part.rstrip("%"))
        if part.endswith("%"):
            value = Fraction(round(value * n / 100))
        elif "." in part or "/" in part:
            value *= n
        if not 1 <= int(value) <= n:
            raise ValueError(f"Expected sizes from 1 to the {n} visual tokens of this picture; got {part}.")
        out.append(int(value))
    return sorted(set(out))


def pairs(method: str, n1s: Sequence[int], keeps: Sequence[int]) -> list[Point]:
    """The pairs of a sweep, row by row, nothing run yet.

    A method without a first stage has one row. A pair whose N1 is below keep is told by its reason. Raises ValueError
    where there is nothing to run, and for more than `MOST` pairs.
    """
    staged = FIRST in {knob.name for knob in pick(method, {}).knobs()}
    rows: Sequence[int | None] = n1s if staged else [None]
    if not rows or not keeps:
        raise ValueError("A sweep needs at least one size of each kind; name some, such as 0.7, 0.8 and 32, 64.")
    if len(rows) * len(keeps) > MOST:
        raise ValueError(f"A sweep has at most {MOST} pairs; these are {len(rows) * len(keeps)}, so name fewer.")
    below = "N1 is below keep."
    return [Point(n1, k, reason=below if n1 is not None and n1 < max(k, 2) else "") for n1 in rows for k in keeps]


def sweep(
    model: Model,
    prompt: Encoded,
    dense: Trace,
    method: str,
    knobs: Mapping[str, Any],
    points: Sequence[Point],
    stop: engine.Stop = lambda: False,
) -> Iterator[Point]:
    """Run the pairs, each as it is done; ends early once `stop()` is true.

    A pair that cannot run, such as a budget that the method cannot meet, comes back with its reason. Raises ValueError
    for a method that does not fit the model.
    """
    check(pick(method, {}), model)
    for point in points:
        if stop():
            return
        if point.reason:
            yield point
            continue
        settings = dict(knobs) if point.n1 is None else {**knobs, FIRST: point.n1}
        try:
            yield _measured(model, prompt, dense, pick(method, settings), point, stop)
        except ValueError as reason:
            yield Point(point.n1, point.keep, reason=str(reason))
        except engine.Cancelled:
            return


def _measured(model: Model, prompt: Encoded, dense: Trace, pruner: Any, point: Point, stop: engine.Stop) -> Point:
    said = dense.run.answer
    ids = list(said.ids)
    with model.lock:
        state = engine.prefill(model, prompt, pruner, point.keep, stop)
        moved = engine.score(model, state, [*ids, 0]).cpu()  # one row more than the answer: what would follow it
    own, other = dense.logits.log_softmax(-1), moved[: len(ids)].log_softmax(-1)
    chosen = moved.argmax(dim=-1).tolist()
    agreed = next((i for i, (a, b) in enumerate(zip(chosen, ids, strict=False)) if a != b), len(ids))
    ends = chosen[-1] in model.eos or not said.finished
    kl = (own.exp() * (own - other)).sum(-1).clamp_min(0)
    return Point(point.n1, point.keep, float(kl.mean()) if ids else 0.0, agreed == len(ids) and ends, agreed=agreed)
