"""Numbers of a run -> one JSON-able value that the browser draws from; it knows cells, numbers, stages and names.

Arrays travel as {"type", "shape", "data"}: little-endian, gzip, base64. Gradio does not compress what it sends.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from PIL import Image

from trimviz.compare import Comparison
from trimviz.explain import Explanation, Similarity
from trimviz.pruners import OrderTable
from trimviz.types import Panel, Run, Stage

LONGEST_PANEL = 672  # pixels of a panel's picture, long side
LONGEST_ORIGINAL = 512  # of the original, which only shows what the model never saw
SHARP = 80  # WebP quality of a panel
ROUGH = 55  # WebP quality of the original
TYPES = {"bool": "u1", "int8": "i1", "uint8": "u1", "uint16": "u2", "int16": "i2", "int32": "i4", "float32": "f4"}
COLOURS = ("viridis", "cividis")
FINE_WORDS = 60_000  # up to this many distances to words they travel in 16 bits, above it in 8


def payload(
    comparison: Comparison | Run,
    table: OrderTable | None,
    explanation: Explanation | None,
    question: str,
    originals: Sequence[Image.Image],
    *,
    default: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """All that the lens needs for one picture and question.

    comparison: dense and pruned runs, or the pruned run alone while no comparison has been made.
    table: None for a method without one; then the sliders show a new set only after the method has run again.
    originals: the pictures as they were given, whose lost margins can be shown.
    default: {"n1", "k"} of the button that goes back to the paper's setting; None hides it.
    """
    run = comparison.pruned if isinstance(comparison, Comparison) else comparison
    n = len(run.stages[0].kept) if run.stages else int(run.visual_alive[0])
    value: dict[str, Any] = {
        "version": 1,
        "n": n,
        "question": question,
        "panels": _panels(run.panels, originals),
        "originals": [_original(picture) for picture in originals],
        "stages": [_stage(stage) for stage in run.stages],
        "scores": _scores(run.stages),
        "table": None if table is None else _table(table),
        "run": {
            "method": run.method,
            "k": n if run.budget is None else min(n, round(run.budget)),
            "n1": _first_size(run, n),
            "kept": pack(run.kept.astype(np.uint16)),
        },
        "default": dict(default) if default else None,
        "explanation": None if explanation is None else _explanation(explanation),
        "answers": _answers(comparison) if isinstance(comparison, Comparison) else None,
        "colours": {name: _colours(name) for name in COLOURS},
    }
    seen = (
        "".join(panel["picture"] for panel in value["panels"]) + question + run.method + repr(sorted(run.knobs.items()))
    )
    value["key"] = hashlib.sha256(seen.encode()).hexdigest()[:16]
    return value


def pack(array: np.ndarray) -> dict[str, Any]:
    """An array as {"type", "shape", "data"}; ValueError for a type that the browser has no name for."""
    if array.dtype.name not in TYPES:
        raise ValueError(f"Expected an array of {', '.join(TYPES)}; got {array.dtype.name}, so convert it first.")
    kind = TYPES[array.dtype.name]
    raw = np.ascontiguousarray(array).astype("<" + kind).tobytes()
    return {"type": kind, "shape": list(array.shape), "data": base64.b64encode(gzip.compress(raw, 9, mtime=0)).decode()}


def unpack(packed: Mapping[str, Any]) -> np.ndarray:
    """The array that `pack` was given; bool comes back as uint8."""
    raw = gzip.decompress(base64.b64decode(packed["data"]))
    return np.frombuffer(raw, "<" + packed["type"]).reshape(packed["shape"])


def _panels(panels: Sequence[Panel], originals: Sequence[Image.Image]) -> list[dict[str, Any]]:
    """Panels with the number of their original: one each, or one for all, else none."""
    source = (
        list(range(len(panels))) if len(originals) == len(panels) else [0 if len(originals) == 1 else -1] * len(panels)
    )
    longest = max(128, LONGEST_PANEL // math.isqrt(len(panels)))
    return [
        {
            "name": panel.name,
            "picture": _webp(panel.picture, longest, SHARP),
            "rows": panel.token.shape[0],
            "cols": panel.token.shape[1],
            "token": pack(panel.token.astype(np.int16)),
            "content": pack(panel.content),
            "box": [float(edge) for edge in panel.box],
            "original": original,
        }
        for panel, original in zip(panels, source, strict=True)
    ]


def _original(picture: Image.Image) -> dict[str, Any]:
    return {"picture": _webp(picture, LONGEST_ORIGINAL, ROUGH), "width": picture.width, "height": picture.height}


def _webp(picture: Image.Image, longest: int, quality: int) -> str:
    """A data URL, made smaller where the long side has more pixels than `longest`."""
    small = picture.convert("RGB")
    small.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=quality, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _stage(stage: Stage) -> dict[str, Any]:
    return {
        "name": stage.name,
        "depth": stage.depth,
        "kept": pack(stage.kept),
        "owner": pack(stage.owner.astype(np.int16)),
        "order": None if stage.order is None else pack(stage.order.astype(np.int16)),
        "film": {name: pack(values.astype(np.float32)) for name, values in stage.film.items()},
    }


def _scores(stages: Sequence[Stage]) -> list[dict[str, Any]]:
    """Every score once for each depth it was computed at."""
    found: dict[tuple[str, int], np.ndarray] = {}
    meaning: dict[str, str] = {}
    for stage in stages:
        meaning |= stage.higher
        for name, values in stage.scores.items():
            found[name, stage.depth] = values
    names = [name for name, _ in found]
    return [
        {
            "name": name if names.count(name) == 1 else f"{name}, layer {depth}",
            "higher": meaning.get(name, "higher"),
            "values": pack(values.astype(np.float32)),
        }
        for (name, depth), values in found.items()
    ]


def _first_size(run: Run, n: int) -> int:
    """Size of the first stage's set where a second follows, else N."""
    return n if run.n1 is None else run.n1


def _table(table: OrderTable) -> dict[str, Any]:
    return {
        "sizes": pack(table.sizes.astype(np.uint16)),
        "first": pack(table.first.astype(np.uint16)),
        "orders": pack(np.concatenate(table.orders).astype(np.uint16)),
    }


def _explanation(told: Explanation) -> dict[str, Any]:
    return {
        "words": list(told.words),
        "distances": _scaled(told.distances),
        "norms": pack(told.norms.astype(np.float32)),
        "similarity": _similarity(told.similarity),
        "correlation": {name: None if math.isnan(rho) else rho for name, rho in told.correlation.items()},
        "unrelated": told.unrelated,
        "unrelated_scores": {name: pack(values.astype(np.float32)) for name, values in told.unrelated_scores.items()},
        "overlap": told.overlap,
    }


def _scaled(values: np.ndarray) -> dict[str, Any]:
    """Values as whole steps between their least and greatest: low + step * data."""
    levels = 65535 if values.size <= FINE_WORDS else 255
    low, high = float(values.min()), float(values.max())
    step = (high - low) / levels or 1.0
    return {
        "low": low,
        "step": step,
        "steps": pack(((values - low) / step).round().astype(np.uint16 if levels > 255 else np.uint8)),
    }


def _similarity(told: Similarity) -> dict[str, Any]:
    parts = {"triangle": told.triangle, "factors": told.factors, "scale": told.scale}
    return {"error": told.error} | {name: None if part is None else pack(part) for name, part in parts.items()}


def _answers(comparison: Comparison) -> dict[str, Any]:
    parted = comparison.divergence
    return {
        "dense": comparison.dense.answer.text,
        "pruned": comparison.pruned.answer.text,
        "same": comparison.same,
        "badge": comparison.badge,
        "diff": [list(part) for part in comparison.diff],
        "divergence": None
        if parted is None
        else {
            "word": parted.word,
            "dense": [list(w) for w in parted.dense],
            "pruned": [list(w) for w in parted.pruned],
        },
    }


def _colours(name: str) -> dict[str, Any]:
    """256 colours (256, 3) from dark to bright."""
    steps = matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3]
    return pack(np.ascontiguousarray(steps, dtype=np.uint8))
