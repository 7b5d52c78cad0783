"""The page of measured tables, written from the JSON that the benches print; nothing in it is typed by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trimviz.bench.measure import Value

PLOT = "performance-cost.svg"
INTRO = """# Performance

Every number on this page was written by `trimviz bench report` from the JSON in `docs/results-bench/`, under the
command that measured it; `make bench` runs those of one model and writes the page again. Candidates take turns in every
round, after one round that is not counted; times are medians of the rounds with the fastest and the slowest beside
them. Ratios are what carries over to another machine, not seconds. A load well above the number of cores means that
something else was running: read such a table as a sign of life.

Models named `random:...` have the real shapes and random weights, so that speed can be measured without a checkpoint.
"""
BENCHES: dict[str, tuple[str, str]] = {
    "engine": (
        "The loop over layers against `generate`",
        "The same dense prompt through the project's own loop and through transformers' `generate`. Fixed is the own "
        "loop over caches of fixed size, on a CUDA GPU with a step captured as a graph; its logits agree to rounding.",
    ),
    "select": (
        "One selection",
        "Every method that cuts once, before the first layer, on random tokens that it has never seen. The prefill is "
        "one decoder layer of the shape, timed, times the number of layers. The plain loop is RepMax written with one "
        "torch call after the other; the greedy loop is the project's, with the same picks.",
    ),
    "table": (
        "All greedy orders at once",
        "What the sliders of the app need, the order of every first-stage size from one matrix, against a numpy loop.",
    ),
    "pair": ("Dense and pruned against dense alone", "Two answers about one picture share the look at it."),
    "latency": (
        "A whole answer",
        "Processor, vision tower, selection, prefill and a short answer. The floor is computed part by part: "
        "operations over what the device reaches in one large product, or bytes over what it reaches in a product "
        "with one row, whichever takes longer. The paper's Table 4, on an H100: 235.2 ms dense, 100.13 ms pruned, "
        "0.426 of it.",
    ),
    "memory": (
        "Peak memory",
        "On a GPU what the allocator held at most; on a CPU the growth of the process, plus the weights. The paper's "
        "Table 4: 15.53 GB dense, 13.63 GB pruned, 0.878 of it.",
    ),
    "cost": (
        "How cost grows",
        "A dense prefill of N visual tokens and 64 others, and each answer token behind it. The floor is as above.",
    ),
    "app": ("The app", "A server of its own on the same machine, asked by clients and driven in headless Chromium."),
}


def shown(value: Value) -> str:
    """A number to four figures, anything else as it is."""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def write(records: Sequence[Mapping[str, Any]], out: Path) -> list[Path]:
    """The page, and the plot beside it where a cost was measured; returns the files written.

    Raises ValueError for a file that no bench wrote.
    """
    for record in records:
        if record.get("bench") not in BENCHES:
            raise ValueError(f"Expected what a bench printed with --json, got one with bench={record.get('bench')!r}.")
    out.parent.mkdir(parents=True, exist_ok=True)
    costs = [record for record in records if record["bench"] == "cost"]
    files = [out]
    sections = [INTRO, _measured_on(records)]
    for bench, (title, about) in BENCHES.items():
        found = [record for record in records if record["bench"] == bench]
        if not found:
            continue
        sections.append(f"## {title}\n\n{about}\n")
        if bench == "cost":
            from trimviz.bench.plot import plot

            files.append(plot(costs, out.parent / PLOT))
            sections.append(f"![Time against the number of visual tokens]({PLOT})\n")
        sections += [section(record) for record in found]
    out.write_text("\n".join(sections), encoding="utf-8")
    return files


def _measured_on(records: Sequence[Mapping[str, Any]]) -> str:
    """The devices that the page speaks of, and whether a CUDA GPU is among them."""
    devices = sorted({record["machine"]["device"] for record in records})
    gpu = any("cuda" in record["machine"] for record in records)
    told = "" if gpu else " No CUDA GPU is among them: how fast anything here is on one has not been measured."
    return f"Measured on: {', '.join(devices)}.{told}\n"


def section(record: Mapping[str, Any]) -> str:
    """One result: its command, machine and settings, its table and what follows from it."""
    where = ", ".join(f"{name} {shown(value)}" for name, value in record["machine"].items())
    settings = ", ".join(f"{name} {shown(value)}" for name, value in record["settings"].items())
    columns = list(record["rows"][0])
    numeric = [all(not isinstance(row.get(c), str) for row in record["rows"]) for c in columns]
    lines = [
        f"`{record['command']}`, {record['date']}: {settings}.  ",
        f"{where[0].upper()}{where[1:]}.",
        "",
        "| " + " | ".join(columns) + " |",
        "|" + "|".join("---:" if right else "---" for right in numeric) + "|",
        *("| " + " | ".join(shown(row.get(column, "")) for column in columns) + " |" for row in record["rows"]),
        "",
        *(f"- {name}: **{shown(value)}**" for name, value in record["facts"].items()),
        "",
    ]
    return "\n".join(lines)
