"""The example pictures that the page offers, with questions; read from `assets/examples/examples.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "assets" / "examples"


@dataclass(frozen=True)
class Example:
    """One picture; `drawn` ones are scenes of the kind that the bundled model was trained on."""

    path: Path
    title: str
    drawn: bool
    questions: tuple[str, ...]

    @property
    def name(self) -> str:
        """In an address."""
        return self.path.stem


@cache
def examples(drawn_first: bool) -> tuple[Example, ...]:
    """All examples; the pictures that suit the model come first."""
    entries = json.loads((FOLDER / "examples.json").read_text("utf-8"))
    found = [
        Example(FOLDER / entry["file"], entry["title"], entry["drawn"] is not None, tuple(entry["questions"]))
        for entry in entries
    ]
    return tuple(sorted(found, key=lambda example: example.drawn != drawn_first))
