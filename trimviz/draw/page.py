"""A sheet of a fixed width measured in points, rows running down: text, lines, areas and photographs at exact places.

It grows downwards as it is drawn on; nothing on it knows what it depicts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, fontManager, get_font
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from matplotlib.text import Text
from matplotlib.textpath import text_to_path
from matplotlib.transforms import Affine2D, Transform
from PIL import Image

INCH = 72.0  # points
FAMILIES = ("DejaVu Sans",)  # comes with matplotlib, so a figure looks the same on every machine
SMALL = 7.0  # points: nothing is smaller
TITLE = 8.0
LINE = 1.22  # line height over font size
INK = "#1a1a1a"
QUIET = "#555555"
MISSING = "\N{WHITE SQUARE}"  # for a character that the font does not have
MORE = "[…]"  # for what was left out of a text
BLANKS = re.compile(r"[ \t\r\n\f\v]+")  # unlike str.split, keeps a no-break space inside its word

Piece = tuple[str, str]  # text, style: "", "bold", "sup", "sub", "mark"


@cache
def _font(weight: str = "normal") -> FontProperties:
    return FontProperties(family=list(FAMILIES), weight=weight)


@cache
def _known() -> frozenset[int]:
    """Character codes that the font can draw."""
    files = [fontManager.findfont(FontProperties(family=family)) for family in FAMILIES]
    return frozenset(code for file in files for code in get_font(file).get_charmap())


@cache
def measure(text: str, size: float = SMALL, weight: str = "normal") -> float:
    """Width of a text in points; spaces at its ends count."""
    if text != text.strip():
        return measure(f"|{text}|", size, weight) - measure("||", size, weight)
    if not text:
        return 0.0
    font = _font(weight).copy()
    font.set_size(size)
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0])


def drawable(text: str) -> str:
    """A text in characters that the font has; others become `MISSING`."""
    return "".join(c if ord(c) in _known() else MISSING for c in text)


def wrap(
    pieces: Iterable[Piece], width: float, most: int | None = None, size: float = SMALL, tail: Sequence[Piece] = ()
) -> list[list[Piece]]:
    """Words in lines no wider than `width` points; past `most` lines the text is cut with `MORE`; `tail` ends it."""
    words, after = _words(pieces, width, size), _words(tail, width, size)
    lines = _filled([*words, *after], width, size)
    while most is not None and len(lines) > most and words:
        words.pop()
        lines = _filled([*words, (MORE, ""), *after], width, size)
    return lines


def _words(pieces: Iterable[Piece], width: float, size: float) -> list[Piece]:
    return [
        (part, style)
        for text, style in pieces
        for word in BLANKS.split(text)
        if word
        for part in _broken(drawable(word), width, size, style)
    ]


def _filled(words: Sequence[Piece], width: float, size: float) -> list[list[Piece]]:
    lines: list[list[Piece]] = []
    used = 0.0
    for word, style in words:
        wide = measure(word, size, "bold" if style == "bold" else "normal")
        if lines and used + measure(" ", size) + wide <= width:
            lines[-1].append((word, style))
            used += measure(" ", size) + wide
        else:
            lines.append([(word, style)])
            used = wide
    return lines


def _broken(word: str, width: float, size: float, style: str) -> list[str]:
    """A word in parts that fit."""
    weight = "bold" if style == "bold" else "normal"
    parts = []
    while measure(word, size, weight) > width and len(word) > 1:
        fit = next(n for n in range(len(word) - 1, 0, -1) if n == 1 or measure(word[:n], size, weight) <= width)
        parts.append(word[:fit])
        word = word[fit:]
    return [*parts, word]


class Page:
    """The sheet; coordinates are points from the top left corner."""

    def __init__(self, width: float) -> None:
        self.width = width
        self.figure = Figure()
        self._down = Affine2D()  # points from the top to inches from the bottom, known once the height is
        self.transform: Transform = self._down + self.figure.dpi_scale_trans
        self._order = 0
        self.sizes: set[float] = set()  # of all text on the page

    def finish(self, height: float) -> Figure:
        """The figure, once its height in points is known."""
        self.figure.set_size_inches(self.width / 72, height / 72)
        self._down.clear().scale(1 / 72, -1 / 72).translate(0, height / 72)
        return self.figure

    def _add(self, artist: Artist) -> None:
        self._order += 1
        artist.set_zorder(self._order)  # later things lie on earlier ones
        self.figure.add_artist(artist)

    def text(
        self, x: float, y: float, text: str, size: float = SMALL, color: str = INK, halo: bool = False, **options: Any
    ) -> None:
        """One line of text with its baseline at y."""
        weight = options.pop("weight", "normal")
        font = _font(weight).copy()
        font.set_size(size)
        self.sizes.add(size)
        artist = Text(
            x,
            y,
            drawable(text),
            color=color,
            fontproperties=font,
            parse_math=False,
            transform=self.transform,
            **options,
        )
        if halo:
            width, up = measure(text, size, weight) / 2 + 0.5, size * 0.36 + 0.5
            box = [(x - width, y - size * 0.36 - up), (x + width, y - size * 0.36 - up)]
            box += [(x + width, y - size * 0.36 + up), (x - width, y - size * 0.36 + up)]
            self.area([box], "#ffffff", alpha=0.85)
        self._add(artist)

    def rich(self, x: float, y: float, pieces: Iterable[Piece], size: float = SMALL, color: str = INK) -> float:
        """Pieces one after the other from x; returns where they end. Raised and lowered ones keep at least `SMALL`."""
        for text, style in pieces:
            weight = "bold" if style == "bold" else "normal"
            small = style in ("sup", "sub")
            at = SMALL if small else size
            shift = {"sup": -0.33 * size, "sub": 0.2 * size}.get(style, 0)
            self.text(x, y + shift, text, at, color, weight=weight)
            x += measure(text, at, weight) + (0.3 if small else 0)
        return x

    def paragraph(
        self, x: float, y: float, lines: Sequence[Sequence[Piece]], size: float = SMALL, color: str = INK
    ) -> float:
        """Wrapped lines from the top y; marked words are underlined. Returns the y of the end."""
        for line in lines:
            at, y = x, y + size * LINE
            base = y - size * 0.28
            runs: list[list[Any]] = []  # words of one style are one text, so that they can be searched and copied
            for word, style in line:
                if runs and runs[-1][1] == style:
                    runs[-1][0] += f" {word}"
                else:
                    runs.append([word, style])
            for text, style in runs:
                end = self.rich(at, base, [(text, style)], size, color)
                if style == "mark":
                    self.lines([((at, base + 1.3), (end, base + 1.3))], color, 0.5)
                at = end + measure(" ", size)
        return y

    def lines(
        self, lines: Iterable[Sequence[tuple[float, float]]], color: str, width: float, alpha: float = 1, **options: Any
    ) -> None:
        """Open lines through points, as one path."""
        paths = [Outline(np.array(line, dtype=float)) for line in lines]
        if paths:
            path = Outline.make_compound_path(*paths)
            options = {"capstyle": "butt", "joinstyle": "miter"} | options
            self._add(PathPatch(path, fill=False, ec=color, lw=width, alpha=alpha, transform=self.transform, **options))

    def area(
        self,
        loops: Iterable[Sequence[tuple[float, float]]],
        color: str | None,
        alpha: float = 1,
        edge: str | None = None,
        width: float = 0.5,
        inside: bool = False,
    ) -> None:
        """Closed loops as one filled or outlined shape; a loop the other way round is a hole.

        `inside` keeps the outline within the shape, so that neighbours' outlines stand side by side.
        """
        paths = [Outline(np.array([*loop, loop[0]], dtype=float), closed=True) for loop in loops]
        if paths:
            path = Outline.make_compound_path(*paths)
            face: Any = "none" if color is None else (color, alpha)
            thick = width * (2 if inside else 1) if edge else 0
            patch = PathPatch(path, fc=face, ec=edge or "none", lw=thick, joinstyle="miter", transform=self.transform)
            self._add(patch)
            if inside:
                patch.set_clip_path(path, self.transform)

    def rectangle(self, x: float, y: float, w: float, h: float, color: str | None, **options: Any) -> None:
        self.area([[(x, y), (x + w, y), (x + w, y + h), (x, y + h)]], color, **options)

    def photo(self, x: float, y: float, w: float, h: float, pixels: np.ndarray) -> None:
        """A raster (rows, columns, 4) uint8, its last row on top; vector files hold an array once."""
        self._add(_Photo(pixels, (x, y, w, h), self.transform))


class _Photo(Artist):
    """An image that vector files keep at its own pixels; a raster repeats or averages them."""

    def __init__(self, pixels: np.ndarray, box: tuple[float, float, float, float], transform: Transform) -> None:
        super().__init__()
        self.pixels, self.box = pixels, box
        self.set_transform(transform)

    def draw(self, renderer: RendererBase) -> None:
        x, y, w, h = self.box
        corners = self.get_transform().transform([(x, y + h), (x + w, y)])
        (left, bottom), (right, top) = corners
        gc = renderer.new_gc()
        if renderer.option_scale_image():
            place = Affine2D().scale(right - left, top - bottom)
            renderer.draw_image(gc, left, bottom, self.pixels, place)
        else:
            x0, x1, y0, y1 = (round(float(v)) for v in (left, right, bottom, top))
            size = (x1 - x0, y1 - y0)
            shrinks = size[0] < self.pixels.shape[1]
            how = Image.Resampling.BOX if shrinks else Image.Resampling.NEAREST
            renderer.draw_image(gc, x0, y0, np.array(Image.fromarray(self.pixels).resize(size, how)))
        gc.restore()
