"""How a figure is laid out: one comparison in rows of panels, several side by side, and the words below."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from trimviz.draw import raster, sidecar
from trimviz.draw.cells import (
    BETWEEN,
    BLUE,
    GROUPS,
    HATCH,
    SMALLEST,
    Cell,
    Sheet,
    curve_cell,
    input_cell,
    merged,
    order_cell,
    score_cell,
    stage_cell,
)
from trimviz.draw.colour import limits
from trimviz.draw.page import BLANKS, INCH, LINE, QUIET, SMALL, TITLE, Piece, measure, wrap
from trimviz.draw.words import (
    answer_pieces,
    badge,
    kept_in_words,
    margin_in_words,
    padding_in_words,
    place,
    pretty,
    scale_in_words,
    scores_of,
)
from trimviz.types import Run, Stage

if TYPE_CHECKING:
    from PIL import Image

    from trimviz.compare import Comparison


PANELS = ("input", "score", "scores", "stages", "kept", "order", "curve", "answers")
ALONE = ("input", "score", "stages", "order", "curve", "answers")
BESIDE = ("input", "score", "kept", "answers")
NARROWEST = 68.0  # points, of a grid's column
GAP = 6.0
TOP = 1.5  # room above the first line, for what is raised
UNDERLINED = "Underlined: words that only one of the answers has."


def lay_out(
    several: Sequence[Comparison],
    labels: Sequence[str],
    panels: Sequence[str] | None,
    width: float,
    columns: int | None,
    stem: str,
    originals: Sequence[Image.Image] = (),
) -> Sheet:
    """The whole figure on a sheet of a width in points; `originals` show what a crop took away."""
    sheet = Sheet(width)
    sheet.caption = sidecar.caption(
        several, labels, [kept_in_words(c.pruned) for c in several], [c.pruned.n1 for c in several]
    )
    if len(several) == 1:
        bottom = _alone(sheet, several[0], labels[0], panels or ALONE, columns, stem, bool(panels), originals)
    else:
        bottom = _beside(sheet, several, labels, panels or BESIDE, stem, bool(panels), originals)
    sheet.finish(bottom)
    return sheet


def _alone(
    sheet: Sheet,
    c: Comparison,
    label: str,
    panels: Sequence[str],
    columns: int | None,
    stem: str,
    strict: bool,
    originals: Sequence[Image.Image],
) -> float:
    runs = [c.pruned]
    cells = [cell for name in panels if name != "answers" for (cell,) in rows_of(name, runs, strict, originals)]
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
    facts = [c.model, label, kept_in_words(c.pruned), margin_in_words(c.pruned, originals)]
    n1 = c.pruned.n1
    y = _facts(sheet, facts, n1, [padding_in_words(c.pruned)], 0, y, width)
    most_lines = 6 if "answers" in panels else 1
    y = _said(sheet, c, 0, y + 1, width, most_lines)
    notes = sheet.notes(stem, "" if c.same else UNDERLINED)
    return sheet.paragraph(0, y, wrap([(notes, "")], width), color=QUIET) + 2


def _beside(
    sheet: Sheet,
    several: Sequence[Comparison],
    labels: Sequence[str],
    panels: Sequence[str],
    stem: str,
    strict: bool,
    originals: Sequence[Image.Image],
) -> float:
    runs, one = [c.pruned for c in several], several[0]
    shared = all(c.asked == one.asked and c.model == one.model and _same_input(c.pruned, runs[0]) for c in several)
    lead = shared and "input" in panels
    count, width = len(several), sheet.width
    most = 8 if "answers" in panels else 2
    context: list[tuple[str, list[Piece]]] = [
        ("Question:", [(one.asked, "")]),
        ("Model:", [(one.model, "")]),
        ("Dense:", [(one.dense.answer.text or "(nothing)", "")]),
    ]
    margin = margin_in_words(runs[0], originals)
    if margin:
        context.append(("Crop:", [(margin, "")]))

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
            bottom = _row(sheet, [input_cell(runs[0], originals)], 0, 0, top, wide, letters=False)
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
        bottom = _row(sheet, [input_cell(runs[0], originals)], 0, 0, y + 1, each, letters=False)
        ends.append(say(context, 0, bottom + 3, each))
    y += 1
    own = [name for name in panels if name != "answers" and not (lead and name == "input")]
    scales: list[str] = []
    for name in own:
        for row in rows_of(name, runs, strict, originals):
            y = _row(sheet, row, 0, left, y, each, letters=False, lack=f"no {name}") + 3
        if name in ("score", "scores"):
            scales.append(scale_in_words([scores_of(run)[: 1 if name == "score" else None] for run in runs]))
    for i, c in enumerate(several):
        x = left + i * (each + GAP)
        at = _facts(sheet, [kept_in_words(c.pruned)], c.pruned.n1, [padding_in_words(c.pruned)], x, y, each)
        if not shared:
            about: list[tuple[str, list[Piece]]] = [("Question:", [(c.asked, "")]), ("Model:", [(c.model, "")])]
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
    """Cells side by side; returns where the tallest ends. `count` came before; `lack` stands where there is none."""
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
        ("Question", [(c.asked, "")], []),
        ("Dense", answer_pieces(c, "dense"), []),
        ("Pruned", answer_pieces(c, "pruned"), [(badge(c), "bold")]),
    ]
    indent = max(measure(name, SMALL, "bold") for name, _, _ in blocks) + 5
    for name, pieces, tail in blocks:
        lines = sheet.fit(pieces, width - indent, most, tail)
        sheet.text(x, y + SMALL * LINE - SMALL * 0.28, name, weight="bold")
        y = sheet.paragraph(x + indent, y, lines) + 1
    return y


def legend(sheet: Sheet, runs: Sequence[Run], x: float, y: float, width: float) -> float:
    """What veils and hatches mean."""
    items: list[tuple[Callable[[float, float], None], list[Piece]]] = []
    size = SMALL
    stages = max((run.stages for run in runs), key=len)
    count = len(stages)

    def swatch(hatched: bool, veil: float, outlined: bool) -> Callable[[float, float], None]:
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
        items.append((swatch(False, 0, True), [("kept", "")]))
        # What left is drawn by its own run's number of stages, so several runs share only the ends of the scale.
        seen = {(int(s), len(run.stages)) for run in runs if run.stages for s in np.unique(raster.leaving(run.stages))}
        shades: dict[tuple[float, bool], list[Piece]] = {}
        for s, of in sorted((pair for pair in seen if pair[0] < pair[1]), key=lambda pair: (pair[1], -pair[0])):
            words: list[Piece]
            if len(runs) > 1:
                last, first = s == of - 1, s == 0
                words = [("dropped at the last stage" if last else "at the first" if first else "in between", "")]
            elif stages[s].name == "kept":
                words = [(" ".join(("dropped at", place(stages[s]))) if stages[s].depth else "dropped", "")]
            else:
                words = [("dropped at ", ""), *pretty(stages[s].name)]
                words += [(f", {place(stages[s])}", "")] if stages[s].depth else []
            shades.setdefault((raster.veil(s, of), raster.hatched(s, of)), words)
        for (veil, hatched), words in sorted(shades.items()):
            items.append((swatch(hatched, veil, False), words))
    if any(not p.content.all() for run in runs for p in run.panels):

        def padded(sx: float, sy: float) -> None:
            sheet.rectangle(sx, sy, size * 1.3, size, "#8a8a8a", edge="#8a8a8a", width=0.4)
            sheet.lines([((sx, sy), (sx + size, sy + size)), ((sx + 4, sy), (sx + 9.1, sy + 5))], "#ffffff", 0.6)

        items.append((padded, [("padding", "")]))
    if any(merged(run) for run in runs):

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


def rows_of(
    name: str, runs: Sequence[Run], strict: bool, originals: Sequence[Image.Image] = ()
) -> list[list[Cell | None]]:
    """What a panel's name stands for: rows of cells, one cell a run, None where a run has no such thing.

    Raises ValueError for a name that nothing has, and, where `strict`, for a panel that no run can fill.
    """
    rows: list[list[Cell | None]]
    if name == "input":
        rows = [[input_cell(run, originals) for run in runs]]
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


def _same_input(a: Run, b: Run) -> bool:
    return len(a.panels) == len(b.panels) and all(
        p.picture is q.picture or (p.picture.size == q.picture.size and p.picture.tobytes() == q.picture.tobytes())
        for p, q in zip(a.panels, b.panels, strict=True)
    )
