"""Small components of the page that gradio has no widget for, as `gr.HTML` with a static template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from trimviz.models.base import Model
from trimviz.pruners import PRUNERS
from trimviz.ui.service import FIRST, MOST_FRAMES
from trimviz.video import FRAMES, SUFFIXES

PAGE = Path(__file__).parent / "page"


def picture(value: str | None = None, **options: Any) -> gr.Image:
    """A picture as the path of the file that a person gave, whatever is in it.

    The component itself would open the file and fail without words where it is no picture; here nobody opens it before
    `open_picture` does, which bounds its size and says what is wrong.
    """
    image = gr.Image(value, type="filepath", image_mode=None, format="png", **options)
    image.preprocess = lambda payload: None if payload is None else payload.path  # type: ignore[method-assign]
    return image


def clip(**options: Any) -> gr.File:
    """A video as the path of the file that a person gave; nothing plays it, since browsers refuse formats read here."""
    video = gr.File(None, file_types=list(SUFFIXES), **options)
    video.preprocess = lambda payload: None if payload is None else payload.path  # type: ignore[method-assign, union-attr]
    return video


def pictures(**options: Any) -> gr.Files:
    """Several pictures, as `picture` takes one."""
    files = gr.Files(None, file_types=["image"], **options)
    files.preprocess = lambda payload: [] if payload is None else [f.path for f in payload]  # type: ignore[method-assign, union-attr]
    return files


def turns(elem_id: str = "turns") -> gr.HTML:
    """The earlier turns of a conversation, hidden without any; its value is {"turns": [[question, answer], ...]}."""
    return gr.HTML(
        {"turns": []},
        html_template='<div class="turns" hidden></div>',
        js_on_load=script("turns.js"),
        elem_id=elem_id,
        apply_default_css=False,
    )


def picks(items: Sequence[Mapping[str, str]], elem_id: str, label: str, fixed: bool = True) -> gr.HTML:
    """A row of buttons, each {"label"} or {"label", "image": URL}.

    A click sets `picked` in its value and fires `pick`. A row that is not `fixed` has its items in the value too, so
    that a new value replaces them.
    """
    return gr.HTML(
        {"picked": -1} if fixed else {"items": list(items), "picked": -1},
        html_template=f'<div class="picks" role="group" aria-label="{label}"></div>',
        js_on_load=script("picks.js"),
        items=list(items) if fixed else [],
        elem_id=elem_id,
        apply_default_css=False,
    )


def settings(reasons: Mapping[str, str], model: Sequence[Mapping[str, Any]], elem_id: str = "settings") -> gr.HTML:
    """The menu of methods and a control for each knob; `reasons` disables methods that do not fit the model.

    model: settings of the model itself, each {"name", "help", "default"} with "choices" or "low", "high", "step".
    Its value is {"method", "knobs": those that differ from the method's own, "model": those that differ from the
    model's own}; `commit` fires when it was changed.
    """
    spec = [
        {
            "key": key,
            "name": pruner.name,
            "clause": pruner.clause,
            "reason": reasons[key],
            "knobs": [vars(knob) for knob in pruner.knobs() if knob.name != FIRST],
        }
        for key, pruner in PRUNERS.items()
    ]
    return gr.HTML(
        {"method": next(key for key, reason in reasons.items() if not reason), "knobs": {}, "model": {}},
        html_template=(PAGE / "settings.html").read_text("utf-8"),
        js_on_load=script("settings.js"),
        spec=spec,
        model=list(model),
        elem_id=elem_id,
        apply_default_css=False,
    )


def of_model(family: type[Model], chosen: Mapping[str, str]) -> list[dict[str, Any]]:
    """Settings of a model family as `settings` takes them, as `chosen` when the model was loaded."""
    found: list[dict[str, Any]] = [
        {"name": name, "help": option.help, "default": chosen[name], "choices": option.choices}
        for name, option in family.options.items()
    ]
    if family.takes_video:
        told = "How many frames are taken of a video, evenly spread"
        found.append({"name": "frames", "help": told, "default": FRAMES, "low": 1, "high": MOST_FRAMES, "step": 1})
    return found


def detail(value: str, elem_id: str = "detail") -> gr.HTML:
    """HTML whose `data-address` goes into the browser's address whenever the server sends a new value."""
    return gr.HTML(value, js_on_load=script("detail.js"), elem_id=elem_id, apply_default_css=False)


def script(name: str) -> str:
    """A script of the page."""
    return (PAGE / name).read_text("utf-8")
