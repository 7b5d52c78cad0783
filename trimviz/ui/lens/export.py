"""The lens of one picture as a single HTML file: it opens without a server or a network, and its sliders are live.

The answers are those of the run; a note says so once the sliders have left its setting.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from string import Template
from typing import Any

from trimviz.ui.lens import CONTROLS, FOLDER, LENS, script


def export(value: Mapping[str, Any], title: str) -> str:
    """The file's text for a `payload`."""
    parts = {
        f"{name}_{kind}": (FOLDER / f"{name}.{kind}").read_text("utf-8")
        for name in ("lens", "controls")
        for kind in ("html", "css")
    }
    return Template((FOLDER / "export.html").read_text("utf-8")).substitute(
        parts,
        title=html.escape(title),
        question=html.escape(value["question"]),
        answers=_answers(value),
        value=json.dumps(value).replace("<", "\\u003c"),
        lens_script=script(LENS) + '\nmountLens(element, props, null, "lens");',
        controls_script=script(CONTROLS) + '\nmountControls(element, props, trigger, watch, "controls", "lens");',
    )


def _answers(value: Mapping[str, Any]) -> str:
    told, run = value["answers"], value["run"]
    if told is None:
        return ""
    said = {
        which: " ".join(_word(kind, words) for kind, words in told["diff"] if kind in ("same", which))
        for which in ("dense", "pruned")
    }
    setting = f"keep {run['k']}" + (f", N1 {run['n1']}" if run["n1"] < value["n"] else "")
    return (
        f"<p>{html.escape(told['badge'])}</p><p class='for' hidden>These answers belong to {setting}.</p>"
        f"<p><b>Pruned, {setting}</b>{said['pruned']}</p><p><b>Dense, all {value['n']} visual tokens</b>"
        f"{said['dense']}</p>"
    )


def _word(kind: str, words: str) -> str:
    text = html.escape(words)
    return text if kind == "same" else f"<mark>{text}</mark>"
