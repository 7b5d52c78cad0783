"""ToMe, token merging (Bolya et al., 2022, arXiv 2210.09461): in every layer of the vision tower, the most alike merge.

Patches are split into two sets by turns. Each of one set names its most similar in the other by the keys of the layer,
mean over heads; the most similar pairs merge into their mean, weighted by how many patches each side stands for. Later
layers weigh a merged token by that number in their attention.

There is no official version for vision-language models. Features are taken before the tower's last layer, so one layer
less than the tower has can merge. Tokens enter the language model in the order of their first patches, where the
official code leaves them as the splits did. Layers merge equally many; where the last ones cannot, earlier ones merge
more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from trimviz.pruners.base import Pruner
from trimviz.select import mean_heads, mean_of, ranking, unit
from trimviz.types import Cut, View


@dataclass(frozen=True)
class ToMe(Pruner):
    key: ClassVar[str] = "tome"
    name: ClassVar[str] = "ToMe"
    paper: ClassVar[str] = "2210.09461"
    clause: ClassVar[str] = "merges the most similar patches in every layer of the vision tower"
    needs: ClassVar[frozenset[str]] = frozenset({"tower"})

    def early(self, layers: int, n: int, budget: float) -> dict[int, int]:
        target = round(budget)
        least = -(-n // 2**layers)
        if target < least:
            raise ValueError(
                f"ToMe can halve the tokens in each of {layers} layers, from {n} to {least}; "
                f"expected a budget of at least that, got {budget:g}."
            )
        out = {}
        for done in range(1, layers + 1):
            evenly = n - (n - target) * done // layers - ((n - target) * done % layers > 0)
            out[done - layers - 1] = min(evenly, target * 2 ** (layers - done))
        return out

    def cut(self, view: View, k: int) -> Cut:
        if view.depth >= 0:
            raise ValueError("ToMe merges inside the vision tower, which cannot be run in steps for this input.")
        n = len(view.visual)
        keys = unit(mean_heads(view.vision.keys, view.vision.heads))
        a, b = torch.arange(n, device=keys.device)[1::2], torch.arange(n, device=keys.device)[::2]  # CLS comes before
        similarity = keys[a] @ keys[b].T
        best, match = similarity.max(dim=1)
        merged = ranking(best)[: n - k]
        stay = torch.ones(len(a), dtype=torch.bool, device=keys.device)
        stay[merged] = False
        anchor = torch.cat([a[stay], b])
        owner = torch.empty(n, dtype=torch.long, device=keys.device)
        owner[anchor] = torch.arange(k, device=keys.device)
        owner[a[merged]] = owner[b[match[merged]]]
        tokens = mean_of(view.visual, owner, k, view.size)
        alike = torch.empty(n, device=keys.device)
        alike[a], alike[b] = best, similarity.amax(dim=0)
        return Cut(owner, anchor, name="merged", tokens=tokens, scores={"similarity": alike})
