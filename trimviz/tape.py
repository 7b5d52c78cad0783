"""Attention read where transformers computes it: queries, keys and values of a layer, RoPE applied, layer on SDPA.

A tape holds references, so recording costs nothing; weights are computed later and only for the rows asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "trimviz"
_lock = RLock()
_tapes: dict[nn.Module, Tape] = {}


class Tape:
    """What one attention module saw in its last call."""

    def __init__(self, dry: bool = False) -> None:
        self.dry = dry  # True: record and skip the attention itself
        self.query: Tensor | None = None  # (1, H, S, e)
        self.key: Tensor | None = None  # (1, H or fewer, S, e)
        self.value: Tensor | None = None  # as key
        self.scale = 1.0

    def weights(self, rows: Tensor, causal: bool) -> Tensor:
        """(H, R, S) float32 softmax attention of the query rows (R,), as the layer itself weighs them."""
        if self.query is None or self.key is None:
            raise RuntimeError("The tape is empty: the layer that it was put into has not run.")
        query, key = self.query[0].float(), self.key.float()
        rows = rows.to(query.device)
        key = repeat_kv(key, query.shape[0] // key.shape[1])[0]
        logits = query[:, rows] @ key.transpose(1, 2) * self.scale  # (H, R, S)
        if causal:
            later = torch.arange(key.shape[1], device=rows.device) > rows[:, None]
            logits = logits.masked_fill(later, -torch.inf)
        return logits.softmax(-1)


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, Tensor | None]:
    tape = _tapes.get(module)
    if tape is not None:
        tape.query, tape.key, tape.value = query, key, value
        scaling = kwargs.get("scaling")
        tape.scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        if tape.dry:
            return torch.zeros_like(query).transpose(1, 2), None
    return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)


AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, sdpa_mask)


@contextmanager
def recording(*modules: nn.Module, dry: bool = False) -> Iterator[list[Tape]]:
    """Put a tape into attention modules that share one config; the model is as found when the block ends."""
    with _lock:
        config = modules[0].config
        before = config._attn_implementation
        tapes = [Tape(dry) for _ in modules]
        config._attn_implementation = NAME
        _tapes.update(zip(modules, tapes, strict=True))
        try:
            yield tapes
        finally:
            config._attn_implementation = before
            for module in modules:
                del _tapes[module]
