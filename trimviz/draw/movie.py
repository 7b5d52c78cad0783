"""The order in which a method picked its tokens as an animation: GIF, or MP4."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from matplotlib.font_manager import FontProperties, fontManager
from PIL import Image, ImageDraw, ImageFont

from trimviz.draw import raster
from trimviz.draw.colour import KEPT, mix
from trimviz.draw.page import FAMILIES
from trimviz.draw.picture import WHITE, grown, photo, rim
from trimviz.types import Panel, Run

HEIGHT = 384  # pixels of a panel, about
LINE = 26  # pixels of the line of text
GAP = 6
NOW = (214, 40, 18)  # outline of the picks of the moment
REST = 2000  # milliseconds for which the last picture stays
SUFFIXES = (".gif", ".mp4")
QUALITY = "18"  # x264's constant rate factor: no loss that an eye would see


def order_movie(run: Run, path: str | Path, *, frames: int = 120, milliseconds: int = 90) -> Path:
    """Write the picks of a run as GIF or MP4: everything veiled at first, each pick brought to light in its turn.

    At most `frames` pictures are drawn, so long orders show several picks at a time; the last stays for two seconds.
    Raises ValueError for a run without an order, and for another suffix than .gif and .mp4.
    """
    out = Path(path)
    if out.suffix.lower() not in SUFFIXES:
        raise ValueError(f"Expected a file ending in {' or '.join(SUFFIXES)}, got {out.name!r}; change its suffix.")
    order = next((s.order for s in reversed(run.stages) if s.order is not None), None)
    if order is None:
        raise ValueError(
            f"The method {run.method} has no order of picking, so there is nothing to animate; choose another."
        )
    picks = int(order.max()) + 1
    step = math.ceil(picks / frames)
    shown = [*range(0, picks, step), picks]
    pictures = [_frame(run, order, until, step) for until in shown]
    (_gif if out.suffix.lower() == ".gif" else _mp4)(pictures, out, milliseconds)
    return out


def _gif(pictures: Sequence[Image.Image], out: Path, milliseconds: int) -> None:
    palette = pictures[-1].quantize(256, method=Image.Quantize.MEDIANCUT)
    strips = [p.quantize(palette=palette, dither=Image.Dither.NONE) for p in pictures]
    durations = [milliseconds] * (len(strips) - 1) + [REST]
    strips[0].save(out, save_all=True, append_images=strips[1:], duration=durations, loop=0, optimize=False, disposal=1)


def _mp4(pictures: Sequence[Image.Image], out: Path, milliseconds: int) -> None:
    """H.264 at even sides, as players want it; one thread, so that the same pictures give the same bytes."""
    width, height = (math.ceil(side / 2) * 2 for side in pictures[0].size)
    held = [*pictures, *[pictures[-1]] * (REST // milliseconds - 1)]
    with av.open(str(out), "w", options={"movflags": "faststart"}) as file:
        stream = file.add_stream("libx264", rate=Fraction(1000, milliseconds))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": QUALITY, "threads": "1"}
        for picture in held:
            even = Image.new("RGB", (width, height), "white")
            even.paste(picture)
            file.mux(stream.encode(av.VideoFrame.from_image(even)))
        file.mux(stream.encode())


def _frame(run: Run, order: np.ndarray, until: int, step: int) -> Image.Image:
    """All panels in a row after `until` picks, the newest `step` of them outlined in a colour of their own."""
    parts = [_panel(panel, run, order, until, step) for panel in run.panels]
    width = sum(p.width for p in parts) + GAP * (len(parts) - 1)
    sheet = Image.new("RGB", (width, max(p.height for p in parts) + LINE), "white")
    at = 0
    for part in parts:
        sheet.paste(part, (at, 0))
        at += part.width + GAP
    font = ImageFont.truetype(fontManager.findfont(FontProperties(family=list(FAMILIES))), 14)
    words = f"{until} of {int(order.max()) + 1} picked"
    ImageDraw.Draw(sheet).text((2, sheet.height - LINE + 4), words, fill=(26, 26, 26), font=font)
    return sheet


def _panel(panel: Panel, run: Run, order: np.ndarray, until: int, step: int) -> Image.Image:
    cell = max(4, HEIGHT // panel.token.shape[0])
    told = raster.spread(np.where(order >= 0, order, np.nan), panel)
    state = raster.states(panel, run.stages)
    strength = np.full(told.shape, raster.MID)
    for s in range(len(run.stages)):
        strength[state == s] = raster.veil(s, len(run.stages))
    strength[told < until] = 0
    pixels = mix(WHITE, photo(panel, cell), grown(strength, cell)[..., None])
    picture = Image.fromarray(np.where(rim(told < until, cell)[..., None], KEPT, pixels).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    for row, col in np.argwhere((told < until) & (told >= until - step)).tolist():
        pen.rectangle(
            (col * cell, row * cell, (col + 1) * cell - 1, (row + 1) * cell - 1), outline=NOW, width=max(1, cell // 8)
        )
    return picture
