"""A figure for a paper: what was shown, scored, kept and answered, with a LaTeX snippet and a JSON sidecar beside it.

It reads numbers and names from comparisons; it knows no method and no model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import matplotlib

from trimviz.draw import sidecar
from trimviz.draw.cells import Sheet
from trimviz.draw.layout import lay_out
from trimviz.draw.page import INCH
from trimviz.draw.words import told_apart

if TYPE_CHECKING:
    from PIL import Image

    from trimviz.compare import Comparison


WIDTHS = {"cvpr-column": 3.25, "cvpr-text": 6.875, "acl-column": 7.7 / 2.54, "acl-text": 16 / 2.54}  # inches
FORMATS = ("pdf", "svg", "png")
IMAGE = re.compile(r"<image ([^>]*)/>")
ATTRIBUTE = re.compile(r'([\w:-]+)="([^"]*)"')
_LOCK = Lock()  # matplotlib's settings belong to the whole process
SETTINGS: Any = {
    "pdf.fonttype": 42,
    "pdf.compression": 6,
    "svg.fonttype": "path",  # glyphs as outlines: an SVG cannot embed the font, and another font would break the lines
    "svg.hashsalt": "trimviz",
    "text.hinting": "none",  # so that words are as wide in a raster as they were measured
    "text.usetex": False,
    "savefig.facecolor": "white",
    "savefig.bbox": None,
    "path.simplify": False,
}


def figure(
    comparisons: Comparison | Sequence[Comparison],
    path: str | Path,
    *,
    panels: Sequence[str] | None = None,
    width: str | float = "cvpr-text",
    dpi: int = 300,
    labels: Sequence[str] | None = None,
    columns: int | None = None,
    command: str = "",
    versions: Mapping[str, str] | None = None,
    originals: Sequence[Image.Image] = (),
) -> list[Path]:
    """Draw one comparison, or several side by side, as PDF, SVG or PNG by the suffix; returns the files written.

    panels: what to show, in order: "input", "score" (what the method looked at first), "scores" (all it looked at),
    "stages" (the set after each), "kept" (after the last), "order", "curve", "answers" (in full), or a score or a stage
    by its name. Without it, all that there is; for several comparisons the picture, the scores and the kept sets.
    width: a preset of `WIDTHS`, or inches. dpi: of a PNG. labels: titles of the methods. columns: panels a row, for one
    comparison. command, versions: for the sidecar; versions default to those installed. originals: the pictures as
    they were given, of which the input's panel then shows what the model's crop took away.
    Beside the figure come NAME.tex, which includes it, and NAME.json, which holds what it takes to make it again.
    Raises ValueError for an unknown suffix, panel or width, and where there is too little room.
    """
    several = list(comparisons) if isinstance(comparisons, Sequence) else [comparisons]
    out = Path(path)
    kind = out.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise ValueError(f"Expected a file ending in .pdf, .svg or .png, got {out.name!r}; change its suffix.")
    if not several:
        raise ValueError("Expected at least one comparison to draw, got none.")
    names = tuple(labels) if labels is not None else told_apart([c.pruned for c in several])
    if len(names) != len(several):
        raise ValueError(f"Expected {len(several)} labels, one a comparison, got {len(names)}.")
    inches = width_of(width)
    with _LOCK, matplotlib.rc_context(SETTINGS):
        page = lay_out(several, names, panels, inches * INCH, columns, out.stem, originals)
        write(page, out, kind, dpi)
    record = sidecar.as_json(
        several, names, page.caption, command, versions, {"width_inches": inches, "dpi": dpi, "file": out.name}
    )
    snippet = sidecar.as_tex(out, page.caption, inches)
    beside = [(out.with_suffix(".tex"), snippet), (out.with_suffix(".json"), record)]
    for file, text in beside:
        file.write_text(text, encoding="utf-8")
    return [out, *(file for file, _ in beside)]


def width_of(width: str | float) -> float:
    """Inches of a preset or a number; ValueError for anything else."""
    if width in WIDTHS:
        return WIDTHS[str(width)]
    try:
        inches = float(width)
    except ValueError:
        inches = math.nan
    if not 2 <= inches <= 40:
        raise ValueError(f"Expected a width of {', '.join(WIDTHS)} or 2 to 40 inches, got {width!r}.")
    return inches


def write(page: Sheet, out: Path, kind: str, dpi: int) -> None:
    """Save a finished sheet; nothing in the file depends on the day or the machine's name."""
    if kind == "pdf":
        nothing: dict[str, Any] = {"CreationDate": None, "ModDate": None, "Creator": "trimviz", "Title": page.caption}
        page.figure.savefig(out, format="pdf", metadata=nothing)
    elif kind == "svg":
        page.figure.savefig(out, format="svg", metadata={"Date": None, "Creator": "trimviz", "Title": page.caption})
        out.write_text(_images_once(out.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        page.figure.savefig(out, format="png", dpi=dpi, metadata={"Software": None, "Title": page.caption})


def _images_once(svg: str) -> str:
    """The same SVG with every image stored once and used wherever it stands."""
    stored: dict[str, str] = {}

    def use(match: re.Match[str]) -> str:
        attributes = dict(ATTRIBUTE.findall(match[1]))
        place = attributes.pop("transform")
        stored[attributes["id"]] = (
            "<image " + " ".join(f'{name}="{value}"' for name, value in attributes.items()) + "/>"
        )
        return f'<use xlink:href="#{attributes["id"]}" transform="{place}"/>'

    told = IMAGE.sub(use, svg)
    return told.replace("<defs>", "<defs>\n" + "\n".join(stored.values()), 1)
