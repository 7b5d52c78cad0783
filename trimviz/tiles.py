"""Selection tile by tile: a view in parts, a cut of each, and the cuts as one; it knows no method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from trimviz.select import quotas
from trimviz.types import Cut, View, Vision


def by_tile(cut: Callable[[View, int], Cut], view: View, k: int, tile: Tensor) -> Cut:
    """A cut of each tile alone, at the language model's door: `tile` (N,) int, k tokens shared out by the tiles' sizes.

    A tile that keeps all or none of its tokens is not asked; it has no scores and no picks. Films are left out.
    """
    shares = quotas(tile, k)
    return _join(view, [_one(cut, view, index, count) for index, count in shares], [index for index, _ in shares])


def _one(cut: Callable[[View, int], Cut], view: View, index: Tensor, k: int) -> Cut:
    n = len(index)
    every = torch.arange(n, device=index.device)
    if k == n:
        return Cut(every, every)
    if k == 0:
        return Cut(torch.full_like(every, -1), every[:0])
    return cut(part(view, index), k)


def part(view: View, index: Tensor) -> View:
    """The view of some of its tokens (n,) as if the encoder had made no others."""
    place = torch.full((len(view.visual),), -1, device=index.device)
    place[index] = torch.arange(len(index), device=index.device)
    return replace(
        view,
        visual=view.visual[index],
        origin=torch.arange(len(index), device=index.device),
        vision=_seen(view.vision, view.origin[index]),
        size=view.size[index],
        grids=tuple(_cropped(grid, place) for grid in view.grids if bool((place[grid[grid >= 0]] >= 0).any())),
        door=lambda: part(view.door(), index),
        memo=view.once(("tile", int(index[0])), dict),
    )


def _seen(vision: Vision, rows: Tensor) -> Vision:
    """What the tower knows about some of the tokens."""
    tiles, tile = vision.tile[rows].unique(return_inverse=True)
    aligned = ("features", "keys", "cls_attention", "last_keys", "last_attention", "line")
    told = {name: getattr(vision, name) for name in aligned}
    cut = {name: values[rows] for name, values in told.items() if values is not None}
    return replace(vision, tile=tile, cls=None if vision.cls is None else vision.cls[tiles], **cut)


def _cropped(grid: Tensor, place: Tensor) -> Tensor:
    """A panel's cells of the tokens in `place`, by their new numbers."""
    cells = torch.where(grid >= 0, place[grid.clamp_min(0)], -1)
    rows, cols = (cells >= 0).any(dim=1).nonzero()[:, 0], (cells >= 0).any(dim=0).nonzero()[:, 0]
    return cells[int(rows[0]) : int(rows[-1]) + 1, int(cols[0]) : int(cols[-1]) + 1]


def _join(view: View, cuts: list[Cut], groups: list[Tensor]) -> Cut:
    """Cuts of disjoint sets of tokens as one of all, in the order of their anchors where every output has one."""
    n, device = len(view.visual), view.visual.device
    like = next((made for made in cuts if made.scores or made.order is not None), cuts[0])
    owner = torch.full((n,), -1, dtype=torch.long, device=device)
    scores = {name: torch.full((n,), torch.nan, device=device) for made in cuts for name in made.scores}
    stages = {name: torch.zeros(n, dtype=torch.bool, device=device) for name, _ in like.stages}
    anchors, before = [], 0
    for made, index in zip(cuts, groups, strict=True):
        owner[index] = torch.where(made.owner >= 0, made.owner + before, -1)
        anchors.append(torch.where(made.anchor >= 0, index[made.anchor.clamp_min(0)], -1))
        before += len(made.anchor)
        for name, values in made.scores.items():
            scores[name][index] = values.float()
        for name, kept in stages.items():
            kept[index] = dict(made.stages).get(name, made.owner >= 0)
    anchor, tokens, order = torch.cat(anchors), None, None
    if any(made.tokens is not None for made in cuts):
        own = zip(cuts, anchors, strict=True)
        tokens = torch.cat([view.visual[place] if made.tokens is None else made.tokens for made, place in own])
    if like.order is not None:  # the first pick of every tile, then the second of every tile, and so on
        ranks = [torch.arange(len(made.anchor), device=device) if made.order is None else made.order for made in cuts]
        turns = [rank * len(cuts) + number for number, rank in enumerate(ranks)]
        order = torch.cat(turns).argsort().argsort()
    whole = replace(
        like,
        owner=owner,
        anchor=anchor,
        tokens=tokens,
        order=order,
        scores=scores,
        stages=tuple(stages.items()),
        film={},
    )
    return by_anchor(whole) if bool((anchor >= 0).all()) else whole


def by_anchor(cut: Cut) -> Cut:
    """The same cut with its outputs in the order of their anchors."""
    order = cut.anchor.argsort()
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    return replace(
        cut,
        owner=torch.where(cut.owner >= 0, place[cut.owner.clamp_min(0)], -1) if len(order) else cut.owner,
        anchor=cut.anchor[order],
        tokens=None if cut.tokens is None else cut.tokens[order],
        order=None if cut.order is None else cut.order[order],
    )
