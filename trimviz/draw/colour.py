"""Numbers to colours, linearly between two stated ends; it knows no panel and no score."""

from __future__ import annotations

import matplotlib
import numpy as np

SCORE = "viridis"  # lightness rises with the value in both, so they survive greyscale and colour blindness
ORDER = "cividis"
KEPT = (18, 56, 214)  # outline of what is kept: dark, and far from most photographs
GONE = (222, 222, 222)  # of values that are not there; always hatched too


def limits(*values: np.ndarray) -> tuple[float, float]:
    """Lowest and highest finite value in all arrays together, so that they share one scale.

    Raises ValueError where no value is finite.
    """
    every = np.concatenate([np.ravel(v) for v in values])
    finite = every[np.isfinite(every)]
    if len(finite) == 0:
        raise ValueError("Expected at least one finite value to draw, got none; choose another score.")
    return float(finite.min()), float(finite.max())


def paint(values: np.ndarray, low: float, high: float, name: str = SCORE) -> np.ndarray:
    """uint8 (..., 3) colours of values (...); `low` and `high` are the ends of the colour map, NaN becomes `GONE`.

    Where both ends are equal, everything has the middle colour.
    """
    values = np.asarray(values, dtype=float)
    part = (values - low) / (high - low) if high > low else np.full(values.shape, 0.5)
    gone = ~np.isfinite(values)
    out = np.array(matplotlib.colormaps[name](np.where(gone, 0.5, part), bytes=True))[..., :3].copy()
    out[gone] = GONE
    return out


def mix(over: np.ndarray, under: np.ndarray, strength: float | np.ndarray) -> np.ndarray:
    """uint8 colours `over` laid on `under` (..., 3); strength 1 covers it, 0 leaves it."""
    return (np.multiply(over, strength) + np.multiply(under, 1 - np.asarray(strength))).round().astype(np.uint8)
