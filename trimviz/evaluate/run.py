"""Asks every sample dense and at every setting; the pictures are encoded and the dense answer is given once for all.

Torch ends here: what leaves is JSON.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from tqdm.auto import tqdm

from trimviz import engine
from trimviz.bench.measure import machine
from trimviz.compare import Trace, answer, budget_of, check, finish, judge
from trimviz.evaluate import store
from trimviz.evaluate.data import Data, Sample
from trimviz.evaluate.settings import Setting
from trimviz.models.base import Model
from trimviz.types import Look, Run

PATIENCE = timedelta(days=30)  # that a process waits for the others


def fingerprint(model: Model) -> str:
    """A few of the weights as a short text, so that a changed checkpoint is noticed; "" where they are not at hand."""
    rows = model.embed.weight[:256].detach()
    return "" if rows.is_meta else hashlib.sha256(rows.float().cpu().numpy().tobytes()).hexdigest()[:16]


def run(
    model: Model, data: Data, settings: Sequence[Setting], folder: Path, limit: int, command: str = ""
) -> list[dict[str, Any]] | None:
    """Ask what has not been asked yet; returns all results, as `store` describes them, or None in a helping process.

    A sample whose pictures or question cannot be used is written down with its error, and so is a setting that cannot
    meet its budget. Raises ValueError for a method that the model cannot serve and for a folder with other settings.
    """
    for setting in settings:
        check(setting.pruner, model)
    state = PartialState(cpu=model.device.type == "cpu", timeout=PATIENCE)
    fixed = {
        "model": model.repo,
        "revision": model.revision,
        "weights": fingerprint(model),
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": model.device.type,
        "limit": limit,
        "data": list(data.origin),
        "settings": [setting.record() for setting in settings],
    }
    if state.is_main_process:
        store.begin(folder, fixed, _told(model, command, state.num_processes))
    state.wait_for_everyone()
    done = store.results(folder)
    state.wait_for_everyone()  # nobody may start before everybody has looked
    left = [sample for sample in data.samples if sample.key not in done]
    with model.lock:
        engine.warm_up(model)
    with state.split_between_processes(left) as mine, store.appender(folder, state.process_index) as file:
        _ask(model, mine, settings, limit, file, len(done), state.is_main_process)
    state.wait_for_everyone()
    return store.merge(folder, [sample.key for sample in data.samples]) if state.is_main_process else None


def _told(model: Model, command: str, count: int) -> dict[str, Any]:
    """What a result must be read with."""
    return {
        "date": date.today().isoformat(),
        "command": command,
        "processes": count,
        "machine": machine(str(model.device)),
    }


def _ask(
    model: Model, samples: Sequence[Sample], settings: Sequence[Setting], limit: int, file: Any, done: int, show: bool
) -> None:
    source, look = "", None
    every = 0.5 if sys.stderr.isatty() else 30.0  # seconds between lines of progress
    with tqdm(
        total=done + len(samples), initial=done, unit="question", mininterval=every, disable=not show, smoothing=0.05
    ) as bar:
        for sample in samples:
            record: dict[str, Any] = {
                "task": sample.task,
                "id": sample.id,
                "question": sample.question,
                "answers": list(sample.answers),
            }
            try:
                if look is None or source != sample.source:
                    source, look = sample.source, None
                    look = _look(model, sample)
                record |= _answers(model, look, sample.question, settings, limit)
            except (ValueError, torch.OutOfMemoryError) as error:
                record["error"] = _sentence(error)
            store.append(file, record)
            bar.update()


def _look(model: Model, sample: Sample) -> Look:
    opened = sample.open()
    with model.lock:
        return model.look(opened)


def _answers(model: Model, look: Look, question: str, settings: Sequence[Setting], limit: int) -> dict[str, Any]:
    """The dense answer and that of every setting."""
    with model.lock:
        prompt = model.prompt(look, question)
    dense = finish(answer(model, prompt, limit=limit))
    runs: dict[str, Any] = {}
    for setting in settings:
        try:
            budget = budget_of(setting.keep, prompt.n)
            trace = finish(answer(model, prompt, setting.pruner, budget, limit))
        except ValueError as error:  # a budget that the method cannot meet
            runs[setting.name] = {"error": _sentence(error)}
            continue
        seen = judge(model, prompt, dense, trace)
        runs[setting.name] = _run(trace) | {
            "same": seen.same,
            "kl": float(seen.kl.mean()) if len(seen.kl) else None,
            "divergence": seen.divergence.token if seen.divergence else None,
            "stages": [[s.name, s.depth, store.pack(s.kept)] for s in trace.run.stages],
        }
    return {"n": prompt.n, "dense": _run(dense), "runs": runs}


def _run(trace: Trace) -> dict[str, Any]:
    run: Run = trace.run
    seconds = run.seconds
    total = seconds["first token"] + seconds["decode"] * max(0, len(run.answer.ids) - 1)
    return {
        "text": run.answer.text,
        "tokens": float(run.visual_alive.mean()),
        "flops": run.flops,
        "kv_bytes": run.kv_bytes,
        "seconds": {"first token": seconds["first token"], "decode": seconds["decode"], "total": total},
    }


def _sentence(error: Exception) -> str:
    if isinstance(error, torch.OutOfMemoryError):
        torch.cuda.empty_cache()
        return "The device ran out of memory."
    return str(error)
