"""The fused greedy loops against the plain ones, in Triton's interpreter: the same picks and values; and they compile.

The interpreter takes the first of equal values whatever a kernel asks for, so how a GPU breaks ties is not seen here;
`select._checked` looks at that on the GPU itself, before the kernels are used.
"""

from __future__ import annotations

import importlib
import logging
import os
import subprocess
import sys
from pathlib import Path
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


COMPILE = """
import sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from trimviz import fused

tokens = {"rows": "*fp32", "allowed": "*i8", "picks": "*i64", "n": "i32", "k": "i32", "BLOCK": "constexpr"}
more = {"_repmax": {"lows": "*fp32", "seed": "i32"}, "_maxmin": {"nearest": "*fp32", "gaps": "*fp32"}}
for capability in (75, 80, 90):  # T4, A100, H100
    for block in (128, fused.LARGEST):
        for name, types in more.items():
            kernel = getattr(fused, name)
            signature = {argument: {**tokens, **types}[argument] for argument in kernel.arg_names}
            source = ASTSource(fn=kernel, signature=signature, constexprs={"BLOCK": block})
            target, options = GPUTarget("cuda", capability, 32), {"num_warps": 16, "enable_fp_fusion": False}
            made = triton.compile(source, target=target, options=options)
            print(name, capability, block, len(made.asm["cubin"]))
"""


def test_the_kernels_compile_for_gpus(tmp_path: Path) -> None:
    """The interpreter takes more than the compiler does; compiling needs no GPU."""
    place = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", COMPILE], env=place, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    made = [line.split() for line in done.stdout.splitlines()]
    assert len(made) == 12 and all(int(size) > 1000 for *_, size in made)


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
