"""From a model, samples and settings to a folder of results, tables and a report."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trimviz.compare import LIMIT
from trimviz.evaluate import store, tables
from trimviz.evaluate.data import Data
from trimviz.evaluate.metrics import METRICS, Metric, choose
from trimviz.evaluate.report import write_report
from trimviz.evaluate.run import run
from trimviz.evaluate.settings import Setting
from trimviz.evaluate.summary import columns, costs, per_sample, summarize
from trimviz.models.base import Model
from trimviz.types import Panel


def evaluate(
    model: Model,
    data: Data,
    chosen: Sequence[Setting],
    folder: str | Path,
    *,
    metrics: Sequence[str] = (),
    limit: int = LIMIT,
    command: str = "",
) -> pd.DataFrame | None:
    """Ask every sample dense and at every setting, and write all results to a folder.

    A second call goes on where one stopped.

    metrics: of answers against references, "exact" or "task=exact"; without any, exact match where all have references.
    limit: most tokens of an answer.
    Returns what `summary.csv` holds, None in the helping processes of `accelerate launch`.
    Raises ValueError, in one sentence, for what cannot be run at all; a sample that cannot is written down and counted.
    """
    folder = Path(folder)
    judged = _judged(data, metrics)
    records = run(model, data, chosen, folder, limit, command)
    if records is None:
        return None
    if all("error" in record for record in records):
        raise ValueError(f"None of the {len(records)} samples could be asked; the first says: {records[0]['error']}")
    found = columns(records, chosen, judged)
    summary = summarize(records, chosen, found)
    samples = per_sample(records, chosen, judged)
    for name, frame in (("summary", summary), ("samples", samples)):
        frame.to_csv(folder / f"{name}.csv", index=False)
        frame.to_parquet(folder / f"{name}.parquet", index=False)
    visual = float(np.mean([record["n"] for record in records if "error" not in record]))
    shown = [tables.free_table(summary, chosen, visual), tables.difference_table(summary, chosen, visual)]
    if any(judged.values()):
        shown.insert(0, tables.main_table(summary, chosen, visual))
    shown[0] = dataclasses.replace(shown[0], notes=(*shown[0].notes, *_unmet(records, chosen)))
    shown.append(tables.cost_table(costs(records, chosen), chosen, visual))
    told = store.settings_of(folder)
    text = [tables.origin(told, len(records), sum("error" in r for r in records)), *map(tables.markdown, shown)]
    (folder / "tables.md").write_text("\n".join(text), encoding="utf-8")
    (folder / "tables.tex").write_text("\n".join(map(tables.latex, shown)), encoding="utf-8")
    by_key = {sample.key: sample for sample in data.samples}

    def panels(task: str, name: str) -> tuple[Panel, ...]:
        opened = by_key[task, name].open()
        with model.lock:
            return model.look(opened).panels

    write_report(
        folder / "report.html",
        told=told,
        records=records,
        settings=chosen,
        summary=summary,
        samples=samples,
        tables=shown,
        panels=panels,
    )
    return summary


def _unmet(records: Sequence[dict[str, Any]], chosen: Sequence[Setting]) -> list[str]:
    """Why settings have no numbers, a sentence for each method."""
    said = {
        setting.label: run["error"]
        for record in records
        if "error" not in record
        for setting in chosen
        if "error" in (run := record["runs"][setting.name])
    }
    return [f"{label}: {sentence}" for label, sentence in said.items()]


def _judged(data: Data, wanted: Sequence[str]) -> dict[str, list[Metric]]:
    """Which metrics judge which task; ValueError for metrics that the references do not serve."""
    references: dict[str, list[tuple[str, ...]]] = {}
    for sample in data.samples:
        references.setdefault(sample.task, []).append(sample.answers)
    if not wanted:
        return {task: [METRICS["exact"]] if all(several) else [] for task, several in references.items()}
    judged = choose(wanted, list(references))
    for task, metrics in judged.items():
        for metric in metrics:
            metric.check(references[task], task)
    return judged
