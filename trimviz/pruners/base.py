"""What every pruner is: a frozen dataclass whose fields are its knobs, with one verb, `cut`."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from trimviz.types import Cut, View


@dataclass(frozen=True)
class Knob:
    """One setting of a method as data: what a control needs to know."""

    name: str
    help: str
    default: Any
    low: float | None = None
    high: float | None = None
    step: float | None = None
    choices: tuple[str, ...] | None = None

    def check(self, value: Any) -> Any:
        """The value, or ValueError with what was expected."""
        if self.choices is not None:
            if value not in self.choices:
                raise ValueError(f"Knob {self.name} is one of {', '.join(self.choices)}; got {value!r}.")
        elif isinstance(self.default, bool):
            if not isinstance(value, bool):
                raise ValueError(f"Knob {self.name} is true or false; got {value!r}.")
        elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"Knob {self.name} is a number from {self.low:g} to {self.high:g}; got {value!r}.")
        elif not (self.low <= value <= self.high or self.counts(value)):  # type: ignore[operator]
            raise ValueError(f"Knob {self.name} lies between {self.low:g} and {self.high:g}; got {value:g}.")
        return value

    def parse(self, text: str) -> Any:
        """A setting written by a person; for a share that is also a count, "0.8" is a share and "460" a count."""
        if self.choices is not None:
            return self.check(text)
        if isinstance(self.default, bool):
            return self.check({"true": True, "yes": True, "false": False, "no": False}.get(text.lower(), text))
        try:
            return self.check(int(text) if isinstance(self.default, int) or text.isdigit() else float(text))
        except ValueError as error:
            if "Knob" in str(error):
                raise
            raise ValueError(
                f"Knob {self.name} is a number from {self.low:g} to {self.high:g}; got {text!r}."
            ) from None

    def counts(self, value: Any) -> bool:
        """Whether the value is a count of tokens where the knob also takes a share of them."""
        return isinstance(self.default, float) and self.high == 1 and isinstance(value, int) and value > 1


def knob(
    default: Any, help: str, *, low: float | None = None, high: float | None = None, step: float | None = None
) -> Any:
    """A numeric or yes-no knob; `low` and `high` are inclusive."""
    return dataclasses.field(default=default, metadata={"help": help, "low": low, "high": high, "step": step})


def choice(default: str, choices: tuple[str, ...], help: str) -> Any:
    """A knob with a few named settings."""
    return dataclasses.field(default=default, metadata={"help": help, "choices": choices})


POSITIONS = "RoPE positions after a cut: numbered anew without gaps, or each token's own"


@dataclass(frozen=True)
class OrderTable:
    """Every selection that two sliders reach: for first-stage size N1, keep = k is the first k of one order."""

    sizes: np.ndarray  # (R,) int, ascending: the tabulated N1; a single N for a method without a first stage
    first: np.ndarray  # (N,) int: tokens by rank in the first stage; X^v(1) is the leading N1
    orders: tuple[np.ndarray, ...]  # R arrays (N1,) int: tokens in the order of picking


@dataclass(frozen=True)
class Pruner(ABC):
    """A method. Subclasses are frozen dataclasses; fields made by `knob` and `choice` are its settings."""

    key: ClassVar[str]  # in commands and addresses
    name: ClassVar[str]  # on screen
    paper: ClassVar[str]  # arXiv id, or "" for a floor
    clause: ClassVar[str]  # what it does, in one clause
    needs: ClassVar[frozenset[str]] = frozenset()  # fields of Vision that must not be None

    positions: str = choice("pack", ("pack", "keep"), POSITIONS)

    def __post_init__(self) -> None:
        for setting in self.knobs():
            setting.check(getattr(self, setting.name))

    @classmethod
    def knobs(cls) -> tuple[Knob, ...]:
        """The settings, in order."""
        return tuple(Knob(f.name, default=f.default, **f.metadata) for f in dataclasses.fields(cls))

    @classmethod
    def make(cls, settings: Mapping[str, Any]) -> Pruner:
        """A pruner from settings by name; ValueError names a setting that the method does not have."""
        names = [k.name for k in cls.knobs()]
        for name in settings:
            if name not in names:
                raise ValueError(f"{cls.name} has no knob {name!r}; it has {', '.join(names)}.")
        return cls(**settings)

    def settings(self) -> dict[str, Any]:
        """{knob: value}."""
        return {k.name: getattr(self, k.name) for k in self.knobs()}

    def schedule(self, layers: int, n: int, budget: float) -> dict[int, int]:
        """{depth: visual tokens left there} so that the mean over layers, counted at their input, is `budget`."""
        return {0: min(n, round(budget))}

    def early(self, layers: int, n: int, budget: float) -> dict[int, int]:
        """{depth < 0: patches left there} for a method that cuts inside the vision tower of n patches.

        Depth -1 is the last of the `layers` whose output is used. What is left at the end enters the language model.
        """
        return {}

    def order_table(self, view: View) -> OrderTable | None:
        """All orders at once, for a method whose selections are prefixes of greedy orders; None for the others."""
        return None

    @abstractmethod
    def cut(self, view: View, k: int) -> Cut:
        """Which k of the view's N visual tokens live on; 1 <= k < N."""
