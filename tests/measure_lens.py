"""How long the lens takes from a slider step to the next paint, in headless Chromium.

Run by hand: python tests/measure_lens.py. Prints for several grids the time of the handler, which draws before it
returns, and of a key press until after the next paint, with both idle and busy processor cores.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from playwright.sync_api import Page, sync_playwright
from test_lens import synthetic

from trimviz.ui.lens.export import export
from trimviz.ui.lens.payload import payload

GRIDS = ((24, 24), (48, 60))
STEPS = 80
CHROMIUM = "/usr/bin/chromium"

# Trusted key presses come from the driver; the page notes when each was handled and when the frame after it was out.
LISTEN = """() => {
  window.handled = []; window.painted = []; window.shown = [];
  document.addEventListener("input", (event) => { window.started = performance.now(); }, true);
  document.addEventListener("input", (event) => {
    window.handled.push(performance.now() - window.started);
    window.shown.push(window.trimviz.lens.kept().length);
    const born = event.timeStamp;
    requestAnimationFrame(() => {
      const channel = new MessageChannel();
      channel.port1.onmessage = () => window.painted.push(performance.now() - born);
      channel.port2.postMessage(0);
    });
  });
}"""


def burn() -> None:
    """Keep one core busy."""
    while True:
        sum(range(100_000))


def steps(page: Page, slider: str, view: str) -> dict[str, np.ndarray]:
    """Milliseconds of STEPS key presses on one slider while one view is shown."""
    page.evaluate("(view) => window.trimviz.lens.view(view)", view)
    page.evaluate("() => { window.handled = []; window.painted = []; window.shown = []; }")
    page.focus(f".slide[data-name={slider}]")
    for step in range(STEPS):
        page.keyboard.press("ArrowRight" if step < STEPS // 2 else "ArrowLeft")
    page.wait_for_timeout(300)
    return {name: np.array(page.evaluate(f"() => window.{name}")) for name in ("handled", "painted")}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        print(f"Chromium {browser.version}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        for rows, cols in GRIDS:
            run, table, explanation, photo = synthetic(rows, cols)
            path = Path(folder) / f"{rows}.html"
            path.write_text(export(payload(run, table, explanation, "?", [photo]), "measure"), "utf-8")
            page = browser.new_page(viewport={"width": 1000, "height": 900})
            page.goto(path.as_uri())
            page.wait_for_selector(".lens[data-state=ready]")
            page.evaluate(LISTEN)
            for busy in (False, True):
                burning = [
                    multiprocessing.Process(target=burn, daemon=True) for _ in range(os.cpu_count() if busy else 0)
                ]
                for process in burning:
                    process.start()
                for slider in ("k", "n1"):
                    for view in ("kept", "order", "all"):
                        told = ", ".join(
                            f"{name} {np.median(times):.1f} / {np.percentile(times, 95):.1f} ms (n={len(times)})"
                            for name, times in steps(page, slider, view).items()
                        )
                        load = "busy" if busy else "idle"
                        print(f"N={rows * cols} {load} {slider:2} {view:5}: {told}, median / p95", flush=True)
                for process in burning:
                    process.terminate()
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
