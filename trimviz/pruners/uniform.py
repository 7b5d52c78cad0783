"""Uniform: evenly spaced tokens in sequence order; a floor that knows nothing of the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from trimviz.pruners.base import Pruner
from trimviz.select import keep
from trimviz.types import Cut, View


@dataclass(frozen=True)
class Uniform(Pruner):
    key: ClassVar[str] = "uniform"
    name: ClassVar[str] = "Uniform"
    paper: ClassVar[str] = ""
    clause: ClassVar[str] = "keeps evenly spaced tokens"

    def cut(self, view: View, k: int) -> Cut:
        n = len(view.visual)
        step = torch.arange(k, device=view.visual.device)
        return keep((2 * step + 1) * n // (2 * k), n)  # the middle of each of k equal stretches
