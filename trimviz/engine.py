"""One loop over decoder layers: prefill with cuts, greedy decode token by token; it does not know any method.

Logits of an uncut run equal those of the model's own `generate`. Batch 1, greedy.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from transformers import DynamicCache

from trimviz.models.base import Model, works_on
from trimviz.pruners.base import Pruner
from trimviz.tape import Tape, recording
from trimviz.tiles import by_anchor, by_tile
from trimviz.types import Cut, Encoded, Stage, View

Stop = Callable[[], bool]


class Cancelled(Exception):
    """The caller's `stop()` became true."""


@dataclass(frozen=True, eq=False)
class Prefilled:
    """A prompt that went through the model: where every answer to it starts."""

    logits: Tensor  # (V,) float32: of the first answer token
    cache: DynamicCache  # one length per layer; `stream` and `score` leave it as it is
    offsets: tuple[int, ...]  # (L,) RoPE position of the first answer token in each layer
    stages: tuple[Stage, ...]
    alive: np.ndarray  # (L,) tokens entering each layer
    visual_alive: np.ndarray  # (L,) visual tokens among them
    seconds: dict[str, float]  # "vision", "select", and "prefill" without it


@dataclass
class _Flow:
    """The prompt on its way through the layers, and whose token is whose."""

    hidden: Tensor  # (1, T', d)
    positions: Tensor  # (1 or 3, T')
    visual: Tensor  # (T',) bool
    question: Tensor  # (T',) bool
    newline: Tensor  # (T',) int: the row that a newline token ends, -1 elsewhere
    owner: Tensor  # (N0,) int: the visual token in which each of the encoder's tokens lives, -1 = gone
    origin: Tensor  # (N',) int: which of the encoder's tokens each visual token is anchored in
    stages: list[Stage] = field(default_factory=list)

    @classmethod
    def start(cls, prompt: Encoded) -> _Flow:
        everything = torch.arange(prompt.n, device=prompt.embeds.device)
        newline = torch.full_like(prompt.ids, -1) if prompt.newline is None else prompt.newline
        return cls(
            prompt.embeds[None], prompt.positions, prompt.visual, prompt.question, newline, everything, everything
        )

    def places(self) -> tuple[Tensor, Tensor]:
        """Where in the sequence the visual and the textual tokens stand; newline tokens are neither."""
        return self.visual.nonzero()[:, 0], (~self.visual & (self.newline < 0)).nonzero()[:, 0]


def plan(pruner: Pruner | None, layers: int, n: int, budget: float | None) -> dict[int, int]:
    """{depth: visual tokens left there}; empty for a dense run or a budget of N and more.

    Raises ValueError for a budget that is no number of at least one token.
    """
    if pruner is None:
        return {}
    if budget is None or not budget >= 1:
        raise ValueError(f"Expected a budget of at least 1 visual token, got {budget}; choose 1 to {n}.")
    return {} if budget >= n else pruner.schedule(layers, n, budget)


@torch.inference_mode()
def prefill(
    model: Model, prompt: Encoded, pruner: Pruner | None = None, budget: float | None = None, stop: Stop = lambda: False
) -> Prefilled:
    """Run the prompt through all layers, cutting where the pruner's schedule says; `budget` is the mean over layers.

    Raises ValueError for a budget below one token or below what the method can meet, `Cancelled` once `stop()` is true.
    """
    schedule = plan(pruner, len(model.layers), prompt.n, budget)
    cache, tape = DynamicCache(), None
    offsets, alive, visual_alive, selecting = [], [], [], 0.0
    start = model.clock()
    flow = _enter(prompt, pruner, budget, model.lines_kept(prompt.vision))
    seeing = prompt.seconds if not flow.stages else model.clock() - start
    start = model.clock()
    rotary, offset = model.rotary(flow.hidden, flow.positions), _next(flow)
    for depth, layer in enumerate(model.layers):
        if stop():
            raise Cancelled
        if pruner is not None and depth in schedule and schedule[depth] < len(flow.origin):
            before = model.clock()
            flow.hidden = flow.hidden.to(flow.visual.device)  # a model split over devices leaves it on another one
            seen = _look_at(flow, tape) if tape else _no_attention
            view = _view(prompt, flow, depth, seen, _dry_run(flow, layer, rotary))
            made = _choose(pruner, view, schedule[depth], model.apart_by(prompt.vision))
            _apply(flow, made, depth, pruner.positions, model.lines_kept(prompt.vision))
            selecting += model.clock() - before
            rotary, offset = model.rotary(flow.hidden, flow.positions), _next(flow)
        offsets.append(offset)
        alive.append(flow.hidden.shape[1])
        visual_alive.append(len(flow.origin))
        if depth + 1 in schedule:
            with recording(layer.self_attn) as (tape,):
                flow.hidden = _run(layer, flow.hidden, flow.positions, rotary, cache)
        else:
            flow.hidden = _run(layer, flow.hidden, flow.positions, rotary, cache)
    logits = model.head(model.norm(flow.hidden[:, -1:]))[0, -1].float()
    seconds = {"vision": seeing, "select": selecting, "prefill": model.clock() - start - selecting}
    visual = np.array(visual_alive)
    return Prefilled(logits, cache, tuple(offsets), tuple(flow.stages), np.array(alive), visual, seconds)


@torch.inference_mode()
def warm_up(model: Model) -> None:
    """Run a few tokens through every layer once, so that first-call costs land in nobody's measured seconds."""
    if model.warm:
        return
    hidden = model.embed(torch.zeros(1, 8, dtype=torch.long, device=model.device))
    positions = torch.arange(8, device=model.device).expand(model.axes, -1)
    rotary, cache = model.rotary(hidden, positions), DynamicCache()
    for layer in model.layers:
        hidden = _run(layer, hidden, positions, rotary, cache)
    model.head(model.norm(hidden))
    model.warm = True


@torch.inference_mode()
def stream(
    model: Model,
    state: Prefilled,
    limit: int = 128,
    stop: Stop = lambda: False,
    ends: Container[int] | None = None,
    steps: Callable[[int], Tensor] | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Greedy answer: yields each token id with the logits (V,) that chose it.

    Ends at `limit` tokens, at `stop()`, or before one of `ends`, by default the model's own end-of-text tokens.
    steps: makes the logits that follow a token, such as `trimviz.static.Steps`, in place of growing caches.
    """
    ends = model.eos if ends is None else ends
    logits, steps = state.logits, steps or _growing(model, _branch(state.cache), state.offsets)
    for step in range(limit):
        token = int(logits.argmax())
        if token in ends or stop():
            return
        yield token, logits
        if step + 1 < limit and not stop():
            logits = steps(token)


def _growing(model: Model, cache: DynamicCache, offsets: Sequence[int]) -> Callable[[int], Tensor]:
    """Decode steps over caches that grow, token by token."""
    done = itertools.count()
    return lambda token: _forward(model, cache, offsets, [token], next(done))[-1]


@torch.inference_mode()
def score(model: Model, state: Prefilled, ids: Sequence[int]) -> Tensor:
    """(A, V) float32 logits with which the model would have chosen each token of an answer `ids` (A,)."""
    if len(ids) < 2:
        return state.logits[None][: len(ids)]
    rest = _forward(model, _branch(state.cache), state.offsets, ids[:-1], 0)
    return torch.cat([state.logits[None], rest])


def _forward(model: Model, cache: DynamicCache, offsets: Sequence[int], ids: Sequence[int], done: int) -> Tensor:
    """(A, V) logits after each of A answer tokens, the first being the answer's token number `done`."""
    hidden = model.embed(torch.tensor([list(ids)], device=model.device))  # (1, A, d)
    count = len(ids)
    rotary = {}
    for offset in set(offsets):
        positions = torch.arange(count, device=hidden.device)[None] + offset + done  # (1, A)
        rotary[offset] = positions, model.rotary(hidden, positions.expand(model.axes, -1))
    for depth, layer in enumerate(model.layers):
        positions, cos_sin = rotary[offsets[depth]]
        past = cache.layers[depth].keys.shape[-2]
        mask = None if count == 1 else _causal(count, past, hidden.device)
        hidden = _run(layer, hidden, positions, cos_sin, cache, mask)
    return model.head(model.norm(hidden))[0].float()


def _run(
    layer: nn.Module,
    hidden: Tensor,
    positions: Tensor,
    rotary: tuple[Tensor, Tensor],
    cache: DynamicCache,
    mask: Tensor | None = None,
) -> Tensor:
    """One decoder layer; without a mask it is causal where the cache is empty, and a single token sees all."""
    return layer(
        hidden,
        attention_mask=mask,
        position_ids=positions[:1],
        past_key_values=cache,
        use_cache=True,
        position_embeddings=rotary,
    )


def _causal(count: int, past: int, device: torch.device) -> Tensor:
    """(1, 1, A, past + A) bool mask of a chunk of A tokens behind a cache."""
    return torch.ones(count, past + count, dtype=torch.bool, device=device).tril(past)[None, None]


def _branch(cache: DynamicCache) -> DynamicCache:
    """The same cache to go on from: growing it makes new tensors and leaves the first one as it was."""
    twin = copy.copy(cache)
    twin.layers = [copy.copy(layer) for layer in cache.layers]
    return twin


def _next(flow: _Flow) -> int:
    """RoPE position of the first answer token: behind the prompt's last, as `generate` counts on every axis."""
    return int(flow.positions[:, -1].max()) + 1


def door(prompt: Encoded) -> View:
    """What a pruner sees at depth 0, the language model's door; nothing has run, so there is no attention yet."""
    return _view(prompt, _Flow.start(prompt), 0, _no_attention, _no_attention)


def _no_attention(rows: Tensor) -> Tensor:
    raise ValueError("No layer has run before depth 0, so there is no attention to look at; cut deeper.")


def _view(
    prompt: Encoded,
    flow: _Flow,
    depth: int,
    attention: Callable[[Tensor], Tensor],
    look_ahead: Callable[[Tensor], Tensor],
) -> View:
    places, text = flow.places()
    return View(
        depth=depth,
        visual=flow.hidden[0, places],
        text=flow.hidden[0, text],
        question=flow.question[text],
        after=text > places[-1],
        origin=flow.origin,
        vision=prompt.vision,
        attention=attention,
        look_ahead=look_ahead,
        size=torch.bincount(flow.owner[flow.owner >= 0], minlength=len(places)),
        grids=tuple(torch.from_numpy(panel.token).to(flow.hidden.device) for panel in prompt.panels),
        door=lambda: door(prompt),
        memo=prompt.memo if depth == 0 else {},  # deeper down, what is left depends on the run
    )


def _look_at(flow: _Flow, tape: Tape) -> Callable[[Tensor], Tensor]:
    """Rows of text (R,) -> (H, R, N) attention to the visual tokens on a tape."""
    places, text = flow.places()
    return lambda rows: tape.weights(text[rows], causal=True).to(places.device)[..., places]


def _dry_run(flow: _Flow, layer: nn.Module, rotary: tuple[Tensor, Tensor]) -> Callable[[Tensor], Tensor]:
    """The same for a layer that has not run: its queries and keys alone are computed."""

    def attention(rows: Tensor) -> Tensor:
        device = works_on(layer.input_layernorm)
        with recording(layer.self_attn, dry=True) as (tape,):
            layer.self_attn(
                hidden_states=layer.input_layernorm(flow.hidden.to(device)),
                attention_mask=None,
                position_ids=flow.positions[:1].to(device),
                past_key_values=None,
                position_embeddings=tuple(part.to(device) for part in rotary),
            )
        return _look_at(flow, tape)(rows)

    return attention


def _enter(prompt: Encoded, pruner: Pruner | None, budget: float | None, lines: Tensor | None) -> _Flow:
    """The prompt before the first layer; where the pruner cuts inside the vision tower, that has been done."""
    flow = _Flow.start(prompt)
    tower = prompt.vision.tower
    if pruner is None or budget is None or budget >= prompt.n or tower is None:
        return flow
    early = pruner.early(tower.depth, tower.patches, budget)
    if not early:
        return flow
    walk, everything = tower.run(pruner.cut, early), flow.owner
    flow.owner = walk.start
    for depth, cut in walk.stages:
        if len(cut.anchor) < len(cut.owner):
            _record(flow, cut, depth)
        flow.owner = torch.where(flow.owner >= 0, cut.owner[flow.owner.clamp_min(0)], -1)
    flow.owner = everything
    _shorten(flow, walk.final, pruner.positions, lines)
    return flow


def _choose(pruner: Pruner, view: View, k: int, tile: Tensor | None) -> Cut:
    """The pruner's cut, tile by tile where `tile` (N0,) names them and nothing has run yet."""
    if tile is None or view.depth > 0:
        return pruner.cut(view, k)
    return by_tile(pruner.cut, view, k, tile[view.origin])


def _apply(flow: _Flow, cut: Cut, depth: int, numbering: str, lines: Tensor | None) -> None:
    """Shorten the flow by a cut and write down its stages."""
    if not _in_one_piece(flow) and bool((cut.anchor >= 0).all()):
        cut = by_anchor(cut)
    _record(flow, cut, depth)
    _shorten(flow, cut, numbering, lines)


def _in_one_piece(flow: _Flow) -> bool:
    """Whether no words stand between visual tokens."""
    places = flow.visual.nonzero()[:, 0]
    return bool((flow.visual | (flow.newline >= 0))[places[0] : places[-1] + 1].all())


def _shorten(flow: _Flow, cut: Cut, numbering: str, lines: Tensor | None) -> None:
    """Carry out a cut.

    A newline token stays while a token of its row does, where `lines` (N0,) tells the rows; without, it goes.
    """
    places = flow.visual.nonzero()[:, 0]
    kept = places[cut.anchor.clamp_min(0)]
    if bool((cut.anchor >= 0).all()) and bool((cut.anchor.diff() > 0).all()):
        stay = ~flow.visual & (flow.newline < 0)
        stay[kept] = True
        if lines is not None:
            stay |= (flow.newline >= 0) & torch.isin(flow.newline, lines[flow.origin[cut.anchor]])
        index = stay.nonzero()[:, 0]
        visual = flow.visual[index]
    else:  # outputs in an order of their own take the place of the visual tokens as one block
        if not _in_one_piece(flow):
            raise ValueError(
                "This method reorders visual tokens, which needs them in one piece, and this prompt has words between; "
                "ask about one picture or choose another method."
            )
        tail = torch.arange(int(places[-1]) + 1, len(flow.visual), device=places.device)
        index = torch.cat([torch.arange(int(places[0]), device=places.device), kept, tail])
        visual = torch.zeros(len(index), dtype=torch.bool, device=places.device)
        visual[int(places[0]) : int(places[0]) + len(kept)] = True
    flow.hidden = flow.hidden[:, index]
    if cut.tokens is not None:
        flow.hidden[0, visual] = cut.tokens.to(flow.hidden)
    flow.visual, flow.question, flow.newline = visual, flow.question[index], flow.newline[index]
    # Several RoPE axes hold a token's place in the picture, which numbering anew would lose.
    if numbering == "keep" or len(flow.positions) > 1:
        flow.positions = flow.positions[:, index]
    else:
        flow.positions = torch.arange(len(index), device=index.device)[None]
    flow.owner = torch.where(flow.owner >= 0, cut.owner[flow.owner.clamp_min(0)], -1)
    flow.origin = torch.where(cut.anchor >= 0, flow.origin[cut.anchor.clamp_min(0)], -1)


def _record(flow: _Flow, cut: Cut, depth: int) -> None:
    alive = (flow.owner >= 0).cpu().numpy()
    owner = flow.owner.cpu().numpy()[alive]

    def spread(values: Tensor, gone: float) -> np.ndarray:
        """Per current visual token -> per token of the encoder."""
        told = values.cpu().numpy()
        out = np.full(len(alive), gone, dtype=told.dtype)
        out[alive] = told[owner]
        return out

    scores = {name: spread(values.float(), np.nan) for name, values in cut.scores.items()}
    for name, kept in cut.stages:
        told = spread(kept, False)
        flow.stages.append(
            Stage(name, depth, told, np.where(told, np.arange(len(told)), -1), scores=scores, higher=cut.higher)
        )
    final = spread(cut.owner, -1)
    rank = None if cut.order is None else np.where(final >= 0, cut.order.cpu().numpy()[final], -1)
    film = {name: values.cpu().numpy() for name, values in cut.film.items()}
    if depth < 0:  # the tower puts a merged token into the place of its first patch
        lives = np.flatnonzero(final >= 0)
        places = lives[np.unique(final[lives], return_index=True)[1]]
    else:
        places = flow.origin[cut.anchor[cut.anchor >= 0]].cpu().numpy()
    stands = np.zeros(len(alive), dtype=bool)
    stands[places[places >= 0]] = True
    flow.stages.append(Stage(cut.name, depth, final >= 0, final, rank, scores, film, cut.higher, stands))
