"""The project's own loop over layers against transformers' `generate`, dense, on the same prompt."""

from __future__ import annotations

import torch

from trimviz import engine
from trimviz.bench.measure import Result, Row, race, settings
from trimviz.models.base import Model
from trimviz.types import Encoded


def bench_engine(model: Model, prompt: Encoded, tokens: int, rounds: int) -> Result:
    """Seconds to the first answer token and to all of them, for both, and the ratios own / generate."""

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
    rows: list[Row] = [
        {"loop": loop, "answer tokens": 1 if part == "1" else tokens, **times[f"{loop} {part}"].row}
        for part in ("1", "all")
        for loop in ("own", "generate")
    ]
    first = {loop: times[f"{loop} 1"].median for loop in ("own", "generate")}
    rest = {loop: (times[f"{loop} all"].median - first[loop]) / (tokens - 1) for loop in first}
    facts = {
        "own / generate, first token": first["own"] / first["generate"],
        "own / generate, each further token": rest["own"] / rest["generate"],
        "own, ms a further token": 1000 * rest["own"],
        "generate, ms a further token": 1000 * rest["generate"],
    }
    told = settings(model.repo, model.dtype, tokens_in=len(prompt.embeds), rounds=rounds)
    return Result("engine", told, rows, facts)
