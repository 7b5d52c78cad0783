"""What can stand in a figure's grid, drawn on a sheet: a panel's picture, scores, kept sets, order and curve."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trimviz.draw import picture, raster
from trimviz.draw.colour import KEPT, ORDER, SCORE, mix, paint
from trimviz.draw.page import INK, LINE, MISSING, MORE, QUIET, SMALL, Page, Piece, drawable, measure, wrap
from trimviz.draw.words import number, outputs, place, pretty
from trimviz.types import Panel, Run, Stage

if TYPE_CHECKING:
    from PIL import Image

SMALLEST = 52.0  # points, of one of several panels
BETWEEN = 3.0  # points, between them
NAME = SMALL * LINE + 2  # points, of their names
NUMBERED = 20  # picks that carry their number: more collide and cannot be read
OPACITY = 0.85  # of a score over the grey picture
BLUE = "#{:02x}{:02x}{:02x}".format(*KEPT)
GROUPS = ("#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7f5fc7", "#8c6d1f", "#117733")  # of merged groups
HATCH = "#333333"


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


@dataclass(frozen=True, eq=False)
class Cell:
    """What stands at one place of the grid: a title, a drawing, and a note below it."""

    title: Sequence[Piece]
    draw: Callable[[Sheet, float, float, float], float]  # page, x, y, width -> height
    below: Callable[[Sheet, float, float, float], float] | None = None


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


def arrange(page: Sheet, panels: Sequence[Panel], x: float, y: float, w: float, draw: Callable[[Place], None]) -> float:
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


def input_cell(run: Run, originals: Sequence[Image.Image] = ()) -> Cell:
    """What the model saw; with the originals, also what their crop took away, under a veil."""
    panels = [picture.with_margin(panel, original) for panel, original in picture.pairs(run.panels, originals)]

    def draw(page: Sheet, x: float, y: float, w: float) -> float:
        def one(place: Place) -> None:
            page.picture(place.x, place.y, place.w, place.h, place.panel)
            _padding(page, place)

        return arrange(page, panels, x, y, w, one)

    return Cell([("input", "")], draw)


def stage_cell(run: Run, which: int) -> Cell:
    """Kept tokens at full brightness and outlined; veiled what left, by stage."""
    stage, count = run.stages[which], len(run.stages)

    def draw(page: Sheet, x: float, y: float, w: float) -> float:
        def one(place: Place) -> None:
            page.picture(place.x, place.y, place.w, place.h, place.panel)
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

    def below(page: Sheet, x: float, y: float, w: float) -> float:
        return page.paragraph(x, y + 1.5, wrap([(f"at {place(stage)}", "")], w), color=QUIET) - y + 3

    return Cell([*pretty(stage.name), (f": {outputs(stage)}", "")], draw, below if stage.depth else None)


def score_cell(run: Run, stage: Stage, name: str, low: float, high: float) -> Cell:
    """Values as cells of colour over the picture in grey, with a bar that states name, ends and direction."""
    values = stage.scores[name]

    def draw(page: Sheet, x: float, y: float, w: float) -> float:
        return arrange(
            page, run.panels, x, y, w, lambda place: _coloured(page, place, values, low, high, SCORE, OPACITY)
        )

    def below(page: Sheet, x: float, y: float, w: float) -> float:
        meaning = stage.higher.get(name, f"higher {name}")
        where = f" ({place(stage)})" if stage.depth else ""
        return bar(page, x, y, w, number(low), number(high), SCORE, OPACITY, f"brighter = {meaning}{where}")

    return Cell(pretty(name), draw, below)


def order_cell(run: Run, most: int) -> Cell | None:
    """Kept cells coloured by pick rank, the first ones numbered; None for a method without an order."""
    stage = next((s for s in reversed(run.stages) if s.order is not None), None)
    if stage is None or stage.order is None:
        return None
    order = np.where(stage.order >= 0, stage.order + 1.0, np.nan)

    def draw(page: Sheet, x: float, y: float, w: float) -> float:
        def one(place: Place) -> None:
            page.picture(place.x, place.y, place.w, place.h, place.panel, grey=True)
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

    def below(page: Sheet, x: float, y: float, w: float) -> float:
        return bar(page, x, y, w, "1", f"{most}", ORDER, 1, "darker = picked earlier")

    return Cell([("order", "")], draw, below)


def curve_cell(run: Run, stage: Stage, name: str, low: float, high: float) -> Cell:
    """One value per pick, as a line."""
    values = stage.film[name]

    def draw(page: Sheet, x: float, y: float, w: float) -> float:
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

    def below(page: Sheet, x: float, y: float, w: float) -> float:
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


def bar(
    page: Sheet, x: float, y: float, w: float, low: str, high: str, name: str, strength: float, words: str
) -> float:
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


def merged(run: Run) -> bool:
    return any((np.bincount(s.owner[s.owner >= 0]) > 1).any() for s in run.stages if (s.owner >= 0).any())


def _flipped(pixels: np.ndarray, strength: int | np.ndarray = 255) -> np.ndarray:
    """RGB (rows, columns, 3) as the page wants it: RGBA, last row on top."""
    opaque = np.broadcast_to(np.uint8(strength), pixels.shape[:2])
    return np.ascontiguousarray(np.dstack([pixels, opaque])[::-1])


def _coloured(
    page: Sheet, place: Place, values: np.ndarray, low: float, high: float, name: str, strength: float
) -> None:
    page.picture(place.x, place.y, place.w, place.h, place.panel, grey=True)
    told = raster.spread(values, place.panel)
    shown = np.where(np.isnan(told), 255, round(255 * strength))
    page.photo(place.x, place.y, place.w, place.h, _cells(paint(told, low, high, name), shown))
    page.lines([place.at(line) for line in raster.hatch(np.isnan(told))], HATCH, 0.3)
    _padding(page, place)
    _grid(page, place)


def _cells(colours: np.ndarray, strength: np.ndarray, cell: int = 16) -> np.ndarray:
    """Colours (rows, cols, 3) as squares of equal pixels, so that a viewer that smooths images blurs no cell."""
    return _flipped(picture.grown(colours, cell), picture.grown(strength.astype(np.uint8), cell))


def _padding(page: Sheet, place: Place) -> None:
    empty = ~place.panel.content & (place.panel.token >= 0)
    lines = [place.at(line) for line in raster.hatch(empty, falling=True)]
    page.lines(lines, "#ffffff", 0.7)  # on light and on dark
    page.lines(lines, HATCH, 0.3)


def _grid(page: Sheet, place: Place) -> None:
    rows, cols = place.panel.token.shape
    lines = [place.at([(c, 0), (c, rows)]) for c in range(1, cols)] + [
        place.at([(0, r), (cols, r)]) for r in range(1, rows)
    ]
    page.lines(lines, "#ffffff", 0.15, alpha=0.35)


def _numbers(page: Sheet, place: Place, told: np.ndarray) -> None:
    """Numbers of the first picks: inside large cells, else beside theirs, with a line where they are not next to it."""
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
