"""Keeps the tables of the bundled model's card equal to what `tiny evaluate` counted; it runs no model."""

import json
from pathlib import Path
from typing import Any

from trimviz.pruners import PRUNERS
from trimviz.written import written

BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"


def write(folder: Path) -> Path:
    """Puts the tables of `folder`/evaluation-*.json between the marks in `folder`/README.md.

    Raises ValueError where the marks or the evaluations are missing.
    """
    path = folder / "README.md"
    text = path.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise ValueError(f"Expected the marks {BEGIN} and {END} in {path}; put them where the tables go.")
    before, rest = text.split(BEGIN)
    path.write_text(f"{before}{BEGIN}\n{tables(folder)}\n{END}{rest.split(END)[1]}", encoding="utf-8")
    return path


def tables(folder: Path) -> str:
    """Accuracy of the dense model by kind of question, then of every method at every number of tokens."""
    files = sorted(folder.glob("evaluation-*.json"))
    results = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    dense = [result for result in results if len(result["runs"]) == 1]
    pruned = [result for result in results if len(result["runs"]) > 1]
    if len(dense) != 1 or len({(result["runs"][0]["n"], result["seed"]) for result in pruned}) > 1:
        raise ValueError(
            f"Expected one evaluation of the dense model and any number of pruned ones on the same questions "
            f"in {folder}, got {', '.join(file.name for file in files) or 'none'}."
        )
    return "\n\n".join([_kinds(dense[0]), *([_methods([run for r in pruned for run in r["runs"]])] if pruned else [])])


def _kinds(result: dict[str, Any]) -> str:
    rows = [f"| **all** | {result['n']} | **{_percent(result)}** |"]
    rows += [f"| {kind} | {run['n']} | {_percent(run)} |" for kind, run in result["kinds"].items()]
    return "\n".join(["| kind | questions | accuracy, % |", "|---|---|---|", *rows])


def _methods(runs: list[dict[str, Any]]) -> str:
    keeps = sorted({run["keep"] for run in runs if run["keep"]}, key=int, reverse=True)
    cells: dict[str, dict[str, str]] = {}
    for run in runs:
        if run["keep"]:
            made = PRUNERS[run["method"]].make(run["knobs"])
            row = cells.setdefault(" ".join([made.name, *(f"`{knob}`" for knob in written(made).split(":")[1:])]), {})
            row[run["keep"]] = "cannot" if "refused" in run else _percent(run)
    rows = [f"| {name} | {' | '.join(row.get(keep, '') for keep in keeps)} |" for name, row in cells.items()]
    dense = next(run for run in runs if not run["keep"])
    head = f"On {dense['n']} questions (dense on these: {_percent(dense)} %), visual tokens kept:"
    return "\n".join([head, "", f"| method | {' | '.join(keeps)} |", "|---" * (len(keeps) + 1) + "|", *rows])


def _percent(run: dict[str, Any]) -> str:
    low, high = run["interval"]
    return f"{100 * run['accuracy']:.1f} ({100 * low:.1f}-{100 * high:.1f})"
