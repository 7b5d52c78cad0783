"""Seconds from picture and question to a short answer, dense and pruned, beside the least that they could take."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from PIL import Image

from trimviz import engine
from trimviz.bench.floor import ceiling, vision_flops, work
from trimviz.bench.measure import Result, Row, race, settings
from trimviz.bench.shapes import QUESTION
from trimviz.engine import Prefilled
from trimviz.models.base import Model
from trimviz.pruners import Pruner
from trimviz.types import Encoded

DENSE = "dense"


def ask(model: Model, prompt: Encoded, pruner: Pruner | None, budget: float, tokens: int) -> Prefilled:
    """Answer with exactly so many tokens, whatever they say."""
    state = engine.prefill(model, prompt, pruner, budget)
    for _ in engine.stream(model, state, tokens, ends=()):
        pass
    return state


def bench_latency(
    model: Model, picture: Image.Image, pruners: Sequence[Pruner], budget: float, tokens: int, rounds: int
) -> Result:
    """Whole answers: processor, vision tower, selection, prefill and `tokens` answer tokens."""
    states: dict[str, Prefilled] = {}  # the last of each, since caches are large
    seconds: dict[str, list[dict[str, float]]] = {}

    def run(key: str, pruner: Pruner | None) -> Callable[[], None]:
        def once() -> None:
            prompt = model.encode(picture, QUESTION)
            states.pop(key, None)
            states[key] = ask(model, prompt, pruner, budget, tokens)
            seconds.setdefault(key, []).append(states[key].seconds)

        return once

    everyone: dict[str, Pruner | None] = {DENSE: None, **{pruner.key: pruner for pruner in pruners}}
    times = race({key: run(key, pruner) for key, pruner in everyone.items()}, rounds, model.clock)
    best, seeing = ceiling(model.device, model.dtype), vision_flops(model, [picture])
    dense = times[DENSE].median
    rows: list[Row] = []
    floors = {}
    for key, timing in times.items():
        state = states[key]
        least = work(model, state, seeing, tokens)
        floors[key] = least.floor(best)
        parts = {
            f"{part} s": statistics.median(told[part] for told in seconds[key][1:])
            for part in ("vision", "select", "prefill")
        }
        rows.append(
            {
                "method": key,
                "visual tokens": float(state.visual_alive.mean()),
                **timing.row,
                "of dense": timing.median / dense,
                **parts,
                "TFLOP": sum(least.flops.values()) / 1e12,
                "floor s": floors[key],
                "floor of dense": floors[key] / floors[DENSE],
            }
        )
    told = settings(model.repo, model.dtype, answer_tokens=tokens, rounds=rounds)
    facts = {
        **{f"{pruner.key} / dense": times[pruner.key].median / dense for pruner in pruners},
        "ceiling, TFLOP/s": best.flops / 1e12,
        "ceiling, GB/s": best.bytes / 1e9,
    }
    return Result("latency", told, rows, facts)


def bench_pair(model: Model, picture: Image.Image, pruner: Pruner, budget: float, tokens: int, rounds: int) -> Result:
    """A dense and a pruned answer that share one look at the picture, against a dense answer alone."""

    def both() -> None:
        prompt = model.encode(picture, QUESTION)
        ask(model, prompt, None, budget, tokens)
        ask(model, prompt, pruner, budget, tokens)

    def alone() -> None:
        ask(model, model.encode(picture, QUESTION), None, budget, tokens)

    times = race({"dense": alone, f"dense and {pruner.key}": both}, rounds, model.clock)
    rows: list[Row] = [{"answers": name, **timing.row} for name, timing in times.items()]
    ratio = times[f"dense and {pruner.key}"].median / times["dense"].median
    told = settings(model.repo, model.dtype, kept=budget, answer_tokens=tokens, rounds=rounds)
    return Result("pair", told, rows, {"both / dense alone": ratio})
