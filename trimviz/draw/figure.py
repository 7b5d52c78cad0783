"""A figure for a paper: what was shown, scored, kept and answered, with a LaTeX snippet and a JSON sidecar beside it.

It reads numbers and names from comparisons; it knows no method and no model.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np

from trimviz.draw import picture, raster, sidecar
from trimviz.draw.colour import KEPT, ORDER, SCORE, limits, mix, paint
from trimviz.draw.page import (
    BLANKS,
    INK,
    LINE,
    MISSING,
    MORE,
    QUIET,
    SMALL,
    TITLE,
    Page,
    Piece,
    drawable,
    measure,
    wrap,
)
from trimviz.types import Panel, Run, Stage

if TYPE_CHECKING:
    from trimviz.compare import Comparison

INCH = 72.0
WIDTHS = {"cvpr-column": 3.25, "cvpr-text": 6.875, "acl-column": 7.7 / 2.54, "acl-text": 16 / 2.54}  # inches
FORMATS = ("pdf", "svg", "png")
PANELS = ("input", "score", "scores", "stages", "kept", "order", "curve", "answers")
ALONE = ("input", "score", "stages", "order", "curve", "answers")
BESIDE = ("input", "score", "kept", "answers")
NUMBERED = 20  # picks that carry their number: more collide and cannot be read
NARROWEST = 68.0  # points, of a grid's column
SMALLEST = 52.0  # points, of one of several panels
BETWEEN = 3.0  # points, between them
NAME = SMALL * LINE + 2  # points, of their names
GAP = 6.0
TOP = 1.5  # room above the first line, for what is raised
OPACITY = 0.85  # of a score over the grey picture
GROUPS = ("#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7f5fc7", "#8c6d1f", "#117733")  # of merged groups
HATCH = "#333333"
BLUE = "#{:02x}{:02x}{:02x}".format(*KEPT)

IMAGE = re.compile(r"<image ([^>]*)/>")
ATTRIBUTE = re.compile(r'([\w:-]+)="([^"]*)"')

_LOCK = Lock()  # matplotlib's settings belong to the whole process
SETTINGS: dict[str, Any] = {
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


@dataclass(frozen=True, eq=False)
class Cell:
    """What stands at one place of the grid: a title, a drawing, and a note below it."""

    title: Sequence[Piece]
    draw: Callable[[Page, float, float, float], float]  # page, x, y, width -> height
    below: Callable[[Page, float, float, float], float] | None = None


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
) -> list[Path]:
    """Draw one comparison, or several side by side, as PDF, SVG or PNG, by the file's suffix; returns the files written.

    panels: what to show, in order: "input", "score" (what the method looked at first), "scores" (everything it looked at),
    "stages" (the set after each), "kept" (after the last), "order", "curve", "answers" (in full), or a score or a stage by
    its name. Without it, all that there is; for several comparisons the picture, the scores and the kept sets.
    width: a preset of `WIDTHS`, or inches. labels: of the methods, as titles. columns: panels a row, for one comparison.
    command: what to type to make the figure again, for the sidecar, as are versions, which default to those installed.
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
    names = tuple(labels) if labels is not None else _labels([c.pruned for c in several])
    if len(names) != len(several):
        raise ValueError(f"Expected {len(several)} labels, one a comparison, got {len(names)}.")
    inches = width_of(width)
    with _LOCK, matplotlib.rc_context(SETTINGS):
        page = lay_out(several, names, panels, inches * INCH, columns, out.stem)
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


# --- names and numbers in words -------------------------------------------------------------------------------------


def pretty(name: str) -> list[Piece]:
    """A name from the data as it is printed: "alpha" as the Greek letter, "X^v(1)" with its superscript raised."""
    base, _, raised = name.partition("^")
    base = " ".join(_greek(word) for word in base.split())
    return [(base, ""), (raised, "sup")] if raised else [(base, "")]


def _greek(word: str) -> str:
    try:
        return unicodedata.lookup(f"GREEK SMALL LETTER {word.upper()}") if word.islower() else word
    except KeyError:
        return word


def number(value: float, digits: int = 3) -> str:
    """A number at a few significant digits, with a true minus sign."""
    return f"{value:.{digits}g}".replace("-", "\N{MINUS SIGN}")


def _labels(runs: Sequence[Run]) -> tuple[str, ...]:
    """The method of each run, with the settings that tell two runs of one method apart."""
    out = []
    for run in runs:
        same = [other for other in runs if other.method == run.method]
        told = {**run.knobs, "budget": run.budget}
        apart = [f"{k}={v}" for k, v in told.items() if any({**o.knobs, "budget": o.budget}.get(k) != v for o in same)]
        out.append(" ".join([run.method, *apart]))
    return tuple(out)


def kept_in_words(run: Run) -> str:
    """ "k/N = 64/576 (11.1 %)", or the mean over layers of a method that cuts late."""
    total, alive = len(tokens_of(run)), run.visual_alive
    mean = float(alive.mean())
    part = f"{mean / total:.1%}".replace("%", "\N{NO-BREAK SPACE}%")
    if (alive == alive[0]).all():
        return f"k/N = {int(alive[0])}/{total} ({part})"
    return f"k/N = {mean:.1f}/{total} ({part}), mean per layer; {int(alive[-1])} in the last"


def tokens_of(run: Run) -> np.ndarray:
    """(N0,) the encoder's token numbers."""
    if run.stages:
        return np.arange(len(run.stages[0].kept))
    return np.arange(1 + max(int(p.token.max()) for p in run.panels))


def first_stage(run: Run) -> int | None:
    """Size of the first of several stages, N1; None for a method with one."""
    return int(run.stages[0].kept.sum()) if len(run.stages) > 1 else None


def size_in_words(stage: Stage) -> str:
    """ "64", or "576 in 64" where tokens were merged."""
    live = stage.owner[stage.owner >= 0]
    outputs = len(np.unique(live))
    return f"{outputs}" if outputs == len(live) else f"{len(live)} in {outputs}"


def padding_in_words(run: Run) -> str:
    """ "37 of 128 kept tokens are padding", or "" for a picture without padding."""
    empty = raster.padding(run.panels, len(tokens_of(run)))
    if not empty.any() or not run.stages:
        return ""
    kept = run.stages[-1].kept
    return f"{int((kept & empty).sum())} of {int(kept.sum())} kept tokens are padding"


# --- the sheet --------------------------------------------------------------------------------------------------------


class Sheet(Page):
    """A page that knows how panels are drawn; one array a picture, so that every file holds it once."""

    def __init__(self, width: float) -> None:
        super().__init__(width)
        self.caption = ""
        self.cut = False  # some text had to be shortened
        self.lacks = False  # some character is not in the font
        self._photos: dict[tuple[int, bool], np.ndarray] = {}

    def fit(self, pieces: Sequence[Piece], width: float, most: int, tail: Sequence[Piece] = ()) -> list[list[Piece]]:
        """`wrap`, remembering whether the whole text can be read on the page."""
        lines = wrap(pieces, width, most, tail=tail)
        self.cut |= any(word == MORE for line in lines for word, _ in line)
        self.lacks |= any(drawable(text) != text for text, _ in pieces)
        return lines

    def notes(self, stem: str, *others: str) -> str:
        """What has to be said about the page itself."""
        notes = [note for note in others if note]
        if self.cut:
            notes.append(f"{MORE}: shortened, whole in {stem}.json.")
        if self.lacks:
            notes.append(f"{MISSING}: not in this font, see {stem}.json.")
        return " ".join(notes)

    def picture(self, x: float, y: float, w: float, h: float, panel: Panel, grey: bool = False) -> None:
        key = (id(panel.picture), grey)
        if key not in self._photos:
            pixels = np.asarray(panel.picture.convert("RGB"))
            self._photos[key] = _flipped(picture.grey(pixels) if grey else pixels)
        self.photo(x, y, w, h, self._photos[key])


def _flipped(pixels: np.ndarray, strength: int | np.ndarray = 255) -> np.ndarray:
    """RGB (rows, columns, 3) as the page wants it: RGBA, last row on top."""
    opaque = np.broadcast_to(np.uint8(strength), pixels.shape[:2])
    return np.ascontiguousarray(np.dstack([pixels, opaque])[::-1])


@dataclass(frozen=True, eq=False)
class Place:
    """One panel on the page, and its cells in points."""

    panel: Panel
    x: float
    y: float
    w: float
    h: float

    def at(self, points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        rows, cols = self.panel.token.shape
        return [(self.x + px * self.w / cols, self.y + py * self.h / rows) for px, py in points]

    def loops(self, mask: np.ndarray) -> list[list[tuple[float, float]]]:
        return [self.at(loop) for loop in raster.outline(mask)]


def strip(panels: Sequence[Panel], w: float) -> list[tuple[int, float, float, float, float]]:
    """Where panels go inside a width: (index, x, y, width, height), in rows of one height, leaving room for names."""
    shapes = [p.picture.width / p.picture.height for p in panels]
    fit = max(1, int((w + BETWEEN) // (SMALLEST + BETWEEN)))
    rows = math.ceil(len(panels) / fit)
    per_row = math.ceil(len(panels) / rows)
    out = []
    y = height = 0.0
    for start in range(0, len(panels), per_row):
        row = shapes[start : start + per_row]
        if start == 0 or len(row) == per_row:
            height = (w - BETWEEN * (len(row) - 1)) / sum(row)
        at = 0.0
        for i, shape in enumerate(row):
            out.append((start + i, at, y, height * shape, height))
            at += height * shape + BETWEEN
        y += height + NAME
    return out


def arrange(page: Page, panels: Sequence[Panel], x: float, y: float, w: float, draw: Callable[[Place], None]) -> float:
    """Panels in rows of one height inside the width, each named where there are several; returns the height used."""
    bottom = 0.0
    for i, dx, dy, pw, ph in strip(panels, w):
        draw(Place(panels[i], x + dx, y + dy, pw, ph))
        bottom = dy + ph
        if len(panels) > 1:
            if measure(panels[i].name) <= pw:
                page.text(x + dx, y + bottom + SMALL, panels[i].name, color=QUIET)
            bottom += NAME
    return bottom


def lay_out(
    several: Sequence[Comparison],
    labels: Sequence[str],
    panels: Sequence[str] | None,
    width: float,
    columns: int | None,
    stem: str,
) -> Sheet:
    """The whole figure on a sheet of a width in points."""
    sheet = Sheet(width)
    sheet.caption = sidecar.caption(
        several, labels, [kept_in_words(c.pruned) for c in several], [first_stage(c.pruned) for c in several]
    )
    if len(several) == 1:
        bottom = _alone(sheet, several[0], labels[0], panels or ALONE, columns, stem, bool(panels))
    else:
        bottom = _beside(sheet, several, labels, panels or BESIDE, stem, bool(panels))
    sheet.finish(bottom)
    return sheet


def _alone(
    sheet: Sheet, c: Comparison, label: str, panels: Sequence[str], columns: int | None, stem: str, strict: bool
) -> float:
    runs = [c.pruned]
    cells = [cell for name in panels if name != "answers" for (cell,) in rows_of(name, runs, strict)]
    width = sheet.width
    if cells:
        wide = min(width, NARROWEST if len(c.pruned.panels) == 1 else (SMALLEST + BETWEEN) * len(c.pruned.panels))
        most = max(1, int((width + GAP) // (wide + GAP)))
        rows = math.ceil(len(cells) / most)
        per_row = columns or math.ceil(len(cells) / rows)
        each = (width - GAP * (per_row - 1)) / per_row
        if each < NARROWEST - 1:
            raise ValueError(
                f"{per_row} panels a row leave {each / INCH:.2f} inches each; ask for fewer columns or more width."
            )
        y = TOP
        for start in range(0, len(cells), per_row):
            y = _row(sheet, cells[start : start + per_row], start, 0, y, each) + GAP
    else:
        y = TOP
    shown = [name for name in panels if name != "answers"]
    if any(name not in ("input", "score", "scores", "curve", "answers") for name in shown):
        y = legend(sheet, runs, 0, y, width)
    facts = [c.model, label, kept_in_words(c.pruned)]
    n1 = first_stage(c.pruned)
    y = _facts(sheet, facts, n1, [padding_in_words(c.pruned)], 0, y, width)
    most_lines = 6 if "answers" in panels else 1
    y = _said(sheet, c, 0, y + 1, width, most_lines)
    notes = sheet.notes(stem, "" if c.same else UNDERLINED)
    return sheet.paragraph(0, y, wrap([(notes, "")], width), color=QUIET) + 2


def _title(sheet: Sheet, x: float, y: float, pieces: Sequence[Piece], width: float) -> None:
    """A title in one line, smaller or shortened where it is too wide."""
    pieces = list(pieces)
    size = TITLE if _wide(pieces, TITLE) <= width else SMALL
    while _wide(pieces, size) > width and len(pieces[-1][0]) > 2:
        pieces[-1] = (pieces[-1][0][:-2].rstrip() + "…", pieces[-1][1])
    sheet.rich(x, y, pieces, size)


def _wide(pieces: Sequence[Piece], size: float) -> float:
    return sum(
        measure(t, SMALL if s in ("sup", "sub") else size, "bold" if s == "bold" else "normal") for t, s in pieces
    )


def _row(
    sheet: Sheet,
    cells: Sequence[Cell | None],
    count: int,
    x: float,
    y: float,
    each: float,
    letters: bool = True,
    lack: str = "none",
) -> float:
    """Cells side by side; returns where the tallest ends. `count` cells came before; `lack` stands where there is no cell."""
    top = y + TITLE * LINE + 2.5
    heights = []
    for i, cell in enumerate(cells):
        at = x + i * (each + GAP)
        if cell is None:
            sheet.text(at + each / 2, top + each / 2, lack, color=QUIET, ha="center")
            continue
        letter = [(f"({chr(ord('a') + count + i)}) ", "bold")] if letters else []
        _title(sheet, at, y + TITLE, [*letter, *cell.title], each)
        heights.append(cell.draw(sheet, at, top, each))
    bottom = top + max(heights, default=each)
    ends = [bottom]
    for i, cell in enumerate(cells):
        if cell is not None and cell.below is not None:
            ends.append(bottom + cell.below(sheet, x + i * (each + GAP), bottom, each))
    return max(ends)


def _facts(
    sheet: Sheet, facts: Sequence[str], n1: int | None, notes: Sequence[str], x: float, y: float, width: float
) -> float:
    """What was run, in one paragraph: facts between dots, N1 with its index lowered."""
    words = " · ".join(f for f in facts if f)
    lines = wrap([(words, "")], width)
    y = sheet.paragraph(x, y, lines)
    rest = "".join(f" · {note}" for note in notes if note)
    if n1 is not None:
        tail = f" = {n1}{rest}"
        used = sum(measure(word) for word, _ in lines[-1]) + measure(" ") * (len(lines[-1]) - 1)
        need = measure(f" · N1{tail}")
        base = y - SMALL * 0.28
        at, dot = x + used, " · "
        if used + need > width:
            y += SMALL * LINE
            base, at, dot = y - SMALL * 0.28, x, ""
        sheet.rich(at, base, [(f"{dot}N", ""), ("1", "sub"), (tail, "")])
        return y + 1
    return sheet.paragraph(x, y, wrap([(rest.removeprefix(" · "), "")], width)) if rest else y


def _said(sheet: Sheet, c: Comparison, x: float, y: float, width: float, most: int) -> float:
    """Question and both answers, each under its name; words that only one answer has are underlined."""
    blocks: list[tuple[str, list[Piece], list[Piece]]] = [
        ("Question", [(c.question, "")], []),
        ("Dense", answer_pieces(c, "dense"), []),
        ("Pruned", answer_pieces(c, "pruned"), [(badge(c), "bold")]),
    ]
    indent = max(measure(name, SMALL, "bold") for name, _, _ in blocks) + 5
    for name, pieces, tail in blocks:
        lines = sheet.fit(pieces, width - indent, most, tail)
        sheet.text(x, y + SMALL * LINE - SMALL * 0.28, name, weight="bold")
        y = sheet.paragraph(x + indent, y, lines) + 1
    return y


def answer_pieces(c: Comparison, which: str) -> list[Piece]:
    """An answer as stretches of words, marked where the other one differs; an empty one says so."""
    pieces = [(words, "mark" if kind == which else "") for kind, words in c.diff if kind in ("same", which)]
    return pieces or [("(nothing)", "")]


def badge(c: Comparison) -> str:
    """The outcome in brackets, not to be broken across lines."""
    return f"({c.badge})".replace(" ", "\N{NO-BREAK SPACE}")


UNDERLINED = "Underlined: words that only one of the answers has."


def legend(sheet: Sheet, runs: Sequence[Run], x: float, y: float, width: float) -> float:
    """What veils and hatches mean."""
    items: list[tuple[Callable[[float, float], None], list[Piece]]] = []
    size = SMALL
    stages = max((run.stages for run in runs), key=len)
    count = len(stages)

    def swatch(state: int, hatched: bool, veil: float, outlined: bool) -> Callable[[float, float], None]:
        def draw(sx: float, sy: float) -> None:
            sheet.rectangle(sx, sy, size * 1.3, size, "#8a8a8a")
            if veil:
                sheet.rectangle(sx, sy, size * 1.3, size, "#ffffff", alpha=veil)
            if hatched:
                lines = [((sx + a, sy), (sx + max(a - size, 0), sy + min(size, a))) for a in (3.5, 7.0)]
                lines += [((sx + size * 1.3, sy + 1.4), (sx + size * 1.3 - size + 1.4, sy + size))]
                sheet.lines(lines, HATCH, 0.5)
            edge = BLUE if outlined else "#8a8a8a"
            sheet.rectangle(sx, sy, size * 1.3, size, None, edge=edge, width=0.9 if outlined else 0.4)

        return draw

    if count:
        items.append((swatch(count, False, 0, True), [("kept", "")]))
        happened = {int(s) for run in runs if run.stages for s in np.unique(raster.leaving(run.stages))}
        for s in reversed([s for s in range(count) if s in happened]):
            where = pretty(stages[s].name) if len(runs) == 1 else [(f"stage {s + 1}" if count > 1 else "", "")]
            words: list[Piece] = [("dropped at ", ""), *where] if where[0][0] not in ("kept", "") else [("dropped", "")]
            if stages[s].depth:
                words.append((f", layer {stages[s].depth}", ""))
            items.append((swatch(s, raster.hatched(s, count), raster.veil(s, count), False), words))
    if any(not p.content.all() for run in runs for p in run.panels):

        def padded(sx: float, sy: float) -> None:
            sheet.rectangle(sx, sy, size * 1.3, size, "#8a8a8a", edge="#8a8a8a", width=0.4)
            sheet.lines([((sx, sy), (sx + size, sy + size)), ((sx + 4, sy), (sx + 9.1, sy + 5))], "#ffffff", 0.6)

        items.append((padded, [("padding", "")]))
    if any(_merged(run) for run in runs):

        def group(sx: float, sy: float) -> None:
            sheet.rectangle(sx, sy, size * 1.3, size, "#8a8a8a", edge=GROUPS[0], width=1.2)

        items.append((group, [("merged: one colour a group", "")]))
    at, y = x, y + 1
    for draw, words in items:
        need = size * 1.3 + 3 + sum(measure(t, SMALL) for t, _ in words) + 9
        if at > x and at + need - 9 > x + width:
            at, y = x, y + SMALL * LINE + 2
        draw(at, y)
        sheet.rich(at + size * 1.3 + 3, y + SMALL * 0.88, words)
        at += need
    return y + SMALL * LINE + 2


def _merged(run: Run) -> bool:
    return any((np.bincount(s.owner[s.owner >= 0]) > 1).any() for s in run.stages if (s.owner >= 0).any())


# --- rows of the grid: one cell a run ---------------------------------------------------------------------------------


def rows_of(name: str, runs: Sequence[Run], strict: bool) -> list[list[Cell | None]]:
    """What a panel's name stands for: rows of cells, one cell a run, None where a run has no such thing.

    Raises ValueError for a name that nothing has, and, where `strict`, for a panel that no run can fill.
    """
    rows: list[list[Cell | None]]
    if name == "input":
        rows = [[input_cell(run) for run in runs]]
    elif name in ("score", "scores"):
        found = [scores_of(run)[: 1 if name == "score" else None] for run in runs]
        rows = _score_rows(runs, found)
    elif name == "stages":
        most = max(len(run.stages) for run in runs)
        rows = [[stage_cell(run, i) if i < len(run.stages) else None for run in runs] for i in range(most)]
    elif name == "kept":
        rows = [[stage_cell(run, len(run.stages) - 1) if run.stages else None for run in runs]]
    elif name == "order":
        most_picks = max((int(s.order.max()) + 1 for run in runs for s in run.stages if s.order is not None), default=0)
        rows = [[order_cell(run, most_picks) for run in runs]]
    elif name == "curve":
        rows = _curve_rows(runs)
    else:
        found = [[pair for pair in scores_of(run) if pair[1] == name] for run in runs]
        if any(found):
            rows = _score_rows(runs, found)
        else:
            at = [next((i for i, s in enumerate(run.stages) if s.name == name), None) for run in runs]
            rows = [[None if i is None else stage_cell(run, i) for run, i in zip(runs, at, strict=True)]]
            if all(i is None for i in at):
                here = {n for run in runs for _, n in scores_of(run)} | {s.name for run in runs for s in run.stages}
                raise ValueError(f"There is no panel {name!r}; choose among {', '.join((*PANELS, *sorted(here)))}.")
    rows = [row for row in rows if any(cell is not None for cell in row)]
    if strict and not rows:
        raise ValueError(f"There is nothing to draw for the panel {name!r}: no run here has it; leave it out.")
    return rows


def scores_of(run: Run) -> list[tuple[Stage, str]]:
    """(stage, name) of every score, each once although steps of one cut share theirs."""
    out: list[tuple[Stage, str]] = []
    for stage in run.stages:
        for name, values in stage.scores.items():
            if np.isfinite(values).any() and not any(
                n == name and s.depth == stage.depth and np.array_equal(s.scores[n], values, equal_nan=True)
                for s, n in out
            ):
                out.append((stage, name))
    return out


def _score_rows(runs: Sequence[Run], found: Sequence[Sequence[tuple[Stage, str]]]) -> list[list[Cell | None]]:
    """One row for the n-th score of each run; scores of one name share one scale."""
    ends = {
        name: limits(*(s.scores[name] for pairs in found for s, n in pairs if n == name))
        for name in {n for pairs in found for _, n in pairs}
    }
    most = max((len(pairs) for pairs in found), default=0)
    return [
        [
            score_cell(run, *pairs[i], *ends[pairs[i][1]]) if i < len(pairs) else None
            for run, pairs in zip(runs, found, strict=True)
        ]
        for i in range(most)
    ]


def _curve_rows(runs: Sequence[Run]) -> list[list[Cell | None]]:
    found = [[(s, n) for s in run.stages for n in s.film if np.isfinite(s.film[n]).any()] for run in runs]
    ends = {
        name: limits(*(s.film[name] for pairs in found for s, n in pairs if n == name))
        for name in {n for pairs in found for _, n in pairs}
    }
    most = max((len(pairs) for pairs in found), default=0)
    return [
        [
            curve_cell(run, *pairs[i], *ends[pairs[i][1]]) if i < len(pairs) else None
            for run, pairs in zip(runs, found, strict=True)
        ]
        for i in range(most)
    ]


def input_cell(run: Run) -> Cell:
    def draw(page: Page, x: float, y: float, w: float) -> float:
        def one(place: Place) -> None:
            _sheet(page).picture(place.x, place.y, place.w, place.h, place.panel)
            _padding(page, place)

        return arrange(page, run.panels, x, y, w, one)

    return Cell([("input", "")], draw)


def stage_cell(run: Run, which: int) -> Cell:
    """Kept tokens at full brightness and outlined; veiled what left, by stage."""
    stage, count = run.stages[which], len(run.stages)

    def draw(page: Page, x: float, y: float, w: float) -> float:
        def one(place: Place) -> None:
            _sheet(page).picture(place.x, place.y, place.w, place.h, place.panel)
            state = raster.states(place.panel, run.stages, which)
            page.area(place.loops(state == raster.EMPTY), "#ffffff")
            for s in range(which + 1):
                left = state == s
                page.area(place.loops(left), "#ffffff", alpha=raster.veil(s, count))
                if raster.hatched(s, count):
                    page.lines([place.at(line) for line in raster.hatch(left)], HATCH, 0.3)
            _padding(page, place)
            _grid(page, place)
            kept = state == count
            merged = raster.groups(place.panel, stage.owner)
            alone = kept & ~np.any(merged, axis=0) if merged else kept
            page.area(place.loops(alone), None, edge=BLUE, width=0.7 if 2 * stage.kept.sum() < len(stage.kept) else 0.4)
            for g, mask in enumerate(merged):
                page.area(place.loops(mask), None, edge=GROUPS[g % len(GROUPS)], width=0.6, inside=True)

        return arrange(page, run.panels, x, y, w, one)

    where = f" (layer {stage.depth})" if stage.depth else ""
    return Cell([*pretty(stage.name), (f": {size_in_words(stage)}{where}", "")], draw)


def score_cell(run: Run, stage: Stage, name: str, low: float, high: float) -> Cell:
    """Values as cells of colour over the picture in grey, with a bar that states name, ends and direction."""
    values = stage.scores[name]

    def draw(page: Page, x: float, y: float, w: float) -> float:
        return arrange(
            page, run.panels, x, y, w, lambda place: _coloured(page, place, values, low, high, SCORE, OPACITY)
        )

    def below(page: Page, x: float, y: float, w: float) -> float:
        meaning = stage.higher.get(name, f"higher {name}")
        return bar(page, x, y, w, number(low), number(high), SCORE, OPACITY, f"brighter = {meaning}")

    where = f" (layer {stage.depth})" if stage.depth else ""
    return Cell([*pretty(name), (where, "")], draw, below)


def order_cell(run: Run, most: int) -> Cell | None:
    """Kept cells coloured by pick rank, the first ones numbered; None for a method without an order."""
    stage = next((s for s in reversed(run.stages) if s.order is not None), None)
    if stage is None or stage.order is None:
        return None
    order = np.where(stage.order >= 0, stage.order + 1.0, np.nan)

    def draw(page: Page, x: float, y: float, w: float) -> float:
        def one(place: Place) -> None:
            _sheet(page).picture(place.x, place.y, place.w, place.h, place.panel, grey=True)
            told = raster.spread(order, place.panel)
            page.area(place.loops(np.isnan(told)), "#ffffff", alpha=raster.MID)
            colours = paint(told, 1, most, ORDER)
            shown = np.where(np.isnan(told), 0, 255)
            page.photo(place.x, place.y, place.w, place.h, _cells(colours, shown))
            _padding(page, place)
            _grid(page, place)
            page.area(place.loops(~np.isnan(told)), None, edge=INK, width=0.4)
            _numbers(page, place, told)

        return arrange(page, run.panels, x, y, w, one)

    def below(page: Page, x: float, y: float, w: float) -> float:
        return bar(page, x, y, w, "1", f"{most}", ORDER, 1, "darker = picked earlier")

    return Cell([("order", "")], draw, below)


def curve_cell(run: Run, stage: Stage, name: str, low: float, high: float) -> Cell:
    """One value per pick, as a line."""
    values = stage.film[name]

    def draw(page: Page, x: float, y: float, w: float) -> float:
        _, _, top, _, tall = strip(run.panels, w)[-1]
        h = min(w, top + tall)  # as high as the pictures beside it
        low_text, high_text = number(low, 2), number(high, 2)
        left = max(measure(low_text), measure(high_text)) + 3
        x0, x1, y0, y1 = x + left, x + w - 2, y + 3, y + h - 2
        span = (high - low) or 1.0
        steps = max(1, len(values) - 1)
        points = [
            (x0 + (x1 - x0) * t / steps, y1 - (y1 - y0) * (v - low) / span)
            for t, v in enumerate(values.tolist())
            if math.isfinite(v)
        ]
        if low < 0 < high:
            zero = y1 - (y1 - y0) * (0 - low) / span
            page.lines([[(x0, zero), (x1, zero)]], "#9a9a9a", 0.4, linestyle=(0, (2, 2)))
            if min(zero - y0, y1 - zero) > SMALL:
                page.text(x0 - 2, zero + SMALL * 0.36, "0", ha="right")
        page.lines([[(x0, y0), (x0, y1), (x1, y1)]], INK, 0.5)
        page.lines([points], "#1f5fa8", 1.0, joinstyle="round")
        page.text(x0 - 2, y1 + SMALL * 0.1, low_text, ha="right")
        page.text(x0 - 2, y0 + SMALL * 0.6, high_text, ha="right")
        return h

    def below(page: Page, x: float, y: float, w: float) -> float:
        left = max(measure(number(low, 2)), measure(number(high, 2))) + 3
        base = y + SMALL + 1
        page.text(x + left, base, "1", ha="left")
        page.text(x + w - 2, base, str(len(values)), ha="right")
        if w - 2 - left > measure("pick") + 2 * measure(str(len(values))) + 8:
            page.text(x + left + (w - 2 - left) / 2, base, "pick", ha="center")
        else:
            page.text(x + w - 2, base + SMALL * LINE, "pick", ha="right")
            return 2 * SMALL * LINE + 2
        return SMALL * LINE + 2

    return Cell(pretty(name), draw, below)


def bar(page: Page, x: float, y: float, w: float, low: str, high: str, name: str, strength: float, words: str) -> float:
    """A colour bar with its ends beside it and, below, which way to read it; returns the height used."""
    thick, top = 5.0, y
    y += 3
    left, right = measure(low) + 2.5, measure(high) + 2.5
    steps = paint(np.linspace(0, 1, 256), 0, 1, name)[None]
    under = np.full_like(steps, 128)  # what lies under a colour is grey, so the bar lies on the middle of it
    base = y + thick / 2 + SMALL * 0.36
    if left + right > w / 2:  # too narrow for ends beside the bar
        left = right = 0.0
        base = y + thick + SMALL + 0.5
    page.text(x, base, low)
    page.photo(x + left, y, w - left - right, thick, _flipped(mix(steps, under, strength)))
    page.rectangle(x + left, y, w - left - right, thick, None, edge=INK, width=0.4)
    page.text(x + w, base, high, ha="right")
    y += 0 if left else SMALL * LINE
    return page.paragraph(x, y + thick + 1.5, wrap([(words, "")], w), color=QUIET) - top


def _coloured(
    page: Page, place: Place, values: np.ndarray, low: float, high: float, name: str, strength: float
) -> None:
    _sheet(page).picture(place.x, place.y, place.w, place.h, place.panel, grey=True)
    told = raster.spread(values, place.panel)
    shown = np.where(np.isnan(told), 255, round(255 * strength))
    page.photo(place.x, place.y, place.w, place.h, _cells(paint(told, low, high, name), shown))
    page.lines([place.at(line) for line in raster.hatch(np.isnan(told))], HATCH, 0.3)
    _padding(page, place)
    _grid(page, place)


def _cells(colours: np.ndarray, strength: np.ndarray, cell: int = 16) -> np.ndarray:
    """Colours (rows, cols, 3) as squares of equal pixels, so that a viewer that smooths images blurs no cell."""
    return _flipped(picture.grown(colours, cell), picture.grown(strength.astype(np.uint8), cell))


def _padding(page: Page, place: Place) -> None:
    empty = ~place.panel.content & (place.panel.token >= 0)
    lines = [place.at(line) for line in raster.hatch(empty, falling=True)]
    page.lines(lines, "#ffffff", 0.7)  # on light and on dark
    page.lines(lines, HATCH, 0.3)


def _grid(page: Page, place: Place) -> None:
    rows, cols = place.panel.token.shape
    lines = [place.at([(c, 0), (c, rows)]) for c in range(1, cols)] + [
        place.at([(0, r), (cols, r)]) for r in range(1, rows)
    ]
    page.lines(lines, "#ffffff", 0.15, alpha=0.35)


def _numbers(page: Page, place: Place, told: np.ndarray) -> None:
    """Numbers of the first picks: inside large cells, else beside their cell, with a line where that is not next to it."""
    rows, cols = told.shape
    wide, high = place.w / cols, place.h / rows
    first = sorted((float(told[r, c]), r, c) for r, c in np.argwhere(told <= NUMBERED).tolist())
    tall = SMALL * 0.72 + 1.2
    inside = wide > measure(str(NUMBERED)) + 1.6 and high > tall
    centre = {pick: place.at([(c + 0.5, r + 0.5)])[0] for pick, r, c in first}
    taken = [] if inside else [(x - wide / 2, y - high / 2, x + wide / 2, y + high / 2) for x, y in centre.values()]
    for pick, _, _ in first:
        cx, cy = centre[pick]
        w, h = measure(f"{pick:.0f}") + 1.2, tall
        ex, ey = (wide + w) / 2, (high + h) / 2
        steps = [(ex, 0.0), (-ex, 0.0), (0.0, -ey), (0.0, ey), (ex, -ey), (-ex, -ey), (ex, ey), (-ex, ey)]
        steps = [(dx * reach, dy * reach) for reach in (1.0, 1.6, 2.3, 3.0) for dx, dy in steps]
        for dx, dy in [(0.0, 0.0)] if inside else steps:
            box = _inside((cx + dx - w / 2, cy + dy - h / 2, cx + dx + w / 2, cy + dy + h / 2), place)
            if not any(
                box[0] < b[2] - 0.01 and b[0] < box[2] - 0.01 and box[1] < b[3] - 0.01 and b[1] < box[3] - 0.01
                for b in taken
            ):
                break
        taken.append(box)
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        if abs(x - cx) > ex * 1.1 or abs(y - cy) > ey * 1.1:
            page.lines([((cx, cy), (x, y))], INK, 0.5)
        page.text(x, y + SMALL * 0.36, f"{pick:.0f}", ha="center", halo=True)


def _inside(box: tuple[float, float, float, float], place: Place) -> tuple[float, float, float, float]:
    dx = max(place.x - box[0], 0) + min(place.x + place.w - box[2], 0)
    dy = max(place.y - box[1], 0) + min(place.y + place.h - box[3], 0)
    return (box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy)


def _sheet(page: Page) -> Sheet:
    if not isinstance(page, Sheet):
        raise TypeError("cells are drawn on a Sheet")
    return page


# --- several methods, one column each ---------------------------------------------------------------------------------


def _beside(
    sheet: Sheet, several: Sequence[Comparison], labels: Sequence[str], panels: Sequence[str], stem: str, strict: bool
) -> float:
    runs, one = [c.pruned for c in several], several[0]
    shared = all(
        c.question == one.question and c.model == one.model and _same_input(c.pruned, runs[0]) for c in several
    )
    lead = shared and "input" in panels
    count, width = len(several), sheet.width
    most = 8 if "answers" in panels else 2
    context: list[tuple[str, list[Piece]]] = [
        ("Question:", [(one.question, "")]),
        ("Model:", [(one.model, "")]),
        ("Dense:", [(one.dense.answer.text or "(nothing)", "")]),
    ]

    def say(blocks: Sequence[tuple[str, list[Piece]]], x: float, y: float, w: float) -> float:
        for head, pieces in blocks:
            y = sheet.paragraph(x, y, sheet.fit([(head, "bold"), *pieces], w, most)) + 1
        return y

    ends, left, top = [], 0.0, TOP
    each = (width - GAP * count) / (count + 1)
    if lead and each >= NARROWEST:  # the input is a column of its own
        left = each + GAP
    else:
        each = (width - GAP * (count - 1)) / count
        if each < SMALLEST:
            raise ValueError(
                f"{count} columns leave {each / INCH:.2f} inches each; draw fewer methods or give more width."
            )
        if lead:  # the input and what is known of it stand above the columns
            wide = min(each, width / 3)
            bottom = _row(sheet, [input_cell(runs[0])], 0, 0, top, wide, letters=False)
            top = max(bottom, say(context, wide + GAP, top + TITLE * LINE, width - wide - GAP)) + 4
        elif shared:
            top = say(context, 0, top, width) + 2

    heads = [wrap([(label, "bold")], each, 3, TITLE) for label in labels]
    size = (
        TITLE
        if all(len(h) == len(BLANKS.split(label)) or len(h) == 1 for h, label in zip(heads, labels, strict=True))
        else SMALL
    )
    y = top
    for i, label in enumerate(labels):
        y = max(y, sheet.paragraph(left + i * (each + GAP), top, wrap([(label, "bold")], each, 3, size), size))
    if left:
        bottom = _row(sheet, [input_cell(runs[0])], 0, 0, y + 1, each, letters=False)
        ends.append(say(context, 0, bottom + 3, each))
    y += 1
    own = [name for name in panels if name != "answers" and not (lead and name == "input")]
    scales: list[str] = []
    for name in own:
        for row in rows_of(name, runs, strict):
            y = _row(sheet, row, 0, left, y, each, letters=False, lack=f"no {name}") + 3
        if name in ("score", "scores"):
            scales.append(_scale_in_words([scores_of(run)[: 1 if name == "score" else None] for run in runs]))
    for i, c in enumerate(several):
        x = left + i * (each + GAP)
        at = _facts(sheet, [kept_in_words(c.pruned)], first_stage(c.pruned), [padding_in_words(c.pruned)], x, y, each)
        if not shared:
            about: list[tuple[str, list[Piece]]] = [("Question:", [(c.question, "")]), ("Model:", [(c.model, "")])]
            at = say([*about, ("Dense:", answer_pieces(c, "dense"))], x, at, each)
        at = say([("Pruned:", answer_pieces(c, "pruned"))], x, at, each)
        ends.append(sheet.paragraph(x, at, wrap([(f"({c.badge})", "bold")], each)))
    y = max(ends) + 2
    if any(name not in ("input", "score", "scores", "curve") for name in own):
        y = legend(sheet, runs, 0, y, width)
    marked = "" if all(c.same for c in several) else UNDERLINED
    if marked and shared:
        marked = "Underlined: words that the dense answer does not have."
    notes = sheet.notes(stem, *dict.fromkeys(scales), marked)
    return sheet.paragraph(0, y, wrap([(notes, "")], width), color=QUIET) + 2


def _scale_in_words(found: Sequence[Sequence[tuple[Stage, str]]]) -> str:
    """Whether the colours of several runs can be compared."""
    names = {name for pairs in found for _, name in pairs}
    if sum(bool(pairs) for pairs in found) < 2:
        return ""
    return (
        "All scores share one colour scale."
        if len(names) == 1
        else "Scores of different names have different colour scales."
    )


def _same_input(a: Run, b: Run) -> bool:
    return len(a.panels) == len(b.panels) and all(
        p.picture is q.picture or (p.picture.size == q.picture.size and p.picture.tobytes() == q.picture.tobytes())
        for p, q in zip(a.panels, b.panels, strict=True)
    )
