"""The report: one HTML file with tables, charts and the samples that changed most; it opens without a network.

It knows results and panels; it knows no tensor, no model and no method.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

from trimviz.compare import word_diff
from trimviz.draw import mask_overlay, photo
from trimviz.evaluate.settings import Setting
from trimviz.evaluate.store import unpack
from trimviz.evaluate.summary import ALL, DENSE, FREE
from trimviz.evaluate.tables import LABELS, PERCENT, Table, shorten
from trimviz.types import Panel, Stage

CARDS = 240  # samples shown, shared by the settings
FEWEST, SEVERAL = 3, 12  # of them for one setting
SIDE = 240  # pixels of a single panel; several share the width
COLOURS = ("#1c3faa", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f5fc7", "#7a5c1e", "#444444")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star", "cross", "triangle-down", "pentagon", "hexagram")
FONT = {"family": "STIX Two Text, Georgia, Times New Roman, serif", "size": 14, "color": "#1a1a1a"}
Panels = Callable[[str, str], Sequence[Panel]]  # task and id of a sample -> what the model saw


def write_report(
    path: Path,
    *,
    told: Mapping[str, Any],
    records: Sequence[dict[str, Any]],
    settings: Sequence[Setting],
    summary: pd.DataFrame,
    samples: pd.DataFrame,
    tables: Sequence[Table],
    panels: Panels,
) -> None:
    """Write the report. told: what `settings.json` holds. panels: may be asked for any sample without an error."""
    page = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined)
    errors = [(f"{r['task']}/{r['id']}", r["error"]) for r in records if "error" in r]
    unmet = {
        name: run["error"] for r in records if "error" not in r for name, run in r["runs"].items() if "error" in run
    }
    curves = {task: _curves(summary[summary.task == task], settings) for task in _tasks(summary)}
    heat = {task: f for task in _tasks(summary) if (f := _heat(summary[summary.task == task], settings)) is not None}
    cards, photos = _cards(records, settings, samples, panels)
    path.write_text(
        page.get_template("report.html").render(
            told=told,
            asked=len(records),
            errors=errors,
            unmet=sorted(unmet.items()),
            tables=tables,
            curves=_script({task: json.loads(f.to_json()) for task, f in curves.items()}),
            heat=_script({task: json.loads(f.to_json()) for task, f in heat.items()}),
            swept=bool(heat),
            tasks=list(curves),
            cards=_script(cards),
            photos=_script(photos),
            methods=list(dict.fromkeys(s.label for s in settings)),
            keeps=list(dict.fromkeys(s.keep for s in settings)),
            kinds=list(dict.fromkeys(c["task"] for c in cards)),
            outcomes=list(dict.fromkeys(sorted(c["outcome"] for c in cards))),
            plotly=Markup(get_plotlyjs()),
        ),
        encoding="utf-8",
    )


def _script(data: Any) -> Markup:
    """JSON that no text in it can break out of."""
    return Markup(json.dumps(data, ensure_ascii=False).replace("<", "\\u003c"))


def _tasks(summary: pd.DataFrame) -> list[str]:
    """All tasks together first."""
    return sorted(dict.fromkeys(summary.task), key=lambda task: task != ALL)


def _curves(summary: pd.DataFrame, settings: Sequence[Setting]) -> go.Figure:
    """What was judged first, and KL to dense, against visual tokens; a line for each method."""
    shown = [m for m in dict.fromkeys(summary.metric) if m not in {name for name, *_ in FREE}][:1] or ["same"]
    shown.append("kl")
    figure = make_subplots(1, 2, horizontal_spacing=0.09)
    methods = list(dict.fromkeys(s.method for s in settings))
    ticks = sorted({float(s.keep) for s in settings if not s.keep.endswith("%")})
    for i, method in enumerate(methods):
        mine = [s for s in settings if s.method == method]
        for column, metric in enumerate(shown, 1):
            rows = summary[(summary.metric == metric) & summary.setting.isin([s.name for s in mine])]
            rows = rows[rows.value.notna()].sort_values("tokens")
            scale = 100 if metric in PERCENT else 1
            colour = COLOURS[i % len(COLOURS)]
            figure.add_trace(
                go.Scatter(
                    x=rows.tokens.tolist(),
                    y=(scale * rows.value).tolist(),
                    error_y={
                        "array": (scale * (rows.high - rows.value)).tolist(),
                        "arrayminus": (scale * (rows.value - rows.low)).tolist(),
                        "thickness": 0.7,
                        "width": 2,
                    },
                    name=mine[0].label,
                    legendgroup=method,
                    showlegend=column == 1,
                    mode="lines+markers",
                    line={
                        "color": colour,
                        "width": 2.6 if i == 0 else 1.3,
                        "dash": "solid" if i < len(COLOURS) else "dot",
                    },
                    marker={"symbol": SYMBOLS[i % len(SYMBOLS)], "size": 9 if i == 0 else 7},
                    hovertemplate="%{x:.1f} tokens: %{y:.3g}<extra>" + mine[0].label + "</extra>",
                ),
                1,
                column,
            )
    for column, metric in enumerate(shown, 1):
        dense = summary[(summary.metric == metric) & (summary.setting == DENSE)]
        if len(dense):
            level = float(dense.value.iloc[0]) * (100 if metric in PERCENT else 1)
            figure.add_hline(
                level, line={"color": "#666", "width": 1, "dash": "dash"}, row=1, col=column,
                annotation={"text": "dense", "font": {"size": 12, "color": "#666"}},
            )  # fmt: skip
        figure.update_xaxes(title="visual tokens per layer", type="log", tickvals=ticks or None, row=1, col=column)
        unit = " (%)" if metric in PERCENT else " (nats a token)" if metric == "kl" else ""
        figure.update_yaxes(title=LABELS[metric] + unit, rangemode="normal", row=1, col=column)
    return _styled(figure, 520)


def _heat(summary: pd.DataFrame, settings: Sequence[Setting]) -> go.Figure | None:
    """N1 against keep for the first method that was swept; None where none was."""
    swept: dict[tuple[str, str], list[Setting]] = {}
    for s in settings:
        if any(k.name == "n1" for k in s.pruner.knobs()):
            others = str({k: v for k, v in s.changed.items() if k != "n1"})
            swept.setdefault((s.pruner.key, others), []).append(s)
    mine = next((v for v in swept.values() if len({_n1(s) for s in v}) > 1), None)
    if mine is None:
        return None
    sizes = sorted({_n1(s) for s in mine})
    keeps = list(dict.fromkeys(s.keep for s in mine))
    judged = [m for m in dict.fromkeys(summary.metric) if m not in {name for name, *_ in FREE}][:1]
    shown = [*judged, "same", "kl"][-3:] if judged else ["same", "kl"]
    figure = make_subplots(1, len(shown), horizontal_spacing=0.13, subplot_titles=[LABELS[m] for m in shown])
    names = {(_n1(s), s.keep): s.name for s in mine}
    values = {(r.setting, r.metric): r.value for r in summary.itertuples()}
    for column, metric in enumerate(shown, 1):
        table = [[values.get((names.get((size, keep)), metric), np.nan) for keep in keeps] for size in sizes]
        scale = 100 if metric in PERCENT else 1
        length = (1 - 0.13 * (len(shown) - 1)) / len(shown)
        figure.add_trace(
            go.Heatmap(
                z=[[None if np.isnan(v) else scale * v for v in row] for row in table],
                x=keeps,
                y=[str(size) for size in sizes],
                text=[[shorten(metric, v) for v in row] for row in table],
                texttemplate="%{text}",
                textfont={"size": 13},
                colorscale="Viridis" if metric != "kl" else "Viridis_r",
                xgap=2,
                ygap=2,
                colorbar={
                    "thickness": 10, "len": 0.9, "outlinewidth": 0,
                    "x": (column - 1) * (length + 0.13) + length + 0.005,
                },
                hovertemplate="N1 %{y}, keep %{x}: %{text}<extra></extra>",
            ),
            1,
            column,
        )  # fmt: skip
        figure.update_xaxes(title="tokens kept", type="category", row=1, col=column)
        figure.update_yaxes(title="N1" if column == 1 else None, type="category", row=1, col=column)
    figure.update_layout(title={"text": mine[0].pruner.name, "x": 0, "font": {"size": 14}})
    return _styled(figure, 130 + 42 * max(4, len(sizes)))


def _n1(setting: Setting) -> float:
    return getattr(setting.pruner, "n1")  # noqa: B009


def _styled(figure: go.Figure, height: int) -> go.Figure:
    figure.update_layout(
        template="none",
        font=FONT,
        height=height,
        margin={"l": 62, "r": 16, "t": 48, "b": 56},
        legend={"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0, "font": {"size": 12.5}},
        hoverlabel={"font": FONT},
        plot_bgcolor="white",
    )
    figure.update_annotations(font_size=14)
    line = {
        "title_font_size": 14,
        "showline": True,
        "linecolor": "#1a1a1a",
        "linewidth": 1,
        "ticks": "outside",
        "zeroline": False,
    }
    figure.update_xaxes(**line, showgrid=False)
    figure.update_yaxes(**line, gridcolor="#e8e8e8")
    return figure


def _cards(
    records: Sequence[dict[str, Any]], settings: Sequence[Setting], samples: pd.DataFrame, panels: Panels
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The samples that changed most, for each setting, and the pictures that they share."""
    scores = {(row["task"], row["id"], row["setting"]): row for row in samples.to_dict("records")}
    judged = [c for c in samples.columns if c in LABELS and c not in {name for name, *_ in FREE}]
    most = max(FEWEST, min(SEVERAL, CARDS // len(settings)))
    cards: list[dict[str, Any]] = []
    photos: dict[str, str] = {}
    seen: dict[tuple[str, str], Sequence[Panel]] = {}
    for setting in settings:
        ran = [r for r in records if "error" not in r and "error" not in r["runs"][setting.name]]
        ran.sort(key=lambda r: (r["runs"][setting.name]["same"], -(r["runs"][setting.name]["kl"] or 0)))
        for record in ran[:most]:
            key, run = (record["task"], record["id"]), record["runs"][setting.name]
            if key not in seen:
                seen[key] = panels(*key)
            stages = [_stage(name, depth, bits, record["n"]) for name, depth, bits in run["stages"]]
            dense, mine = scores[*key, DENSE], scores[*key, setting.name]
            shown = []
            for i, panel in enumerate(seen[key]):
                name = f"{key[0]}/{key[1]}/{i}"
                cell = _cell(panel, len(seen[key]))
                if name not in photos:
                    photos[name] = _webp(Image.fromarray(photo(panel, cell)), quality=82)
                mask = _webp(mask_overlay(panel, stages, cell), lossless=True) if stages else ""
                shown.append({"photo": name, "mask": mask, "name": panel.name})
            cards.append(
                {
                    "task": record["task"],
                    "id": record["id"],
                    "question": record["question"],
                    "answers": record["answers"],
                    "dense": record["dense"]["text"],
                    "pruned": run["text"],
                    "diff": word_diff(record["dense"]["text"], run["text"]),
                    "kl": run["kl"],
                    "method": setting.label,
                    "keep": setting.keep,
                    "outcome": _outcome(run["same"], dense, mine, judged),
                    "panels": shown,
                }
            )
    return cards, photos


def _stage(name: str, depth: int, bits: str, n: int) -> Stage:
    kept = unpack(bits, n)
    return Stage(name, depth, kept, np.where(kept, np.arange(n), -1))


def _cell(panel: Panel, count: int) -> int:
    """Pixels of a cell, so that panels fit beside each other."""
    side = SIDE if count == 1 else SIDE * 2 // 3 if count <= 4 else SIDE // 2
    return max(2, round(side / max(panel.token.shape)))


def _outcome(same: bool, dense: Mapping[str, Any], pruned: Mapping[str, Any], judged: Sequence[str]) -> str:
    if same:
        return "same words"
    for metric in judged:
        before, after = dense.get(metric), pruned.get(metric)
        if before is not None and after is not None and not (pd.isna(before) or pd.isna(after)):
            return "worse" if after < before else "better" if after > before else "other words, same score"
    return "other words"


def _webp(picture: Image.Image, **options: Any) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", **options)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
