"""VisPruner (Zhang et al., 2024, arXiv 2412.01818): a share by CLS attention, the rest thinned out until it is diverse.

The patches that CLS attends to most are kept as important. The others, by falling attention, are split by turns; of one
half, those most similar to anything in the other half go, a few at a time, until as many are left as the budget wants.
With `important` 1 it is the authors' earlier FasterVLM.

Departures: the split uses the real length of an odd remainder, where the official code fails; the tokens of a picture
in tiles are shared out in proportion to the tiles' patches.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import ClassVar

import torch
from torch import Tensor

from trimviz.pruners.base import Pruner, knob
from trimviz.select import keep, mask, quotas, ranking, unit
from trimviz.types import Cut, View

AT_ONCE = 8  # tokens that go in one round


@dataclass(frozen=True)
class VisPruner(Pruner):
    key: ClassVar[str] = "vispruner"
    name: ClassVar[str] = "VisPruner"
    paper: ClassVar[str] = "2412.01818"
    clause: ClassVar[str] = "keeps what CLS attends to most, and of the rest what resembles nothing else"
    needs: ClassVar[frozenset[str]] = frozenset({"cls_attention"})

    important: float = knob(0.5, "Share of the kept tokens chosen by CLS attention, r", low=0, high=1, step=0.05)  # r

    def cut(self, view: View, k: int) -> Cut:
        attention, features = view.vision.cls_attention, unit(view.vision.features)
        important, diverse = [], []
        for tile, count in quotas(view.vision.tile, k):
            order = tile[ranking(attention[tile])]
            first = floor(Fraction(repr(float(self.important))) * count)
            important.append(order[:first])
            diverse.append(thin(features, order[first:], count - first))
        return keep(
            torch.cat(important + diverse),
            len(features),
            scores={"CLS attention": attention},
            stages=(("important", mask(torch.cat(important), len(features))),),
        )


def thin(features: Tensor, rest: Tensor, count: int) -> Tensor:
    """`count` of the tokens `rest` (R,), the most redundant of the unit `features` (N, c) gone first."""
    if count == 0:
        return rest[:0]
    while len(rest) > count:
        one, other = rest[::2], rest[1::2]
        likeness = (features[one] @ features[other].T).amax(dim=1)
        order = ranking(likeness)
        rest = torch.cat([one[order[min(AT_ONCE, len(rest) - count, len(one)) :]], other])
    return rest
