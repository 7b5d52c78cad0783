"""Interleaved timing: every candidate once a round, so that a machine's drift hits all of them alike."""

from __future__ import annotations

import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from trimviz import __version__

Value = str | int | float
Row = dict[str, Value]


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

    @property
    def row(self) -> Row:
        fastest, slowest = self.spread
        return {"median s": self.median, "fastest s": fastest, "slowest s": slowest}


@dataclass(frozen=True)
class Result:
    """What one bench found: a table, and the few numbers that are compared with something."""

    bench: str
    settings: Mapping[str, Value]
    rows: Sequence[Row]
    facts: Mapping[str, Value] = field(default_factory=dict)

    def record(self, where: Mapping[str, Value]) -> dict[str, Any]:
        """As JSON, with what a figure must be read with."""
        return {
            "bench": self.bench,
            "date": date.today().isoformat(),
            "command": shlex.join(["trimviz", *sys.argv[1:]]),
            "machine": dict(where),
            "settings": dict(self.settings),
            "facts": dict(self.facts),
            "rows": [dict(row) for row in self.rows],
        }


def settings(repo: str, dtype: torch.dtype, **more: Value) -> dict[str, Value]:
    """What a bench of a model was run with; in names, underscores stand for blanks."""
    kind = str(dtype).removeprefix("torch.")
    return {"model": repo, "dtype": kind, **{name.replace("_", " "): value for name, value in more.items()}}


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


def machine(device: str) -> dict[str, Value]:
    """The machine and the versions; `load` is how many processes wanted to run before the bench began."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        cpu = next(
            (line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")),
            cpu,
        )
    cuda = device.startswith("cuda")
    return {
        "device": torch.cuda.get_device_name(device) if cuda else cpu,
        **({"cuda": str(torch.version.cuda)} if cuda else {}),
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": version("transformers"),
        "trimviz": __version__,
    }
