"""DivPrune (Alvar et al., 2025, arXiv 2503.02175): keep a set whose members are as far apart as can be.

The first token is the one farthest from its nearest neighbour; then, one by one, the token farthest from the nearest of
those already picked. Distance is one minus cosine. No text and no attention are looked at.

Departures from the official code: float32 instead of the model's dtype; a picked token is masked, where the official
code can pick it again beside exact duplicates; the number of tokens is given, not rounded from a ratio.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from trimviz.pruners.base import OrderTable, Pruner
from trimviz.select import cosine, keep, maxmin
from trimviz.types import Cut, View

HIGHER = {"nearest distance": "farther from the nearest token picked before"}


@dataclass(frozen=True)
class DivPrune(Pruner):
    key: ClassVar[str] = "divprune"
    name: ClassVar[str] = "DivPrune"
    paper: ClassVar[str] = "2503.02175"
    clause: ClassVar[str] = "keeps tokens one by one, each farthest from the nearest kept so far"

    def cut(self, view: View, k: int) -> Cut:
        order, gaps = self._pick(view, k)
        return keep(order, len(view.visual), order=order, film={"nearest distance": gaps}, higher=HIGHER)

    def order_table(self, view: View) -> OrderTable | None:
        order = self._pick(view, len(view.visual))[0].cpu().numpy()
        return OrderTable(sizes=torch.tensor([len(order)]).numpy(), first=order, orders=(order,))

    def _pick(self, view: View, k: int) -> tuple[Tensor, Tensor]:
        similarity = view.once(("similarity", "cos"), lambda: cosine(view.visual))
        return maxmin(similarity, torch.ones(len(view.visual), dtype=torch.bool, device=view.visual.device), k)
