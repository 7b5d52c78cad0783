"""CDPruner (Zhang et al., 2025, arXiv 2506.10967): a diverse and relevant set, by a determinantal point process.

The kernel between two tokens is their cosine times both relevances. Greedily, each pick adds most to the determinant
of the kernel over the picks: the most relevant token that those before it explain least.

The official relevance compares CLIP's own text and picture embeddings, with the sign turned round. Checkpoints of the
models here hold no text tower of CLIP, so this uses the stated fallback of third-party versions instead: the cosine of
a visual token with the mean of the question's embeddings, with its own sign; `relevance` turns it or leaves it out.
This is a stand-in, and results of the published method may differ. Where rounding is all that is left to gain, which
happens once the picks span the space, the rest is filled by relevance. Tiles of a picture are treated one by one, with
one scale of relevance for all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from trimviz.pruners.base import OrderTable, Pruner, choice
from trimviz.pruners.parts import determinantal
from trimviz.select import cosine, keep, quotas, unit
from trimviz.types import Cut, View


@dataclass(frozen=True)
class CDPruner(Pruner):
    key: ClassVar[str] = "cdpruner"
    name: ClassVar[str] = "CDPruner"
    paper: ClassVar[str] = "2506.10967"
    clause: ClassVar[str] = "picks a set that is both relevant and diverse, by a determinantal point process"

    relevance: str = choice("plus", ("plus", "minus", "none"), "Likeness to the question counts for, against or not")

    def cut(self, view: View, k: int) -> Cut:
        relevance, similarity = self._relevance(view), self._similarity(view)
        picks, gains = [], []
        for tile, count in quotas(view.vision.tile, k):
            order, gain = determinantal(similarity[tile][:, tile], relevance[tile], count)
            picks.append(tile[order])
            gains.append(gain)
        return keep(
            torch.cat(picks),
            len(relevance),
            order=torch.cat(picks),
            scores={"relevance": relevance},
            film={"gain": torch.cat(gains)},
            higher={"relevance": "closer to the question, 0 to 1", "gain": "more that the picks before do not explain"},
        )

    def order_table(self, view: View) -> OrderTable | None:
        if len(view.vision.tile.unique()) > 1:
            return None  # shared out over tiles, picks of a small budget need not be among those of a larger one
        n = len(view.visual)
        order = determinantal(self._similarity(view), self._relevance(view), n)[0].cpu().numpy()
        return OrderTable(sizes=torch.tensor([n]).numpy(), first=order, orders=(order,))

    def _similarity(self, view: View) -> Tensor:
        return view.once(("similarity", "cos"), lambda: cosine(view.visual))

    def _relevance(self, view: View) -> Tensor:
        """(N,) float32 between 0 and 1, never 0."""
        words = view.text[view.question].float()
        if self.relevance == "none" or len(words) == 0:
            return torch.ones(len(view.visual), device=view.visual.device)
        likeness = unit(view.visual) @ unit(words.mean(dim=0))
        likeness = likeness if self.relevance == "plus" else -likeness
        low, high = likeness.min(), likeness.max()
        return (likeness - low + 1e-6) / (high - low) if high > low else torch.ones_like(likeness)
