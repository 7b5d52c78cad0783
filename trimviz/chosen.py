"""Tokens chosen by hand: what a person toggled in the picture, run like any method; it is not in the list."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import torch

from trimviz.pruners.base import Knob, Pruner
from trimviz.select import keep
from trimviz.types import Cut, View


@dataclass(frozen=True)
class Chosen(Pruner):
    """Keeps exactly `tokens`, cut at the language model's door; the budget is their number."""

    key: ClassVar[str] = "chosen"
    name: ClassVar[str] = "Chosen by hand"
    paper: ClassVar[str] = ""
    clause: ClassVar[str] = "keeps the tokens that a person chose"

    tokens: tuple[int, ...] = ()

    @classmethod
    def knobs(cls) -> tuple[Knob, ...]:
        return tuple(Knob(f.name, default=f.default, **f.metadata) for f in dataclasses.fields(cls) if f.metadata)

    def cut(self, view: View, k: int) -> Cut:
        n = len(view.visual)
        if len(set(self.tokens)) != k or not all(0 <= token < n for token in self.tokens):
            raise ValueError(f"Expected {k} different token numbers from 0 to {n - 1}; got {len(self.tokens)}.")
        return keep(torch.tensor(self.tokens, device=view.visual.device), n)
