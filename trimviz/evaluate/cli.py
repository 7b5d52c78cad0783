"""`trimviz evaluate`: thin, everything is in the library beside it."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from trimviz.pruners import DEFAULT

METRICS = "Names: exact, relaxed, vqa, anls, accuracy, precision, recall, f1, bleu-1 to bleu-4, rouge, cider."
NEEDED = ("jinja2", "pandas", "plotly", "pyarrow", "pycocoevalcap", "rapidfuzz", "sacrebleu")


def evaluate(
    data: Annotated[
        list[str],
        typer.Option(
            help="A JSONL file of records {image or video, question, answer, id, task}, or tiny; may be repeated."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results; a second call goes on where one stopped.")],
    model: Annotated[str, typer.Option(help="tiny (bundled), a Hub name, or a checkpoint's folder.")] = "tiny",
    method: Annotated[list[str], typer.Option(help="KEY or KEY:knob=value; may be repeated.")] = [DEFAULT],  # noqa: B006
    keep: Annotated[
        str, typer.Option(help="Visual tokens per layer, mean over layers: numbers or shares, such as 192,128,11.1%.")
    ] = "11.1%",
    n1: Annotated[
        str,
        typer.Option(help="Sizes of the first stage, for methods that have one: shares or counts, such as 0.7,0.8."),
    ] = "",
    metric: Annotated[
        list[str], typer.Option(help="NAME or TASK=NAME; may be repeated. Without: exact. " + METRICS)
    ] = [],  # noqa: B006
    n: Annotated[int, typer.Option("--n", min=1, help="Held-out questions, for tiny.")] = 200,
    seed: Annotated[int, typer.Option(help="Which held-out scenes, for tiny.")] = 0,
    limit: Annotated[int, typer.Option(min=1, help="Most tokens of an answer.")] = 64,
    frames: Annotated[int, typer.Option(min=1, help="How many frames to take of a video, evenly spread.")] = 8,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps, or split over all GPUs.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    quantize: Annotated[str | None, typer.Option(help="4bit or 8bit (CUDA and bitsandbytes).")] = None,
    setting: Annotated[
        list[str], typer.Option(help="NAME=VALUE: a setting of the model, see `trimviz models`; may be repeated.")
    ] = [],  # noqa: B006
) -> None:
    """Ask many questions dense and pruned: metrics, tables, a report. `accelerate launch` splits the work."""
    lacking = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if lacking:
        raise ValueError(f'An evaluation needs {", ".join(lacking)}; run pip install "trimviz[evaluate]".')
    from accelerate import PartialState

    from trimviz.evaluate.data import read
    from trimviz.evaluate.evaluation import evaluate as run
    from trimviz.evaluate.settings import settings
    from trimviz.models import load, pick_device

    chosen = settings(method, _parts(keep), [_size(part) for part in _parts(n1)])
    asked = read(data, n, seed, frames)  # before the model is loaded, which can take long
    for name in setting:
        if "=" not in name:
            raise ValueError(f"Expected --setting NAME=VALUE, got {name!r}.")
    options = dict(name.split("=", 1) for name in setting)
    loaded = load(model, _own(pick_device(device)), dtype, quantize, **options)
    command = shlex.join(["trimviz", *sys.argv[1:]])
    summary = run(loaded, asked, chosen, out, metrics=metric, limit=limit, command=command)
    PartialState().destroy_process_group()
    if summary is not None:
        typer.echo((out / "tables.md").read_text(encoding="utf-8"))
        typer.echo(f"{out / 'report.html'} shows it all.")


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _size(text: str) -> float | int:
    """A share such as 0.8 or a count such as 460."""
    try:
        return int(text) if text.isdigit() else float(text)
    except ValueError:
        raise ValueError(f"Expected --n1 to be shares or counts, such as 0.7,0.8; got {text!r}.") from None


def _own(device: str) -> str:
    """The GPU of this process, where there are several of both."""
    from accelerate import PartialState

    from trimviz.evaluate.run import PATIENCE

    state = PartialState(cpu=device == "cpu", timeout=PATIENCE)
    return str(state.device) if device == "cuda" and state.num_processes > 1 else device
