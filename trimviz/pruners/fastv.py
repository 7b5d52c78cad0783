"""FastV (Chen et al., 2024, arXiv 2403.06764): after K layers, keep what the last prompt token attends to most.

The first K layers run on everything. Then the attention of layer K's last textual token, averaged over heads, ranks the
visual tokens; the best R go on and keep their positions.

Departures: only that one attention row is computed, and the layer itself stays as it is; pruning happens once, in
prefill (one of the official versions prunes again at every decode step, another runs a layer twice). The paper's text
averages attention over all tokens, the official code reads the last token, and so does this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from trimviz.pruners.base import POSITIONS, Pruner, choice, knob
from trimviz.select import COUNT, COUNT_HELP, keep, mean_budget, top
from trimviz.types import Cut, View


@dataclass(frozen=True)
class FastV(Pruner):
    key: ClassVar[str] = "fastv"
    name: ClassVar[str] = "FastV"
    paper: ClassVar[str] = "2403.06764"
    clause: ClassVar[str] = "after K layers, keeps what the last prompt token attends to most"

    positions: str = choice("keep", ("pack", "keep"), POSITIONS)
    layer: int = knob(2, "Layers that run on all tokens, K", low=1, high=32, step=1)  # K
    count: str = choice("input", COUNT, COUNT_HELP)

    def schedule(self, layers: int, n: int, budget: float) -> dict[int, int]:
        if self.layer >= layers:
            raise ValueError(f"FastV cuts after layer {self.layer}, and this model has {layers}; choose a smaller K.")
        if self.count == "final":
            return {self.layer: min(n, round(budget))}
        before = self.layer if self.count == "input" else self.layer - 1
        return {self.layer: mean_budget(budget, n, layers, before)}

    def cut(self, view: View, k: int) -> Cut:
        last = torch.tensor([len(view.text) - 1], device=view.visual.device)
        attention = view.attention(last).mean(dim=0)[0]  # (N,)
        return keep(top(attention, k), len(attention), scores={"attention": attention})
