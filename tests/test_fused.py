"""The fused greedy loops against the plain ones, in Triton's interpreter: the same picks and values.

The interpreter takes the first of equal values whatever a kernel asks for, so how a GPU breaks ties is not seen here;
`select._checked` looks at that on the GPU itself, before the kernels are used.
"""

from __future__ import annotations

import importlib
import logging
import sys
from types import ModuleType

import pytest
import torch
from torch import Tensor

from trimviz import select
from trimviz.select import cosine, mask, maxmin, nearest_of, ranking, repmax, seed_of, share

if sys.platform != "linux":
    pytest.skip("Triton is for Linux", allow_module_level=True)

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def fused() -> ModuleType:
    return importlib.import_module("trimviz.fused")


def tokens(seed: int) -> Tensor:
    """(N, d) random tokens with what makes ties: equal rows, zero rows, rows of few values."""
    generator = torch.Generator().manual_seed(seed)
    n = int(torch.randint(2, 90, (1,), generator=generator))
    found = torch.randn(n, 6, generator=generator)
    if seed % 3 == 1:
        found = found.round()
    if seed % 3 == 2:
        found[n // 2 :] = found[: n - n // 2].clone()
    if seed % 5 == 0:
        found[:: max(1, n // 4)] = 0
    return found


@pytest.mark.parametrize("number", range(50))
def test_the_kernels_pick_what_the_plain_loops_pick(fused: ModuleType, number: int) -> None:
    x = tokens(number)
    n = len(x)
    similarity, chosen = cosine(x), ranking(-x.norm(dim=1))[: share(0.8, n)]
    allowed = mask(chosen, n)
    seed, nearest = seed_of(similarity, chosen), nearest_of(similarity, allowed)
    for k in {1, max(1, len(chosen) // 3), len(chosen)}:
        pairs = (
            (repmax(similarity, allowed, seed, k), fused.repmax(similarity, allowed, seed, k)),
            (maxmin(similarity, allowed, k), fused.maxmin(similarity, nearest, allowed, k)),
        )
        for plain, mine in pairs:
            assert torch.equal(plain[0], mine[0])
            torch.testing.assert_close(plain[1], mine[1], rtol=0, atol=0, equal_nan=True)


def test_kernels_are_used_only_where_they_agree(
    fused: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    checked = select._checked.__wrapped__
    assert checked(CPU) is fused and not caplog.records
    assert select._kernels(torch.eye(3)) is None, "on a CPU the loops run as they are written"
    monkeypatch.setattr(fused, "repmax", lambda similarity, allowed, seed, k: maxmin(similarity, allowed, k))
    assert checked(CPU) is None and "pick other tokens" in caplog.text

    def broken(*_: object) -> None:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(fused, "repmax", broken)
    assert checked(CPU) is None and "no compiler" in caplog.text
    monkeypatch.setitem(sys.modules, "trimviz.fused", None)
    assert checked(CPU) is None, "nor without Triton"
