"""The commands under `trimviz tiny`: train the bundled model, evaluate it, draw example scenes."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(help="The bundled tiny LLaVA: train, evaluate, draw.", no_args_is_help=True)

ASSETS = Path(__file__).parents[2] / "assets"


@app.command()
def train(
    preset: Annotated[str, typer.Option(help="cpu (two cores), cpu-further (from --start), or gpu.")] = "cpu",
    folder: Annotated[Path, typer.Option(help="Checkpoints; a second call goes on from here.")] = Path("runs/tiny"),
    out: Annotated[Path | None, typer.Option(help="Where to save the finished model; a folder.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    until: Annotated[str | None, typer.Option(help="Stop after this stage.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    start: Annotated[Path | None, typer.Option(help="Begin with the weights of a model saved earlier.")] = None,
) -> None:
    """Train the bundled model from nothing, or go on where an earlier call stopped."""
    from .shape import export
    from .train import curve
    from .train import train as run

    try:
        model = run(preset, folder, seed, until, device, start)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if out is not None:
        export(model, out)
        (out / "training.jsonl").write_text(curve(preset, folder), encoding="utf-8")
        typer.echo(f"Saved {out}.")


@app.command()
def evaluate(
    n: Annotated[int, typer.Option(min=1, help="Questions.")] = 2000,
    seed: Annotated[int, typer.Option(help="Which held-out scenes.")] = 0,
    method: Annotated[list[str] | None, typer.Option(help="KEY or KEY:knob=value; may be given again.")] = None,
    keep: Annotated[list[str] | None, typer.Option(help="Visual tokens to keep, such as 64 or 192,128,64,32.")] = None,
    n1: Annotated[float | None, typer.Option(help="Size of the first stage, for methods that have one.")] = None,
    model: Annotated[str, typer.Option(help="tiny, or the folder of another checkpoint trained here.")] = "tiny",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write everything counted to this file.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    split: Annotated[Literal["test", "tune"], typer.Option(help="tune is for choosing between checkpoints.")] = "test",
) -> None:
    """Count exact answers to held-out questions, dense and for every method at every number of tokens."""
    from trimviz.written import methods

    from .evaluate import evaluate as run

    keeps = [part.strip() for text in keep or [] for part in text.split(",") if part.strip()]
    try:
        result = run(model, n, seed, methods(method or [], n1), keeps, device, split)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    runs = Table("method", "keep", "accuracy", "95 %", "questions")
    for record in result["runs"]:
        knobs = "".join(f" {k}={v}" for k, v in record["knobs"].items() if k in ("stages", "n1", "align"))
        runs.add_row(record["method"] + knobs, record["keep"] or "all", *_cells(record))
    kinds = Table(
        "kind", "accuracy", "95 %", "questions", title=f"{result['method']}, {result['keep'] or 'all'} tokens"
    )
    for kind, record in result["kinds"].items():
        kinds.add_row(kind, *_cells(record))
    Console().print(runs, kinds)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _cells(record: dict[str, Any]) -> tuple[str, str, str]:
    if "refused" in record:
        return "cannot", "", ""
    low, high = record["interval"]
    return f"{record['accuracy']:.1%}", f"{low:.1%}-{high:.1%}", str(record["n"])


@app.command()
def card(
    folder: Annotated[Path, typer.Argument(help="A trained model with its evaluation-*.json.")] = ASSETS / "tiny-llava",
) -> None:
    """Write the tables of accuracy in a model card anew, from the evaluations beside it."""
    from .card import write

    try:
        typer.echo(write(folder))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@app.command()
def draw(
    folder: Annotated[Path, typer.Argument(help="Where the pictures go.")] = ASSETS / "examples",
    seeds: Annotated[list[int] | None, typer.Option("--seed", help="A scene's seed; may be given again.")] = None,
) -> None:
    """Draw scenes as PNG files; without seeds, the bundled examples once more."""
    from .examples import write

    try:
        paths = write(folder, seeds)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    for path in paths:
        typer.echo(path)


if __name__ == "__main__":
    app()
