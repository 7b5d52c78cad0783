"""Moves that several methods share: similarity, greedy orders, exact shares and turning a kept set into a `Cut`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import cache
from math import floor
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from trimviz.types import Cut, View

log = logging.getLogger(__name__)

COUNT = ("input", "output", "final")
COUNT_HELP = "What the budget counts: the mean of tokens that enter a layer, that leave it, or those left at the end"
BLOCK = 256  # rows and columns of a matrix that are computed at a time: half of a symmetric one is then enough
ROWS = 128  # tokens in float64 at a time: few enough for a cache
EXACT = "donot_use_mm_for_euclid_dist"  # through products, the distances of near neighbours drown in float32


def share(part: float | int, n: int) -> int:
    """`part` of n tokens: a number up to 1 is a share, rounded down exactly; a greater int is a count, at most n.

    Exact, because floor(0.7 * 2880) is 2015 in binary floating point and 2016 on paper.
    """
    count = int(part) if part > 1 else floor(Fraction(repr(float(part))) * n)
    return max(1, min(count, n))


def unit(x: Tensor) -> Tensor:
    """Rows of x (N, d) in float32 at length 1; a zero row stays zero."""
    x = x.float()
    return x / x.norm(dim=-1, keepdim=True).clamp_min(1e-12)


def cosine(x: Tensor) -> Tensor:
    """(N, N) float32 cosine similarity of the rows of x (N, d), exactly symmetric."""
    u = unit(x)
    n = len(u)
    block = BLOCK if u.device.type == "cpu" else n  # a GPU is faster at one large product
    s = u.new_empty(n, n)
    for i in range(0, n, block):
        for j in range(i, n, block):
            part = u[i : i + block] @ u[j : j + block].T
            if i == j:
                part = torch.triu(part) + torch.triu(part, 1).T
            s[i : i + block, j : j + block] = part
            s[j : j + block, i : i + block] = part.T
    return s


def among(
    view: View, rows: Tensor, name: tuple[str, str] = ("similarity", "cos"), of: Callable[[Tensor], Tensor] = cosine
) -> Tensor:
    """(R, R) similarity of the view's visual tokens `rows` (R,), as `of` computes it from their vectors.

    Cut out of the matrix of all tokens where the view remembers that one under `name`.
    """
    whole = view.memo.get(name)
    return of(view.visual[rows]) if whole is None else whole[rows][:, rows]


def alignment(visual: Tensor, text: Tensor) -> Tensor:
    """(N,) float32 alpha: minus the mean distance of each visual token (N, d) to the textual tokens (M, d), M > 0.

    TrimTokenator (arXiv 2509.00320) eq. 3.
    """
    place = "cpu" if visual.device.type == "mps" else visual.device  # MPS has no float64
    w = text.to(place, torch.float64)
    lengths = (w * w).sum(dim=1)[:, None]
    out = []
    rows = ROWS if torch.device(place).type == "cpu" else len(visual)  # a GPU is faster at one large product
    for part in visual.to(place).split(rows):
        v = part.double()
        squares = (v * v).sum(dim=1) + lengths - 2 * (w @ v.T)  # (M, ROWS); products will do in float64
        out.append(-squares.clamp_min(0).sqrt().mean(dim=0))
    return torch.cat(out).to(visual.device, torch.float32)


def ranking(score: Tensor) -> Tensor:
    """Indices by falling score (N,); equal scores stand by index."""
    return torch.sort(score, descending=True, stable=True).indices


def top(score: Tensor, k: int) -> Tensor:
    """The k indices of the highest scores, in ascending index order; ties go to the lower index."""
    return ranking(score)[:k].sort().values


def keep(
    index: Tensor,
    n: int,
    *,
    name: str = "kept",
    order: Tensor | None = None,
    scores: Mapping[str, Tensor] | None = None,
    stages: tuple[tuple[str, Tensor], ...] = (),
    film: Mapping[str, Tensor] | None = None,
    higher: Mapping[str, str] | None = None,
) -> Cut:
    """A cut that keeps the tokens `index` (K,) of n as they are, in sequence order.

    `order` lists the same indices as they were picked.
    """
    index = index.sort().values
    owner = torch.full((n,), -1, dtype=torch.long, device=index.device)
    owner[index] = torch.arange(len(index), device=index.device)
    rank = None
    if order is not None:
        rank = torch.empty_like(index)
        rank[owner[order]] = torch.arange(len(order), device=index.device)
    return Cut(
        owner, index, name=name, order=rank, scores=scores or {}, stages=stages, film=film or {}, higher=higher or {}
    )


def mask(index: Tensor, n: int) -> Tensor:
    """(n,) bool, True at `index`."""
    out = torch.zeros(n, dtype=torch.bool, device=index.device)
    out[index] = True
    return out


def quotas(tile: Tensor, k: int) -> list[tuple[Tensor, int]]:
    """k tokens shared out over the tiles of a picture, in proportion to their size: [(indices, tokens to keep)].

    tile (N,) names the tile of each token; what does not divide goes to the largest remainders, the first tile first.
    """
    tiles, counts = tile.unique(return_counts=True)
    shares = [divmod(int(count) * k, len(tile)) for count in counts]
    left = k - sum(whole for whole, _ in shares)
    first = sorted(range(len(shares)), key=lambda i: -shares[i][1])[:left]
    return [((tile == t).nonzero()[:, 0], shares[i][0] + (i in first)) for i, t in enumerate(tiles)]


def mean_heads(x: Tensor, heads: int) -> Tensor:
    """(N, e) float32 mean over heads that stand side by side in x (N, heads * e)."""
    return x.float().unflatten(-1, (heads, -1)).mean(dim=-2)


def mean_of(x: Tensor, owner: Tensor, k: int, weight: Tensor | None = None) -> Tensor:
    """(k, d) float32 means of the rows of x (N, d) that each of k outputs owns; owner (N,), -1 = none; weight (N,)."""
    inside = owner >= 0
    weight = torch.ones(len(x), device=x.device) if weight is None else weight.float()
    weighed = (x.float() * weight[:, None])[inside]
    sums = torch.zeros(k, x.shape[1], device=x.device).index_add_(0, owner[inside], weighed)
    totals = torch.zeros(k, device=x.device).index_add_(0, owner[inside], weight[inside])
    return sums / totals[:, None]


def nearest_of(similarity: Tensor, allowed: Tensor) -> Tensor:
    """(N,) distance 1 - cosine of each token to the nearest other one that is `allowed` (N,)."""
    others = similarity.masked_fill(~allowed, -torch.inf).fill_diagonal_(-torch.inf)  # itself is never the nearest
    return 1 - others.amax(dim=1)


def maxmin(similarity: Tensor, allowed: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Greedy pick of k of the `allowed` (N,) rows of a cosine matrix (N, N), each farthest from the nearest before it.

    Returns the picks (k,) in order and the distance 1 - cosine of each to its nearest (k,): among those before it, or
    for the first among all. DivPrune (arXiv 2503.02175); ties go to the lower index.
    """
    distance = nearest_of(similarity, allowed)
    kernels = _kernels(similarity)
    if kernels is not None:
        return kernels.maxmin(similarity, distance, allowed, k)
    nearest, rows = distance.cpu().numpy(), similarity.cpu().numpy()
    taken = (~allowed).cpu().numpy()
    picks, gaps = [], []
    for t in range(k):
        pick = int(np.where(taken, -np.inf, nearest).argmax())
        picks.append(pick)
        gaps.append(nearest[pick])
        taken[pick] = True
        row = 1 - rows[pick]
        nearest = row if t == 0 else np.minimum(nearest, row)
    return _told(picks, gaps, similarity.device)


def repmax(similarity: Tensor, allowed: Tensor, seed: int, k: int) -> tuple[Tensor, Tensor]:
    """Greedy pick of k of the `allowed` (N,) rows of a similarity matrix (N, N), each least similar to those before.

    Returns the picks (k,) in order, and the mean similarity of each to the set before it (k,), the seed's being NaN.
    TrimTokenator (arXiv 2509.00320) eqs. 11 to 16; ties go to the lower index.
    """
    kernels = _kernels(similarity)
    if kernels is not None:
        return kernels.repmax(similarity, allowed, seed, k)
    rows = similarity.cpu().numpy()
    pick, picks, means = seed, [seed], [np.nan]  # eq. 11
    total = np.where(allowed.cpu().numpy(), rows[pick], np.inf)  # eq. 12
    total[pick] = np.inf  # no longer in the remaining set, eq. 11
    for t in range(1, k):
        pick = int(total.argmin())  # eq. 14: dividing by t, eq. 13, does not move the minimum
        picks.append(pick)
        means.append(total[pick] / t)  # eq. 13
        total += rows[pick]  # eq. 16
        total[pick] = np.inf  # eq. 15
    return _told(picks, means, similarity.device)


def _kernels(similarity: Tensor) -> ModuleType | None:
    """The same greedy loops on a GPU; None for a matrix elsewhere or too large, and without a Triton that works."""
    if similarity.device.type != "cuda":
        return None
    kernels = _checked(similarity.device)
    return kernels if kernels is not None and len(similarity) <= kernels.LARGEST else None


@cache
def _checked(device: torch.device) -> ModuleType | None:
    """The kernels, where they are installed and find on this device what the plain loops find."""
    try:
        from trimviz import fused

        tokens = torch.randn(100, 8, generator=torch.Generator().manual_seed(0))
        tokens[50:60] = tokens[:10]  # equal rows: ties
        plain, allowed = cosine(tokens), torch.arange(100) % 7 > 0
        there, shown = plain.to(device), allowed.to(device)
        nearest = nearest_of(plain, allowed)
        pairs = (
            (repmax(plain, allowed, 5, 40), fused.repmax(there, shown, 5, 40)),
            (maxmin(plain, allowed, 40), fused.maxmin(there, nearest.to(device), shown, 40)),
        )
        if all(torch.equal(here[0], away[0].cpu()) for here, away in pairs):
            return fused
        log.warning("The fused greedy loops pick other tokens on %s than the plain ones, which are used.", device)
    except ImportError:
        pass
    except Exception as error:  # noqa: BLE001  (a compiler that does not suit the driver must not cost an answer)
        log.warning("The fused greedy loops do not run on %s, so the plain ones do: %s", device, error)
    return None


def _told(picks: Sequence[int], values: Sequence[float], device: torch.device) -> tuple[Tensor, Tensor]:
    """What a greedy loop found (k,), and a value beside each (k,) float32.

    The loops run in numpy: a step is three operations on N numbers, and what counts is the cost of starting each.
    """
    return torch.tensor(np.array(picks), device=device), torch.tensor(np.array(values, dtype=np.float32), device=device)


def seed_of(similarity: Tensor, chosen: Tensor) -> int:
    """The one of the `chosen` tokens (N1,) with the lowest mean similarity to all of them; ties to the lower index.

    TrimTokenator eqs. 9 and 10; the same as `seeds` finds for the set, summed in the same order.
    """
    rows = chosen.sort().values
    sums = similarity[rows][:, chosen].cumsum(dim=1)[:, -1]  # eq. 9 times n1, which does not move the minimum
    return int(rows[sums.argmin()])  # eq. 10


def seeds(similarity: Tensor, rank: Tensor) -> Tensor:
    """(N,) the seed of every leading set of `rank` (N,): entry n1 - 1 belongs to the set rank[:n1].

    The seed has the lowest mean similarity inside its set, TrimTokenator eqs. 9 and 10; ties go to the lower index.
    """
    n = len(rank)
    sums = similarity[:, rank].cumsum(dim=1)  # (N, N): eq. 9 times n1, which does not move the minimum
    place = torch.empty_like(rank)
    place[rank] = torch.arange(n, device=rank.device)
    inside = place[:, None] <= torch.arange(n, device=rank.device)
    return sums.masked_fill(~inside, torch.inf).argmin(dim=0)  # eq. 10


def repmax_table(similarity: Tensor, rank: Tensor, sizes: Tensor) -> Tensor:
    """Whole greedy orders of many leading sets of `rank` (N,) at once: (R, N) picks, -1 past the end of each.

    Row r equals `repmax(similarity, rank[:n1], seeds(similarity, rank)[n1 - 1], n1)`, n1 = sizes[r]; `sizes` ascend.
    """
    n, device = len(rank), rank.device
    place = torch.empty_like(rank)
    place[rank] = torch.arange(n, device=device)
    rows = torch.arange(len(sizes), device=device)
    pick = seeds(similarity, rank)[sizes - 1]
    table = torch.full((len(sizes), n), -1, dtype=torch.long, device=device)
    table[:, 0] = pick
    total = similarity[pick].masked_fill(place >= sizes[:, None], torch.inf)
    total[rows, pick] = torch.inf
    done = 0
    ends = torch.searchsorted(sizes, torch.arange(n, device=device), right=True).tolist()  # rows with n1 <= t
    for t in range(1, n):
        if ends[t] == len(sizes):
            break
        total, done = total[ends[t] - done :], ends[t]
        pick = total.argmin(dim=1)
        table[done:, t] = pick
        total += similarity[pick]
        total[rows[: len(pick)], pick] = torch.inf
    return table


def entering(schedule: Mapping[int, int], layers: int, n: int) -> list[int]:
    """(L,) visual tokens that enter each layer under a schedule {depth: tokens left there}."""
    out, alive = [], n
    for depth in range(layers):
        alive = min(alive, schedule.get(depth, alive))
        out.append(alive)
    return out


def spent(schedule: Mapping[int, int], layers: int, n: int, count: str) -> float:
    """What a schedule costs, counted as `COUNT` says."""
    alive = entering(schedule, layers, n)
    if count == "final":
        return float(alive[-1])
    return sum(alive if count == "input" else [*alive[1:], alive[-1]]) / layers


def solve(
    plan: Callable[[float], dict[int, int]], layers: int, n: int, budget: float, count: str, steps: int = 40
) -> dict[int, int]:
    """The schedule `plan(x)`, growing with x in [0, 1], that comes closest to a budget; the smaller of two.

    Raises ValueError where even plan(0) costs more than half a token above it.
    """
    low, high = 0.0, 1.0
    least = spent(plan(low), layers, n, count)
    if least > budget + 0.5:
        raise ValueError(
            f"The layers before its last cut bring this method to a mean of {least:.1f} visual tokens per layer; "
            f"expected a budget of at least that, got {budget:g}."
        )
    for _ in range(steps):
        middle = (low + high) / 2
        if spent(plan(middle), layers, n, count) <= budget:
            low = middle
        else:
            high = middle
    return min(plan(low), plan(high), key=lambda p: abs(spent(p, layers, n, count) - budget))


def mean_budget(budget: float, n: int, layers: int, depth: int) -> int:
    """Tokens to leave at `depth` so that the mean over all layers, counted at their input, is `budget`.

    With n tokens in the layers before `depth`: R = (layers * budget - depth * n) / (layers - depth).
    Raises ValueError where even dropping everything costs more than the budget.
    """
    left = Fraction(repr(float(budget))) * layers - depth * n
    if left < 0:
        raise ValueError(
            f"This method runs the first {depth} of {layers} layers on all {n} visual tokens, so the least mean per "
            f"layer is {depth * n / layers:.1f}; expected a budget of at least that, got {budget:g}."
        )
    return min(n, floor(left / (layers - depth) + Fraction(1, 2)))
