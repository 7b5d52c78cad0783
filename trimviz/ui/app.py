"""The page: what stands where. What happens when somebody clicks stands in `events`."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from trimviz.draw.layout import PANELS
from trimviz.pruners import PRUNERS
from trimviz.ui import api, dataset, events, parts, sweep, text
from trimviz.ui.examples import Example, examples
from trimviz.ui.lens import controls, lens
from trimviz.ui.service import Ask, Service
from trimviz.ui.take import KINDS
from trimviz.ui.theme import css, theme

TITLE = "TrimViz"
LEDE = "See which patches a vision-language model keeps, in which order, and what it says with and without the rest."


def build(service: Service) -> gr.Blocks:
    """The whole page around one model; `show` opens it."""
    offered = examples(drawn_first=service.bundled)
    first = offered[0]
    done = service.recall(Ask(str(first.path), first.questions[0]))
    shown: tuple[Any, ...] = ("", None, text.waiting("Pruned answer"), text.waiting("Dense answer"), "")
    if done:
        shown = events.whole(done, service, offered)
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(1800, 86400)) as page:
        epoch = gr.Number(events.UNTOUCHED, precision=0, visible=False)
        gr.HTML(header(service), elem_id="head", apply_default_css=False)
        with gr.Tabs() as tabs:
            with gr.Tab("Explore", id="explore"):
                with gr.Row(elem_id="stage"):
                    with gr.Column(elem_id="ask"):
                        picture = parts.picture(
                            str(first.path),
                            sources=["upload", "clipboard", "webcam"],
                            label="Picture",
                            show_label=False,
                            height=180,
                            elem_id="picture",
                            buttons=[],
                            placeholder="Drop a picture here, or click",
                        )
                        with gr.Accordion(
                            "Ask about a video instead", open=False, visible=service.model.takes_video, elem_id="film"
                        ):
                            clip = parts.clip(label="Video", show_label=False, height=120, elem_id="clip")
                            strip = gr.HTML("", elem_id="strip", apply_default_css=False)
                        with gr.Accordion("Add more pictures", open=False, elem_id="others"):
                            more = parts.pictures(label="More pictures", show_label=False, height=120)
                            gr.HTML(
                                '<p class="quiet">The question is about the picture above, then these in order.</p>',
                                apply_default_css=False,
                            )
                        turns = parts.turns()
                        question = gr.Textbox(
                            first.questions[0],
                            label="Question",
                            lines=1,
                            max_lines=4,
                            max_length=5000,
                            elem_id="question",
                            submit_btn=False,
                        )
                        suggestions = parts.picks(_asked(first), "suggestions", "Suggested questions", fixed=False)
                        with gr.Row(elem_id="go"):
                            run = gr.Button("Run", variant="primary", elem_id="run", scale=2)
                            stop = gr.Button("Stop", elem_id="stop", scale=1)
                            follow = gr.Button("Follow up", elem_id="follow", scale=1)
                        state = gr.HTML(shown[0], elem_id="state", apply_default_css=False)
                    with gr.Column(elem_id="more"):
                        gr.HTML('<p class="label">Examples</p>', apply_default_css=False)
                        gallery = parts.picks(
                            [{"label": e.title, "image": text.thumbnail(e.path)} for e in offered],
                            "examples",
                            "Example pictures",
                        )
                        settings = parts.settings(
                            service.methods(), parts.of_model(type(service.model), service.model.settings)
                        )
                    with gr.Column(elem_id="see"):
                        sliders = controls(elem_id="controls", lens_id="lens")
                        view = lens(shown[1], elem_id="lens")
                    with gr.Column(elem_id="said"):
                        pruned = gr.HTML(shown[2], elem_id="pruned", apply_default_css=False)
                        dense = gr.HTML(shown[3], elem_id="dense", apply_default_css=False)
                        detail = parts.detail(shown[4])
                        with gr.Accordion("Export: figure, animation, page", open=False, elem_id="figure"):
                            kind = gr.Radio(
                                [(name, kind) for kind, name in KINDS.items()],
                                value="pdf",
                                label="Format",
                                elem_id="figure-kind",
                            )
                            width = gr.Dropdown(
                                api.widths(), value=api.widths()[0], label="Width", elem_id="figure-width"
                            )
                            panels = gr.Dropdown(
                                list(PANELS),
                                value=[],
                                multiselect=True,
                                label="Panels, in this order",
                                info="Without any, all that there are.",
                                elem_id="figure-panels",
                            )
                            export = gr.Button("Make it", elem_id="export", size="sm")
                            files = gr.Files(
                                label="Figure, LaTeX snippet, settings", elem_id="figure-files", visible=False
                            )
            with gr.Tab("Compare methods", elem_id="compare-tab"):
                gr.HTML(
                    '<p class="quiet">Every method on the picture and question of the first tab, at the same number of '
                    "visual "
                    "tokens per layer. One look at the picture and one dense answer are shared by all.</p>",
                    apply_default_css=False,
                )
                fits = [(PRUNERS[key].name, key) for key, reason in service.methods().items() if not reason]
                methods = gr.CheckboxGroup(fits, value=[key for _, key in fits[:6]], label="Methods", elem_id="methods")
                with gr.Row(elem_id="contest-go"):
                    contest = gr.Button("Compare", variant="primary", elem_id="contest", scale=0, min_width=160)
                    halt = gr.Button("Stop", elem_id="contest-stop", scale=0, min_width=100)
                table = gr.HTML("", elem_id="table", apply_default_css=False)
            with gr.Tab("Sweep", elem_id="sweep-tab"):
                sizes = sweep.build()
            with gr.Tab("Dataset", elem_id="dataset-tab"):
                many = dataset.build(service)
        parts_of_page = events.Parts(
            epoch,
            picture,
            clip,
            strip,
            more,
            turns,
            question,
            suggestions,
            run,
            stop,
            follow,
            state,
            gallery,
            settings,
            view,
            sliders,
            pruned,
            dense,
            detail,
            kind,
            width,
            panels,
            export,
            files,
            methods,
            contest,
            halt,
            table,
        )
        rerun = events.wire(page, parts_of_page, service, offered, done is not None)
        asked = [picture, question, settings, sliders, clip, more, turns]
        sweep.wire(sizes, service, asked, sliders, tabs, rerun)
        dataset.wire(many, service)
        api.expose(service)
    return page


def show(page: gr.Blocks, host: str, port: int, share: bool = False, block: bool = True, mcp: bool = True) -> str:
    """Open the page on an address; returns its URL."""
    page.queue(max_size=64, default_concurrency_limit=2)
    _, url, _ = page.launch(
        server_name=host,
        server_port=port,
        share=share,
        prevent_thread_lock=not block,
        quiet=not block,
        theme=theme(),
        css=css(),
        js=parts.script("page.js"),
        head=f"<script>{parts.script('stream.js')}</script>",
        run_history=False,
        footer_links=["api"],
        max_file_size="64mb",
        show_error=False,
        enable_monitoring=False,
        state_session_capacity=500,
        mcp_server=mcp,
        allowed_paths=[str(folder) for folder in _folders()],
    )
    return url


def _folders() -> set:
    return {example.path.parent for example in examples(drawn_first=True)}


def _asked(example: Example) -> list[dict[str, str]]:
    return [{"label": question} for question in example.questions]


def header(service: Service) -> str:
    """Title, one sentence, and what the model is."""
    model = service.model
    about = f"<b>{escape(service.name)}</b>, {escape(model.name)} on {service.device}, {service.dtype}"
    if service.bundled:
        about = (
            f"<b>{escape(service.name)}</b>, the bundled model: a toy of the architecture of "
            f"{escape(model.name)}, trained on drawn "
            f"scenes alone, so photographs are beyond it · {service.device}, {service.dtype}"
        )
    note = f' · <i role="note">{escape(service.note)}</i>' if service.note else ""
    return f'<div class="head"><h1>{TITLE}</h1><p>{LEDE}</p><p class="model">{about}{note}</p></div>'
