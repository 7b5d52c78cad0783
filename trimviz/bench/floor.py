"""The least time that a device could need: operations and bytes over what it reaches on one plain product each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from trimviz.bench.measure import race
from trimviz.compare import kv_bytes, prefill_flops
from trimviz.engine import Prefilled
from trimviz.models.base import Model, clock, linear_weights


@dataclass(frozen=True)
class Ceiling:
    """What a device reaches: a product of two square matrices, and one of a matrix too big for its caches."""

    flops: float  # a second
    bytes: float  # a second

    def seconds(self, flops: float, read: float) -> float:
        """The least time for so many operations that read so many bytes."""
        return max(flops / self.flops, read / self.bytes)


def ceiling(device: torch.device, kind: torch.dtype, rounds: int = 5) -> Ceiling:
    """Measured on a device, in a dtype."""
    side, long = (8192, 2**15) if device.type == "cuda" else (1536, 2**13)
    square = torch.ones(side, side, device=device, dtype=kind)
    tall = torch.ones(2 * long, long, device=device, dtype=kind)
    row = torch.ones(long, device=device, dtype=kind)
    with torch.inference_mode():
        times = race({"flops": lambda: square @ square, "bytes": lambda: tall @ row}, rounds, lambda: clock(device))
    flops = 2 * side**3 / times["flops"].spread[0]
    return Ceiling(flops, tall.numel() * tall.element_size() / times["bytes"].spread[0])


@dataclass(frozen=True)
class Work:
    """Operations and bytes of one answer, by part."""

    flops: dict[str, float]  # "vision", "prefill", "decode"
    bytes: dict[str, float]

    def floor(self, best: Ceiling) -> float:
        """Seconds, the parts being one after the other."""
        return sum(best.seconds(self.flops[part], self.bytes[part]) for part in self.flops)


def work(model: Model, state: Prefilled, seeing: float, tokens: int) -> Work:
    """What an answer of so many tokens takes after a prefill; `seeing`: operations of the vision tower.

    Every part reads its weights once, every further token those of the language model and its caches again. Selecting
    is not counted.
    """
    size = model.dtype.itemsize
    layers, head = sum(model.layer_weights), linear_weights(model.head)
    seen = size * (sum(p.numel() for p in model.core.parameters()) - layers - head - model.embed.weight.numel())
    alive, query_heads, width = int(state.alive.sum()), model.heads[0], model.heads[2]
    further = tokens - 1
    again = 2 * (layers + head) + 4 * query_heads * width * alive  # operations of a further token
    return Work(
        flops={
            "vision": seeing,
            "prefill": prefill_flops(model, state.alive) + 2 * head,
            "decode": further * again,
        },
        bytes={
            "vision": seen,
            "prefill": size * (layers + head),
            "decode": further * (size * (layers + head) + kv_bytes(model, state.alive)),
        },
    )


def vision_flops(model: Model, pictures: Sequence[Image.Image]) -> float:
    """Operations of looking at pictures, counted while it is done; attention by plain products, which are counted."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model.look(pictures)
    return float(counter.get_total_flops())


def weight_bytes(core: nn.Module) -> int:
    """Bytes of a model's weights."""
    return sum(p.numel() * p.element_size() for p in core.parameters())
