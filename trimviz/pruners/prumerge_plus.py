"""PruMerge+ (Shang et al., 2024, arXiv 2403.15388): PruMerge with evenly spaced patches kept beside the attended ones.

Departures from the official code: for a fixed number of tokens it takes half by attention and half by place, and fails
where the two do not match up; here half are by attention, rounded up, and the others evenly spaced among those not
taken yet. Adaptive, it places one patch every third of the distance between outliers, and at least every patch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from trimviz.pruners.prumerge import PruMerge, outliers
from trimviz.select import mask, ranking


@dataclass(frozen=True)
class PruMergePlus(PruMerge):
    key: ClassVar[str] = "prumerge-plus"
    name: ClassVar[str] = "PruMerge+"
    clause: ClassVar[str] = "keeps what CLS attends to most and evenly spaced patches, with their look-alikes"

    def _keep(self, attention: Tensor, count: int) -> Tensor:
        n, order = len(attention), ranking(attention)
        attended = order[: outliers(attention) if self.adaptive else count // 2]
        rest = (~mask(attended, n)).nonzero()[:, 0]
        if self.adaptive:
            spaced = rest[rest % max(1, n // max(1, len(attended)) // 3) == 0]
        else:
            left = count - 1 - len(attended)
            step = torch.arange(left, device=rest.device)
            spaced = rest[(2 * step + 1) * len(rest) // max(1, 2 * left)]
        return torch.cat([attended, spaced])
