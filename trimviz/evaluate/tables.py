"""Tables in the shape of the paper's: methods in rows, grouped by budget, tasks in columns; Markdown and LaTeX."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from trimviz.evaluate.metrics import METRICS
from trimviz.evaluate.settings import Setting
from trimviz.evaluate.summary import ALL, DENSE, FREE

LABELS = {m.name: m.label for m in METRICS.values()} | {name: label for name, label, _, _ in FREE}
PERCENT = {m.name for m in METRICS.values() if m.percent} | {name for name, _, percent, _ in FREE if percent}
FALLING = {name for name, _, _, higher in FREE if higher is False}  # lower is better
NEUTRAL = {name for name, _, _, higher in FREE if higher is None}
DIGITS = {"cider": 2, "kl": 3}
NOTHING = "–"


@dataclass(frozen=True)
class Cell:
    text: str
    best: bool = False
    detail: str = ""  # the interval, where there is room for it


@dataclass(frozen=True)
class Group:
    title: str
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class Table:
    """What is printed, whatever the format."""

    caption: str
    head: tuple[str, ...]
    groups: tuple[Group, ...]
    notes: tuple[str, ...] = field(default=())


def main_table(summary: pd.DataFrame, settings: Sequence[Setting], visual: float) -> Table:
    """Every metric that has references; the last column is the mean over tasks relative to dense, in percent.

    visual: visual tokens of the dense model, mean over the samples.
    """
    free = {name for name, *_ in FREE}
    known = summary[~summary.metric.isin(free)]
    columns = list(dict.fromkeys(zip(known.task, known.metric, strict=True)))
    columns.sort(key=lambda column: column[0] == ALL)  # stable: all tasks together come last
    average = len([c for c in columns if c[0] != ALL]) > 1
    heads = [_head(task, metric, columns) for task, metric in columns] + (["Average (%)"] if average else [])
    caption = "Answers against references under different numbers of visual tokens."
    return _table(caption, heads, known, columns, settings, visual, average)


def free_table(summary: pd.DataFrame, settings: Sequence[Setting], visual: float) -> Table:
    """Agreement with the dense model, over all tasks together."""
    free = [name for name, *_ in FREE]
    known = summary[summary.metric.isin(free)]
    task = ALL if (known.task == ALL).any() else known.task.iloc[0]
    caption = (
        "Agreement with the dense model: answers with the same words (%), KL divergence in nats per token of the dense "
        "answer, and the place of the first token that differs, counted from 0, in the answers where one does."
    )
    columns = [(task, name) for name in free]
    return _table(caption, [LABELS[name] for name in free], known, columns, settings, visual, average=False)


def cost_table(costs: pd.DataFrame, settings: Sequence[Setting], visual: float) -> Table:
    """What an answer costs: the shape of the paper's table 4."""
    names = {"tokens": 1, "gflop": 2, "kv_mb": 2, "first_token_ms": 1, "answer_ms": 1}
    heads = ["Tokens", "GFLOP", "KV cache (MB)", "First token (ms)", "Answer (ms)"]
    found = {row.setting: row for row in costs.itertuples()}

    def cells(name: str) -> tuple[Cell, ...]:
        row = found.get(name)
        return tuple(Cell(NOTHING if row is None else f"{getattr(row, n):.{digits}f}") for n, digits in names.items())

    groups = [Group(_upper(visual), (("Dense", cells(DENSE)),))] if DENSE in found else []
    for keep, rows in _by_keep(settings).items():
        groups.append(Group(retained(keep, visual), tuple((label, cells(s.name)) for label, s in rows)))
    caption = (
        "What an answer costs: visual tokens per decoder layer (mean over layers), operations of the prefill and size "
        "of the cache (both computed), and measured times (median)."
    )
    return Table(caption, (_first_head(settings), *heads), tuple(groups))


def difference_table(summary: pd.DataFrame, settings: Sequence[Setting], visual: float) -> Table:
    """Paired differences from dense and from the first method, over all tasks together where they share a metric."""
    tasks = list(dict.fromkeys(summary.task))
    task = ALL if ALL in tasks else tasks[0]
    metrics = [m for m in dict.fromkeys(summary[summary.task == task].metric) if m not in NEUTRAL]
    found = {(row["setting"], row["metric"]): row for _, row in summary[summary.task == task].iterrows()}
    columns = [(m, v) for m in metrics for v in ("vs_dense", "vs_first") if v in summary and _any(found, m, v)]
    first = settings[0].label

    def cells(name: str) -> tuple[Cell, ...]:
        out = []
        for metric, against in columns:
            row = found[name, metric]
            value, low, high, p = (row.get(f"{against}{end}", math.nan) for end in ("", "_low", "_high", "_p"))
            if math.isnan(value):
                out.append(Cell(NOTHING))
                continue
            told = f"{_signed(metric, value)} [{_signed(metric, low)}, {_signed(metric, high)}]"
            out.append(Cell(told + ("" if math.isnan(p) else f", p {_chance(p)}"), best=low > 0 or high < 0))
        return tuple(out)

    heads = [f"{LABELS[m]}, from {'dense' if v == 'vs_dense' else first}" for m, v in columns]
    groups = [
        Group(retained(keep, visual), tuple((label, cells(s.name)) for label, s in rows))
        for keep, rows in _by_keep(settings).items()
    ]
    caption = (
        "Paired differences with 95 % bootstrap intervals (shares in points, with the p value of McNemar's exact "
        "test); bold where the interval leaves out 0. Nothing is corrected for the number of comparisons."
    )
    return Table(caption, (_first_head(settings), *heads), tuple(groups))


def _any(found: dict[tuple[str, str], pd.Series], metric: str, against: str) -> bool:
    return any(not math.isnan(row.get(against, math.nan)) for (_, m), row in found.items() if m == metric)


def _signed(metric: str, value: float) -> str:
    shown = shorten(metric, value)
    return f"+{shown}" if value > 0 and float(shown) > 0 else shown


def _chance(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _table(
    caption: str,
    heads: Sequence[str],
    known: pd.DataFrame,
    columns: Sequence[tuple[str, str]],
    settings: Sequence[Setting],
    visual: float,
    average: bool,
) -> Table:
    found = {(row.setting, row.task, row.metric): row for row in known.itertuples()}

    def relative(name: str) -> float:
        parts = [found[name, *column].relative for column in columns if column[0] != ALL]
        return 100 * sum(parts) / len(parts)

    def cells(name: str, peers: Sequence[str]) -> tuple[Cell, ...]:
        out = []
        for task, metric in columns:
            row = found[name, task, metric]
            shown = [shorten(metric, found[peer, task, metric].value) for peer in peers]
            numbers = [float(s) for s in shown if s != NOTHING]
            best = (min if metric in FALLING else max)(numbers, default=math.nan)
            cell = shorten(metric, row.value)
            top = len(set(numbers)) > 1 and cell != NOTHING and metric not in NEUTRAL and float(cell) == best
            out.append(Cell(cell, top, f"{shorten(metric, row.low)} to {shorten(metric, row.high)}, n = {row.samples}"))
        if average:
            values = {peer: f"{relative(peer):.1f}" for peer in peers}
            numbers = [float(v) for v in values.values() if v != "nan"]
            mine = values[name]
            top = len(set(numbers)) > 1 and mine != "nan" and float(mine) == max(numbers)
            out.append(Cell(NOTHING if mine == "nan" else mine, top))
        return tuple(out)

    groups = []
    if (DENSE, *columns[0]) in found:
        groups.append(Group(_upper(visual), (("Dense", cells(DENSE, [DENSE])),)))
    for keep, rows in _by_keep(settings).items():
        peers = [s.name for _, s in rows]
        groups.append(Group(retained(keep, visual), tuple((label, cells(s.name, peers)) for label, s in rows)))
    return Table(caption, (_first_head(settings), *heads), tuple(groups), _widest(known, columns))


def _widest(known: pd.DataFrame, columns: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """How far from its value an interval reaches in the worst cell."""
    metrics = {metric for _, metric in columns if metric in PERCENT}
    told = known[known.metric.isin(metrics)]
    if not len(told):
        return ()
    reach = 100 * max((told.high - told.value).max(), (told.value - told.low).max())
    return () if math.isnan(reach) else (f"95 % intervals reach up to {reach:.1f} points from the shares shown.",)


def shorten(metric: str, value: float) -> str:
    """A value as a table shows it."""
    if math.isnan(value):
        return NOTHING
    digits, scale = (1, 100) if metric in PERCENT else (DIGITS.get(metric, 2), 1)
    return f"{round(scale * value, digits) + 0.0:.{digits}f}"  # adding 0 takes the sign off a zero


def varying(settings: Sequence[Setting]) -> str | None:
    """The one knob by which settings of a single method differ, None where they differ otherwise."""
    if len({s.pruner.key for s in settings}) > 1:
        return None
    names = [k.name for k in settings[0].pruner.knobs()]
    differ = [name for name in names if len({getattr(s.pruner, name) for s in settings}) > 1]
    return differ[0] if len(differ) == 1 else None


def retained(keep: str, visual: float) -> str:
    """A group's heading."""
    if keep.endswith("%"):
        return f"Retain {keep} of the tokens"
    return f"Retain {keep} tokens (↓ {100 * (1 - float(keep) / visual):.1f} %)" if visual else f"Retain {keep} tokens"


def _upper(visual: float) -> str:
    return f"Upper bound, {visual:,.0f} tokens (100 %)"


def _first_head(settings: Sequence[Setting]) -> str:
    return varying(settings) or "Method"


def _by_keep(settings: Sequence[Setting]) -> dict[str, list[tuple[str, Setting]]]:
    knob = varying(settings)
    out: dict[str, list[tuple[str, Setting]]] = {}
    for s in settings:
        out.setdefault(s.keep, []).append((str(getattr(s.pruner, knob)) if knob else s.label, s))
    return out


def _head(task: str, metric: str, columns: Sequence[tuple[str, str]]) -> str:
    """The task where it has one metric, the metric where there is one task, else both."""
    name = "All" if task == ALL else task
    if len({t for t, _ in columns}) == 1:
        return LABELS[metric]
    return name if sum(t == task for t, _ in columns) == 1 else f"{name} {LABELS[metric]}"


def origin(told: Mapping[str, Any], asked: int, errors: int) -> str:
    """Where the numbers below come from, in a few lines of Markdown; told: what `settings.json` holds."""
    made = told["made"]
    machine = ", ".join(f"{name} {value}" for name, value in made["machine"].items())
    lines = [f"`{made['command']}`", ""] if made["command"] else []
    left = f", of which {errors} could not be asked" if errors else ""
    lines.append(f"{asked} samples{left}. {told['model']}, {told['dtype']}. {made['date']}. {machine}.")
    return "\n".join(lines) + "\n"


def markdown(table: Table) -> str:
    """A pipe table; the best of each group is bold."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    rows = [line(table.head), "|---" + "|---:" * (len(table.head) - 1) + "|"]
    for group in table.groups:
        rows.append(line([f"*{group.title}*", *[""] * (len(table.head) - 1)]))
        for label, cells in group.rows:
            rows.append(line([label, *(f"**{c.text}**" if c.best else c.text for c in cells)]))
    return "\n".join([table.caption, "", *rows, *[f"\n{note}" for note in table.notes]]) + "\n"


def latex(table: Table) -> str:
    """A table for booktabs; the best of each group is bold."""
    width = len(table.head)
    rows = [
        r"\begin{table}[t]",
        r"\centering",
        r"\setlength{\tabcolsep}{4pt}",
        rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}",
        r"\toprule",
        " & ".join(map(_tex, table.head)) + r" \\",
    ]
    for group in table.groups:
        rows += [r"\midrule", rf"\multicolumn{{{width}}}{{c}}{{\textit{{{_tex(group.title)}}}}} \\", r"\midrule"]
        for label, cells in group.rows:
            told = [rf"\textbf{{{_tex(c.text)}}}" if c.best else _tex(c.text) for c in cells]
            rows.append(" & ".join([_tex(label), *told]) + r" \\")
    caption = " ".join([table.caption, *table.notes])
    rows += [r"\bottomrule", r"\end{tabular}", rf"\caption{{{_tex(caption)}}}", r"\end{table}"]
    return "\n".join(rows) + "\n"


TEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "↓": r"$\downarrow$",
    "–": "--",
    **{c: "\\" + c for c in "&%$#_{}"},
}


def _tex(text: str) -> str:
    return re.sub("|".join(map(re.escape, TEX)), lambda match: TEX[match[0]], text)
