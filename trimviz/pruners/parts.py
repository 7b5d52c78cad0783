"""Algorithms inside methods that are known by a name of their own; they know rows and numbers, and no method."""

from __future__ import annotations

import torch
from torch import Tensor

from trimviz.select import EXACT, ranking

RESOLVED = 1e-4  # of a token's own variance: below, what is left to explain is rounding


def determinantal(similarity: Tensor, relevance: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Greedy picks (k,) that maximise the determinant of relevance * similarity * relevance, and what each adds (k,).

    similarity (n, n), relevance (n,). Ties go to the lower index.
    """
    left = similarity.diagonal().round()  # what the picks leave unexplained of each token: all, of a zero vector none
    factors = torch.zeros(k, len(left), device=left.device)  # of the Cholesky decomposition, a row a pick
    free = torch.ones_like(left, dtype=torch.bool)
    picks, gains = torch.empty(k, dtype=torch.long, device=left.device), torch.zeros(k, device=left.device)
    for t in range(k):
        worth = (relevance**2 * left).masked_fill(~free | (left <= RESOLVED), -torch.inf)
        pick = worth.argmax()
        if worth[pick] == -torch.inf:
            rest = ranking(relevance.masked_fill(~free, -torch.inf))
            picks[t:] = rest[: k - t]
            break
        picks[t], gains[t] = pick, worth[pick]
        row = (similarity[pick] - factors[:t].T @ factors[:t, pick]) / left[pick].sqrt()
        factors[t] = row
        left = left - row**2
        free[pick] = False
    return picks, gains


def density_peaks(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """`count` centres among x (m, d), best first, and the centre (m,) that each token belongs to.

    Density peaks over nearest neighbours: a centre is dense and far from anything denser. Ties go to the lower index.
    """
    x = x.float()
    distance = torch.cdist(x, x, compute_mode=EXACT) / x.shape[1] ** 0.5
    near = distance.topk(min(count, len(x)), largest=False).values  # each token is its own nearest
    density = (-(near**2).mean(dim=1)).exp()
    denser = density[None] > density[:, None]
    peak = torch.where(denser.any(dim=1), distance.masked_fill(~denser, torch.inf).amin(dim=1), distance.max())
    centres = ranking(density * peak)[:count]
    nearest = distance[:, centres].argmin(dim=1)
    nearest[centres] = torch.arange(len(centres), device=x.device)
    return centres, nearest
