"""The sweep tab: N1 against keep for the picture and question of the first tab, as maps whose cells set the sliders."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from trimviz.pruners import PRUNERS
from trimviz.sweep import MOST, Point, pairs, sizes, sweep
from trimviz.ui.events import PRIVATE, TURN, UNTOUCHED, gather, told
from trimviz.ui.parts import script
from trimviz.ui.service import Ask, Service
from trimviz.ui.spaces import gpu

N1S = "0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 1.0"
KEEPS = "1/36, 1/18, 1/12, 1/9, 1/6, 2/9, 1/3, 1/2"
SECONDS = 20  # of lent GPU time, before anything is measured
SECONDS_A_PAIR = 0.5  # of lent GPU time, generously
OFTEN = 0.3  # seconds between two pictures of the same sweep

Sweep = tuple[int, list[Point], int]  # visual tokens, all pairs, how many of them are done


@dataclass(frozen=True)
class Tab:
    """The components of the tab."""

    n1s: gr.Textbox
    keeps: gr.Textbox
    start: gr.Button
    stop: gr.Button
    maps: gr.HTML


def build() -> Tab:
    """Lay the tab out."""
    gr.HTML(
        '<p class="quiet">The method, picture and question of the first tab at many sizes. Each pair is measured by '
        "how far it moves the model from its dense answer: KL divergence, and whether it would say the same words. "
        "Click a cell to set the sliders to it. Everything else goes on working meanwhile.</p>",
        apply_default_css=False,
    )
    with gr.Row(elem_id="sweep-sizes"):
        n1s = gr.Textbox(N1S, label="N1, where the method has a first stage", max_length=500, elem_id="sweep-n1")
        keeps = gr.Textbox(KEEPS, label="Keep: counts, shares or percentages", max_length=500, elem_id="sweep-keep")
    with gr.Row(elem_id="sweep-go"):
        start = gr.Button("Sweep", variant="primary", elem_id="sweep-start", scale=0, min_width=160)
        stop = gr.Button("Stop", elem_id="sweep-stop", scale=0, min_width=100)
    maps = gr.HTML(
        None,
        html_template='<div class="sweep" aria-live="polite"></div>',
        js_on_load=script("sweep.js"),
        elem_id="sweep",
        apply_default_css=False,
    )
    return Tab(n1s, keeps, start, stop, maps)


def wire(
    on: Tab, service: Service, asked: Sequence[Any], sliders: Any, tabs: gr.Tabs, rerun: Callable[[Any], None]
) -> None:
    """Connect the tab; `asked` is what `gather` takes, `rerun` lets a run follow an event that moved the sliders."""
    epoch = gr.Number(UNTOUCHED, precision=0, visible=False)

    def own(request: gr.Request) -> str:
        return f"sweep {request.session_hash}"

    def begin(turn: int | None, request: gr.Request) -> int:
        return service.bump(own(request), turn)

    def seconds(ask: Ask, n1s: str, keeps: str, session: str, epoch: int) -> int:
        count = min(MOST, (n1s.count(",") + 1) * (keeps.count(",") + 1))
        return int(SECONDS + count * SECONDS_A_PAIR)

    @gpu(seconds)
    def work(ask: Ask, n1s: str, keeps: str, session: str, epoch: int) -> Iterator[Sweep]:
        with service.sparing():
            yield from swept(service, ask, n1s, keeps, lambda: not service.wanted(session, epoch))

    @told
    def run(request: gr.Request, epoch: int, n1s: str, keeps: str, *asked: Any) -> Iterator[Any]:
        """The maps as they fill."""
        yield gr.skip()
        session = own(request)
        ask = gather(*asked)
        began, shown, last = time.monotonic(), 0.0, None
        for n, points, done in work(ask, n1s, keeps, session, epoch):
            if not service.wanted(session, epoch):
                break
            now = time.monotonic()
            if done < len(points) and now - shown < OFTEN:
                continue
            shown = now
            last = drawn(ask, n, points, done, (now - began) / max(1, done) * (len(points) - done))
            yield last
        if not service.wanted(session, epoch):
            yield stopped(last)  # again: what it drew last may come after what stopped it

    def stopped(value: Any) -> Any:
        return {**value, "stopped": True} if isinstance(value, dict) else gr.skip()

    def choose(value: Any) -> Any:
        """The sliders of a cell."""
        picked = value.get("picked") if isinstance(value, dict) else None
        if not isinstance(picked, dict) or not isinstance(picked.get("k"), int):
            return gr.skip(), gr.skip()
        n1 = picked.get("n1")
        return {"k": picked["k"], "n1": n1 if isinstance(n1, int) else None}, gr.Tabs(selected="explore")

    quick: dict[str, Any] = {"queue": False, "trigger_mode": "multiple", **PRIVATE}
    on.start.click(begin, epoch, epoch, js=TURN, **quick).success(
        run,
        [epoch, on.n1s, on.keeps, *asked],
        on.maps,
        concurrency_id="long",
        concurrency_limit=1,
        trigger_mode="multiple",
        api_visibility="private",
        show_progress="minimal",
        show_progress_on=[on.maps],
    )
    on.stop.click(begin, epoch, epoch, js=TURN, **quick).success(stopped, on.maps, on.maps, **quick)
    rerun(on.maps.pick(choose, on.maps, [sliders, tabs], **quick))


def swept(service: Service, ask: Ask, n1s: str, keeps: str, stop: Callable[[], bool]) -> Iterator[Sweep]:
    """A sweep's pairs as they are measured; ends early, unfinished, once `stop()` is true."""
    if not ask.picture:
        raise ValueError("There is no picture; choose an example or upload one.")
    prompt = service.ensure(ask)
    points = pairs(ask.method, sizes(n1s, prompt.n), sizes(keeps, prompt.n))
    yield prompt.n, points, 0
    dense = service.dense(ask, prompt, stop)
    if dense is None:
        return
    found = sweep(service.asked_of(ask), prompt, dense, ask.method, ask.knobs, points, stop)
    for done, point in enumerate(found, 1):
        points[done - 1] = point
        yield prompt.n, list(points), done


def drawn(ask: Ask, n: int, points: Sequence[Point], done: int, left: float) -> dict[str, Any]:
    """The value of the maps; pairs that are not done yet are null."""
    return {
        "about": f"{PRUNERS[ask.method].name}, “{ask.question}”",
        "n": n,
        "rows": list(dict.fromkeys(point.n1 for point in points)),
        "columns": list(dict.fromkeys(point.keep for point in points)),
        "cells": [vars(point) if place < done else None for place, point in enumerate(points)],
        "done": done,
        "left": round(left),
        "picked": None,
    }
