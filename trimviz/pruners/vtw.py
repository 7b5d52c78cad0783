"""VTW, visual token withdrawal (Lin et al., 2025, arXiv 2405.05803): before layer K, all visual tokens leave.

The layers before K have moved what the text needs from the picture into the textual tokens, which go on alone and keep
their positions. Nothing is scored.

Departures: K comes from the budget, K = L * budget / N to the nearest layer, not from a calibration of the output on
sample questions; so budgets come in steps of N / L, and the run tells the true mean. A layer can be given instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from trimviz.pruners.base import POSITIONS, Pruner, choice, knob
from trimviz.select import COUNT_HELP, keep
from trimviz.types import Cut, View


@dataclass(frozen=True)
class VTW(Pruner):
    key: ClassVar[str] = "vtw"
    name: ClassVar[str] = "VTW"
    paper: ClassVar[str] = "2405.05803"
    clause: ClassVar[str] = "lets all visual tokens go before layer K"

    positions: str = choice("keep", ("pack", "keep"), POSITIONS)
    layer: int = knob(
        0, "Withdraw before this layer whatever the budget, K; 0: as the budget says", low=0, high=64, step=1
    )
    count: str = choice("input", ("input", "output"), COUNT_HELP)

    def schedule(self, layers: int, n: int, budget: float) -> dict[int, int]:
        if self.layer:
            if self.layer >= layers:
                raise ValueError(f"VTW withdraws before layer {self.layer}, and this model has {layers}; choose less.")
            return {self.layer: 0}
        depth = round(layers * budget / n) + (self.count == "output")
        if depth < 1:
            raise ValueError(
                f"VTW keeps all {n} visual tokens for at least one of {layers} layers, a mean of {n / layers:.1f}; "
                f"expected a budget of at least that, got {budget:g}."
            )
        return {depth: 0} if depth < layers else {}

    def cut(self, view: View, k: int) -> Cut:
        return keep(torch.empty(0, dtype=torch.long, device=view.visual.device), len(view.visual))
