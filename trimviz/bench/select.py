"""Seconds of one selection at the language model's door, for every method that cuts nowhere else, beside the prefill.

The tokens are random, as wide as a shape's own; no model is built but for one decoder layer, whose time, multiplied by
the number of layers, is the dense prefill that selections are a share of.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModel

from trimviz.bench.measure import Result, Row, Timing, race
from trimviz.bench.shapes import shape_of
from trimviz.models import pick_device, pick_dtype
from trimviz.models.base import clock
from trimviz.pruners import DEFAULT, PRUNERS, Pruner
from trimviz.select import cosine, mask, ranking, repmax, repmax_table, seed_of, share
from trimviz.types import View, Vision

WORDS = 20  # of the question
CLIP = 1024  # width of the vision tower's features
LEFT = 9  # one token in so many stays: 11.1 %


def bench_select(
    name: str, sizes: Sequence[int], rounds: int, device: str = "auto", dtype: str = "auto", width: int | None = None
) -> Result:
    """One selection of N / 9 of N tokens for each N of `sizes`, as wide as the shape `name` unless told otherwise."""
    device = pick_device(device)
    kind = pick_dtype(dtype, device)
    config = shape_of(name).config().get_text_config()
    d = width or config.hidden_size
    rows: list[Row] = []
    facts: dict[str, float] = {}
    for n in sizes:
        k = n // LEFT
        times = _selections(n, k, d, config.num_hidden_layers, torch.device(device), kind, rounds)
        prefill = _prefill(config, n + WORDS, torch.device(device), kind, rounds) if width is None else None
        own = times[DEFAULT].median
        for key, timing in times.items():
            row: Row = {"N": n, "kept": k, "method": key, **timing.row, f"times {DEFAULT}": timing.median / own}
            if prefill:
                row["% of the dense prefill"] = 100 * timing.median / prefill.median
            rows.append(row)
        if prefill:
            facts[f"dense prefill of {n} tokens, s (one layer times {config.num_hidden_layers})"] = prefill.median
        loops = bench_loop(n, k, d, torch.device(device), rounds)
        facts[f"plain loop, N = {n}, ms"] = 1000 * loops["plain"].median
        facts[f"greedy loop, N = {n}, ms"] = 1000 * loops["own"].median
        facts[f"plain / greedy loop, N = {n}"] = loops["plain"].median / loops["own"].median
    return Result("select", {"shape": name, "width": d, "words": WORDS, "rounds": rounds}, rows, facts)


def at_the_door(layers: int, n: int, k: int) -> Iterator[Pruner]:
    """The methods that cut once, before the first layer, and not inside the vision tower."""
    for method in PRUNERS.values():
        pruner = method()
        try:
            if set(pruner.schedule(layers, n, k)) == {0} and not pruner.early(layers, n, k):
                yield pruner
        except ValueError:  # a budget that this method cannot meet
            continue


def random_view(n: int, d: int, device: torch.device, kind: torch.dtype, seed: int = 0) -> View:
    """A prompt of n random visual tokens (N, d) and `WORDS` words at the door, with all that a tower can tell."""
    generator = torch.Generator(device).manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device=device, dtype=kind)

    side = next(s for s in range(int(n**0.5), 0, -1) if n % s == 0)
    every = torch.arange(n, device=device)
    projector = draw(CLIP, d) / CLIP**0.5
    features = draw(n, CLIP)
    vision = Vision(
        features=features,
        tile=torch.zeros(n, dtype=torch.long, device=device),
        project=lambda x: x @ projector,
        keys=draw(n, CLIP),
        cls=draw(1, CLIP),
        cls_attention=draw(n).float().softmax(0),
        heads=16,
        last_keys=draw(n, CLIP),
        last_attention=draw(n).float().softmax(0),
    )
    view = View(
        depth=0,
        visual=features @ projector,
        text=draw(WORDS, d),
        question=torch.ones(WORDS, dtype=torch.bool, device=device),
        after=torch.ones(WORDS, dtype=torch.bool, device=device),
        origin=every,
        vision=vision,
        attention=_none,
        look_ahead=_none,
        size=torch.ones_like(every),
        grids=(every.reshape(side, n // side),),
        door=lambda: view,
    )
    return view


def _none(rows: Tensor) -> Tensor:
    raise ValueError("No layer has run at the door, so there is no attention; choose a method that needs none.")


def _selections(
    n: int, k: int, d: int, layers: int, device: torch.device, kind: torch.dtype, rounds: int
) -> dict[str, Timing]:
    view = random_view(n, d, device, kind)

    def select(pruner: Pruner) -> None:
        view.memo.clear()  # as for a picture that was never seen
        pruner.cut(view, k)

    candidates = {pruner.key: (lambda p=pruner: select(p)) for pruner in at_the_door(layers, n, k)}
    with torch.inference_mode():
        return race(candidates, rounds, lambda: clock(device))


def _prefill(config: Any, tokens: int, device: torch.device, kind: torch.dtype, rounds: int) -> Timing:
    """A dense prefill of so many tokens: one decoder layer is timed."""
    layers, single = config.num_hidden_layers, deepcopy(config)
    single.num_hidden_layers, single.vocab_size = 1, 1  # no word is looked up
    single.pad_token_id = single.bos_token_id = single.eos_token_id = None
    torch.manual_seed(0)
    with torch.device(device):
        core = AutoModel.from_config(single, attn_implementation="sdpa", dtype=kind).eval()
    embeds = torch.randn(1, tokens, config.hidden_size, device=device, dtype=kind)
    with torch.inference_mode():
        times = race({"layer": lambda: core(inputs_embeds=embeds, use_cache=False)}, rounds, lambda: clock(device))
    return Timing(tuple(layers * seconds for seconds in times["layer"].seconds))


def bench_loop(n: int, k: int, d: int, device: torch.device, rounds: int) -> dict[str, Timing]:
    """The greedy loop of RepMax against the plain one, from the same matrix and seed."""
    similarity, chosen = _matrix(n, d, device)
    allowed, start = mask(chosen, n), seed_of(similarity, chosen)
    loops = {
        "own": lambda: repmax(similarity, allowed, start, k),
        "plain": lambda: plain_loop(similarity, allowed, start, k),
    }
    with torch.inference_mode():
        return race(loops, rounds, lambda: clock(device))


def _matrix(n: int, d: int, device: torch.device) -> tuple[Tensor, Tensor]:
    tokens = random_view(n, d, device, torch.float32).visual
    return cosine(tokens), ranking(-tokens.norm(dim=1))[: share(0.8, n)]


def plain_loop(similarity: Tensor, allowed: Tensor, seed: int, k: int) -> Tensor:
    """RepMax's loop as plainly as torch allows, with all its steps on the matrix's device: picks (k,) in order."""
    picks = torch.empty(k, dtype=torch.long, device=similarity.device)
    picks[0] = seed
    total = similarity[seed].masked_fill(~allowed, torch.inf)
    total[seed] = torch.inf
    for t in range(1, k):
        pick = (total / t).argmin()
        picks[t] = pick
        total = total + similarity[pick]
        total[pick] = torch.inf
    return picks


def bench_table(n: int, width: int, rounds: int) -> Result:
    """The greedy orders of every N1 in 1..n from one matrix, against a numpy loop over them."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(n, width, generator=generator)
    rank = ranking(-tokens.norm(dim=1))
    similarity = cosine(tokens)
    sizes = torch.arange(1, n + 1)
    plain, places = similarity.numpy(), rank.numpy()

    def loop() -> None:
        for n1 in range(1, n + 1):
            numpy_order(plain, places[:n1])

    times = race({"table": lambda: repmax_table(similarity, rank, sizes), "numpy loop": loop}, rounds)
    rows: list[Row] = [{"how": name, **timing.row} for name, timing in times.items()]
    facts = {"table / numpy loop": times["table"].median / times["numpy loop"].median}
    return Result("table", {"N": n, "width": width, "rounds": rounds}, rows, facts)


def numpy_order(similarity: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The greedy order of one set, as plainly as numpy allows."""
    block = similarity[np.ix_(chosen, chosen)]
    picks = np.empty(len(chosen), dtype=int)
    pick = block.mean(axis=1).argmin()
    total = np.zeros(len(chosen), dtype=block.dtype)
    for t in range(len(chosen)):
        picks[t] = pick
        total += block[pick]
        total[pick] = np.inf
        pick = total.argmin()
    return chosen[picks]
