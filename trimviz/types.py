"""The nouns that every part shares; frozen, without a batch axis, and without knowledge of any model or method.

Size letters, used in every shape comment:
N visual tokens going in · K visual tokens coming out · N0 visual tokens that the encoder made · M textual tokens ·
T = N + M tokens of the prompt · d width of the language model · c width of the vision tower · H attention heads ·
L decoder layers · A answer tokens · V vocabulary size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Video:
    """Frames of a video in order, upright RGB of one size."""

    frames: tuple[Image.Image, ...]
    times: tuple[float, ...]  # seconds from the start at which each frame is shown
    duration: float | None = None  # seconds of the whole, where that is known

    @property
    def fps(self) -> float | None:
        """Frames a second among those taken; None for a single frame."""
        span = self.times[-1] - self.times[0]
        return (len(self.times) - 1) / span if span > 0 else None


@dataclass(frozen=True, eq=False)
class Panel:
    """One picture that the model saw, cut into cells; `values[panel.token]` turns per-token values into a raster."""

    name: str  # "image", "overview", "tiles", "frame 3"
    picture: Image.Image  # the pixels inside this panel, as the processor framed them
    token: np.ndarray  # (rows, cols) int: the visual token in each cell, -1 where there is none
    content: np.ndarray  # (rows, cols) bool: False where the cell holds only the processor's padding
    box: tuple[float, float, float, float]  # left, top, right, bottom of `picture` in the original's pixels


class Tower(Protocol):
    """A vision tower that can run again with cuts on the way."""

    depth: int  # layers whose output is used
    patches: int  # of all tiles

    def run(self, cut: Callable[[View, int], Cut], schedule: Mapping[int, int]) -> Walk:
        """Cuts at the depths of `schedule` {depth < 0: patches left}."""
        ...

    def packed(self, patch: Tensor) -> Tower:
        """The same tower where the visual tokens are these patches (N,) of it."""
        ...


@dataclass(frozen=True, eq=False)
class Walk:
    """What came of a tower that ran with cuts on the way."""

    stages: tuple[tuple[int, Cut], ...]  # (depth, cut of the patches that were left there), in order
    start: Tensor  # (N,) int: which patch each visual token is
    final: Cut  # all of it as one cut of the N visual tokens, with the tokens that came out


@dataclass(frozen=True, eq=False)
class Vision:
    """What the vision tower knows about the N tokens, before the projector; every array is aligned with them.

    Inside the language model the rows of a view's tokens are `features[view.origin]` and so on.
    """

    features: Tensor  # (N, c)
    tile: Tensor  # (N,) int: which tile or frame a token is from
    project: Callable[[Tensor], Tensor]  # (K, c) -> (K, d)
    keys: Tensor | None = None  # (N, c): keys of the layer that made `features`, heads side by side
    cls: Tensor | None = None  # (tiles, c): the CLS token beside the `features` of each tile
    cls_attention: Tensor | None = None  # (N,): CLS attention of that layer, mean over heads
    heads: int = 1  # attention heads of the vision tower
    last_keys: Tensor | None = None  # (N, c): keys of the tower's very last layer, heads side by side
    last_attention: Tensor | None = None  # (N,): CLS attention there, all heads taken as one
    values: Tensor | None = None  # (N, c): only inside the tower: values of the layer, heads side by side
    cls_values: Tensor | None = None  # (1, c): only inside the tower: those of the CLS token
    tower: Tower | None = None  # runs the vision tower once more, with cuts on the way
    line: Tensor | None = None  # (N,) int: which row a token stands in, where rows end in a newline token; -1 = none

    def to(self, device: torch.device) -> Vision:
        """The same on another device."""
        tensors = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return dataclasses.replace(self, **{k: v.to(device) for k, v in tensors.items() if isinstance(v, Tensor)})


@dataclass(frozen=True, eq=False)
class Look:
    """What one or several pictures became inside the model, before any question was asked."""

    pictures: tuple[Image.Image | Video, ...]
    tokens: Tensor  # (S, d): what stands at the placeholders: N visual tokens, and newline tokens between them
    vision: Vision
    panels: tuple[Panel, ...]
    counts: tuple[int, ...]  # placeholders of each picture, sum S
    inputs: Mapping[str, Any]  # what the processor made of the pictures
    seconds: float  # time in the vision tower and the projector
    newline: Tensor | None = None  # (S,) int: the row that a newline token ends, -1 at visual tokens; None without any


@dataclass(frozen=True, eq=False)
class Encoded:
    """A prompt at the language model's door."""

    asked: str  # the user's question
    text: str  # the whole prompt as the chat template wrote it, one placeholder a picture
    ids: Tensor  # (T,) token ids; the placeholder where `visual`, and at newline tokens
    embeds: Tensor  # (T, d)
    positions: Tensor  # (1, T) or, with multi-axis RoPE, (3, T)
    visual: Tensor  # (T,) bool
    question: Tensor  # (T,) bool: the tokens of the user's own words
    vision: Vision
    panels: tuple[Panel, ...]
    seconds: float  # time in the vision tower and the projector
    newline: Tensor | None = None  # (T,) int: the row that a newline token ends, -1 elsewhere; never `visual`
    before: tuple[tuple[str, str], ...] = ()  # earlier turns of the conversation, each a question and its answer
    memo: dict[Any, Any] = field(default_factory=dict)  # scores worth computing once per picture and question

    @property
    def n(self) -> int:
        """Number of visual tokens, N."""
        return int(self.visual.sum())


@dataclass(frozen=True, eq=False)
class View:
    """All that a pruner may look at, before the decoder layer `depth` runs.

    At a negative depth it is inside the vision tower: depth -1 is the last layer whose output is used, between
    attention and feed-forward, `visual` (N, c) are the patches of one tile, and there is no text.
    """

    depth: int
    visual: Tensor  # (N, d)
    text: Tensor  # (M, d)
    question: Tensor  # (M,) bool: rows of `text` that are the user's own words
    after: Tensor  # (M,) bool: rows of `text` that follow the last visual token
    origin: Tensor  # (N,) int: which of the encoder's N0 tokens each visual token is anchored in
    vision: Vision
    attention: Callable[[Tensor], Tensor]  # rows of `text` (R,) -> (H, R, N) float32, in the layer just run
    look_ahead: Callable[[Tensor], Tensor]  # the same in the layer about to run
    size: Tensor  # (N,) int: how many of the N0 tokens live in each visual token
    grids: tuple[Tensor, ...]  # (rows, cols) int of each panel: the token of N0 in each cell, -1 where there is none
    door: Callable[[], View]  # the prompt as it stood at depth 0; its rows of `text` are these
    memo: dict[Any, Any] = field(default_factory=dict)

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """The value of `make()`, computed once per picture and question at this depth."""
        key = (self.depth, key)
        if key not in self.memo:
            self.memo[key] = make()
        return self.memo[key]

    def known(self, key: Any) -> Any:
        """What `once` has computed under this key; None where it has not."""
        return self.memo.get((self.depth, key))


@dataclass(frozen=True, eq=False)
class Cut:
    """What a pruner decides: N visual tokens in, K out, in the order in which they go on."""

    owner: Tensor  # (N,) int: the output in which each input lives on, -1 = dropped
    anchor: Tensor  # (K,) int: the input whose place each output takes, -1 = none (a CLS token)
    name: str = "kept"  # of the final set
    tokens: Tensor | None = None  # (K, d): None keeps the anchors' own vectors
    order: Tensor | None = None  # (K,) int: pick rank of each output, 0 first
    scores: Mapping[str, Tensor] = field(default_factory=dict)  # {name: (N,)}: what it looked at
    stages: tuple[tuple[str, Tensor], ...] = ()  # (name, (N,) bool kept): steps on the way to the final set
    film: Mapping[str, Tensor] = field(default_factory=dict)  # {name: (K,)}: one value per greedy step
    higher: Mapping[str, str] = field(default_factory=dict)  # {score or film: what a higher value means}


@dataclass(frozen=True, eq=False)
class Stage:
    """A cut told in the N0 tokens that the encoder made; numpy, ready to draw."""

    name: str
    depth: int
    kept: np.ndarray  # (N0,) bool
    owner: np.ndarray  # (N0,) int: the output in which each token lives on, -1 = dropped
    order: np.ndarray | None = None  # (N0,) int: pick rank, -1 = not picked; None where the method has no order
    scores: Mapping[str, np.ndarray] = field(default_factory=dict)  # {name: (N0,) float32}, NaN = already gone
    film: Mapping[str, np.ndarray] = field(default_factory=dict)  # {name: (K,)}: one value per greedy step
    higher: Mapping[str, str] = field(default_factory=dict)  # {score or film: what a higher value means}
    stands: np.ndarray | None = None  # (N0,) bool: in whose place an output stands; what else is kept merged into one

    @property
    def standing(self) -> np.ndarray:
        """(N0,) bool: the kept tokens without those that were merged into another's place."""
        return self.kept if self.stands is None else self.stands


@dataclass(frozen=True, eq=False)
class Answer:
    """What the model said, token by token."""

    ids: tuple[int, ...]
    text: str
    logprobs: np.ndarray  # (A,) float32: log-probability of each token when it was chosen
    finished: bool  # False where it was cancelled or reached the token limit


@dataclass(frozen=True, eq=False)
class Run:
    """One answer and how it came about; everything in numpy, so that drawing needs no tensor."""

    method: str  # "dense" or the method's key
    knobs: Mapping[str, Any]
    budget: float | None  # mean visual tokens per layer that was asked for; None for the dense run
    answer: Answer
    stages: tuple[Stage, ...]
    alive: np.ndarray  # (L,) int: tokens that enter each layer during prefill
    visual_alive: np.ndarray  # (L,) int: visual tokens among them
    seconds: Mapping[str, float]  # "vision", "select", "prefill", "first token", "decode" (per token)
    flops: float  # computed, prefill of the language model
    kv_bytes: int  # computed, caches after prefill
    panels: tuple[Panel, ...]

    @property
    def n1(self) -> int | None:
        """Size of the first stage, where a method narrows the tokens in several stages at one depth; None elsewhere."""
        if len(self.stages) < 2 or self.stages[0].depth != self.stages[-1].depth:
            return None
        return int(self.stages[0].kept.sum())

    @property
    def kept(self) -> np.ndarray:
        """(K,) sorted token indices that live through the last stage; all of them in a dense run."""
        if not self.stages:
            return np.arange(sum(int((p.token >= 0).sum()) for p in self.panels))
        return np.flatnonzero(self.stages[-1].kept)

    @property
    def standing(self) -> np.ndarray:
        """The same without tokens that were merged into another's place."""
        return np.flatnonzero(self.stages[-1].standing) if self.stages else self.kept

    @property
    def counts(self) -> dict[str, float]:
        """Visual tokens per layer as budgets are counted in print, and as methods take it in their knob `count`.

        "input": mean of those that enter a layer; "output": mean of those left when the cut behind it is done; "final":
        those left after the last cut.
        """
        left = [*self.visual_alive[1:], self.visual_alive[-1]]
        return {"input": float(self.visual_alive.mean()), "output": float(np.mean(left)), "final": float(left[-1])}
