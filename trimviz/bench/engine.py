"""The project's own loop over layers against transformers' `generate`, dense, on the same prompt."""

from __future__ import annotations

from typing import Any

import torch

from trimviz import engine
from trimviz.bench.measure import race
from trimviz.models.base import Model
from trimviz.types import Encoded


def bench_engine(model: Model, prompt: Encoded, tokens: int, rounds: int) -> dict[str, Any]:
    """Seconds of prefill and of each further token, for both; and the ratio own / generate."""

    def own(count: int) -> None:
        state = engine.prefill(model, prompt)
        for _ in engine.stream(model, state, count, ends=()):  # as many tokens as generate is told to make
            pass

    def generate(count: int) -> None:
        model.core.generate(
            inputs_embeds=prompt.embeds[None],
            attention_mask=torch.ones(1, len(prompt.embeds), dtype=torch.long, device=model.device),
            position_ids=None if model.axes == 1 else prompt.positions[:, None],
            min_new_tokens=count,
            max_new_tokens=count,
            do_sample=False,
        )

    times = race(
        {
            "own 1": lambda: own(1),
            "generate 1": lambda: generate(1),
            "own all": lambda: own(tokens),
            "generate all": lambda: generate(tokens),
        },
        rounds,
        model.clock,
    )
    first = {name: times[f"{name} 1"].median for name in ("own", "generate")}
    rest = {name: (times[f"{name} all"].median - first[name]) / (tokens - 1) for name in ("own", "generate")}
    return {
        "tokens in": len(prompt.embeds),
        "tokens out": tokens,
        "first token s": first,
        "further token s": rest,
        "ratio first token": first["own"] / first["generate"],
        "ratio further token": rest["own"] / rest["generate"],
        "spread s": {name: timing.spread for name, timing in times.items()},
    }
