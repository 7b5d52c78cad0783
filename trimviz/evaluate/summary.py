"""Results to numbers with intervals: means, ratios, paired differences; it knows rows of numbers and no model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest, bootstrap

from trimviz.evaluate.metrics import Metric, mean
from trimviz.evaluate.settings import Setting

DENSE = "dense"
ALL = "all tasks"  # together
RESAMPLES = 1000
MOST = 4_000_000  # numbers held at once while resampling


@dataclass(frozen=True, eq=False)
class Column:
    """One metric of one task, for every setting."""

    task: str
    metric: str
    label: str
    percent: bool
    higher: bool | None  # is better; None where neither is
    total: Callable[[np.ndarray, int], np.ndarray]
    rows: Mapping[str, np.ndarray]  # {setting: (S, q)}, NaN where a sample has no result


@dataclass(frozen=True)
class Estimate:
    """A value with the 95 % interval that samples like these give it."""

    samples: int
    value: float
    low: float
    high: float
    p: float = np.nan  # exact McNemar test, for differences of shares


FREE: tuple[tuple[str, str, bool, bool | None], ...] = (  # without reference: name, label, percent, higher is better
    ("same", "Same answer", True, True),
    ("kl", "KL to dense", False, False),
    ("divergence", "First difference", False, None),  # neither: only answers that differ have one
)


def columns(
    records: Sequence[dict[str, Any]], settings: Sequence[Setting], metrics: Mapping[str, Sequence[Metric]]
) -> list[Column]:
    """Every metric of every task, then what needs no reference; with several tasks also all of them together."""
    good = [record for record in records if "error" not in record]
    tasks = list(dict.fromkeys(record["task"] for record in good))
    found = [
        _judged(metric, task, [r for r in good if r["task"] == task], settings)
        for task in tasks
        for metric in metrics.get(task, ())
    ]
    for name, label, percent, higher in FREE:
        for task in tasks:
            mine = [r for r in good if r["task"] == task]
            rows = {s.name: _measured(mine, s.name, name) for s in settings}
            found.append(Column(task, name, label, percent, higher, mean, rows))
    if len(tasks) > 1:
        found += _pooled(found, len(tasks))
    return found


def _judged(metric: Metric, task: str, records: Sequence[dict[str, Any]], settings: Sequence[Setting]) -> Column:
    references = [record["answers"] for record in records]
    rows = {}
    for name in (DENSE, *(s.name for s in settings)):
        said = [text(record, name) for record in records]
        rows[name] = metric.rows([s or "" for s in said], references)
        rows[name][[s is None for s in said]] = np.nan
    return Column(task, metric.name, metric.label, metric.percent, True, metric.total, rows)


def text(record: Mapping[str, Any], name: str) -> str | None:
    """What was answered at a setting, None where it could not run."""
    run = record["dense"] if name == DENSE else record["runs"][name]
    return run.get("text")


def _measured(records: Sequence[dict[str, Any]], setting: str, name: str) -> np.ndarray:
    values = [record["runs"][setting].get(name) for record in records]
    return np.array([np.nan if v is None else float(v) for v in values], dtype=float)[:, None]


def _pooled(found: Sequence[Column], tasks: int) -> list[Column]:
    """Metrics that every task has, over all samples."""
    out = []
    for name in dict.fromkeys(c.metric for c in found):
        same = [c for c in found if c.metric == name]
        if len(same) == tasks:
            rows = {s: np.concatenate([c.rows[s] for c in same]) for s in same[0].rows}
            first = same[0]
            out.append(Column(ALL, name, first.label, first.percent, first.higher, first.total, rows))
    return out


def summarize(records: Sequence[dict[str, Any]], settings: Sequence[Setting], found: Sequence[Column]) -> pd.DataFrame:
    """One row for each setting and column.

    Keys: `setting` ("dense" too), `label`, `method`, `keep`, one `knob NAME` for each knob that is not at its default
    somewhere, `tokens` (mean visual tokens per layer), `task`, `metric`, `samples`, `value` with `low` and `high`
    (95 %), `relative` (to dense), and the paired differences `vs_dense` and `vs_first` (the first method at this
    budget), each with `_low`, `_high` and, for shares, `_p`.
    """
    firsts: dict[str, str] = {}
    for setting in settings:
        firsts.setdefault(setting.keep, setting.name)
    knobs = list(dict.fromkeys(name for s in settings for name in s.changed))
    tokens = {name: _tokens(records, name) for name in (DENSE, *(s.name for s in settings))}
    out = []
    for column in found:
        dense = column.rows.get(DENSE)
        whole = estimate(column, dense).value if dense is not None else np.nan
        if dense is not None:
            row = {"setting": DENSE, "label": "Dense", "method": DENSE, "keep": "", "tokens": tokens[DENSE]}
            out.append(row | _told(column, dense, whole))
        for s in settings:
            own = {f"knob {name}": getattr(s.pruner, name, None) for name in knobs}
            row = {"setting": s.name, "label": s.label, "method": s.pruner.key, "keep": s.keep, **own}
            row |= {"tokens": tokens[s.name]} | _told(column, column.rows[s.name], whole)
            first = column.rows[firsts[s.keep]] if firsts[s.keep] != s.name else None
            row |= _difference("vs_dense", column, column.rows[s.name], dense)
            row |= _difference("vs_first", column, column.rows[s.name], first)
            out.append(row)
    return pd.DataFrame(out)


def _tokens(records: Sequence[dict[str, Any]], name: str) -> float:
    runs = [r["dense"] if name == DENSE else r["runs"][name] for r in records if "error" not in r]
    given = [run["tokens"] for run in runs if "tokens" in run]
    return float(np.mean(given)) if given else float("nan")


def _told(column: Column, rows: np.ndarray, dense: float) -> dict[str, Any]:
    found = estimate(column, rows)
    return {
        "task": column.task,
        "metric": column.metric,
        "samples": found.samples,
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "relative": found.value / dense if dense else np.nan,
    }


def _difference(name: str, column: Column, rows: np.ndarray, other: np.ndarray | None) -> dict[str, float]:
    if other is None:
        return {}
    found = difference(column, rows, other)
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high, f"{name}_p": found.p}


def estimate(column: Column, rows: np.ndarray) -> Estimate:
    """The metric of rows (S, q): Wilson's interval for shares, a bootstrap over samples for anything else."""
    rows = rows[~np.isnan(rows).any(axis=1)]
    n = len(rows)
    if n == 0:
        return Estimate(0, np.nan, np.nan, np.nan)
    value = float(column.total(rows.sum(axis=0), n))
    if column.total is mean and _binary(rows):
        low, high = binomtest(int(rows.sum()), n).proportion_ci(method="wilson")
        return Estimate(n, value, float(low), float(high))
    return Estimate(n, value, *_resampled(lambda pick: column.total(rows[pick].sum(axis=-2), n), *rows.shape))


def difference(column: Column, rows: np.ndarray, other: np.ndarray) -> Estimate:
    """How much higher the metric is with `rows` than with `other`, over the samples that both have.

    The interval is a bootstrap over pairs; shares also get the p value of McNemar's exact test.
    """
    both = ~np.isnan(rows).any(axis=1) & ~np.isnan(other).any(axis=1)
    a, b, n = rows[both], other[both], int(both.sum())
    if n == 0:
        return Estimate(0, np.nan, np.nan, np.nan)

    def gap(pick: np.ndarray) -> np.ndarray:
        return column.total(a[pick].sum(axis=-2), n) - column.total(b[pick].sum(axis=-2), n)

    value, p = float(gap(np.arange(n))), np.nan
    if column.total is mean and _binary(a) and _binary(b):
        up, down = int((a > b).sum()), int((a < b).sum())
        p = float(binomtest(up, up + down).pvalue) if up + down else 1.0
    return Estimate(n, value, *_resampled(gap, *a.shape), p)


def _binary(rows: np.ndarray) -> bool:
    return rows.shape[1] == 1 and bool(np.isin(rows, (0.0, 1.0)).all())


def _resampled(statistic: Callable[[np.ndarray], np.ndarray], n: int, width: int) -> tuple[float, float]:
    """95 % percentile interval of a statistic of sample numbers (..., n)."""
    if n < 2:
        return float("nan"), float("nan")
    interval = bootstrap(
        (np.arange(n),),
        lambda pick, axis: statistic(pick),
        n_resamples=RESAMPLES,
        batch=max(1, MOST // (n * width)),
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def per_sample(
    records: Sequence[dict[str, Any]], settings: Sequence[Setting], metrics: Mapping[str, Sequence[Metric]]
) -> pd.DataFrame:
    """One row for each sample and setting, dense among them: answers, measures, cost, and metrics of single answers."""
    scores: dict[tuple[str, str, str], np.ndarray] = {}
    good = [record for record in records if "error" not in record]
    for task in dict.fromkeys(record["task"] for record in good):
        mine = [record for record in good if record["task"] == task]
        for metric in metrics.get(task, ()):
            if metric.per_sample:
                column = _judged(metric, task, mine, settings)
                scores |= {(task, name, metric.name): rows[:, 0] for name, rows in column.rows.items()}
    names = list(dict.fromkeys(metric for _, _, metric in scores))
    place: dict[str, int] = {}
    out = []
    for record in records:
        told = {key: record[key] for key in ("task", "id", "question")} | {"answers": " | ".join(record["answers"])}
        if "error" in record:
            out.append(told | {"setting": "", "error": record["error"]})
            continue
        at = place[record["task"]] = place.get(record["task"], -1) + 1
        runs = {DENSE: record["dense"], **record["runs"]}
        for s in (None, *settings):
            name = s.name if s else DENSE
            run = runs[name]
            row = told | {"setting": name, "method": s.pruner.key if s else DENSE, "keep": s.keep if s else ""}
            row |= {key: run.get(key) for key in ("text", "same", "kl", "divergence", "tokens", "flops", "kv_bytes")}
            row |= {f"seconds {key}": value for key, value in run.get("seconds", {}).items()}
            row |= {m: scores[task_key][at] for m in names if (task_key := (record["task"], name, m)) in scores}
            out.append(row | {"error": run.get("error")})
    return pd.DataFrame(out)


def costs(records: Sequence[dict[str, Any]], settings: Sequence[Setting]) -> pd.DataFrame:
    """What an answer costs at each setting, means over the samples; computed, but for the measured seconds."""
    good = [record for record in records if "error" not in record]
    out = []
    for name in (DENSE, *(s.name for s in settings)):
        runs = [r["dense"] if name == DENSE else r["runs"][name] for r in good]
        runs = [run for run in runs if "text" in run]
        if runs:
            out.append(
                {
                    "setting": name,
                    "tokens": np.mean([run["tokens"] for run in runs]),
                    "gflop": np.mean([run["flops"] for run in runs]) / 1e9,
                    "kv_mb": np.mean([run["kv_bytes"] for run in runs]) / 1e6,
                    "first_token_ms": 1000 * np.median([run["seconds"]["first token"] for run in runs]),
                    "answer_ms": 1000 * np.median([run["seconds"]["total"] for run in runs]),
                }
            )
    return pd.DataFrame(out)
