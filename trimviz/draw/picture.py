"""One panel with an overlay as a picture of whole pixels per cell, for screens, tests and animations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw

from trimviz.draw.colour import GONE, KEPT, SCORE, mix, paint
from trimviz.draw.raster import EMPTY, hatched, spread, states, veil
from trimviz.types import Panel, Stage

WHITE = np.array([255, 255, 255])
INK = np.array([64, 64, 64])  # of hatches
LONGEST = 1024  # pixels of an original that shows its margin, long side
HALF = 0.5  # pixels of the original: less than that is no margin


def photo(panel: Panel, cell: int) -> np.ndarray:
    """uint8 (rows * cell, cols * cell, 3): the panel's picture at `cell` pixels a cell."""
    rows, cols = panel.token.shape
    size = (cols * cell, rows * cell)
    shrinks = panel.picture.width >= size[0]
    how = Image.Resampling.BOX if shrinks else Image.Resampling.NEAREST
    return np.asarray(panel.picture.convert("RGB").resize(size, how))


def grey(pixels: np.ndarray) -> np.ndarray:
    """uint8 (height, width, 3): a picture in grey at half its contrast, so that it hardly shifts colours laid on it."""
    level = np.asarray(Image.fromarray(pixels).convert("L"), dtype=float)
    return np.repeat((128 + (level - 128) / 2).round().astype(np.uint8)[..., None], 3, axis=2)


def mask_picture(panel: Panel, stages: Sequence[Stage], upto: int | None = None, cell: int = 16) -> Image.Image:
    """Who is kept after a stage: kept cells as they are, outlined; veiled what left, hatched what left at the first."""
    pixels = photo(panel, cell)
    state = states(panel, stages, upto)
    strength = np.zeros(state.shape)
    for stage in range(len(stages)):
        strength[state == stage] = veil(stage, len(stages))
    strength[state == EMPTY] = 1
    pixels = mix(WHITE, pixels, grown(strength, cell)[..., None])
    lines = np.isin(state, [s for s in range(len(stages)) if hatched(s, len(stages))])
    pixels = np.where(_stripes(lines, cell)[..., None], INK, pixels)
    pixels = np.where(rim(state == len(stages), cell)[..., None], KEPT, _crossed(pixels, panel, cell))
    return Image.fromarray(pixels.astype(np.uint8))


def mask_overlay(panel: Panel, stages: Sequence[Stage], cell: int = 16) -> Image.Image:
    """What `mask_picture` lays on the picture, alone and transparent elsewhere, to be shown over `photo`."""
    state = states(panel, stages)
    count = len(stages)
    pixels = np.zeros((*state.shape, 4))
    pixels[..., :3] = 255
    for stage in range(count):
        pixels[state == stage, 3] = 255 * veil(stage, count)
    pixels[state == EMPTY, 3] = 255
    pixels = grown(pixels, cell)
    lines = np.isin(state, [s for s in range(count) if hatched(s, count)])
    padding = ~panel.content & (panel.token >= 0)
    pixels[_stripes(lines, cell) | _stripes(padding, cell, falling=True)] = [*INK, 255]
    pixels[rim(state == count, cell)] = [*KEPT, 255]
    return Image.fromarray(pixels.round().astype(np.uint8))


def score_picture(
    panel: Panel, values: np.ndarray, low: float, high: float, cell: int = 16, name: str = SCORE, strength: float = 1.0
) -> Image.Image:
    """Values (N0,) as colours between two ends, over the panel in grey where strength is below 1; NaN is hatched."""
    told = spread(values, panel)
    pixels = mix(grown(paint(told, low, high, name), cell), grey(photo(panel, cell)), strength)
    gone = np.isnan(told)
    pixels = np.where(grown(gone, cell)[..., None], GONE, pixels)
    pixels = np.where(_stripes(gone, cell)[..., None], INK, pixels)
    return Image.fromarray(_crossed(pixels, panel, cell))


def grown(cells: np.ndarray, cell: int) -> np.ndarray:
    """(rows * cell, cols * cell, ...): every cell as a square of equal pixels."""
    return cells.repeat(cell, axis=0).repeat(cell, axis=1)


def rim(mask: np.ndarray, cell: int) -> np.ndarray:
    """bool pixels along the inner edge of a mask of cells, one wide."""
    pixels = np.pad(grown(mask, cell), 1)
    inner = pixels[:-2, 1:-1] & pixels[2:, 1:-1] & pixels[1:-1, :-2] & pixels[1:-1, 2:]
    return pixels[1:-1, 1:-1] & ~inner


def _stripes(mask: np.ndarray, cell: int, falling: bool = False) -> np.ndarray:
    """bool pixels of a one-pixel diagonal through every cell of a mask."""
    y, x = np.indices((mask.shape[0] * cell, mask.shape[1] * cell))
    return grown(mask, cell) & ((x - y if falling else x + y + 1) % cell == 0)


def _crossed(pixels: np.ndarray, panel: Panel, cell: int) -> np.ndarray:
    """Padding cells hatched the other way."""
    empty = ~panel.content & (panel.token >= 0)
    return np.where(_stripes(empty, cell, falling=True)[..., None], INK, pixels).astype(np.uint8)


def pairs(panels: Sequence[Panel], originals: Sequence[Image.Image]) -> list[tuple[Panel, Image.Image | None]]:
    """Panels with their originals: one each, or one for all; None where that is not known."""
    if len(originals) == len(panels):
        return list(zip(panels, originals, strict=True))
    return [(panel, originals[0] if len(originals) == 1 else None) for panel in panels]


def lost(panel: Panel, original: Image.Image) -> float:
    """Share of the original's area that is outside the panel; 0 for less than half a pixel on every side."""
    left, top, right, bottom = panel.box
    width, height = original.size
    if left <= HALF and top <= HALF and right >= width - HALF and bottom >= height - HALF:
        return 0.0
    seen = max(0.0, min(width, right) - max(0.0, left)) * max(0.0, min(height, bottom) - max(0.0, top))
    return 1 - seen / (width * height)


def with_margin(panel: Panel, original: Image.Image | None) -> Panel:
    """The panel as it is, or where something was cropped away the whole original, what the model never saw veiled."""
    if original is None or not lost(panel, original):
        return panel
    whole = original.convert("RGB")
    scale = min(1.0, LONGEST / max(whole.size))
    whole = whole.resize((round(whole.width * scale), round(whole.height * scale)), Image.Resampling.LANCZOS)
    left, top, right, bottom = (round(edge * scale) for edge in panel.box)
    box = (max(0, left), max(0, top), min(whole.width, right), min(whole.height, bottom))
    veiled = Image.blend(whole.convert("L").convert("RGB"), Image.new("RGB", whole.size, "white"), 0.7)
    veiled.paste(whole.crop(box), box)
    ImageDraw.Draw(veiled).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), outline="#333333", width=2)
    token, content = np.full((1, 1), -1), np.ones((1, 1), bool)
    return replace(
        panel,
        picture=veiled,
        token=token,
        content=content,
        box=(0.0, 0.0, float(original.width), float(original.height)),
    )
