"""The public file formats: a comparison as JSON, and what the selection was made from as NPZ.

JSON keys: `format`, `model`, `revision`, `device`, `dtype`, `settings` (of the model family), `question`, `before`
(earlier turns, each a question and its answer), `method`, `knobs`, `budget`, `n`, `n1`, `k` (visual tokens made, after
the first stage, left at the end), `alpha` (N values, null where the method has none), `order` (the k kept tokens as
they were picked, null where the method has no order),
`stages` (each `name`, `depth`, `kept`, and `merged`, those among the kept that live on in another's place), `scores`
({name: N values, null = already gone}), `dense` and `pruned` (each `text`, `ids`, `logprobs`, `finished`), `agreement`
(`same`, `badge`, `diff`, `divergence`, `dense_under_pruned`, `kl`, `mean_kl`), `cost` (`dense` and `pruned`, each
`alive`, `visual_alive`, `mean_visual_tokens`, counted as they enter a layer, `counts`, the same under each convention
in print: `input`, `output` (after the cut behind a layer), `final`; `flops`, `kv_bytes`, `seconds`), `versions`. Token
indices count from 0 in the order in which the vision encoder made the tokens.

NPZ arrays, float32: `visual` (N, d) and `text` (M, d) at the language model's door; `question` (int64) holds the rows
of `text` that alpha averages by default.
"""

from __future__ import annotations

import math
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from trimviz import __version__, engine
from trimviz.compare import Comparison
from trimviz.types import Answer, Encoded, Run

FORMAT = "trimviz.compare/1"


def as_json(comparison: Comparison) -> dict[str, Any]:
    """A comparison in the public format, ready for `json.dumps`."""
    run = comparison.pruned
    last = run.stages[-1] if run.stages else None
    scores = {name: numbers(values) for stage in run.stages for name, values in stage.scores.items()}
    order = None
    if last is not None and last.order is not None:
        order = np.argsort(np.where(last.order < 0, len(last.order), last.order), kind="stable")[: int(last.kept.sum())]
    return {
        "format": FORMAT,
        "model": comparison.model,
        "revision": comparison.revision,
        "device": comparison.device,
        "dtype": comparison.dtype,
        "settings": dict(comparison.settings),
        "question": comparison.question,
        "before": [list(turn) for turn in comparison.before],
        "method": run.method,
        "knobs": dict(run.knobs),
        "budget": run.budget,
        "n": comparison.n,
        "n1": comparison.n if run.n1 is None else run.n1,
        "k": int(run.visual_alive[-1]),
        "alpha": scores.get("alpha"),
        "order": None if order is None else order.tolist(),
        "stages": [
            {
                "name": stage.name,
                "depth": stage.depth,
                "kept": np.flatnonzero(stage.kept).tolist(),
                "merged": np.flatnonzero(stage.kept & ~stage.standing).tolist(),
            }
            for stage in run.stages
        ],
        "scores": scores,
        "dense": _answer(comparison.dense.answer),
        "pruned": _answer(run.answer),
        "agreement": {
            "same": comparison.same,
            "badge": comparison.badge,
            "diff": [list(piece) for piece in comparison.diff],
            "divergence": None
            if comparison.divergence is None
            else {
                "token": comparison.divergence.token,
                "word": comparison.divergence.word,
                "dense": [list(pair) for pair in comparison.divergence.dense],
                "pruned": [list(pair) for pair in comparison.divergence.pruned],
            },
            "dense_under_pruned": numbers(comparison.dense_under_pruned),
            "kl": numbers(comparison.kl),
            "mean_kl": float(comparison.kl.mean()) if len(comparison.kl) else None,
        },
        "cost": {"dense": cost(comparison.dense), "pruned": cost(run)},
        "versions": versions(),
    }


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "text": answer.text,
        "ids": list(answer.ids),
        "logprobs": numbers(answer.logprobs),
        "finished": answer.finished,
    }


def cost(run: Run) -> dict[str, Any]:
    """What a run cost: tokens per layer, computed operations and cache, measured seconds."""
    return {
        "alive": run.alive.tolist(),
        "visual_alive": run.visual_alive.tolist(),
        "mean_visual_tokens": run.counts["input"],
        "counts": run.counts,
        "flops": run.flops,
        "kv_bytes": run.kv_bytes,
        "seconds": dict(run.seconds),
    }


def numbers(values: np.ndarray) -> list[float | None]:
    """Floats for JSON, which has no NaN."""
    return [None if math.isnan(v) else v for v in values.tolist()]


def versions() -> dict[str, str]:
    """Versions of what made a result."""
    packages = ("torch", "transformers", "numpy")
    return {"trimviz": __version__, "python": platform.python_version()} | {name: version(name) for name in packages}


def save_npz(prompt: Encoded, path: Path) -> None:
    """Write the tokens that the selection was made from."""
    view = engine.door(prompt)
    np.savez_compressed(
        path,
        visual=view.visual.float().cpu().numpy(),
        text=view.text.float().cpu().numpy(),
        question=view.question.nonzero()[:, 0].cpu().numpy(),
    )
