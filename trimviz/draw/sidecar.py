"""What lies beside a figure: a JSON file with all that it takes to make it again, and LaTeX that includes it.

Times are left out, so that the same run writes the same bytes.
"""

from __future__ import annotations

import enum
import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trimviz.types import Answer, Run

if TYPE_CHECKING:
    from trimviz.compare import Comparison

PACKAGES = ("trimviz", "torch", "transformers", "numpy", "pillow", "matplotlib")
SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


def installed() -> dict[str, str]:
    """Versions of what makes a figure; a package that is not installed as one is left out."""
    out = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            continue
    return out


def as_json(
    several: Sequence[Comparison],
    labels: Sequence[str],
    caption: str,
    command: str,
    versions: Mapping[str, str] | None,
    drawing: Mapping[str, Any],
) -> str:
    """The sidecar's text."""
    body = {
        "figure": {**drawing, "caption": caption},
        "command": command,
        "versions": dict(versions) if versions is not None else installed(),
        "comparisons": [_comparison(c, label) for c, label in zip(several, labels, strict=True)],
    }
    return json.dumps(body, indent=1, ensure_ascii=False, allow_nan=False, default=_plain) + "\n"


def _comparison(c: Comparison, label: str) -> dict[str, Any]:
    return {
        "label": label,
        "model": c.model,
        "revision": c.revision,
        "dtype": c.dtype,
        "settings": dict(c.settings),
        "device": c.device,
        "processor": dict(c.processor),
        "prompt": c.prompt,
        "question": c.question,
        "before": [list(turn) for turn in c.before],
        "n": c.n,
        "panels": [
            {
                "name": p.name,
                "cells": p.token.shape,
                "box": p.box,
                "size": p.picture.size,
                "padding": int((~p.content).sum()),
            }
            for p in c.pruned.panels
        ],
        **_run(c.pruned),
        "dense": _answer(c.dense.answer),
        "pruned": _answer(c.pruned.answer),
        "agreement": {
            "badge": c.badge,
            "same": c.same,
            "diff": c.diff,
            "kl": c.kl,
            "dense_under_pruned": c.dense_under_pruned,
        },
    }


def _run(run: Run) -> dict[str, Any]:
    return {
        "method": run.method,
        "knobs": dict(run.knobs),
        "budget": run.budget,
        "kept": run.kept,
        "alive": run.alive,
        "visual_alive": run.visual_alive,
        "counts": run.counts,
        "stages": [
            {
                "name": s.name,
                "depth": s.depth,
                "kept": np.flatnonzero(s.kept),
                "order": None if s.order is None else picked(s.order),
                "owner": s.owner,
                "scores": dict(s.scores),
                "film": dict(s.film),
                "higher": dict(s.higher),
            }
            for s in run.stages
        ],
    }


def picked(order: np.ndarray) -> np.ndarray:
    """Token indices in the order of picking, from pick ranks (N0,) that are -1 for the others."""
    return np.argsort(order, kind="stable")[int((order < 0).sum()) :]


def _answer(answer: Answer) -> dict[str, Any]:
    return {"text": answer.text, "ids": answer.ids, "logprobs": answer.logprobs, "finished": answer.finished}


def _plain(value: Any) -> Any:
    """Arrays as lists, with null for NaN and infinity; floats keep the digits that their own width can tell."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return [float(str(v)) if np.isfinite(v) else None for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, enum.Enum):
        return value.value
    return str(value)


def caption(several: Sequence[Comparison], labels: Sequence[str], kept: Sequence[str], n1: Sequence[int | None]) -> str:
    """The figure in one paragraph, also its description for those who cannot see it."""
    one = several[0]
    sets = "; ".join(
        f"{label}: {words}" + ("" if size is None else f", N1 = {size}")
        for label, words, size in zip(labels, kept, n1, strict=True)
    )
    said = " ".join(
        f"{'Pruned' if len(several) == 1 else label}: “{c.pruned.answer.text}” ({c.badge})."
        for c, label in zip(several, labels, strict=True)
    )
    return f"Visual tokens kept on {one.model}. {sets}. Question: “{one.asked}” Dense: “{one.dense.answer.text}” {said}"


def as_tex(out: Path, caption: str, inches: float) -> str:
    """A LaTeX figure that includes the file at its own size."""
    floating = "figure*" if inches > 4.5 else "figure"
    including = r"\includesvg" if out.suffix.lower() == ".svg" else r"\includegraphics"
    package = "svg" if out.suffix.lower() == ".svg" else "graphicx"
    words = escape(caption).replace("“", "``").replace("”", "''").replace("N1 =", "$N_1$ =")
    return (
        f"% \\usepackage{{{package}}}; drawn {inches:.3f} inches wide: unscaled, its text is 7 pt or more\n"
        f"\\begin{{{floating}}}[t]\n"
        "  \\centering\n"
        f"  {including}{{{out.stem if package == 'svg' else out.name}}}\n"
        f"  \\caption{{{words}}}\n"
        f"  \\label{{fig:{out.stem.replace('_', '-')}}}\n"
        f"\\end{{{floating}}}\n"
    )


def escape(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(SPECIAL.get(c, c) for c in " ".join(text.split()))
