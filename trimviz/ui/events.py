"""What happens on the page: every click begins an epoch, and only the newest epoch of a session goes on running."""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr

from trimviz.compare import pick, turns_of
from trimviz.pruners import PRUNERS
from trimviz.types import Video
from trimviz.ui import address, text
from trimviz.ui.examples import Example
from trimviz.ui.lens import payload
from trimviz.ui.service import FIRST, KEEP, MOST_FRAMES, Ask, Result, Service, Sight, Step, key_of
from trimviz.ui.spaces import gpu, meaning
from trimviz.ui.take import files_of
from trimviz.video import open_source

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
UNTOUCHED, OPENED = 0, 1  # the epochs of a page on which nothing was asked yet, and of what its address asks
# A page counts its clicks, and what was clicked carries its number along: the server may see them in another order.
TURN = "(_, ...rest) => [(window.trimviz.turn = (window.trimviz.turn ?? 1) + 1), ...rest]"
FOCUS = "() => document.querySelector('#question textarea').focus()"
SECONDS_A_TOKEN = 0.2  # of lent GPU time, generously
SECONDS_A_PICTURE = 8  # for the vision tower and the order table
SECONDS_A_PREFILL = 6


@dataclass(frozen=True)
class Parts:
    """The components that events read and write."""

    epoch: gr.Number
    picture: gr.Image
    clip: gr.File
    strip: gr.HTML
    more: gr.Files
    turns: gr.HTML
    question: gr.Textbox
    suggestions: gr.HTML
    run: gr.Button
    stop: gr.Button
    follow: gr.Button
    state: gr.HTML
    gallery: gr.HTML
    settings: gr.HTML
    view: gr.HTML
    sliders: gr.HTML
    pruned: gr.HTML
    dense: gr.HTML
    detail: gr.HTML
    kind: gr.Radio
    width: gr.Dropdown
    panels: gr.Dropdown
    export: gr.Button
    files: gr.Files
    methods: gr.CheckboxGroup
    contest: gr.Button
    halt: gr.Button
    table: gr.HTML


def told(handler: Callable[..., Any]) -> Callable[..., Any]:
    """The one place where an error becomes a sentence on the page: ValueError, and what a lent GPU may say."""

    def sentence(error: Exception) -> gr.Error:
        said = meaning(error)
        if isinstance(error, ValueError) and not isinstance(error, gr.Error):  # gradio's own derives from it
            said = str(error)
        if said is None:
            raise error
        return gr.Error(said, title="That did not work", print_exception=False)

    if inspect.isgeneratorfunction(handler):

        @wraps(handler)
        def stream(*args: Any, **kwargs: Any) -> Iterator[Any]:
            try:
                yield from handler(*args, **kwargs)
            except (ValueError, RuntimeError, MemoryError, gr.Error) as error:
                raise sentence(error) from None

        return stream

    @wraps(handler)
    def once(*args: Any, **kwargs: Any) -> Any:
        try:
            return handler(*args, **kwargs)
        except (ValueError, RuntimeError, MemoryError, gr.Error) as error:
            raise sentence(error) from None

    return once


def gather(
    picture: str | None,
    question: str | None,
    settings: Any,
    sliders: Any,
    clip: str | None = None,
    more: Sequence[str] | None = None,
    turns: Any = None,
    *,
    by_hand: bool = False,
) -> Ask:
    """What the controls say, checked, since anybody can post anything; ValueError for what makes no sense.

    clip: a video, which is asked about in place of the picture. more: further pictures. turns: the value of
    `parts.turns`. by_hand: whether patches that were toggled replace the method.
    """
    settings, sliders, turns = settings or {}, sliders or {}, turns or {}
    if not all(isinstance(value, dict) for value in (settings, sliders, turns)):
        raise ValueError("The settings of the page did not arrive as expected; load the page again.")
    method = settings.get("method", Ask.method)
    knobs = {knob.name: knob for knob in type(pick(method, {})).knobs()}
    chosen = {}
    for name, value in dict(settings.get("knobs", {})).items():
        own = knobs[name].default if name in knobs else None
        whole = isinstance(value, int | float) and not isinstance(value, bool)
        chosen[name] = type(own)(value) if whole and isinstance(own, int | float) and value == value else value
    own = dict(settings.get("model", {}))
    frames = own.pop("frames", Ask.frames)
    if isinstance(frames, bool) or not isinstance(frames, int) or not 1 <= frames <= MOST_FRAMES:
        raise ValueError(f"Expected 1 to {MOST_FRAMES} frames of a video; got {frames!r}.")
    keep, n1, kept = sliders.get("k"), sliders.get("n1"), sliders.get("kept") if by_hand else None
    if kept is not None and not (isinstance(kept, list) and all(isinstance(token, int) for token in kept)):
        raise ValueError("The chosen patches did not arrive as numbers; load the page again.")
    return Ask(
        clip or picture or "",
        question or "",
        method,
        chosen,
        KEEP if keep is None else keep,
        n1,
        None if kept is None else tuple(kept),
        frames=frames,
        settings={str(name): str(value) for name, value in own.items()},
        more=tuple(more or ()),
        before=turns_of(turns.get("turns", [])),
    )


class Runner:
    """Runs for one page: found again where they were made before, and given up once a newer one was asked for."""

    def __init__(self, service: Service) -> None:
        self.service = service

        def work(ask: Ask, session: str, epoch: int) -> Iterator[Step]:
            yield from service.run(ask, lambda: not service.wanted(session, epoch))

        def seconds(ask: Ask, session: str, epoch: int) -> int:
            return gpu_seconds(ask, service.has_dense(ask))

        self.work = gpu(seconds)(work)

    def follow(self, ask: Ask, session: str, epoch: int) -> Iterator[Step]:
        """The steps of a run while it is wanted."""
        for step in self.work(ask, session, epoch) if self.service.recall(ask) is None else self.service.run(ask):
            if not self.service.wanted(session, epoch):
                return
            if step.result is not None:
                self.service.remember(step.result)  # it may come from another process
            yield step


def gpu_seconds(ask: Ask, has_dense: bool) -> int:
    """Seconds of a lent GPU that a run may need at most: a picture, and one or two answers up to their limit."""
    answers = 1 if has_dense else 2
    return math.ceil(SECONDS_A_PICTURE + answers * (SECONDS_A_PREFILL + ask.limit * SECONDS_A_TOKEN))


def picture_of(sight: Sight, result: Result | None, question: str, afresh: bool = False) -> dict[str, Any]:
    """The value of the lens; `afresh` makes it forget patches that were toggled by hand."""
    told, explanation = (sight.run, None) if result is None else (result.comparison, result.explanation)
    value = payload(told, sight.table, explanation, question, sight.originals, default=sight.default)
    knobs = {name: setting for name, setting in sight.run.knobs.items() if name != FIRST}
    # Sliders move within one key: an answer that arrives during a drag must not pull them back.
    about = ([panel["picture"] for panel in value["panels"]], question, sight.run.method, knobs, afresh)
    value["key"] = hashlib.sha256(repr(about).encode()).hexdigest()
    return value


def wire(
    page: gr.Blocks, on: Parts, service: Service, offered: Sequence[Example], ready: bool
) -> Callable[[Any], None]:
    """Connect the components of a page with a service; `ready` where the page opens on an answered example.

    Returns what lets a run follow an event that moved the sliders.
    """
    runner = Runner(service)
    shown = [on.state, on.view, on.pruned, on.dense, on.detail]
    skip = gr.skip()

    def begin(turn: int | None, request: gr.Request) -> int:
        return service.bump(str(request.session_hash), turn)

    def restore(request: gr.Request) -> Any:
        """The address, as the page opens; without one, the page has its example from the start."""
        if ready and not request.query_params:
            return UNTOUCHED, *[skip] * 6
        try:
            ask = address.read(dict(request.query_params), offered)
        except ValueError as problem:
            gr.Warning(f"{problem} The first example is shown instead.")
            ask = address.read({}, offered)
        example = next(e for e in offered if str(e.path) == ask.picture)
        sliders = None if ask.keep == KEEP and ask.n1 is None else {"k": ask.keep, "n1": ask.n1}
        settings = {"method": ask.method, "knobs": dict(ask.knobs), "model": dict(ask.settings)}
        return (
            begin(OPENED, request),
            ask.picture,
            ask.question,
            settings,
            sliders,
            {"items": _labels(example), "picked": -1},
            {"turns": ask.before},
        )

    @told
    def run(request: gr.Request, epoch: int, *asked: Any) -> Iterator[Any]:
        """Pruned, then dense, then what differs; `asked` is what `gather` takes."""
        ask = gather(*asked, by_hand=True)
        toggled = ask.chosen is not None
        yield from shown_steps(replace(ask, chosen=None), str(request.session_hash), epoch, toggled)

    def shown_steps(ask: Ask, session: str, epoch: int, afresh: bool = False) -> Iterator[Any]:
        yield skip
        drawn = False
        for step in runner.follow(ask, session, epoch):
            if step.result is not None:
                yield whole(step.result, service, offered, afresh)
                return
            view = skip
            if step.view is not None and not drawn and ask.chosen is None:
                drawn, view = True, picture_of(step.view, None, ask.question, afresh)
            said = skip if step.pruned is None else text.streaming("Pruned answer", step.pruned, "")
            full = skip if step.dense is None else text.streaming("Dense answer", step.dense, "")
            yield _state(step.says + " …", service, ask.question), view, said, full, skip
        yield skip  # a run's last word is sent a second time as it ends, and may come after what stopped it

    @told
    def again(request: gr.Request, epoch: int, *asked: Any) -> Iterator[Any]:
        """The same after a setting moved; nothing where nothing was asked yet."""
        yield skip
        ask = gather(*asked)
        if ask.picture and ask.question:
            yield from run(request, epoch, *asked)

    @told
    def arrive(request: gr.Request, epoch: int, *asked: Any) -> Iterator[Any]:
        """What the address asked for."""
        yield skip  # a generator that yields nothing would empty the page
        if epoch != UNTOUCHED:
            yield from run(request, epoch, *asked)

    @told
    def moved(request: gr.Request, epoch: int, *asked: Any) -> Iterator[Any]:
        """The same after a slider moved or a patch was toggled."""
        yield skip
        ask = gather(*asked, by_hand=True)
        if ask.picture and ask.question:
            yield from shown_steps(ask, str(request.session_hash), epoch)

    @told
    def follow(*asked: Any) -> Any:
        """The question and its dense answer become an earlier turn and make room for the next question."""
        ask = gather(*asked)
        said = service.said(ask)
        if said is None:
            raise ValueError("There is no answer to follow up yet; run the question first.")
        return {"turns": [*ask.before, (ask.question, said)]}, ""

    def show_example(turn: int | None, value: dict[str, Any], request: gr.Request) -> Any:
        epoch = begin(turn, request)
        if not service.wanted(str(request.session_hash), epoch):
            return epoch, *[skip] * 6
        example = offered[value["picked"]]
        labels = {"items": _labels(example), "picked": -1}
        return epoch, str(example.path), None, None, {"turns": []}, example.questions[0], labels

    asked = [on.picture, on.question, on.settings, on.sliders, on.clip, on.more, on.turns]
    inputs = [on.epoch, *asked]
    busy: dict[str, Any] = {"concurrency_id": "gpu", "concurrency_limit": 1, "trigger_mode": "multiple", **PRIVATE}
    busy |= {"show_progress": "minimal", "show_progress_on": [on.state]}  # the place in the queue
    quick: dict[str, Any] = {"queue": False, "trigger_mode": "multiple", **PRIVATE}

    opened = page.load(
        restore, None, [on.epoch, on.picture, on.question, on.settings, on.sliders, on.suggestions, on.turns],
        concurrency_limit=None, **PRIVATE,
    )  # fmt: skip
    opened.success(arrive, inputs, shown, **busy)

    first: dict[str, Any] = {"fn": begin, "inputs": on.epoch, "outputs": on.epoch, "js": TURN, **quick}

    gr.on([on.run.click, on.question.submit], **first).success(run, inputs, shown, **busy)
    on.settings.commit(**first).success(again, inputs, shown, **busy)
    on.sliders.commit(**first).success(moved, inputs, shown, **busy)
    on.gallery.pick(
        show_example,
        [on.epoch, on.gallery],
        [on.epoch, on.picture, on.clip, on.more, on.turns, on.question, on.suggestions],
        js=TURN,
        **quick,
    ).success(run, inputs, shown, **busy)
    on.follow.click(follow, asked, [on.turns, on.question], concurrency_limit=None, **PRIVATE).success(js=FOCUS)
    on.picture.input(lambda: (None, {"turns": []}), None, [on.clip, on.turns], **quick)  # the newer one is asked about
    given = [on.clip.upload, on.clip.clear, on.more.upload, on.more.clear, on.more.delete]
    gr.on(given, lambda: {"turns": []}, None, on.turns, **quick)

    @told
    def frames_of(clip: str | None, settings: Any) -> str:
        """The frames that a question would be asked about."""
        source = open_source(clip, gather(clip, "", settings, None).frames) if clip else None
        return text.filmstrip(source) if isinstance(source, Video) else ""

    for changed in (on.clip.change, on.settings.commit) if service.model.takes_video else ():
        changed(frames_of, [on.clip, on.settings], on.strip, concurrency_id="draw", concurrency_limit=2, **PRIVATE)
    suggested = on.suggestions.pick(
        None, on.suggestions, on.question, js="(value) => value.items[value.picked].label", **quick
    )
    suggested.success(**first).success(run, inputs, shown, **busy)
    # By the queue: behind every word of the run that it stops.
    on.stop.click(**first).success(lambda: "stopped", None, on.state, concurrency_limit=None, **PRIVATE)

    @told
    def draw(kind: str, width: str, panels: list[str], *asked: Any) -> Any:
        """A figure with its snippet and its settings, an animation or a page, as files."""
        result = service.finish(gather(*asked, by_hand=True))
        command = text.as_command(result, service.name, _places(result.ask, offered))
        return gr.Files(value=files_of(result, kind, width, panels, command), visible=True)

    on.export.click(
        draw,
        [on.kind, on.width, on.panels, *asked],
        on.files,
        concurrency_id="draw",
        concurrency_limit=2,
        api_visibility="private",
    )

    @told
    def contest(request: gr.Request, epoch: int, methods: list[str], *asked: Any) -> Any:
        """A row for each method as it finishes."""
        session = str(request.session_hash)
        ask = gather(*asked)
        rows: list[tuple[str, str, Result | str | None]] = [
            (key, PRUNERS[key].name, None) for key in methods if key in PRUNERS
        ]
        yield text.contest(rows)
        for done, (method, result) in enumerate(contested(runner, ask, [key for key, _, _ in rows], session, epoch)):
            rows[done] = (method, PRUNERS[method].name, result)
            yield text.contest(rows)
        if any(result is None for _, _, result in rows):
            yield text.contest([(key, name, "stopped" if result is None else result) for key, name, result in rows])

    on.contest.click(**first).success(
        contest, [on.epoch, on.methods, *asked], on.table, **{**busy, "show_progress_on": [on.table]}
    )

    on.halt.click(**first)

    def rerun(event: Any) -> None:
        event.success(**first).success(moved, inputs, shown, **busy)

    return rerun


def contested(
    runner: Runner, ask: Ask, methods: Sequence[str], session: str, epoch: int
) -> Iterator[tuple[str, Result | str]]:
    """Each method in turn with its result, or the reason why there is none."""
    if not methods:
        raise ValueError("No method is chosen; tick at least one.")
    for method in methods:
        one = replace(ask, method=method, knobs=ask.knobs if method == ask.method else {})
        result: Result | str | None = None
        try:
            for step in runner.follow(one, session, epoch):
                result = step.result
        except ValueError as reason:
            result = str(reason)
        if result is None:
            return
        yield method, result


def whole(result: Result, service: Service, offered: Sequence[Example], afresh: bool = False) -> tuple[Any, ...]:
    """A finished run on the page: state, lens, both answers, detail."""
    comparison = result.comparison
    ask, run = result.ask, comparison.pruned
    places = _places(ask, offered)
    if ask.chosen is None:
        state = address.write(ask, text.keep(result), run.knobs.get("n1") if run.n1 is None else run.n1, offered)
    else:  # the sliders stand where the method had left them; what was toggled is in the address already
        state = address.write(ask, round(replace(ask, chosen=None).budget(comparison.n)), ask.n1, offered)
    parts = (
        text.divergence(comparison.divergence),
        text.cost(comparison, result.day),
        text.takeaway(result, service.name, places),
    )
    detail = f'<div data-address="{text.escape(state)}">{"".join(parts)}</div>'
    return (
        _state("", service, ask.question),
        # What was chosen by hand was chosen in the lens, which goes on showing the method beneath it.
        gr.skip() if ask.chosen is not None else _lens_value(result, service, afresh),
        text.pruned_card(result),
        text.dense_card(result),
        detail,
    )


def _lens_value(result: Result, service: Service, afresh: bool) -> dict[str, Any]:
    key = ("lens", key_of(result.ask), afresh)
    value = service.store.get(key)
    if value is None:
        value = picture_of(result.view, result, result.ask.question, afresh)
        service.store.put(key, value)
    return value


def _places(ask: Ask, offered: Sequence[Example]) -> list[str]:
    """The files' paths as a command names them: an example's in the repository, else the file's own name."""
    found = [(path, address.example_of(path, offered)) for path in ask.files]
    return [
        Path(path).name if example is None else example.path.relative_to(example.path.parents[2]).as_posix()
        for path, example in found
    ]


def _state(says: str, service: Service, question: str) -> str:
    """One line under the buttons."""
    unknown = service.unknown(question)
    if unknown:
        words = ", ".join(f"“{word}”" for word in unknown[:6])
        says = (
            f'<span class="warn">The toy model has never seen {text.escape(words)}; its answer means '
            f"little.</span> {says}"
        )
    return f'<div role="status">{says}</div>'


def _labels(example: Example) -> list[dict[str, str]]:
    return [{"label": question} for question in example.questions]
