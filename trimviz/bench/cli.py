"""`trimviz bench ...`: a table on the screen, or JSON."""

from __future__ import annotations

import json
from datetime import date
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(help="Measure speed, as ratios from one run.", no_args_is_help=True)

Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")]
Dtype = Annotated[str, typer.Option("--dtype", help="auto, float32, bfloat16 or float16.")]
Rounds = Annotated[int, typer.Option(min=1, help="Repeats that count.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command()
def engine(
    model: Annotated[str, typer.Option(help="tiny, a Hub name or a checkpoint's folder.")] = "tiny",
    tokens: Annotated[int, typer.Option(min=2, help="Answer tokens.")] = 32,
    rounds: Rounds = 7,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: AsJson = False,
) -> None:
    """The project's loop over layers against transformers' generate, dense."""
    from PIL import Image

    from trimviz.bench.engine import bench_engine
    from trimviz.models import load

    loaded = load(model, device, dtype)
    prompt = loaded.encode(Image.linear_gradient("L").convert("RGB"), "what is in the picture ?")
    _show("engine", bench_engine(loaded, prompt, tokens, rounds), str(loaded.device), as_json)


@app.command()
def table(
    n: Annotated[int, typer.Option(min=2, help="Visual tokens.")] = 576,
    width: Annotated[int, typer.Option(min=1, help="Width of a token.")] = 4096,
    rounds: Rounds = 5,
    as_json: AsJson = False,
) -> None:
    """The greedy orders of every N1 at once against a bare numpy loop, on the CPU."""
    from trimviz.bench.select import bench_table

    _show("table", bench_table(n, width, rounds), "cpu", as_json)


def _show(name: str, result: dict[str, Any], device: str, as_json: bool) -> None:
    from trimviz.bench.measure import machine

    result = {"bench": name, "date": date.today().isoformat(), **machine(device), **result}
    if as_json:
        typer.echo(json.dumps(result, indent=1))
        return
    rows = Table(show_header=False)
    for key, value in result.items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        for part, number in inner:
            shown = f"{number:.4g}" if isinstance(number, float) else number
            if isinstance(number, tuple):
                shown = " to ".join(f"{v:.4g}" for v in number)
            rows.add_row(f"{key} {part}".strip(), str(shown))
    Console().print(rows)
