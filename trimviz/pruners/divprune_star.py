"""DivPrune* (Zhang et al., 2025, arXiv 2509.00320, section 5.4): DivPrune among what is aligned with the text.

The variant that the TrimTokenator paper builds to compare its second stage with: the same first stage keeps the N1
tokens with the highest alignment alpha, then the largest smallest distance decides, not the lowest mean similarity.

No official code is published. A size N1 below K is raised to K; without text the first stage is skipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from trimviz.pruners.base import knob
from trimviz.pruners.divprune import HIGHER, DivPrune
from trimviz.select import alignment, among, keep, mask, maxmin, share, top
from trimviz.types import Cut, View


@dataclass(frozen=True)
class DivPruneStar(DivPrune):
    key: ClassVar[str] = "divprune-star"
    name: ClassVar[str] = "DivPrune*"
    paper: ClassVar[str] = "2509.00320"
    clause: ClassVar[str] = "keeps the N1 tokens closest to the question, then picks among them as DivPrune does"

    n1: float = knob(0.8, "Size of the first stage: a share of N, or a number of tokens", low=0.01, high=1, step=0.01)

    def cut(self, view: View, k: int) -> Cut:
        n, words = len(view.visual), view.text[view.question]
        if len(words) == 0:
            return super().cut(view, k)
        alpha = view.once(("alpha", "l2", "question"), lambda: alignment(view.visual, words))
        n1 = max(k, share(self.n1, n))
        chosen = top(alpha, n1)
        picks, gaps = maxmin(among(view, chosen), torch.ones_like(chosen, dtype=torch.bool), k)
        order = chosen[picks]
        return keep(
            order,
            n,
            order=order,
            scores={"alpha": alpha},
            stages=(("aligned", mask(chosen, n)),) if n1 < n else (),
            film={"nearest distance": gaps},
            higher={"alpha": "closer to the text", **HIGHER},
        )

    def order_table(self, view: View) -> None:
        return None
