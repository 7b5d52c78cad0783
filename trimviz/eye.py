"""The CLIP tower as a loop over its layers, for methods that prune or merge patches inside it; it knows none of them.

Without cuts it is the tower: the difference is zero. A cut takes place between the attention and the feed-forward part
of a layer, one tile at a time, and never touches the CLS token. Tokens that stand for several patches weigh as many in
the attention of later layers, by the logarithm of their number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from trimviz.tape import Tape, recording
from trimviz.types import Cut, View, Vision, Walk


class Eye:
    """A tower and the pixels (B, 3, height, width) that it looks at.

    depth: layers whose output is used. patch (N,): which patch of all tiles each visual token is.
    """

    def __init__(
        self, tower: Any, depth: int, pixels: Tensor, project: Callable[[Tensor], Tensor], patch: Tensor
    ) -> None:
        self.tower = tower
        self.depth = depth
        self.pixels = pixels
        self.project = project
        self.patch = patch
        config = tower.config
        self.patches = len(pixels) * (config.image_size // config.patch_size) ** 2

    def packed(self, patch: Tensor) -> Eye:
        """The same where the visual tokens are the patches `patch` (N,)."""
        return Eye(self.tower, self.depth, self.pixels, self.project, patch)

    @torch.inference_mode()
    def run(self, cut: Callable[[View, int], Cut], schedule: Mapping[int, int]) -> Walk:
        """Cuts at the depths of `schedule` {depth < 0: patches left}, shared out evenly over the tiles."""
        states = self.tower.pre_layrnorm(self.tower.embeddings(self.pixels))
        device, batch = states.device, len(states)
        per_tile = self.patches // batch
        tiles = [
            _Tile(state[None], torch.arange(per_tile, device=device), self.tower.config.num_attention_heads)
            for state in states
        ]
        stages = []
        for depth, block in enumerate(self.tower.encoder.layers[: self.depth], start=-self.depth):
            left = schedule.get(depth, self.patches)
            shares = [left // batch + (i < left % batch) for i in range(batch)]
            cuts = [tile.step(block, depth, cut, share) for tile, share in zip(tiles, shares, strict=True)]
            if depth in schedule:
                stages.append((depth, _join(cuts)))
        return Walk(tuple(stages), self.patch, self._finish(tiles))

    def _finish(self, tiles: list[_Tile]) -> Cut:
        """Tokens in the order of their first patches, as a cut of the visual tokens."""
        counts = [tile.hidden.shape[1] - 1 for tile in tiles]
        lives = _offset([tile.owner for tile in tiles], counts)  # (P,)
        first = _firsts(lives, sum(counts))
        rank = first.argsort()
        place = torch.empty_like(rank)
        place[rank] = torch.arange(len(rank), device=rank.device)
        owner = torch.where(lives >= 0, place[lives.clamp_min(0)], -1)[self.patch]
        anchor = _firsts(owner, len(rank))
        features = torch.cat([tile.hidden[0, 1:] for tile in tiles])[rank]
        return Cut(owner, torch.where(anchor < len(owner), anchor, -1), tokens=self.project(features))


class _Tile:
    """One tile on its way through the tower, and which patches live on in which of its tokens."""

    def __init__(self, hidden: Tensor, owner: Tensor, heads: int) -> None:
        self.hidden = hidden  # (1, 1 + n', c)
        self.owner = owner  # (n,) int: -1 = gone
        self.heads = heads
        self.memo: dict[Any, Any] = {}

    def step(self, block: nn.Module, depth: int, cut: Callable[[View, int], Cut], k: int) -> Cut:
        """One layer, with a cut to k patches on the way where there are more."""
        count = self.hidden.shape[1] - 1
        size = torch.bincount(self.owner[self.owner >= 0], minlength=count)
        mask = None
        if bool((size > 1).any()):
            mask = torch.cat([size.new_ones(1), size]).log().to(self.hidden.dtype)[None, None, None]
        with recording(block.self_attn) as (tape,):
            attended, _ = block.self_attn(block.layer_norm1(self.hidden), attention_mask=mask)
        hidden = self.hidden + attended
        everything = torch.arange(count, device=hidden.device)
        made = Cut(everything, everything)
        if k < count:
            made = cut(self._view(hidden[0], depth, tape, size), k)
            patches = hidden[0, 1:][made.anchor] if made.tokens is None else made.tokens.to(hidden.dtype)
            hidden = torch.cat([hidden[:, :1], patches[None]], dim=1)
            self.owner = torch.where(self.owner >= 0, made.owner[self.owner.clamp_min(0)], -1)
        self.hidden = hidden + block.mlp(block.layer_norm2(hidden))
        return made

    def _view(self, hidden: Tensor, depth: int, tape: Tape, size: Tensor) -> View:
        assert tape.key is not None and tape.value is not None
        nothing = hidden.new_empty(0, hidden.shape[1])
        keys, values = (part[0].transpose(0, 1).flatten(1) for part in (tape.key, tape.value))  # (1 + n', c)
        attention = tape.weights(torch.zeros(1, dtype=torch.long, device=hidden.device), causal=False)  # (H, 1, 1 + n')
        seen = Vision(
            features=hidden[1:],
            tile=torch.zeros_like(size),
            project=lambda x: x,
            keys=keys[1:],
            cls=hidden[:1],
            cls_attention=attention.mean(dim=0)[0, 1:],
            heads=self.heads,
            values=values[1:],
            cls_values=values[:1],
        )
        return View(
            depth=depth,
            visual=hidden[1:],
            text=nothing,
            question=nothing.new_empty(0, dtype=torch.bool),
            after=nothing.new_empty(0, dtype=torch.bool),
            origin=_firsts(self.owner, len(size)),
            vision=seen,
            attention=_no_text,
            look_ahead=_no_text,
            size=size,
            grids=(),
            door=_no_door,
            memo=self.memo,
        )


def _join(cuts: list[Cut]) -> Cut:
    """Cuts of several tiles as one of all their patches."""
    owner = _offset([cut.owner for cut in cuts], [len(cut.anchor) for cut in cuts])
    anchor = _offset([cut.anchor for cut in cuts], [len(cut.owner) for cut in cuts])
    names = set.union(*(set(cut.scores) for cut in cuts))
    blank = [torch.full((len(cut.owner),), torch.nan, device=owner.device) for cut in cuts]
    scores = {
        name: torch.cat([cut.scores.get(name, none) for cut, none in zip(cuts, blank, strict=True)]) for name in names
    }
    return replace(cuts[0], owner=owner, anchor=anchor, tokens=None, order=None, scores=scores, film={})


def _offset(parts: list[Tensor], counts: list[int]) -> Tensor:
    """Numbers of several sets, of which each counts from 0, as numbers of one set; -1 stays -1."""
    starts = [sum(counts[:i]) for i in range(len(counts))]
    return torch.cat([torch.where(part >= 0, part + start, -1) for part, start in zip(parts, starts, strict=True)])


def _firsts(owner: Tensor, count: int) -> Tensor:
    """(K,) the lowest index that each of `count` outputs owns; the length of `owner` where it owns none."""
    index = torch.arange(len(owner), device=owner.device)
    out = torch.full((count,), len(owner), device=owner.device)
    return out.scatter_reduce(0, owner[owner >= 0], index[owner >= 0], "amin")


def _no_text(rows: Tensor) -> Tensor:
    raise ValueError("Inside the vision tower there is no text whose attention could be looked at; cut deeper.")


def _no_door() -> View:
    raise ValueError("Inside the vision tower there is no prompt yet; cut deeper.")
