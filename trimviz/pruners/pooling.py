"""Spatial pooling: neighbouring cells become their mean; a floor that keeps everything and tells nothing apart.

Each picture shown to the model is divided into a coarser grid, as close to the budget and to its proportions as whole
rows and columns allow, so the number of tokens is at most the budget and can lie some below it. Every cell counts in
one place only. The tiles of a high-resolution picture are pooled as the one picture that they show.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import ClassVar

import torch

from trimviz.pruners.base import Pruner
from trimviz.select import mean_of, quotas
from trimviz.types import Cut, View

STRETCH = 0.05  # how much of the budget a grid may leave unused to keep the proportions, per unit of log ratio


@dataclass(frozen=True)
class Pooling(Pruner):
    key: ClassVar[str] = "pooling"
    name: ClassVar[str] = "Spatial pooling"
    paper: ClassVar[str] = ""
    clause: ClassVar[str] = "averages neighbouring cells on a coarser grid"

    def cut(self, view: View, k: int) -> Cut:
        n, device, pictures = len(view.visual), view.visual.device, len(view.grids)
        if k < pictures:
            raise ValueError(
                f"Spatial pooling leaves at least one token of each of {pictures} pictures shown to the model; "
                f"expected a budget of at least that, got {k}."
            )
        panel, cell = torch.empty(2, n, dtype=torch.long, device=device)
        for p, grid in enumerate(view.grids):
            panel[grid[grid >= 0]] = p
        for p, (grid, (_, count)) in enumerate(zip(view.grids, quotas(panel, k), strict=True)):
            rows, cols = shape(grid.shape[0], grid.shape[1], max(1, count))
            row, col = (grid >= 0).nonzero(as_tuple=True)
            window = row * rows // grid.shape[0] * cols + col * cols // grid.shape[1]
            cell[grid[row, col]] = window + p * n
        windows, owner = cell.unique(return_inverse=True)
        last = torch.full((len(windows),), n, device=device)
        first = last.scatter_reduce(0, owner, torch.arange(n, device=device), "amin")
        rank = first.argsort()  # in sequence order, which need not be raster order across tiles
        place = torch.empty_like(rank)
        place[rank] = torch.arange(len(rank), device=device)
        owner = place[owner]
        return Cut(owner, first[rank], name="pooled", tokens=mean_of(view.visual, owner, len(rank)))


def shape(rows: int, cols: int, count: int) -> tuple[int, int]:
    """Rows and columns of a grid with at most `count` cells that comes closest to it and to the proportions."""

    def cost(r: int) -> float:
        c = min(cols, count // r)
        return (count - r * c) / count + STRETCH * abs(log(r * cols / (c * rows)))

    best = min(range(1, min(rows, count) + 1), key=lambda r: round(cost(r), 9))
    return best, min(cols, count // best)
