"""The project's own loop over layers against transformers' `generate`, dense, on the same prompt.

"fixed" is the own loop over caches of fixed size, with one step captured as a graph on a CUDA GPU. Every token is
noted as it is there, so that first and further tokens come out of the same runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers.generation.streamers import BaseStreamer

from trimviz import engine
from trimviz.bench.measure import Result, Row, Timing, race, settings
from trimviz.models.base import Model
from trimviz.static import Steps
from trimviz.types import Encoded

LOOPS = ("own", "fixed", "generate")


class _Marks(BaseStreamer):
    """When each token of an answer was there."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.times = [clock()]

    def put(self, value: Any) -> None:
        """A token of the answer; an empty one stands for a prompt that was given as vectors."""
        if value.numel():
            self.times.append(self.clock())

    def end(self) -> None:
        """Nothing is left to note."""

    @property
    def parts(self) -> tuple[float, float]:
        """Seconds to the first token, and mean seconds of each further one."""
        start, first, last = self.times[0], self.times[1], self.times[-1]
        return first - start, (last - first) / (len(self.times) - 2)


def bench_engine(model: Model, prompt: Encoded, tokens: int, rounds: int) -> Result:
    """Seconds to the first answer token and for each further one, of every loop, and the ratios to `generate`.

    Raises ValueError for less than two tokens.
    """
    if tokens < 2:
        raise ValueError(f"Further tokens need an answer of two tokens or more; got {tokens}.")
    found: dict[str, list[tuple[float, float]]] = {loop: [] for loop in LOOPS}

    def own(fixed: bool) -> None:
        marks = _Marks(model.clock)
        state = engine.prefill(model, prompt)
        steps = Steps(model, state, tokens) if fixed else None
        for _ in engine.stream(model, state, tokens, ends=(), steps=steps):  # as many tokens as generate has to make
            marks.times.append(model.clock())
        found["fixed" if fixed else "own"].append(marks.parts)

    def generate() -> None:
        marks = _Marks(model.clock)
        model.core.generate(
            inputs_embeds=prompt.embeds[None],
            attention_mask=torch.ones(1, len(prompt.embeds), dtype=torch.long, device=model.device),
            position_ids=None if model.axes == 1 else prompt.positions[:, None],
            min_new_tokens=tokens,
            max_new_tokens=tokens,
            do_sample=False,
            streamer=marks,
        )
        found["generate"].append(marks.parts)

    race({"own": lambda: own(False), "fixed": lambda: own(True), "generate": generate}, rounds, model.clock)
    first = {loop: Timing(tuple(part for part, _ in found[loop][1:])) for loop in LOOPS}  # the first round warms up
    further = {loop: Timing(tuple(part for _, part in found[loop][1:])) for loop in LOOPS}
    parts = {"first token": first, "each further token": further}
    rows: list[Row] = [
        {"loop": loop, "part": part, **times[loop].row} for part, times in parts.items() for loop in LOOPS
    ]
    facts = {
        f"{loop} / generate, {part}": times[loop].median / times["generate"].median
        for part, times in parts.items()
        for loop in LOOPS[:-1]
    }
    told = settings(model.repo, model.dtype, tokens_in=len(prompt.embeds), answer_tokens=tokens, rounds=rounds)
    return Result("engine", told, rows, facts)
