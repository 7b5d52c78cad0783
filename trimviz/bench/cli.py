"""`trimviz bench ...`: a table on the screen, or JSON; and the page that tells of kept results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from trimviz.bench.measure import Result, Value
    from trimviz.models.base import Model
    from trimviz.pruners import Pruner

WIDEST = 400  # characters of a table

app = typer.Typer(help="Measure speed and memory, as ratios from one run.", no_args_is_help=True)

ModelName = Annotated[
    str,
    typer.Option(
        "--model",
        help="tiny, a Hub name or a folder; or random:llava-1.5-7b, random:llava-next-7b, random:qwen2-vl-7b, "
        "random:mid, which need no checkpoint.",
    ),
]
Shape = Annotated[str, typer.Option("--model", help="A shape, such as random:llava-next-7b.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")]
Dtype = Annotated[str, typer.Option("--dtype", help="auto, float32, bfloat16 or float16.")]
Rounds = Annotated[int, typer.Option(min=1, help="Repeats that count.")]
Tokens = Annotated[int, typer.Option(min=2, help="Answer tokens.")]
Keep = Annotated[str, typer.Option("--keep", help="Visual tokens per layer: a number, or a share such as 11.1%.")]
Method = Annotated[str | None, typer.Option("--method", help="A method's key; the first of the list without it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command()
def engine(
    model: ModelName = "tiny",
    tokens: Tokens = 32,
    rounds: Rounds = 7,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: AsJson = False,
) -> None:
    """The project's loop over layers against transformers' generate, dense."""
    from trimviz.bench.engine import bench_engine
    from trimviz.bench.shapes import QUESTION, subject

    where, loaded = _open(model, device, dtype)
    _show(bench_engine(loaded, loaded.encode(subject(model), QUESTION), tokens, rounds), where, as_json)


@app.command()
def select(
    model: Shape = "random:llava-next-7b",
    n: Annotated[list[int] | None, typer.Option("--n", min=18, help="Visual tokens; 576 and 2,880 without it.")] = None,
    width: Annotated[
        int | None, typer.Option(min=1, help="Width of a token; the shape's own without it, and then a prefill beside.")
    ] = None,
    rounds: Rounds = 5,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: AsJson = False,
) -> None:
    """One selection by every method that cuts before the first layer, and the greedy loop against a plain one."""
    from trimviz.bench.select import bench_select

    where = _machine(device)
    _show(bench_select(model, n or [576, 2880], rounds, device, dtype, width), where, as_json)


@app.command()
def table(
    n: Annotated[int, typer.Option(min=2, help="Visual tokens.")] = 576,
    width: Annotated[int, typer.Option(min=1, help="Width of a token.")] = 4096,
    rounds: Rounds = 5,
    as_json: AsJson = False,
) -> None:
    """The greedy orders of every N1 at once against a bare numpy loop, on the CPU."""
    from trimviz.bench.select import bench_table

    where = _machine("cpu")
    _show(bench_table(n, width, rounds), where, as_json)


@app.command()
def pair(
    model: ModelName = "tiny",
    method: Method = None,
    keep: Keep = "11.1%",
    tokens: Tokens = 4,
    rounds: Rounds = 5,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: AsJson = False,
) -> None:
    """A dense and a pruned answer about one picture against a dense one alone."""
    from trimviz.bench.latency import bench_pair
    from trimviz.bench.shapes import subject

    where, loaded = _open(model, device, dtype)
    picture = subject(model)
    _show(bench_pair(loaded, picture, _pruner(method), _budget(loaded, model, keep), tokens, rounds), where, as_json)


@app.command()
def latency(
    model: ModelName = "tiny",
    method: Annotated[list[str] | None, typer.Option("--method", help="A method's key; may be repeated.")] = None,
    keep: Keep = "10%",
    tokens: Tokens = 4,
    rounds: Rounds = 5,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: AsJson = False,
) -> None:
    """Seconds of a whole answer, dense and pruned, beside the least that operations and bytes allow."""
    from trimviz.bench.latency import bench_latency
    from trimviz.bench.shapes import subject

    where, loaded = _open(model, device, dtype)
    pruners = [_pruner(key) for key in method] if method else [_pruner(None)]
    budget = _budget(loaded, model, keep)
    _show(bench_latency(loaded, subject(model), pruners, budget, tokens, rounds), where, as_json)


@app.command()
def memory(
    model: ModelName = "tiny",
    method: Method = None,
    keep: Keep = "10%",
    tokens: Tokens = 4,
    rounds: Rounds = 5,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: AsJson = False,
) -> None:
    """The most memory that an answer takes, dense and pruned."""
    from trimviz.bench.memory import bench_memory
    from trimviz.bench.shapes import subject

    where, loaded = _open(model, device, dtype)
    budget = _budget(loaded, model, keep)
    _show(bench_memory(loaded, subject(model), _pruner(method), budget, tokens, rounds), where, as_json)


@app.command()
def cost(
    model: ModelName = "tiny",
    top: Annotated[int, typer.Option(min=128, help="The most visual tokens.")] = 9216,
    rounds: Rounds = 5,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: AsJson = False,
) -> None:
    """Computed operations and bytes against measured time, from 64 visual tokens up."""
    from trimviz.bench.cost import bench_cost

    where, loaded = _open(model, device, dtype)
    _show(bench_cost(loaded, top, rounds), where, as_json)


@app.command(name="app")
def app_command(
    model: Annotated[str, typer.Option("--model", help="tiny, a Hub name or a folder.")] = "tiny",
    users: Annotated[int, typer.Option(min=1, help="Users at once.")] = 8,
    rounds: Annotated[int, typer.Option(min=1, max=6, help="Repeats that count.")] = 5,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: AsJson = False,
) -> None:
    """Slider to repaint, click to the first word, and several users at once, on a server of its own."""
    from trimviz.bench.app import bench_app

    where = _machine(device)
    _show(bench_app(model, device, dtype, users, rounds), where, as_json)


@app.command()
def report(
    results: Annotated[list[Path], typer.Argument(metavar="JSON...", help="What the benches printed with --json.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The page to write; the plot is put beside it.")],
) -> None:
    """Write a page of tables, and the plot of the cost, from kept results."""
    from trimviz.bench.report import write

    records = [json.loads(path.read_text(encoding="utf-8")) for path in results]
    for path in write(records, out):
        typer.echo(path)


def _machine(device: str) -> dict[str, Value]:
    from trimviz.bench.measure import machine
    from trimviz.models import pick_device

    return machine(pick_device(device))


def _open(model: str, device: str, dtype: str) -> tuple[dict[str, Value], Model]:
    """The machine as it was before any work, and the model."""
    from trimviz.bench.shapes import open_model

    where = _machine(device)
    with Console(stderr=True).status(f"loading {model}"):
        return where, open_model(model, device, dtype)


def _pruner(method: str | None) -> Pruner:
    from trimviz.compare import pick
    from trimviz.pruners import DEFAULT

    return pick(method or DEFAULT, {})


def _budget(loaded: Model, model: str, keep: str) -> float:
    from trimviz.bench.shapes import QUESTION, subject
    from trimviz.compare import budget_of

    return budget_of(keep, loaded.encode(subject(model), QUESTION).n)


def _show(result: Result, where: dict[str, Value], as_json: bool) -> None:
    from trimviz.bench.report import shown

    record = result.record(where)
    if as_json:
        typer.echo(json.dumps(record, indent=1, allow_nan=False))
        return
    console = Console()
    columns = list(result.rows[0])
    rows = Table(box=SIMPLE, collapse_padding=True, pad_edge=False)
    for column in columns:
        side: Literal["left", "right"] = "left" if isinstance(result.rows[0][column], str) else "right"
        rows.add_column(column.replace(" ", "\n"), justify=side, vertical="bottom", no_wrap=True)
    for row in result.rows:
        rows.add_row(*(shown(row.get(column, "")) for column in columns))
    needed = console.measure(rows, options=console.options.update(max_width=WIDEST)).maximum
    Console(width=max(console.width, needed)).print(rows)  # rather wider than the terminal than with cut numbers
    for name, value in {**record["settings"], **record["facts"]}.items():
        console.print(f"  {name}: {shown(value)}")
    console.print("  " + ", ".join(f"{name} {value}" for name, value in where.items()), style="dim")
