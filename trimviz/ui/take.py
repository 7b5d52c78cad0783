"""What a person takes home from one result: a figure for a paper, the order as an animation, the lens as one file."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from trimviz.compare import Comparison
from trimviz.draw import order_movie
from trimviz.draw.figure import FORMATS, figure
from trimviz.ui.lens import payload
from trimviz.ui.lens.export import export
from trimviz.ui.service import Result

KINDS = {
    "pdf": "PDF",
    "svg": "SVG",
    "png": "PNG, 300 dpi",
    "png-600": "PNG, 600 dpi",
    "gif": "GIF of the order",
    "mp4": "MP4 of the order",
    "html": "HTML with live sliders",
}


def files_of(result: Result, kind: str, width: str, panels: Sequence[str] = (), command: str = "") -> list[str]:
    """Files of a kind of `KINDS`, the main one first; ValueError for another kind or where there is nothing to draw."""
    if kind not in KINDS:
        raise ValueError(f"Expected a format of {', '.join(KINDS)}; got {kind!r}.")
    if kind in ("gif", "mp4"):
        return [str(order_movie(result.comparison.pruned, _folder() / f"order.{kind}"))]
    if kind == "html":
        view = result.view
        value = payload(
            result.comparison, view.table, result.explanation, result.ask.question, view.originals, default=view.default
        )
        out = _folder() / "lens.html"
        out.write_text(export(value, f"TrimViz: {result.comparison.pruned.method}"), "utf-8")
        return [str(out)]
    suffix, _, dpi = kind.partition("-")
    return paper_figure([result.comparison], suffix, width, command, panels, int(dpi or 300), result.view.originals)


def paper_figure(
    comparisons: Sequence[Comparison],
    kind: str,
    width: str,
    command: str = "",
    panels: Sequence[str] = (),
    dpi: int = 300,
    originals: Sequence[Image.Image] = (),
) -> list[str]:
    """Files of a figure, the drawing first; every panel where none is named."""
    if kind not in FORMATS:
        raise ValueError(f"Expected a format of {', '.join(FORMATS)}; got {kind!r}.")
    out = _folder() / f"figure.{kind}"
    chosen = tuple(panels) or None
    drawn = figure(comparisons, out, panels=chosen, width=width, dpi=dpi, command=command, originals=originals)
    return [str(path) for path in drawn]


def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="figure-"))
