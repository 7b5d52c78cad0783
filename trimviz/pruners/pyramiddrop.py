"""PyramidDrop (Xing et al., 2024, arXiv 2410.17247): drop a share of the visual tokens several times on the way up.

At each boundary the layer about to run tells, by its own queries and keys, what the last prompt token will attend to;
the best stay. After drop i, a share ratio^i of all N is left.

Departures: the published boundaries (a quarter, a half and three quarters up) with ratio 1/2 cost a mean of 270 of 576
tokens, and cannot cost less than 144. So that budgets below can be met, a fourth boundary at one sixteenth comes first,
as in third-party comparisons, and the ratio is solved from the budget. Only the one attention row is computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from trimviz.pruners.base import Pruner, choice
from trimviz.select import COUNT, COUNT_HELP, keep, solve, top
from trimviz.types import Cut, View

BOUNDARIES = {"four": (1 / 16, 1 / 4, 1 / 2, 3 / 4), "three": (1 / 4, 1 / 2, 3 / 4)}  # shares of the layers


@dataclass(frozen=True)
class PyramidDrop(Pruner):
    key: ClassVar[str] = "pyramiddrop"
    name: ClassVar[str] = "PyramidDrop"
    paper: ClassVar[str] = "2410.17247"
    clause: ClassVar[str] = (
        "drops a share of the tokens at several depths, by what the last prompt token will attend to"
    )

    boundaries: str = choice("four", ("four", "three"), "Drops: one early and three as published, or only those three")
    count: str = choice("input", COUNT, COUNT_HELP)

    def schedule(self, layers: int, n: int, budget: float) -> dict[int, int]:
        depths = sorted({max(1, round(layers * part)) for part in BOUNDARIES[self.boundaries]})

        def plan(ratio: float) -> dict[int, int]:
            return {depth: int(n * ratio**i) for i, depth in enumerate(depths, start=1)}

        return solve(plan, layers, n, budget, self.count)

    def cut(self, view: View, k: int) -> Cut:
        last = torch.tensor([len(view.text) - 1], device=view.visual.device)
        attention = view.look_ahead(last).mean(dim=0)[0]  # (N,)
        return keep(top(attention, k), len(attention), scores={"attention ahead": attention})
