"""Opening pictures that people bring: any mode, any orientation, and one sentence for what cannot be used."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MOST_PIXELS = 60_000_000  # refused from the header, before anything is decoded
# What white may be; the least that holds the brightest pixel is taken.
WHITES = {"I": (255, 65535), "F": (1, 255, 65535)}
LONGEST = 100  # times the short side: beyond that, resizing the short side makes a giant


def open_picture(source: str | Path | Image.Image) -> Image.Image:
    """A picture as upright RGB: EXIF rotation applied, transparency on white, 16 bits scaled.

    Of an animation it is the first frame.

    Raises ValueError for a file that is no picture, is cut off, or is too large or too thin.
    """
    if isinstance(source, Image.Image):
        return _upright(source)
    if not Path(source).is_file():
        raise ValueError(f"There is no file {source}; give the path of a picture.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the bound below is stricter
            with Image.open(source) as picture:
                return _upright(picture)
    except UnidentifiedImageError:
        raise ValueError(
            f"{Path(source).name} is not a picture that can be read; give a PNG, JPEG or WebP file."
        ) from None
    except Image.DecompressionBombError:
        raise ValueError(f"{Path(source).name} has more pixels than are safe to decode; make it smaller.") from None
    except (OSError, SyntaxError) as error:  # Pillow's words for truncated and damaged files
        raise ValueError(f"{Path(source).name} is damaged or cut off ({error}); save it again.") from None


def _upright(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    if width * height > MOST_PIXELS:
        raise ValueError(
            f"The picture has {width} x {height} pixels; at most {MOST_PIXELS:,} are taken, so make it smaller."
        )
    if max(width, height) > LONGEST * min(width, height):
        raise ValueError(f"The picture is {width} x {height} pixels, too thin to be cut into patches; crop it first.")
    picture = ImageOps.exif_transpose(picture)
    if picture.mode in WHITES or picture.mode.startswith("I;16"):  # Pillow would clip, not scale
        levels = np.nan_to_num(np.asarray(picture, dtype=np.float64))
        white = next((w for w in WHITES.get(picture.mode, (65535,)) if levels.max() <= w), levels.max())
        return Image.fromarray((levels / white * 255).round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
    return picture.convert("RGB")
