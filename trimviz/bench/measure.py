"""Interleaved timing: every candidate once a round, so that a machine's drift hits all of them alike."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from tqdm.auto import tqdm


@dataclass(frozen=True)
class Timing:
    """Seconds of one candidate over all rounds."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> tuple[float, float]:
        """Fastest and slowest round."""
        return min(self.seconds), max(self.seconds)


def race(
    candidates: Mapping[str, Callable[[], object]], rounds: int, synchronize: Callable[[], object] = lambda: None
) -> dict[str, Timing]:
    """Seconds of each candidate in each of `rounds`, after one round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in tqdm(range(rounds + 1), desc="rounds", leave=False):
        for name, run in candidates.items():
            synchronize()
            start = time.perf_counter()
            run()
            synchronize()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: Timing(tuple(times)) for name, times in seconds.items()}


def machine(device: str) -> dict[str, str | int]:
    """What a figure must be read with."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        cpu = next(
            (line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")),
            cpu,
        )
    return {
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else cpu,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": version("transformers"),
    }
