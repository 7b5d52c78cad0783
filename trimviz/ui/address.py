"""The state of the page in the browser's address, so that it outlives restarts.

Its keys are example, k, n1, method, knobs, model, before and q; the lens adds what only it needs, such as `view`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from trimviz.compare import pick, read_turns
from trimviz.ui.examples import Example
from trimviz.ui.service import KEEP, Ask, fingerprint


def read(query: Mapping[str, str], offered: Sequence[Example]) -> Ask:
    """What an address asks for, the first example where it says nothing; ValueError for what does not exist."""
    named = {example.name: example for example in offered}
    name = query.get("example", offered[0].name)
    if name not in named:
        raise ValueError(f"There is no example {name!r}; choose one of {', '.join(named)}.")
    example = named[name]
    ask = Ask(str(example.path), query.get("q", example.questions[0]))
    if "method" in query:
        pick(query["method"], {})
        ask = replace(ask, method=query["method"])
    settings = {knob.name: knob for knob in type(pick(ask.method, {})).knobs()}
    knobs = {}
    for key, value in _pairs(query.get("knobs", "")):
        if key not in settings:
            raise ValueError(f"The address names a setting {key!r}, which {ask.method} does not have.")
        knobs[key] = settings[key].parse(value)
    ask = replace(ask, knobs=knobs, settings=dict(_pairs(query.get("model", ""))))
    if "before" in query:
        ask = replace(ask, before=read_turns(query["before"]))
    ask = replace(ask, keep=number(query["k"], "k") if "k" in query else KEEP)
    return replace(ask, n1=number(query["n1"], "n1")) if "n1" in query else ask


def write(ask: Ask, k: int | float, n1: float | int | None, offered: Sequence[Example]) -> str:
    """The query of an address that brings this view back; an uploaded picture stays out of it."""
    example = example_of(ask.picture, offered)
    query: dict[str, Any] = {} if example is None else {"example": example.name}
    if example is None or ask.question != example.questions[0]:
        query["q"] = ask.question
    query |= {"method": ask.method, "k": k}
    if n1 is not None:
        query["n1"] = n1
    if ask.knobs:
        query["knobs"] = ",".join(f"{name}:{value}" for name, value in ask.knobs.items())
    if ask.settings:
        query["model"] = ",".join(f"{name}:{value}" for name, value in ask.settings.items())
    if ask.before:
        query["before"] = json.dumps(ask.before, ensure_ascii=False, separators=(",", ":"))
    return urlencode(query, safe=",:")


def example_of(path: str, offered: Sequence[Example]) -> Example | None:
    """The example that a file holds, whatever it is called; None for any other file."""
    shown = fingerprint(path)
    return next((example for example in offered if fingerprint(str(example.path)) == shown), None)


def _pairs(text: str) -> list[tuple[str, str]]:
    """ "a:1,b:2" as pairs."""
    cut = (item.partition(":") for item in text.split(",") if item)
    return [(name, value) for name, _, value in cut]


def number(text: str, what: str) -> int | float:
    """A whole number or a share as written; ValueError for anything else."""
    try:
        return int(text) if text.isdigit() else float(text)
    except ValueError:
        raise ValueError(f"Expected {what} to be a number; got {text!r}.") from None
