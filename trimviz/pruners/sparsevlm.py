"""SparseVLM (Zhang et al., 2024, arXiv 2410.04417): textual tokens that look at the picture rate it, at three depths.

Raters are the textual tokens behind the picture that resemble it more than average at the model's door. After three
layers their attention, averaged over heads, keeps the best visual tokens. Of the others, the best 30 % are clustered
(density peaks over nearest neighbours), and each cluster's mean is appended as one token.

After version 1.5 of the official code: its fixed lists of tokens, not the rank of the attention matrix that the paper
deletes by. Between its lists for 64, 96, 128 and 192 of 576 tokens, counts are interpolated until the budget is met.
Where words stand between visual tokens, a merged one stands at its centre instead of behind all.
Departures: no random noise on the densities, ties go to the lower index. The authors count tokens as they leave a
layer; `count=output` counts like them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from trimviz.pruners.base import Pruner, choice
from trimviz.pruners.parts import density_peaks
from trimviz.select import COUNT, COUNT_HELP, mask, mean_of, solve, top
from trimviz.types import Cut, View

OF = 9 * 64  # tokens that the published lists start from
LISTS = {0: (0, 0, 0), 64: (66, 30, 17), 96: (238, 48, 26), 128: (303, 110, 36), 192: (300, 200, 110), OF: (OF, OF, OF)}
AFTER = (3 / 32, 7 / 32, 16 / 32)  # cuts stand after layers 2, 6 and 15 of 32


@dataclass(frozen=True)
class SparseVLM(Pruner):
    key: ClassVar[str] = "sparsevlm"
    name: ClassVar[str] = "SparseVLM"
    paper: ClassVar[str] = "2410.04417"
    clause: ClassVar[str] = "keeps what picture-related words attend to, at three depths, and clusters some of the rest"

    count: str = choice("input", COUNT, COUNT_HELP)

    def schedule(self, layers: int, n: int, budget: float) -> dict[int, int]:
        depths: list[int] = []
        for part in AFTER:
            depths.append(max(round(part * layers), depths[-1] + 1 if depths else 1))

        def plan(x: float) -> dict[int, int]:
            out, left = {}, n
            for depth, kept in zip(depths, interpolated(x), strict=True):
                left = total(left, min(round(kept * n), left - 1))
                out[depth] = left
            return out

        return solve(plan, layers, n, budget, self.count)

    def cut(self, view: View, k: int) -> Cut:
        n = len(view.visual)
        rating = view.attention(self._raters(view)).mean(dim=(0, 1))  # (N,)
        kept = top(rating, next(kept for kept in range(n) if total(n, kept) >= k))
        dropped = (~mask(kept, n)).nonzero()[:, 0]
        recycled = dropped[top(rating[dropped], candidates(len(dropped)))]
        centres, nearest = density_peaks(view.visual[recycled], k - len(kept))
        owner = torch.full((n,), -1, dtype=torch.long, device=kept.device)
        owner[kept] = torch.arange(len(kept), device=kept.device)
        owner[recycled] = len(kept) + nearest
        anchor = torch.cat([kept, recycled[centres]])
        return Cut(owner, anchor, tokens=mean_of(view.visual, owner, k), scores={"raters' attention": rating})

    def _raters(self, view: View) -> Tensor:
        """Rows of text that, behind the picture, take more than the average share of it at the door."""
        door = view.door()
        rows = door.after.nonzero()[:, 0]
        relevance = (door.visual.float() @ door.text[rows].float().T).softmax(dim=1).mean(dim=0)
        return rows[relevance > relevance.mean()] if (relevance > relevance.mean()).any() else rows


def interpolated(x: float) -> tuple[float, ...]:
    """Shares of N kept at the three depths, between the published lists; x in [0, 1] is the nominal share."""
    for (low, few), (high, many) in pairwise(LISTS.items()):
        if x * OF <= high:
            weight = (x * OF - low) / (high - low)
            return tuple((a + weight * (b - a)) / OF for a, b in zip(few, many, strict=True))
    return (1.0, 1.0, 1.0)


def candidates(dropped: int) -> int:
    """How many of the dropped tokens are recycled."""
    return 3 * dropped // 10 + 1


def total(n: int, kept: int) -> int:
    """Tokens that go on where `kept` < n of n are kept: those, and the clusters of the recycled."""
    return kept + candidates(n - kept) // 10 + 1
