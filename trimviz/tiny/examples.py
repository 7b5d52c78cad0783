"""Draws scenes to files: the bundled examples again from their seeds, or any others."""

import json
from pathlib import Path

from .world import paint, scene


def write(folder: Path, seeds: list[int] | None = None) -> list[Path]:
    """Draws each seed as scene-SEED.png; without seeds, the drawn ones of examples.json."""
    listing = folder / "examples.json"
    if seeds:
        wanted = {f"scene-{seed}.png": seed for seed in seeds}
    elif listing.is_file():
        records = json.loads(listing.read_text(encoding="utf-8"))
        wanted = {record["file"]: record["drawn"] for record in records if record["drawn"] is not None}
    else:
        raise ValueError(f"{folder} holds no examples.json that names scenes; give seeds.")
    folder.mkdir(parents=True, exist_ok=True)
    for name, seed in wanted.items():
        paint(scene(seed))[0].save(folder / name, optimize=True)
    return [folder / name for name in wanted]
