"""Options, which model to load, and opening the page; `trimviz app` and `python app.py` both come here."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from threading import Thread
from typing import Annotated

import typer

from trimviz.models import MODELS, load, pick_device
from trimviz.models.base import Model
from trimviz.ui import spaces
from trimviz.ui.examples import Example, examples
from trimviz.ui.service import BUNDLED, Ask, Service

HOST, PORT = "127.0.0.1", 7860


def main(
    model: Annotated[
        str | None,
        typer.Option(envvar="TRIMVIZ_MODEL", help="tiny, a Hub name or a folder; chosen by the device without it."),
    ] = None,
    device: Annotated[
        str, typer.Option(envvar="TRIMVIZ_DEVICE", help="auto, cpu, cuda, cuda:1, mps, or split over all GPUs.")
    ] = "auto",
    dtype: Annotated[str, typer.Option(envvar="TRIMVIZ_DTYPE", help="auto, float32, bfloat16 or float16.")] = "auto",
    quantize: Annotated[
        str | None, typer.Option(envvar="TRIMVIZ_QUANTIZE", help="4bit or 8bit (CUDA and bitsandbytes).")
    ] = None,
    host: Annotated[str, typer.Option(envvar="GRADIO_SERVER_NAME", help="Address to listen on.")] = HOST,
    port: Annotated[int, typer.Option(envvar="GRADIO_SERVER_PORT", min=1, max=65535, help="Port to listen on.")] = PORT,
    share: Annotated[bool, typer.Option(envvar="TRIMVIZ_SHARE", help="Open a public tunnel through Gradio.")] = False,
) -> None:
    """Open the app in a browser."""
    try:
        launch(model, device, dtype, quantize, host, port, share)
    except ValueError as error:
        typer.echo(f"trimviz: {error}", err=True)
        sys.exit(2)


def launch(
    model: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    quantize: str | None = None,
    host: str = HOST,
    port: int = PORT,
    share: bool = False,
) -> None:
    """Load a model and serve the page until interrupted; without a model, one is chosen by `choose`.

    Raises ValueError, in one sentence, for a model that was asked for and cannot be loaded.
    """
    from trimviz.ui.app import (
        build,
        show,
    )  # gradio takes seconds to import: not before the options are known to be good

    loaded, note = choose(model, device, dtype, quantize)
    service = Service(loaded, note)
    offered = examples(drawn_first=service.bundled)
    if not spaces.LENT:  # a lent GPU is there only inside a visitor's own run
        if service.bundled or service.device != "cpu":
            prepare(service, offered[:1])  # so that the page opens with it
        Thread(target=prepare, args=(service, offered), daemon=True).start()
    show(build(service), host, port, share)


def choose(model: str | None, device: str, dtype: str, quantize: str | None) -> tuple[Model, str]:
    """The model, and a note where it is not the one that would have been best.

    Without a name: the first checkpoint on the lists where there is a CUDA GPU, the bundled model elsewhere.
    """
    if model is not None:
        return load(model, device, dtype, quantize), ""
    if not _has_cuda(device):
        return load(BUNDLED, device, dtype, quantize), ""
    best = next(iter(MODELS.values())).checkpoints[0]
    try:
        return load(best, device, dtype, quantize), ""
    except ValueError as problem:
        return load(BUNDLED, device, dtype), f"{problem} The bundled model is shown instead."


def prepare(service: Service, offered: Sequence[Example]) -> None:
    """Run examples once, so that nobody waits for them."""
    for example in offered:
        service.finish(Ask(str(example.path), example.questions[0]))


def _has_cuda(device: str) -> bool:
    return pick_device(device).startswith(("cuda", "split"))
