"""A view made by hand, for tests of methods without a model."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from trimviz.types import View, Vision


def no_attention(rows: Tensor) -> Tensor:
    raise AssertionError("this method was not expected to look at attention")


def no_door() -> View:
    raise AssertionError("this method was not expected to look back at the door")


def vision(features: Tensor, **fields) -> Vision:
    """A vision tower's knowledge with an identity projector; one tile unless told otherwise."""
    fields.setdefault("tile", torch.zeros(len(features), dtype=torch.long))
    fields.setdefault("project", lambda x: x)
    return Vision(features=features, **fields)


def view(
    visual: Tensor,
    text: Tensor | None = None,
    question: Tensor | None = None,
    after: Tensor | None = None,
    depth: int = 0,
    seen: Vision | None = None,
    attention: Callable[[Tensor], Tensor] = no_attention,
    look_ahead: Callable[[Tensor], Tensor] = no_attention,
    grid: tuple[int, int] | None = None,
    door: View | None = None,
) -> View:
    """Visual tokens (N, d) and textual tokens (M, d); all of them of the question and behind the picture."""
    text = torch.zeros(1, visual.shape[1]) if text is None else text
    every = torch.ones(len(text), dtype=torch.bool)
    return View(
        depth=depth,
        visual=visual,
        text=text,
        question=every if question is None else question,
        after=every if after is None else after,
        origin=torch.arange(len(visual)),
        vision=vision(visual) if seen is None else seen,
        attention=attention,
        look_ahead=look_ahead,
        size=torch.ones(len(visual), dtype=torch.long),
        grids=() if grid is None else (torch.arange(len(visual)).reshape(grid),),
        door=no_door if door is None else (lambda: door),
    )
