"""The public endpoints, for clients and as MCP tools; everything else on the page is private."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from trimviz import record
from trimviz.compare import overlap, pick, read_turns
from trimviz.draw.figure import FORMATS, WIDTHS
from trimviz.pruners import DEFAULT, PRUNERS
from trimviz.ui.events import Runner, contested, gather, told
from trimviz.ui.parts import picture, pictures
from trimviz.ui.service import KEEP, Ask, Result, Service
from trimviz.ui.take import paper_figure
from trimviz.video import FRAMES


def widths() -> list[str]:
    """Names of the figure's widths."""
    return list(WIDTHS)


def expose(service: Service) -> None:
    """Add `analyze`, `answer`, `compare` and `figure` to the page being built."""
    runner = Runner(service)

    def asked(
        image: str,
        question: str,
        method: str,
        keep: str,
        n1: str,
        knobs: str,
        more: list[str] | None,
        before: str,
        frames: int,
    ) -> Ask:
        try:
            settings = json.loads(knobs or "{}")
        except json.JSONDecodeError:
            raise ValueError(f'Expected knobs as JSON such as {{"positions": "keep"}}; got {knobs!r}.') from None
        sliders = {"k": number(keep), "n1": number(n1) if n1 else None}
        chosen = {"method": method, "knobs": settings, "model": {"frames": frames}}
        return gather(image, question, chosen, sliders, more=more, turns={"turns": read_turns(before)})

    def number(text: str) -> int | float | str:
        try:
            return int(text) if text.strip().isdigit() else float(text)
        except ValueError:
            return text

    def result_of(ask: Ask) -> Result:
        session = f"api {id(ask)}"
        steps = list(runner.follow(ask, session, service.bump(session)))
        assert steps[-1].result is not None  # nobody can ask for a newer run in this session
        return steps[-1].result

    def recorded(*given: Any) -> dict[str, Any]:
        return record.as_json(result_of(asked(*given)).comparison)

    @told
    def analyze(
        image: str,
        question: str,
        method: str,
        keep: str,
        n1: str,
        knobs: str,
        more: list[str] | None = None,
        before: str = "",
        frames: int = FRAMES,
    ) -> dict[str, Any]:
        """Which visual tokens of a picture or video a pruning method keeps for a question, in which order, and why.

        Args:
            image: A picture (PNG, JPEG, WebP), or a video (such as MP4) where the model takes one.
            question: A question about the picture.
            method: Key of the pruning method.
            keep: Visual tokens per decoder layer, a number such as "64" or a share such as "11.1%".
            n1: Size of the first stage where there is one: a share such as "0.8" or a count such as "460", or empty.
            knobs: Other settings of the method, as a JSON object; empty for the method's own.
            more: Further pictures that the question is about.
            before: Earlier turns of the conversation, as JSON: [["question", "answer"]]; empty for none.
            frames: How many frames are taken of a video.

        Returns:
            n, n1, k, alpha (n values), order (k token numbers as picked), stages, scores; token numbers count from 0.
        """
        whole = recorded(image, question, method, keep, n1, knobs, more, before, frames)
        names = (
            "model",
            "question",
            "before",
            "method",
            "knobs",
            "budget",
            "n",
            "n1",
            "k",
            "alpha",
            "order",
            "stages",
            "scores",
        )
        return {name: whole[name] for name in names}

    @told
    def answer(
        image: str,
        question: str,
        method: str,
        keep: str,
        n1: str,
        knobs: str,
        more: list[str] | None = None,
        before: str = "",
        frames: int = FRAMES,
    ) -> dict[str, Any]:
        """Answer a question about a picture or video with all visual tokens and with the kept ones; say what changed.

        Args:
            image: A picture (PNG, JPEG, WebP), or a video (such as MP4) where the model takes one.
            question: A question about the picture.
            method: Key of the pruning method.
            keep: Visual tokens per decoder layer, a number such as "64" or a share such as "11.1%".
            n1: Size of the first stage where there is one: a share such as "0.8" or a count such as "460", or empty.
            knobs: Other settings of the method, as a JSON object; empty for the method's own.
            more: Further pictures that the question is about.
            before: Earlier turns of the conversation, as JSON: [["question", "answer"]]; empty for none.
            frames: How many frames are taken of a video.

        Returns:
            dense and pruned (text, ids), agreement, cost (computed and measured), versions.
        """
        whole = recorded(image, question, method, keep, n1, knobs, more, before, frames)
        names = (
            "model",
            "question",
            "before",
            "method",
            "knobs",
            "n",
            "k",
            "dense",
            "pruned",
            "agreement",
            "cost",
            "versions",
        )
        return {name: whole[name] for name in names}

    @told
    def compare(
        image: str,
        question: str,
        methods: str,
        keep: str,
        more: list[str] | None = None,
        before: str = "",
        frames: int = FRAMES,
    ) -> dict[str, Any]:
        """Several pruning methods on the same picture or video and question, each set beside the same dense answer.

        Args:
            image: A picture (PNG, JPEG, WebP), or a video (such as MP4) where the model takes one.
            question: A question about the picture.
            methods: Keys of pruning methods, separated by commas; empty for all that fit the model.
            keep: Visual tokens per decoder layer, a number such as "64" or a share such as "11.1%".
            more: Further pictures that the question is about.
            before: Earlier turns of the conversation, as JSON: [["question", "answer"]]; empty for none.
            frames: How many frames are taken of a video.

        Returns:
            comparisons (one record a method, or its reason under refused), and jaccard, the overlap of kept tokens.
        """
        fits = [key for key, reason in service.methods().items() if not reason]
        keys = [key.strip() for key in methods.split(",") if key.strip()] or fits
        ask = asked(image, question, DEFAULT, keep, "", "", more, before, frames)
        for key in keys:
            pick(key, {})
        session = f"api {id(ask)}"
        done = list(contested(runner, ask, keys, session, service.bump(session)))
        results = [result for _, result in done if isinstance(result, Result)]
        return {
            "comparisons": [record.as_json(result.comparison) for result in results],
            "jaccard": overlap([result.comparison.pruned for result in results]).tolist(),
            "refused": {key: reason for key, reason in done if isinstance(reason, str)},
        }

    @told
    def figure(
        image: str,
        question: str,
        method: str,
        keep: str,
        n1: str,
        knobs: str,
        format: str,
        width: str,
        more: list[str] | None = None,
        before: str = "",
        frames: int = FRAMES,
    ) -> str:
        """Draw a figure for a paper: the picture, scores, kept patches, order and both answers.

        Args:
            image: A picture (PNG, JPEG, WebP), or a video (such as MP4) where the model takes one.
            question: A question about the picture.
            method: Key of the pruning method.
            keep: Visual tokens per decoder layer, a number such as "64" or a share such as "11.1%".
            n1: Size of the first stage where there is one: a share such as "0.8" or a count such as "460", or empty.
            knobs: Other settings of the method, as a JSON object; empty for the method's own.
            format: pdf, svg or png.
            width: Name of a column width.
            more: Further pictures that the question is about.
            before: Earlier turns of the conversation, as JSON: [["question", "answer"]]; empty for none.
            frames: How many frames are taken of a video.

        Returns:
            The drawing, as a file.
        """
        result = result_of(asked(image, question, method, keep, n1, knobs, more, before, frames))
        return paper_figure([result.comparison], format, width, originals=result.view.originals)[0]

    with gr.Row(visible=False):
        image = picture(label="image")
        question = gr.Textbox(label="question")
        method = gr.Dropdown(list(PRUNERS), value=next(iter(PRUNERS)), label="method")
        methods = gr.Textbox("", label="methods")
        keep = gr.Textbox(KEEP, label="keep")
        n1 = gr.Textbox("", label="n1")
        knobs = gr.Textbox("", label="knobs")
        format = gr.Dropdown(list(FORMATS), value=FORMATS[0], label="format")
        width = gr.Dropdown(widths(), value=widths()[1], label="width")
        more = pictures(label="more")
        before = gr.Textbox("", label="before")
        frames = gr.Number(FRAMES, precision=0, label="frames")
        said = gr.JSON(label="result")
        file = gr.File(label="file")
        go = gr.Button("run")
    one = [image, question, method, keep, n1, knobs]
    further = [more, before, frames]
    shared: dict[str, Any] = {"concurrency_id": "gpu", "concurrency_limit": 1}
    go.click(analyze, [*one, *further], said, api_name="analyze", **shared)
    go.click(answer, [*one, *further], said, api_name="answer", **shared)
    go.click(compare, [image, question, methods, keep, *further], said, api_name="compare", **shared)
    go.click(figure, [*one, format, width, *further], file, api_name="figure", **shared)
