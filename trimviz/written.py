"""Methods as people write them: `random`, or with knobs `trimtokenator:stages=swapped:n1=0.7`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trimviz.compare import pick
from trimviz.pruners import Pruner


def methods(names: Sequence[str], n1: float | None = None) -> list[Pruner]:
    """Methods from texts such as "random" or "trimtokenator:stages=swapped"; n1 goes to those that have such a knob.

    Raises ValueError for an unknown method or knob, and for a value that a knob does not take.
    """
    chosen = []
    for name in names:
        key, *settings = name.split(":")
        known = {knob.name: knob for knob in type(pick(key, {})).knobs()}
        knobs: dict[str, Any] = {"n1": n1} if n1 is not None and "n1" in known else {}
        for setting in settings:
            knob, equals, value = setting.partition("=")
            if not equals:
                raise ValueError(f"Expected a knob as name=value, got {setting!r}; write METHOD:knob=value.")
            knobs[knob] = known[knob].parse(value) if knob in known else value
        chosen.append(pick(key, knobs))
    return chosen


def written(pruner: Pruner) -> str:
    """The text that `methods` turns into this method: its key and the knobs that are not at their default."""
    changed = [f"{k.name}={_plain(v)}" for k in pruner.knobs() if (v := getattr(pruner, k.name)) != k.default]
    return ":".join([pruner.key, *changed])


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
