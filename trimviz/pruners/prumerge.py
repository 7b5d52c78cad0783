"""PruMerge (Shang et al., 2024, arXiv 2403.15388): keep what CLS attends to, and let each take its look-alikes in.

The patches with the highest CLS attention are kept. Each takes in the 32 whose keys are most like its own, as a sum
weighted by their attention; one more token is such a sum of all that were dropped. Keys and attention are those of the
tower's last layer, with all heads as one. Tokens stand by falling attention, not by place.

As in the official code, sums are not divided by their weights, although the paper speaks of averages; `normalize`
divides. Departures: the budget says how many, and `adaptive` lets the outliers of the attention say it, as published;
the tiles of a picture are treated one by one. A patch that several tokens take in is drawn with the likest of them, one
that none takes in with the last token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from trimviz.pruners.base import Pruner, choice, knob
from trimviz.select import quotas, ranking, unit
from trimviz.types import Cut, View

NEIGHBOURS = 32


@dataclass(frozen=True)
class PruMerge(Pruner):
    key: ClassVar[str] = "prumerge"
    name: ClassVar[str] = "PruMerge"
    paper: ClassVar[str] = "2403.15388"
    clause: ClassVar[str] = "keeps what CLS attends to most, each with its look-alikes taken in"
    needs: ClassVar[frozenset[str]] = frozenset({"last_keys", "last_attention"})

    adaptive: bool = knob(False, "Let the outliers of the attention say how many are kept, not the budget")
    order: str = choice("attention", ("attention", "sequence"), "Order in which tokens enter the language model")
    normalize: bool = knob(False, "Weighted averages instead of weighted sums")

    def cut(self, view: View, k: int) -> Cut:
        seen = view.vision
        owner = torch.full_like(seen.tile, -1)
        anchors: list[Tensor] = []
        features: list[Tensor] = []
        for tile, count in quotas(seen.tile, k):
            if count == 0:
                continue
            attention = seen.last_attention[tile]
            kept = self._keep(attention, count)
            if self.order == "sequence":
                kept = kept.sort().values
            lives, merged = self._merge(seen.features[tile].float(), attention, unit(seen.last_keys[tile]), kept)
            owner[tile] = lives + sum(len(a) for a in anchors)
            anchors.append(torch.cat([tile[kept], tile.new_tensor([-1])]))
            features.append(merged)
        tokens = seen.project(torch.cat(features).to(seen.features.dtype))
        return Cut(owner, torch.cat(anchors), tokens=tokens, scores={"CLS attention": seen.last_attention})

    def _keep(self, attention: Tensor, count: int) -> Tensor:
        """Which patches of a tile are kept, in order; `count` tokens come out, one of them of the dropped."""
        return ranking(attention)[: outliers(attention) if self.adaptive else count - 1]

    def _merge(self, x: Tensor, attention: Tensor, keys: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """The output (n,) in which each patch of a tile lives, and the outputs (K, c)."""
        every = torch.arange(len(kept), device=x.device)
        likeness = keys[kept] @ keys.T  # (K - 1, n)
        likeness[every, kept] = -torch.inf
        near = likeness.sort(dim=1, descending=True, stable=True).indices[:, : min(NEIGHBOURS, len(x) - 1)]
        taken = torch.zeros_like(likeness).scatter_(1, near, 1.0)
        dropped = torch.ones_like(attention)
        dropped[kept] = 0
        weights = torch.cat([taken, dropped[None]]) * attention  # (K, n)
        if self.normalize:
            weights = weights / weights.sum(dim=1, keepdim=True).clamp_min(1e-12)
        own = torch.cat([x[kept], torch.zeros_like(x[:1])])
        floor = torch.full_like(x[:, 0], -2)[None]  # below every cosine: what nobody takes in lives in the last token
        lives = torch.cat([likeness.masked_fill(taken == 0, -torch.inf), floor]).argmax(dim=0)
        lives[kept] = every
        return lives, own + weights @ x


def outliers(attention: Tensor) -> int:
    """How many patches have attention above the third quartile by more than 1.5 times the distance of the quartiles."""
    low, high = attention.quantile(0.25), attention.quantile(0.75)
    return int((attention > high + 1.5 * (high - low)).sum())
