"""The order table against a bare numpy loop over the same similarity matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from trimviz.bench.measure import race
from trimviz.select import cosine, ranking, repmax_table


def bench_table(n: int, width: int, rounds: int) -> dict[str, Any]:
    """Seconds for the greedy orders of every N1 in 1..n from one matrix, and per order as a ratio to the numpy loop."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(n, width, generator=generator)
    rank = ranking(-tokens.norm(dim=1))
    similarity = cosine(tokens)
    sizes = torch.arange(1, n + 1)
    plain, places = similarity.numpy(), rank.numpy()

    def loop() -> None:
        for n1 in range(1, n + 1):
            numpy_order(plain, places[:n1])

    times = race({"table": lambda: repmax_table(similarity, rank, sizes), "numpy loop": loop}, rounds)
    return {
        "n": n,
        "table s": times["table"].median,
        "numpy loop s": times["numpy loop"].median,
        "ratio per order": times["table"].median / times["numpy loop"].median,
        "spread s": {name: timing.spread for name, timing in times.items()},
    }


def numpy_order(similarity: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The greedy order of one set, as plainly as numpy allows."""
    block = similarity[np.ix_(chosen, chosen)]
    picks = np.empty(len(chosen), dtype=int)
    pick = block.mean(axis=1).argmin()
    total = np.zeros(len(chosen), dtype=block.dtype)
    for t in range(len(chosen)):
        picks[t] = pick
        total += block[pick]
        total[pick] = np.inf
        pick = total.argmin()
    return chosen[picks]
