"""FlowCut (Tong et al., 2025, arXiv 2505.19536): follow what flows to CLS through the vision tower, and cut in steps.

In every layer a patch is as important as what CLS takes from it: CLS attention plus likeness of values, times the size
of its value. Importance is averaged over layers, the latest counting half. In every second layer patches leave, the
more the closer the last step and the more CLS attention concentrates; before the last layer but one the budget is met.

Departures: patches leave between attention and feed-forward, which is the same since the latter sees one token at a
time; tiles of a picture are cut one by one, where the official code takes one number for all; for pictures in tiles the
official code cuts once more in the language model, and this meets the budget in the tower alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, sqrt
from typing import ClassVar

import torch
from torch import Tensor

from trimviz.pruners.base import Pruner
from trimviz.select import keep, mean_heads, top
from trimviz.types import Cut, View, Vision


@dataclass(frozen=True)
class FlowCut(Pruner):
    key: ClassVar[str] = "flowcut"
    name: ClassVar[str] = "FlowCut"
    paper: ClassVar[str] = "2505.19536"
    clause: ClassVar[str] = "drops patches step by step inside the vision tower, by what flows to CLS"
    needs: ClassVar[frozenset[str]] = frozenset({"tower"})

    def early(self, layers: int, n: int, budget: float) -> dict[int, int]:
        if layers < 2:
            raise ValueError(f"FlowCut needs a vision tower with two layers at least, and this one has {layers}.")
        return dict.fromkeys(range(-layers, -1), round(budget))

    def cut(self, view: View, k: int) -> Cut:
        if view.depth >= 0:
            raise ValueError("FlowCut cuts inside the vision tower, which cannot be run in steps for this input.")
        score, n, remaining = flow(view.vision), len(view.visual), -2 - view.depth
        if "importance" in view.memo:
            score = (view.memo["importance"] + score) / 2
        left = n
        if remaining == 0:
            left = k
        elif remaining % 2 == 0:
            spread = entropy(view.vision.cls_attention) / log(n)
            left = max(k, n - round((n - k) / sqrt(remaining) * max(0.0, 1 - spread**2)))
        kept = top(score, left)
        view.memo["importance"] = score[kept]
        return keep(kept, n, scores={"importance": score})


def flow(seen: Vision) -> Tensor:
    """(n,) float32: what CLS takes from each patch in this layer."""
    values = torch.cat([seen.cls_values, seen.values]).float().unflatten(1, (seen.heads, -1))  # (1 + n, H, e)
    likeness = (values * values[:1]).sum(dim=-1).softmax(dim=0).mean(dim=1)[1:]
    taken = seen.cls_attention / seen.cls_attention.sum() + likeness / likeness.sum()
    return taken * mean_heads(seen.values, seen.heads).abs().sum(dim=-1)


def entropy(attention: Tensor) -> float:
    """Of the attention taken as a distribution, in nats."""
    share = attention / attention.sum()
    return float(-(share * share.clamp_min(1e-12).log()).sum())
