"""The lens: a picture of what a run kept, redrawn in the browser while the sliders move.

`lens` draws a value made by `payload`; `controls` holds the sliders and fires `commit` when a choice has settled. Both
are plain `gr.HTML` with a script put together from the modules beside this file.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr

from trimviz.ui.lens.payload import payload

FOLDER = Path(__file__).parent
SHARED = ("codec.js", "state.js", "text.js")
LENS = (
    *SHARED,
    "table.js",
    "geometry.js",
    "colour.js",
    "facts.js",
    "diff.js",
    "themes.js",
    "open.js",
    "looks.js",
    "scene.js",
    "patch.js",
    "telling.js",
    "paint.js",
    "legend.js",
    "sheets.js",
    "tip.js",
    "pointing.js",
    "player.js",
    "tokens.js",
    "lens.js",
)
CONTROLS = (*SHARED, "controls.js")
IMPORT = re.compile(r"^import\b[^;]*;\n", re.MULTILINE)

__all__ = ["controls", "lens", "payload", "script"]


def lens(value: dict[str, Any] | None = None, elem_id: str = "lens") -> gr.HTML:
    """The picture, its views and what can be asked of it; `value` is a `payload`.

    Use it as an output only, with `show_progress="hidden"`: as an input its whole value would be sent back.
    """
    return gr.HTML(
        value,
        html_template=(FOLDER / "lens.html").read_text("utf-8"),
        css_template=(FOLDER / "lens.css").read_text("utf-8"),
        js_on_load=script(LENS) + f"\nmountLens(element, props, watch, {elem_id!r});\n",
        apply_default_css=False,
        elem_id=elem_id,
    )


def controls(value: dict[str, Any] | None = None, elem_id: str = "controls", lens_id: str = "lens") -> gr.HTML:
    """Sliders for the number of tokens kept and for N1, which redraw the lens `lens_id` at every step.

    Its value is {"n1", "k", "kept"}, `kept` being a list of tokens where a person changed the set by hand, else None.
    The event `commit` fires with that value when a slider is let go, 350 ms after the last key, or when a patch was
    toggled: `controls().commit(fn, inputs=[controls])`. A value sent to it ({"n1", "k"}) moves the sliders. On the page
    it takes its place under the lens's picture, wherever it stands in the layout.
    """
    return gr.HTML(
        value,
        html_template=(FOLDER / "controls.html").read_text("utf-8"),
        css_template=(FOLDER / "controls.css").read_text("utf-8"),
        js_on_load=script(CONTROLS) + f"\nmountControls(element, props, trigger, watch, {elem_id!r}, {lens_id!r});\n",
        apply_default_css=False,
        elem_id=elem_id,
    )


@cache
def script(names: tuple[str, ...]) -> str:
    """The ES modules `names`, which stand in order of use, as one script without imports and exports."""
    parts = (IMPORT.sub("", (FOLDER / name).read_text("utf-8")) for name in names)
    return "\n".join(re.sub(r"^export ", "", part, flags=re.MULTILINE) for part in parts)
