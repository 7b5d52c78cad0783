"""Prefill and decoding against the number of visual tokens, measured and at least, as one plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from trimviz.draw.figure import SETTINGS

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # Okabe and Ito's, told apart by everyone
PANELS = (
    ("prefill s", "floor s", "seconds of a dense prefill"),
    ("ms a further token", "floor ms", "ms a further token"),
)
ROOM = 1.3  # numbers of tokens that are closer share a label, that of the greater


def plot(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw what `trimviz bench cost` measured, one colour a result; bars go from the fastest to the slowest round."""
    with matplotlib.rc_context({**SETTINGS, "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(7.5, 3), layout="constrained")
        FigureCanvasAgg(figure)
        for axes, (measured, least, label) in zip(figure.subplots(1, 2), PANELS, strict=True):
            for record, colour in zip(records, COLOURS, strict=False):
                rows = record["rows"]
                ns = [row["N"] for row in rows]
                name = f"{record['settings']['model']}, {record['machine']['device']}"
                axes.plot(ns, [row[measured] for row in rows], "o-", color=colour, markersize=3, label=name)
                axes.plot(ns, [row[least] for row in rows], "--", color=colour, linewidth=1, label="floor (computed)")
                if measured == "prefill s":
                    axes.vlines(
                        ns, [row["fastest s"] for row in rows], [row["slowest s"] for row in rows], color=colour
                    )
            axes.set(xscale="log", yscale="log", xlabel="visual tokens N", ylabel=label)
            named = [n for n, after in zip(ns, [*ns[1:], inf], strict=True) if after / n > ROOM]
            axes.set_xticks(named, [f"{n:,}" for n in named], rotation=45)
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:,g}")
            axes.minorticks_off()
        figure.axes[0].legend(frameon=False, fontsize=7)
        figure.savefig(path, metadata={"Date": None})
    return path
