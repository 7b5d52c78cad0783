"""How cost grows with the number of visual tokens: computed operations and bytes against measured time."""

from __future__ import annotations

import torch

from trimviz import engine
from trimviz.bench.floor import ceiling
from trimviz.bench.measure import Result, Row, race, settings
from trimviz.compare import kv_bytes, prefill_flops
from trimviz.models.base import Model, linear_weights
from trimviz.types import Encoded, Vision

SIZES = (64, 128, 256, 576, 1152, 2304, 2880, 4608, 9216)
WORDS = 64  # textual tokens around the visual ones
FURTHER = 4  # answer tokens that decoding is timed over


def tokens_alone(model: Model, n: int) -> Encoded:
    """A prompt of n random visual tokens behind `WORDS` others, which no picture was needed for."""
    generator = torch.Generator(model.device).manual_seed(n)
    d, total = model.embed.weight.shape[1], n + WORDS
    visual = torch.arange(total, device=model.device) >= WORDS
    return Encoded(
        asked="",
        text="",
        ids=torch.zeros(total, dtype=torch.long, device=model.device),
        embeds=torch.randn(total, d, generator=generator, device=model.device, dtype=model.dtype),
        positions=torch.arange(total, device=model.device).expand(model.axes, -1),
        visual=visual,
        question=~visual,
        vision=Vision(
            features=torch.zeros(n, 1, device=model.device),
            tile=torch.zeros(n, dtype=torch.long, device=model.device),
            project=lambda x: x,
        ),
        panels=(),
        seconds=0.0,
    )


def bench_cost(model: Model, top: int, rounds: int) -> Result:
    """Dense prefill and decoding for N from 64 to `top` visual tokens."""
    sizes = [n for n in SIZES if n <= top]
    prompts = {n: tokens_alone(model, n) for n in sizes}
    states = {n: engine.prefill(model, prompt) for n, prompt in prompts.items()}

    def further(n: int) -> None:
        for _ in engine.stream(model, states[n], 1 + FURTHER, ends=()):
            pass

    prefills = {f"prefill {n}": (lambda n=n: engine.prefill(model, prompts[n])) for n in sizes}
    decodes = {f"decode {n}": (lambda n=n: further(n)) for n in sizes}
    times = race({**prefills, **decodes}, rounds, model.clock)
    best = ceiling(model.device, model.dtype)
    size, weights = model.dtype.itemsize, sum(model.layer_weights) + linear_weights(model.head)
    rows: list[Row] = []
    for n in sizes:
        alive = states[n].alive
        flops, caches = prefill_flops(model, alive), kv_bytes(model, alive)
        prefill, decode = times[f"prefill {n}"], times[f"decode {n}"]
        read = size * weights + caches
        rows.append(
            {
                "N": n,
                "tokens in": n + WORDS,
                "TFLOP": flops / 1e12,
                "KV MB": caches / 1e6,
                "prefill s": prefill.median,
                "fastest s": prefill.spread[0],
                "slowest s": prefill.spread[1],
                "floor s": best.seconds(flops, read),
                "GFLOP/s": flops / prefill.median / 1e9,
                "ms a further token": 1000 * decode.median / FURTHER,
                "floor ms": 1000 * best.seconds(2 * weights, read),
            }
        )
    first, last = rows[0], rows[-1]
    facts = {
        f"prefill, N = {last['N']} / N = {first['N']}, time": times[f"prefill {last['N']}"].median
        / times[f"prefill {first['N']}"].median,
        f"prefill, N = {last['N']} / N = {first['N']}, operations": float(last["TFLOP"]) / float(first["TFLOP"]),
        "ceiling, TFLOP/s": best.flops / 1e12,
        "ceiling, GB/s": best.bytes / 1e9,
    }
    return Result("cost", settings(model.repo, model.dtype, rounds=rounds), rows, facts)
