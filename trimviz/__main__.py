"""The command line: `trimviz ...` or `python -m trimviz ...`."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click
import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from trimviz.bench.cli import app as bench
from trimviz.evaluate.cli import evaluate
from trimviz.pruners import DEFAULT
from trimviz.tiny.cli import app as tiny

if TYPE_CHECKING:
    from PIL import Image

    from trimviz.chosen import Chosen
    from trimviz.compare import Comparison, OnText
    from trimviz.models.base import Model
    from trimviz.pruners import Pruner
    from trimviz.types import Encoded, Video

cli = typer.Typer(
    help="Run vision-language models with and without visual-token pruning and see what happens inside.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
cli.add_typer(tiny, name="tiny")
cli.add_typer(bench, name="bench")
cli.command()(evaluate)

Picture = Annotated[
    Path,
    typer.Argument(metavar="IMAGE", help="A picture (PNG, JPEG or WebP); or a video file, or a folder of its frames."),
]
Question = Annotated[str, typer.Argument(metavar="QUESTION", help="A question about it.")]
ModelName = Annotated[str, typer.Option("--model", help="tiny (bundled), a Hub name, or a checkpoint's folder.")]
Methods = Annotated[list[str], typer.Option("--method", help="A method's key, see `trimviz methods`; may be repeated.")]
Keep = Annotated[
    str, typer.Option("--keep", help="Visual tokens per layer, mean over layers: a number, or a share such as 11.1%.")
]
N1 = Annotated[
    str | None,
    typer.Option("--n1", help="Size of the first stage, where there is one: a share such as 0.8, or a count."),
]
Tokens = Annotated[
    str | None,
    typer.Option("--tokens", help="Keep just these visual tokens, such as 3,17,42, in place of what a method chooses."),
]
Knobs = Annotated[list[str], typer.Option("--knob", help="NAME=VALUE: another setting of the method; may be repeated.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="Most tokens of an answer.")]
Frames = Annotated[int, typer.Option("--frames", min=1, help="How many frames to take of a video, evenly spread.")]
Settings = Annotated[
    list[str],
    typer.Option("--setting", help="NAME=VALUE: a setting of the model, see `trimviz models`; may be repeated."),
]
Also = Annotated[
    list[Path],
    typer.Option("--also", metavar="IMAGE", help="A further picture that the question is about; may be repeated."),
]
Before = Annotated[
    list[str],
    typer.Option(
        "--before",
        metavar="QUESTION=ANSWER",
        help='An earlier turn, or as JSON ["question", "answer"]; may be repeated.',
    ),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps, or split over all GPUs.")]
Dtype = Annotated[str, typer.Option("--dtype", help="auto, float32, bfloat16 or float16.")]
Quantize = Annotated[str | None, typer.Option("--quantize", help="4bit or 8bit (CUDA and bitsandbytes).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@cli.command()
def compare(
    image: Picture,
    question: Question,
    model: ModelName = "tiny",
    method: Methods = [DEFAULT],  # noqa: B006
    keep: Keep = "11.1%",
    n1: N1 = None,
    tokens: Tokens = None,
    knob: Knobs = [],  # noqa: B006
    limit: Limit = 64,
    frames: Frames = 8,
    setting: Settings = [],  # noqa: B006
    also: Also = [],  # noqa: B006
    before: Before = [],  # noqa: B006
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the comparison to this file, - for the screen.")
    ] = None,
    npz: Annotated[
        Path | None, typer.Option("--npz", help="Write the tokens that the selection was made from.")
    ] = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    quantize: Quantize = None,
) -> None:
    """Answer a question about a picture dense and pruned, side by side."""
    from trimviz.compare import overlap
    from trimviz.record import as_json, save_npz

    loaded, prompt, _ = _prepare([image, *also], question, model, device, dtype, quantize, frames, setting, before)
    quiet = json_file == Path("-")
    comparisons = _contest(loaded, prompt, method, keep, n1, tokens, knob, limit, _nothing if quiet else _typewriter())
    if not quiet:
        typer.echo()
        Console().print(_summary(comparisons))
    jaccard = overlap([c.pruned for c in comparisons])
    if len(comparisons) > 1 and not quiet:
        Console().print(_overlap_table(comparisons, jaccard))
    if json_file is not None:
        records = [as_json(c) for c in comparisons]
        body = records[0] if len(records) == 1 else {"comparisons": records, "jaccard": jaccard.tolist()}
        text = json.dumps(body, indent=1, allow_nan=False)
        if quiet:
            typer.echo(text)
        else:
            json_file.parent.mkdir(parents=True, exist_ok=True)
            json_file.write_text(text + "\n", encoding="utf-8")
    if npz is not None:
        npz.parent.mkdir(parents=True, exist_ok=True)
        save_npz(prompt, npz)


@cli.command()
def figure(
    image: Picture,
    question: Question,
    out: Annotated[Path, typer.Option("-o", "--out", help="File: .pdf, .svg, .png; or .gif, .mp4 of the order.")],
    model: ModelName = "tiny",
    method: Methods = [DEFAULT],  # noqa: B006
    keep: Keep = "11.1%",
    n1: N1 = None,
    tokens: Tokens = None,
    knob: Knobs = [],  # noqa: B006
    limit: Limit = 64,
    frames: Frames = 8,
    setting: Settings = [],  # noqa: B006
    also: Also = [],  # noqa: B006
    before: Before = [],  # noqa: B006
    panels: Annotated[
        str | None, typer.Option(help="Panels to show, separated by commas; all of them without it.")
    ] = None,
    width: Annotated[str, typer.Option(help="cvpr-column, cvpr-text, acl-column, acl-text, or inches.")] = "cvpr-text",
    dpi: Annotated[int, typer.Option(min=50, max=1200, help="Of a PNG.")] = 300,
    device: Device = "auto",
    dtype: Dtype = "auto",
    quantize: Quantize = None,
) -> None:
    """Draw a figure for a paper, with a LaTeX snippet and a JSON sidecar beside it."""
    from trimviz import draw
    from trimviz.pruners import PRUNERS
    from trimviz.types import Video

    loaded, prompt, given = _prepare([image, *also], question, model, device, dtype, quantize, frames, setting, before)
    comparisons = _contest(loaded, prompt, method, keep, n1, tokens, knob, limit, _nothing)
    options: dict[str, Any] = {"width": width, "dpi": dpi, "command": shlex.join(["trimviz", *sys.argv[1:]])}
    if len(set(method)) == len(method) and not tokens:
        options["labels"] = [PRUNERS[key].name for key in method]
    options["originals"] = [picture for picture in given if not isinstance(picture, Video)]
    if out.suffix.lower() in draw.SUFFIXES:
        out.parent.mkdir(parents=True, exist_ok=True)
        typer.echo(draw.order_movie(comparisons[0].pruned, out))
        return
    if panels:
        options["panels"] = tuple(name.strip() for name in panels.split(","))
    out.parent.mkdir(parents=True, exist_ok=True)
    for path in draw.figure(comparisons, out, **options):
        typer.echo(path)


@cli.command()
def methods(
    as_json: AsJson = False, markdown: Annotated[bool, typer.Option(help="Print the README's table.")] = False
) -> None:
    """List the methods and their knobs."""
    from trimviz.pruners import PRUNERS

    rows: list[dict[str, Any]] = [
        {
            "key": p.key,
            "name": p.name,
            "paper": p.paper,
            "clause": p.clause,
            "needs": sorted(p.needs),
            "file": f"trimviz/pruners/{p.__module__.rsplit('.', 1)[-1]}.py",
            "knobs": {k.name: {"default": k.default, "choices": k.choices, "help": k.help} for k in p.knobs()},
        }
        for p in PRUNERS.values()
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
    elif markdown:
        typer.echo("| method | key | paper | what it does | file |\n|---|---|---|---|---|")
        for r in rows:
            paper = f"[{r['paper']}](https://arxiv.org/abs/{r['paper']})" if r["paper"] else ""
            typer.echo(f"| {r['name']} | `{r['key']}` | {paper} | {r['clause']} | [`{r['file']}`]({r['file']}) |")
    else:
        table = Table("key", "arXiv", "what it does", "knobs and defaults", box=SIMPLE)
        for r in rows:
            knobs = "\n".join(f"{name}={k['default']}" for name, k in r["knobs"].items())
            table.add_row(r["key"], r["paper"], f"{r['name']}: {r['clause']}", knobs)
        Console().print(table)


@cli.command()
def models(
    as_json: AsJson = False, markdown: Annotated[bool, typer.Option(help="Print the README's table.")] = False
) -> None:
    """List the model families and checkpoints that they were written for."""
    from trimviz.models import MODELS

    rows: list[dict[str, Any]] = [
        {
            "family": m.name,
            "model_type": key,
            "checkpoints": list(m.checkpoints),
            "tokens": m.tokens,
            "positions": "numbered anew after a cut, or kept"
            if m.axes == 1
            else f"{m.axes} axes (M-RoPE), always kept",
            "video": m.takes_video,
            "settings": {name: {"choices": one.choices, "help": one.help} for name, one in m.options.items()},
            "provides": sorted(m.provides),
        }
        for key, m in MODELS.items()
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
    elif markdown:
        typer.echo("| family | `model_type` | checkpoints | visual tokens | positions |\n|---|---|---|---|---|")
        for r in rows:
            links = ", ".join(f"[{c}](https://huggingface.co/{c})" for c in r["checkpoints"])
            typer.echo(f"| {r['family']} | `{r['model_type']}` | {links} | {r['tokens']} | {r['positions']} |")
    else:
        table = Table("family", "model_type", "checkpoints", "visual tokens", "settings", box=SIMPLE)
        for r in rows:
            settings = "\n".join(f"{name}={'|'.join(one['choices'])}" for name, one in r["settings"].items())
            table.add_row(r["family"], r["model_type"], "\n".join(r["checkpoints"]), r["tokens"], settings)
        Console().print(table)


@cli.command(name="app")
def app_command(
    model: Annotated[
        str | None, typer.Option(help="tiny, a Hub name or a folder; chosen by the device without it.")
    ] = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    quantize: Quantize = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 7860,
    share: Annotated[bool, typer.Option(help="Open a public tunnel through Gradio.")] = False,
) -> None:
    """Open the app in a browser."""
    from trimviz.ui import launch

    launch(model=model, device=device, dtype=dtype, quantize=quantize, host=host, port=port, share=share)


def _prepare(
    images: list[Path],
    question: str,
    model: str,
    device: str,
    dtype: str,
    quantize: str | None,
    frames: int,
    settings: list[str],
    before: list[str],
) -> tuple[Model, Encoded, list[Image.Image | Video]]:
    """The model, the prompt, and the pictures or videos that it is about."""
    from trimviz.compare import ask
    from trimviz.models import load
    from trimviz.video import open_source

    pictures = [open_source(path, frames) for path in images]  # before the model is loaded, which can take long
    chosen = dict(_pair(item, "--setting") for item in settings)
    with Console(stderr=True).status(f"loading {model}"):
        loaded = load(model, device, dtype, quantize, **chosen)
    return loaded, ask(loaded, pictures, question, before=[_turn(item) for item in before]), pictures


def _pair(item: str, option: str, form: str = "NAME=VALUE") -> tuple[str, str]:
    """NAME=VALUE in two."""
    name, separator, value = item.partition("=")
    if not separator:
        raise ValueError(f"Expected {option} {form}, got {item!r}.")
    return name, value


def _turn(item: str) -> tuple[str, str]:
    """An earlier question and its answer, of which the question may hold "=" where they come as JSON."""
    if not item.startswith("["):
        return _pair(item, "--before", "QUESTION=ANSWER")
    from trimviz.compare import read_turns

    (turn,) = read_turns(f"[{item}]")
    return turn


def _contest(
    model: Model,
    prompt: Encoded,
    keys: list[str],
    keep: str,
    n1: str | None,
    tokens: str | None,
    settings: list[str],
    limit: int,
    on_text: OnText,
) -> list[Comparison]:
    from trimviz.compare import contest

    pruners: list[Pruner]
    if tokens is None:
        pruners = [_pruner(key, n1, settings, alone=len(keys) == 1) for key in keys]
    else:
        chosen = _chosen(tokens)
        pruners, keep = [chosen], str(len(chosen.tokens))
    return contest(model, prompt, pruners, keep, limit=limit, on_text=on_text)


def _chosen(tokens: str) -> Chosen:
    """Tokens picked by hand, in place of a method."""
    from trimviz.chosen import Chosen

    try:
        return Chosen(tokens=tuple(sorted({int(number) for number in tokens.split(",")})))
    except ValueError:
        raise ValueError(f"Expected --tokens to be whole numbers such as 3,17,42; got {tokens!r}.") from None


def _pruner(key: str, n1: str | None, settings: list[str], alone: bool) -> Pruner:
    """A method with its settings; of several methods each takes the settings that it has."""
    from trimviz.compare import pick

    kind = type(pick(key, {}))
    knobs = {knob.name: knob for knob in kind.knobs()}
    values = {}
    for item in [*settings, *([f"n1={n1}"] if n1 is not None else [])]:
        name, value = _pair(item, "--knob")
        if name in knobs:
            values[name] = knobs[name].parse(value)
        elif alone:
            raise ValueError(f"{kind.name} has no knob {name!r}; it has {', '.join(knobs)}.")
    return kind.make(values)


def _nothing(which: str, text: str) -> None:
    pass


def _typewriter() -> OnText:
    """Prints answers as they grow, one line each."""
    said: dict[str, str] = {}

    def on_text(which: str, text: str) -> None:
        if which not in said:
            typer.echo(("\n" if said else "") + typer.style(f"{which:>14}  ", bold=True), nl=False)
            said[which] = ""
        typer.echo(text[len(said[which]) :], nl=False)
        said[which] = text

    return on_text


def _summary(comparisons: list[Comparison]) -> Table:
    table = Table(box=SIMPLE, collapse_padding=True, pad_edge=False)
    for heading in ("run", "in", "out", "end", "answer", "KL", "GFLOP*", "KV MB*", "prefill", "decode"):
        words = heading in ("run", "answer")  # in a narrow terminal the answer's column breaks its lines, no number
        table.add_column(heading, justify="left" if words else "right", no_wrap=heading != "answer")
    first = comparisons[0]
    rows = [(first.dense, "", "")]
    rows += [(c.pruned, c.badge, f"{c.kl.mean():.4f}" if len(c.kl) else "-") for c in comparisons]
    for run, badge, divergence in rows:
        table.add_row(
            run.method,
            *(f"{run.counts[count]:.1f}".removesuffix(".0") for count in ("input", "output", "final")),
            badge,
            divergence,
            f"{run.flops / 1e9:.3g}",
            f"{run.kv_bytes / 1e6:.3g}",
            f"{1000 * (run.seconds['prefill'] + run.seconds['select']):.1f}",
            f"{1000 * run.seconds['decode']:.1f}",
        )
    table.caption = (
        f"{first.model}, {first.dtype}. Visual tokens per layer: in, mean of those that enter a layer, which --keep "
        "sets; out, mean of those left when the cut behind it is done; end, those in the last layer. KL to dense in "
        f"nats per answer token. Milliseconds measured on {first.device}; * computed."
    )
    return table


def _overlap_table(comparisons: list[Comparison], jaccard: Any) -> Table:
    names = [c.pruned.method for c in comparisons]
    table = Table("kept in common", *names, box=SIMPLE)
    for name, row in zip(names, jaccard, strict=True):
        table.add_row(name, *(f"{value:.2f}" for value in row))
    if any((stage.kept & ~stage.standing).any() for c in comparisons for stage in c.pruned.stages):
        table.caption = "Of merged patches the one in whose place they stand counts."
    return table


def main() -> None:
    """Run a command; bad input or a file that cannot be written is one sentence on stderr and exit code 2."""
    try:
        sys.exit(cli(standalone_mode=False) or 0)
    except (ValueError, OSError) as error:
        typer.echo(f"trimviz: {error}", err=True)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        typer.echo("trimviz: stopped.", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
