"""TrimTokenator (Zhang et al., 2025, arXiv 2509.00320): keep what is aligned with the text, then what is diverse.

Stage 1 scores each visual token by its alignment alpha with the question and keeps the best N1, X^v(1). Stage 2
(RepMax) picks K of them one by one, each least similar on average to those already picked, X^v(2).

No official code is published. Where the paper is silent: the textual tokens are the words of the question; without any,
the first stage is skipped; a size N1 below K is raised to K; ties go to the lower index; kept tokens return to sequence
order and are numbered anew; all tiles of a high-resolution picture, and all frames of a video, are one set of tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from sklearn.feature_selection import mutual_info_regression
from torch import Tensor
from tqdm.auto import tqdm

from trimviz.pruners.base import OrderTable, Pruner, choice, knob
from trimviz.select import (
    EXACT,
    alignment,
    among,
    cosine,
    keep,
    mask,
    ranking,
    repmax,
    repmax_table,
    seed_of,
    share,
    unit,
)
from trimviz.types import Cut, View

EVERY_SIZE = 1024  # up to this many tokens the order table holds every N1, above it a hundred evenly spaced ones
COORDINATES = 1024  # the neighbour search of `mi` looks at no more than this many of the d coordinates
HIGHER = {"alpha": "closer to the text"}
NEIGHBOURS = 3  # k of the mutual information estimator, appendix D


@dataclass(frozen=True)
class TrimTokenator(Pruner):
    key: ClassVar[str] = "trimtokenator"
    name: ClassVar[str] = "TrimTokenator"
    paper: ClassVar[str] = "2509.00320"
    clause: ClassVar[str] = "keeps the N1 tokens closest to the question, then greedily the least alike of them"

    n1: float = knob(0.8, "Size of X^v(1): a share of N, or a whole number of tokens", low=0.01, high=1, step=0.01)
    align: str = choice(
        "l2",
        ("l2", "squared", "cos", "mi"),
        "Alignment alpha: negative distance, negative square of it, cosine, or mutual information",
    )
    diversity: str = choice("cos", ("cos", "l2"), "Similarity in stage 2: cosine, or negative distance")
    text: str = choice("question", ("question", "after-image", "all"), "Textual tokens that alpha averages over")
    stages: str = choice(
        "both",
        ("both", "swapped", "alignment", "diversity", "random-first"),
        "Both; swapped (ablation 1), alignment only (2), diversity only (3); a random first stage as a control",
    )

    def cut(self, view: View, k: int) -> Cut:
        n = len(view.visual)
        alpha, first = self._alpha(view), self._first(view)
        n1 = max(k, n if self._whole(view) else share(self.n1, n))
        chosen = first[:n1]  # eq. 4
        stage1 = (("X^v(1)", mask(chosen, n)),) if n1 < n else ()
        if self.stages in ("alignment", "swapped"):
            order, film = self._by_alpha(alpha, chosen)[:k], {}
        else:
            rows, ranked = chosen.sort()
            similarity = among(view, rows, ("similarity", self.diversity), self._alike)
            picks, means = repmax(similarity, mask(ranked, n1), seed_of(similarity, ranked.argsort()), k)
            order = rows[picks]
            film = {"mean similarity": means}
        return keep(
            order, n, name="X^v(2)", order=order, scores={"alpha": alpha}, stages=stage1, film=film, higher=HIGHER
        )

    def order_table(self, view: View) -> OrderTable:
        """Every N1 for N up to 1,024, computed from one similarity matrix; beyond, every hundredth of N."""
        alpha, first = self._alpha(view), self._first(view)
        n = len(first)
        sizes = torch.arange(1, n + 1) if n <= EVERY_SIZE else torch.arange(1, 101) * n // 100
        if self._whole(view):
            sizes = torch.tensor([n])
        if self.stages in ("alignment", "swapped"):
            orders = [self._by_alpha(alpha, first[:n1]) for n1 in sizes.tolist()]
        else:
            table = repmax_table(self._similarity(view), first, sizes.to(first.device)).cpu()
            orders = [row[:n1] for row, n1 in zip(table, sizes.tolist(), strict=True)]
        return OrderTable(sizes.numpy(), first.cpu().numpy(), tuple(o.cpu().numpy() for o in orders))

    def _whole(self, view: View) -> bool:
        """Whether X^v(1) is all tokens: one stage is off, or there is no text to align with."""
        return self.stages in ("alignment", "diversity") or (self.stages == "both" and not self._words(view).any())

    def _first(self, view: View) -> Tensor:
        """(N,) tokens as stage 1 ranks them: X^v(1) is the leading N1."""

        def make() -> Tensor:
            n, device = len(view.visual), view.visual.device
            if self.stages == "random-first":
                return torch.randperm(n, generator=torch.Generator().manual_seed(0)).to(device)
            if self.stages == "diversity":
                return torch.arange(n, device=device)
            if self.stages == "swapped":
                similarity, everything = self._similarity(view), torch.arange(n, device=device)
                return repmax(similarity, mask(everything, n), seed_of(similarity, everything), n)[0]
            return ranking(self._alpha(view))

        return view.once(("first", *self._ranked_by()), make)

    def _ranked_by(self) -> tuple[str, ...]:
        return (self.stages, self.align, self.text, self.diversity)

    def _words(self, view: View) -> Tensor:
        """(M,) bool: the textual tokens that alpha averages over."""
        return {"question": view.question, "after-image": view.after, "all": torch.ones_like(view.question)}[self.text]

    def _by_alpha(self, alpha: Tensor, chosen: Tensor) -> Tensor:
        chosen = chosen.sort().values  # so that ties go to the lower index
        return chosen[ranking(alpha[chosen])]

    def _similarity(self, view: View) -> Tensor:
        return view.once(("similarity", self.diversity), lambda: self._alike(view.visual))

    def _alike(self, visual: Tensor) -> Tensor:
        """(N, N) similarity of the rows of visual (N, d)."""
        if self.diversity == "cos":
            return cosine(visual)  # eq. 8
        return -torch.cdist(visual.float(), visual.float(), compute_mode=EXACT)  # table 10

    def _alpha(self, view: View) -> Tensor:
        """(N,) float32 alignment of each visual token with the textual tokens; zeros where there is no text."""

        def make() -> Tensor:
            text = view.text[self._words(view)].float()  # (M, d)
            visual = view.visual.float()
            if len(text) == 0:
                return torch.zeros(len(visual), device=visual.device)
            if self.align == "l2":
                return alignment(visual, text)
            if self.align == "squared":
                return -(torch.cdist(visual, text, compute_mode=EXACT) ** 2).mean(dim=1)  # eq. 20
            if self.align == "cos":
                return (unit(visual) @ unit(text).T).mean(dim=1)  # table 9
            return _mutual_information(visual, text).mean(dim=1)  # eq. 2

        return view.once(("alpha", self.align, self.text), make)


def _mutual_information(visual: Tensor, text: Tensor) -> Tensor:
    """(N, M) estimate in nats of the mutual information of each pair, the d coordinates being the samples."""
    step = -(-visual.shape[1] // COORDINATES)
    samples = visual[:, ::step].T.cpu().numpy()  # (d, N)
    words, which = torch.unique(text, dim=0, return_inverse=True)
    columns = [
        torch.from_numpy(mutual_info_regression(samples, word, n_neighbors=NEIGHBOURS, random_state=0)).float()
        for word in tqdm(words[:, ::step].cpu().numpy(), desc="mutual information", unit="word", leave=False)
    ]
    return torch.stack(columns, dim=1).to(visual.device)[:, which]
