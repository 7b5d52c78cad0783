"""How long the lens takes from a key on a slider to the picture on the screen, in headless Chromium.

Run by hand on a machine that does nothing else: python tests/measure_lens.py [--json FILE]. For several grids, views
and sliders it presses a key 80 times and tells, as median and 95th percentile in milliseconds, how long the handler
took, which draws before it returns, and the EventLatency that Chromium itself traces: from the key until the frame with
its effect was presented, rastering and compositing included. A page with one bare slider, measured in between, tells
how much of that is the browser's own. Each is measured with Chromium's frame clock, where a key also waits for the next
frame of 60 Hz, and without it, where what remains is work; and with idle processor cores and a busy loop on every one.
Exits with 1 where the work misses the goal on idle cores.
"""

from __future__ import annotations

import argparse
import datetime
import json
import multiprocessing
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from playwright.sync_api import Browser, Page, sync_playwright
from test_lens import synthetic

from trimviz.bench.app import presented
from trimviz.ui.lens.export import export
from trimviz.ui.lens.payload import payload

GRIDS = ((24, 24), (48, 60))
VIEWS = ("kept", "order", "all")
STEPS = 80
GOAL = {"median": 16.0, "p95": 33.0}  # milliseconds until the frame is presented: one frame of 60 Hz, and two
CHROMIUM = "/usr/bin/chromium"
TIMES = ("handled", "presented")
CLOCKS: dict[str, list[str]] = {"60 Hz": [], "none": ["--disable-frame-rate-limit", "--disable-gpu-vsync"]}
BARE = "<!doctype html><title>bare</title><input type=range class=slide data-name=k min=0 max=500 value=250>"
VIEWPORT: Any = {"width": 1000, "height": 900}

LISTEN = """() => {
  window.handled = [];
  document.addEventListener("input", () => { window.started = performance.now(); }, true);
  document.addEventListener("input", () => { window.handled.push(performance.now() - window.started); });
}"""


def burn() -> None:
    """Keep one core busy."""
    while True:
        sum(range(100_000))


def steps(page: Page, slider: str) -> dict[str, dict[str, float]]:
    """Median and 95th percentile, in milliseconds, over STEPS key presses on one slider."""
    page.focus(f".slide[data-name={slider}]")
    page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(200)
    page.evaluate("() => { window.handled = []; }")
    browser = page.context.browser
    assert browser is not None
    browser.start_tracing(page=page, categories=["input"])
    for step in range(STEPS):
        page.keyboard.press("ArrowLeft" if step < STEPS // 2 else "ArrowRight")
    page.wait_for_timeout(300)
    found = {"handled": page.evaluate("() => window.handled"), "presented": presented(browser.stop_tracing())}
    told = {}
    for name, times in found.items():
        assert len(times) == STEPS, f"{len(times)} of {STEPS} steps were {name}"
        median, tail = np.median(times), np.percentile(times, 95)
        told[name] = {"median": round(float(median), 2), "p95": round(float(tail), 2), "steps": len(times)}
    return told


def machine(chromium: str) -> dict[str, Any]:
    """What the numbers belong to."""
    names = Path("/proc/cpuinfo")
    lines = names.read_text("utf-8").splitlines() if names.exists() else []
    found = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "date": datetime.date.today().isoformat(),
        "processor": found[0] if found else platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "system": platform.platform(),
        "chromium": chromium,
        "playwright": version("playwright"),
        "python": platform.python_version(),
    }


def measure(browser: Browser, files: dict[int, Path], clock: str, load: str) -> Iterator[dict[str, Any]]:
    """A row for the bare slider, and for each grid, slider and view."""
    bare = browser.new_page(viewport=VIEWPORT)
    bare.set_content(BARE)
    bare.evaluate(LISTEN)
    for n, path in files.items():
        yield {"n": 0, "cores": load, "clock": clock, "slider": "k", "view": "bare", **steps(bare, "k")}
        page = browser.new_page(viewport=VIEWPORT)
        page.goto(path.as_uri())
        page.wait_for_selector(".lens[data-state=ready]")
        page.evaluate(LISTEN)
        for slider in ("k", "n1"):
            for view in VIEWS:
                page.evaluate("(view) => window.trimviz.lens.view(view)", view)
                yield {"n": n, "cores": load, "clock": clock, "slider": slider, "view": view, **steps(page, slider)}
        page.close()
    bare.close()


def main() -> int:
    options = argparse.ArgumentParser(description="Time from a key on a slider to the frame with its effect.")
    options.add_argument("--json", type=Path, help="write the numbers here as well")
    asked = options.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        files = {}
        for grid in GRIDS:
            run, table, explanation, photo = synthetic(*grid)
            path = files[grid[0] * grid[1]] = Path(folder) / f"{grid[0]}.html"
            path.write_text(export(payload(run, table, explanation, "?", [photo]), "measure"), "utf-8")
        for clock, arguments in CLOCKS.items():
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *arguments])
            if not rows:
                about = machine(browser.version)
                print(", ".join(f"{name} {value}" for name, value in about.items()), flush=True)
            for load in ("idle", "busy"):
                burning = [multiprocessing.Process(target=burn) for _ in range(os.cpu_count() or 1)]
                for process in burning if load == "busy" else ():
                    process.start()
                try:
                    for row in measure(browser, files, clock, load):
                        rows.append(row)
                        times = [f"{name} {row[name]['median']:.1f} / {row[name]['p95']:.1f}" for name in TIMES]
                        place = f"N={row['n']} {row['slider']} {row['view']}"
                        print(f"clock {clock}, {load} cores, {place}: {', '.join(times)} ms", flush=True)
                finally:
                    for process in burning if load == "busy" else ():
                        process.terminate()
                        process.join()
            browser.close()
    held = [row for row in rows if row["clock"] == "none" and row["cores"] == "idle" and row["n"]]
    missed = [row for row in held if any(row["presented"][name] > GOAL[name] for name in GOAL)]
    said = f"missed in {len(missed)} of {len(held)} cases" if missed else "met"
    print(f"Work of {GOAL['median']:.0f} ms (median) and {GOAL['p95']:.0f} ms (p95) on idle cores: {said}.")
    if asked.json:
        record = {"machine": about, "goal_ms": GOAL, "milliseconds": rows}
        asked.json.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
