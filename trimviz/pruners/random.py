"""Random: a seeded draw without replacement; the floor that every method must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from trimviz.pruners.base import OrderTable, Pruner, knob
from trimviz.select import keep
from trimviz.types import Cut, View


@dataclass(frozen=True)
class Random(Pruner):
    key: ClassVar[str] = "random"
    name: ClassVar[str] = "Random"
    paper: ClassVar[str] = ""
    clause: ClassVar[str] = "keeps a seeded random draw"

    seed: int = knob(0, "Seed of the draw", low=0, high=9999, step=1)

    def cut(self, view: View, k: int) -> Cut:
        order = self._draw(view)[:k]
        return keep(order, len(view.visual), order=order)

    def order_table(self, view: View) -> OrderTable:
        order = self._draw(view).cpu().numpy()
        return OrderTable(sizes=torch.tensor([len(order)]).numpy(), first=order, orders=(order,))

    def _draw(self, view: View) -> torch.Tensor:
        generator = torch.Generator().manual_seed(int(self.seed))  # on the CPU: the same draw on every device
        return torch.randperm(len(view.visual), generator=generator).to(view.visual.device)
