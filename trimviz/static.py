"""Decoding over caches of fixed size; on a CUDA GPU one step is captured as a graph and then replayed.

With growing caches every token starts each kernel of each layer anew, and at batch 1 a GPU mostly waits for that. Here
every layer has room for the whole answer from the start, and what is not written yet is masked, so that all steps are
the same. The masked attention rounds in another way than that over a growing cache: logits agree to rounding and not to
the bit. So `engine.stream` goes on with growing caches unless it is given these steps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trimviz.engine import Prefilled
from trimviz.models.base import Model


class _Caches:
    """Keys and values of every layer, as its attention asks for them, with room for more tokens."""

    def __init__(self, state: Prefilled, room: int) -> None:
        layers = state.cache.layers
        self.keys = [_roomy(layer.keys, room) for layer in layers]
        self.values = [_roomy(layer.values, room) for layer in layers]
        self.pasts = [layer.keys.shape[-2] for layer in layers]
        self.next = {past: torch.tensor([past], device=layers[0].keys.device) for past in set(self.pasts)}  # to write

    def update(self, keys: Tensor, values: Tensor, depth: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write one token and give everything back, as a cache of transformers does."""
        at = self.next[self.pasts[depth]]
        self.keys[depth].index_copy_(2, at, keys)
        self.values[depth].index_copy_(2, at, values)
        return self.keys[depth], self.values[depth]


def _roomy(written: Tensor, room: int) -> Tensor:
    """(1, H, past + room, w), the tokens so far (1, H, past, w) in front."""
    return torch.cat([written, written.new_zeros(*written.shape[:2], room, written.shape[3])], dim=2)


class Steps:
    """The steps of one answer to a prompt, at most `room` of them; `state` is left as it is.

    Called with the token that was chosen, gives the logits (V,) float32 of the next. Raises ValueError for a model that
    is split over devices, and beyond the room.
    """

    @torch.inference_mode()
    def __init__(self, model: Model, state: Prefilled, room: int) -> None:
        device = model.device
        if any(layer.keys.device != device for layer in state.cache.layers):
            raise ValueError("Caches of fixed size are for a model on one device; decode a split one without them.")
        self.model, self.room, self.made = model, room, 0
        self.caches, self.offsets = _Caches(state, room), state.offsets
        self.positions = {offset: torch.tensor([[offset]], device=device) for offset in set(state.offsets)}
        self.places = {past: torch.arange(past + room, device=device) for past in self.caches.next}
        self.token = torch.zeros(1, 1, dtype=torch.long, device=device)
        self.logits = torch.empty_like(state.logits)
        self.graph = self._captured() if device.type == "cuda" else None

    @torch.inference_mode()
    def __call__(self, token: int) -> Tensor:
        if self.made == self.room:
            raise ValueError(f"There was room for {self.room} steps and all are made; ask for more room.")
        self.made += 1
        self.token.fill_(token)
        if self.graph is None:
            self._step()
        else:
            self.graph.replay()
        for counted in (*self.caches.next.values(), *self.positions.values()):
            counted += 1
        return self.logits.clone()

    def _step(self) -> None:
        """`token` through every layer into `logits`; nothing in here waits for what a GPU computed."""
        model, hidden = self.model, self.model.embed(self.token)
        rotary = {o: model.rotary(hidden, position.expand(model.axes, -1)) for o, position in self.positions.items()}
        seen = {past: (self.places[past] <= at)[None, None, None] for past, at in self.caches.next.items()}
        for depth, layer in enumerate(model.layers):
            hidden = layer(
                hidden,
                attention_mask=seen[self.caches.pasts[depth]],  # (1, 1, 1, past + room)
                position_ids=self.positions[self.offsets[depth]],
                past_key_values=self.caches,
                use_cache=True,
                position_embeddings=rotary[self.offsets[depth]],
            )
        self.logits.copy_(model.head(model.norm(hidden))[0, -1])

    def _captured(self) -> Any:
        """One step as a graph; before that it runs once aside, where first calls set up what a graph cannot hold."""
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            self._step()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step()
        return graph
