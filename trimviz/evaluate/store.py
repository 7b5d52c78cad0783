"""The folder of an evaluation: results appended as they are made, found again after a kill; it knows no model.

`settings.json` says what is run, one object. While processes run, each appends to a `samples-N.jsonl` of its own; when
all is done they are merged, in the order of the data, into `samples.jsonl`. A line holds one sample: `task`, `id`,
`question`, `answers` (references) and either `error`, a sentence, or `n` (visual tokens), `dense` and `runs` {setting:
run}. A run holds either `error` or `text`, `tokens` (mean visual tokens per layer), `flops`, `kv_bytes`, `seconds`
{"first token", "decode" per token, "total"}; a pruned one also `same` (the same words as dense), `kl` (mean over the
tokens of the dense answer, in nats), `divergence` (index of the first token that differs, null without one) and
`stages` ([name, depth, kept bits]).
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

import numpy as np

FORMAT = "trimviz.evaluate/1"
Key = tuple[str, str]


def begin(folder: Path, fixed: dict[str, Any], told: dict[str, Any]) -> None:
    """Make the folder, or go on in it; `told` is written down but may differ when going on.

    Raises ValueError where the folder holds an evaluation with other settings.
    """
    path = folder / "settings.json"
    fixed = json.loads(json.dumps({"format": FORMAT, **fixed}))
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        differ = [name for name in fixed if before.get(name) != fixed[name]]
        if differ:
            raise ValueError(
                f"{folder} holds an evaluation with another {' and '.join(differ)}; give another --out, or delete it."
            )
        return
    if any(folder.glob("samples*.jsonl")):
        raise ValueError(f"{folder} holds results without their settings.json; give another --out, or delete it.")
    folder.mkdir(parents=True, exist_ok=True)
    whole = path.with_suffix(".part")
    whole.write_text(json.dumps({**fixed, "made": told}, indent=1) + "\n", encoding="utf-8")
    os.replace(whole, path)


def settings_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "settings.json").read_text(encoding="utf-8"))


def results(folder: Path) -> dict[Key, dict[str, Any]]:
    """All finished samples; a last line that was cut off is not one of them."""
    found: dict[Key, dict[str, Any]] = {}
    for path in sorted(folder.glob("samples*.jsonl")):
        with path.open("rb") as lines:  # a cut can go through a character
            for line in lines:
                if line.endswith(b"\n"):
                    record = json.loads(line)
                    found.setdefault((record["task"], record["id"]), record)
    return found


def appender(folder: Path, process: int) -> TextIO:
    """A process's own file, open for appending; what a kill left of a last line is cut away."""
    path = folder / f"samples-{process}.jsonl"
    with path.open("ab+") as raw:
        raw.seek(0)
        raw.truncate(raw.read().rfind(b"\n") + 1)
    return path.open("a", encoding="utf-8")


def append(file: TextIO, record: dict[str, Any]) -> None:
    """One whole line, handed to the operating system at once."""
    file.write(json.dumps(record, allow_nan=False, ensure_ascii=False) + "\n")
    file.flush()


def merge(folder: Path, order: Iterable[Key]) -> list[dict[str, Any]]:
    """All results in one file in the order of the data; returns them."""
    found = results(folder)
    keys = list(order)
    lacking = sum(key not in found for key in keys)
    if lacking:
        raise ValueError(f"{lacking} samples have no result in {folder}; all processes must write to the same folder.")
    records = [found[key] for key in keys]
    whole = folder / "samples.part"
    with whole.open("w", encoding="utf-8") as file:
        for record in records:
            append(file, record)
    os.replace(whole, folder / "samples.jsonl")
    for path in folder.glob("samples-*.jsonl"):
        path.unlink()
    return records


def pack(kept: np.ndarray) -> str:
    """(N,) bool as text, eight tokens a byte."""
    return base64.b64encode(np.packbits(kept).tobytes()).decode()


def unpack(text: str, n: int) -> np.ndarray:
    """The (N,) bool that `pack` made a text of."""
    return np.unpackbits(np.frombuffer(base64.b64decode(text), dtype=np.uint8), count=n).astype(bool)
