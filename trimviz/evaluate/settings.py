"""Which methods run at which budgets: the rows of every table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trimviz.pruners import Pruner
from trimviz.written import methods, written


@dataclass(frozen=True)
class Setting:
    """A method with its knobs at one budget."""

    pruner: Pruner
    keep: str  # visual tokens per layer, or a share such as "11.1%"

    @property
    def method(self) -> str:
        """The method as it is written, without the budget."""
        return written(self.pruner)

    @property
    def name(self) -> str:
        return f"{self.method}@{self.keep}"

    @property
    def changed(self) -> dict[str, Any]:
        """{knob: value} of the knobs that are not at their default."""
        return {k.name: v for k in self.pruner.knobs() if (v := getattr(self.pruner, k.name)) != k.default}

    @property
    def label(self) -> str:
        """The method as a table shows it."""
        knobs = ", ".join(f"{name}={value}" for name, value in self.changed.items())
        return f"{self.pruner.name} ({knobs})" if knobs else self.pruner.name

    def record(self) -> dict[str, Any]:
        return {"name": self.name, "method": self.pruner.key, "knobs": self.pruner.settings(), "keep": self.keep}


def settings(names: Sequence[str], keeps: Sequence[str], n1s: Sequence[float | int] = ()) -> list[Setting]:
    """Every method at every budget, in that order; methods with a first stage once for every size in `n1s`.

    Raises ValueError for unknown methods and knobs, and for budgets that are missing or no numbers.
    """
    if not names or not keeps:
        raise ValueError("Expected at least one method and one number of tokens; give --method and --keep.")
    sizes: Sequence[float | int | None] = n1s or [None]
    for keep in keeps:
        if not re.fullmatch(r"\d+(\.\d+)?%?", keep) or not float(keep.rstrip("%")):
            raise ValueError(f"Expected --keep to be numbers of visual tokens or shares such as 11.1%; got {keep!r}.")
    pruners = [pruner for name in names for n1 in sizes for pruner in methods([name], n1)]
    return [Setting(pruner, keep) for pruner in dict.fromkeys(pruners) for keep in dict.fromkeys(keeps)]
