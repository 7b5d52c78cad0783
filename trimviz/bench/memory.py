"""The most memory that an answer takes, dense and pruned.

On CUDA it is what torch's allocator held at most. On the CPU it is by how much the process grew during the answer, as
Linux counts it, with the weights added, so that both say the same: weights, caches and what is held on the way.
"""

from __future__ import annotations

import ctypes
import gc
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image

from trimviz.bench.floor import weight_bytes
from trimviz.bench.latency import ask
from trimviz.bench.measure import Result, Row, settings
from trimviz.bench.shapes import QUESTION
from trimviz.compare import kv_bytes
from trimviz.models.base import Model
from trimviz.pruners import Pruner

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def bench_memory(model: Model, picture: Image.Image, pruner: Pruner, budget: float, tokens: int, rounds: int) -> Result:
    """Peak bytes of an answer, dense and pruned in turn; ValueError where neither CUDA nor Linux counts them."""
    weights = weight_bytes(model.core)
    everyone: dict[str, Pruner | None] = {"dense": None, pruner.key: pruner}
    peaks: dict[str, list[int]] = {key: [] for key in everyone}
    states = {}
    for turn in range(rounds + 1):
        for key, kind in everyone.items():

            def run(key: str = key, kind: Pruner | None = kind) -> None:
                states[key] = ask(model, model.encode(picture, QUESTION), kind, budget, tokens)

            states.pop(key, None)
            peak = peak_bytes(run, model.device, weights)
            if turn:
                peaks[key].append(peak)
    dense = statistics.median(peaks["dense"])
    caches = {key: kv_bytes(model, state.alive) for key, state in states.items()}
    rows: list[Row] = [
        {
            "method": key,
            "visual tokens": float(states[key].visual_alive.mean()),
            "median GB": statistics.median(values) / 1e9,
            "least GB": min(values) / 1e9,
            "most GB": max(values) / 1e9,
            "of dense": statistics.median(values) / dense,
            "weights GB": weights / 1e9,
            "caches GB": caches[key] / 1e9,
        }
        for key, values in peaks.items()
    ]
    facts = {
        f"{pruner.key} / dense": statistics.median(peaks[pruner.key]) / dense,
        "the same for weights and caches alone": (weights + caches[pruner.key]) / (weights + caches["dense"]),
    }
    told = settings(model.repo, model.dtype, answer_tokens=tokens, rounds=rounds)
    return Result("memory", told, rows, facts)


def peak_bytes(run: Callable[[], None], device: torch.device, weights: int) -> int:
    """The most bytes held while `run` ran, the weights included."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return torch.cuda.max_memory_allocated(device)
    if device.type != "cpu" or not RESET.exists():
        raise ValueError(f"The memory on {device} cannot be counted here; choose a CUDA GPU, or the CPU on Linux.")
    ctypes.CDLL(None).malloc_trim(0)  # freed memory goes back to the system, so that taking it again counts
    RESET.write_text("5", encoding="ascii")  # the peak starts anew, see proc(5)
    before = _resident("VmRSS")
    run()
    return _resident("VmHWM") - before + weights


def _resident(name: str) -> int:
    line = next(line for line in STATUS.read_text(encoding="ascii").splitlines() if line.startswith(name))
    return 1024 * int(line.split()[1])
