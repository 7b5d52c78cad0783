"""Greedy loops as one Triton kernel each, for matrices on a CUDA GPU.

A loop of k steps over N numbers is mostly waiting there: for each step's launches, or for the whole matrix to reach the
CPU. Here one block keeps a running value of every token to itself and makes all k steps. Each value is computed by the
additions of the plain loop in their order, so that the picks are the same.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

LARGEST = 16384  # tokens whose values fit into one block


# k and the seed change with every picture and slider, so that no variants are compiled for 1 and for multiples of 16.
@triton.jit(do_not_specialize=["k", "seed"])
def _repmax(rows, allowed, picks, lows, n, k, seed, BLOCK: tl.constexpr):
    token = tl.arange(0, BLOCK)
    here = token < n
    total = tl.load(rows + seed * n + token, mask=here, other=float("inf"))
    total = tl.where((tl.load(allowed + token, mask=here, other=0) == 0) | (token == seed), float("inf"), total)
    tl.store(picks, seed)
    tl.store(lows, float("nan"))
    for t in range(1, k):
        low, pick = tl.min(total, axis=0, return_indices=True, return_indices_tie_break_left=True)
        tl.store(picks + t, pick)
        tl.store(lows + t, low)
        total += tl.load(rows + pick * n + token, mask=here, other=0.0)
        total = tl.where(token == pick, float("inf"), total)


@triton.jit(do_not_specialize=["k"])
def _maxmin(rows, nearest, allowed, picks, gaps, n, k, BLOCK: tl.constexpr):
    token = tl.arange(0, BLOCK)
    here = token < n
    near = tl.load(nearest + token, mask=here, other=0.0)
    taken = tl.load(allowed + token, mask=here, other=0) == 0
    for t in range(k):
        shown = tl.where(taken, -float("inf"), near)
        gap, pick = tl.max(shown, axis=0, return_indices=True, return_indices_tie_break_left=True)
        tl.store(picks + t, pick)
        tl.store(gaps + t, gap)
        taken = taken | (token == pick)
        row = 1 - tl.load(rows + pick * n + token, mask=here, other=0.0)
        near = tl.where(t == 0, row, tl.minimum(near, row))


def repmax(similarity: Tensor, allowed: Tensor, seed: int, k: int) -> tuple[Tensor, Tensor]:
    """`trimviz.select.repmax` for a matrix (N, N) of at most `LARGEST` tokens on a CUDA GPU."""
    rows, may, (picks, lows), size = _ready(similarity, allowed, k)
    _repmax[(1,)](rows, may, picks, lows, len(rows), k, seed, **size)
    return picks, lows / torch.arange(k, device=lows.device)  # eq. 13; the seed has no set before it


def maxmin(similarity: Tensor, nearest: Tensor, allowed: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """`trimviz.select.maxmin` for a matrix (N, N) of at most `LARGEST` tokens on a CUDA GPU.

    nearest: (N,) distance of each token to the nearest of all others, by which the first is picked.
    """
    rows, may, (picks, gaps), size = _ready(similarity, allowed, k)
    _maxmin[(1,)](rows, nearest.contiguous(), may, picks, gaps, len(rows), k, **size)
    return picks, gaps


def _ready(similarity: Tensor, allowed: Tensor, k: int) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor], dict[str, Any]]:
    """Matrix and mask as kernels read them, room for k picks and a value beside each, and how large a block is."""
    block = max(128, triton.next_power_of_2(len(similarity)))
    size = {"BLOCK": block, "num_warps": min(16, max(4, block // 256)), "enable_fp_fusion": False}
    room = torch.empty(k, dtype=torch.long, device=similarity.device), similarity.new_empty(k)
    return similarity.contiguous(), allowed.to(torch.int8), room, size
