"""Every family in a browser: `python tests/families.py FOLDER [FAMILY ...]`, for looking at what it leaves there.

Writes a tiny random checkpoint of each family, loads it as anybody would, opens the app on it in Chromium, asks about a
picture and, where the family takes one, about a video, and leaves screenshots and figures in the folder.
"""

from __future__ import annotations

import shutil
import socket
import sys
from pathlib import Path

import av
import conftest  # noqa: F401  (no Hub)
import numpy as np
from playwright.sync_api import Page, expect, sync_playwright
from test_load import write
from tiny_models import FAMILIES

import trimviz
from trimviz import draw
from trimviz.ui.app import build, show
from trimviz.ui.examples import examples
from trimviz.ui.service import Service

QUESTION = "what is the colour of the thing ?"
WAIT = 600_000  # milliseconds
METHODS = ("trimtokenator", "fastv")


def film(path: Path, frames: int = 16, size: tuple[int, int] = (160, 112)) -> Path:
    """A disc that goes from left to right over a gradient, numbered by its colour."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=4)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for i in range(frames):
            shown = np.stack([x, y * 2, 255 - x], axis=-1).astype(np.uint8)
            at = 20 + (size[0] - 40) * i / frames
            shown[(x - at) ** 2 + (y - size[1] / 2) ** 2 < 300] = (255, 255 - 15 * i, 0)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def asked(page: Page, shot: Path) -> None:
    """Run, wait for both answers, point at a patch, and take a picture of it."""
    page.locator("#question textarea").fill(QUESTION)
    status = page.locator("#state [role=status]")
    page.locator("#run").click()
    expect(status).not_to_have_text("", timeout=WAIT)
    expect(status).to_have_text("", timeout=WAIT)
    page.wait_for_timeout(1500)
    panel = page.locator("#lens .panel canvas").last
    panel.scroll_into_view_if_needed()
    panel.hover(position={"x": 20, "y": 20})
    page.wait_for_timeout(500)
    page.screenshot(path=shot, full_page=True)
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(500)
    page.screenshot(path=shot.with_stem(f"{shot.stem}-dark"), full_page=True)
    page.emulate_media(color_scheme="light")


def main() -> None:
    folder, names = Path(sys.argv[1]), sys.argv[2:] or list(FAMILIES)
    folder.mkdir(parents=True, exist_ok=True)
    clip = film(folder / "clip.mp4")
    photo = next(e.path for e in examples(drawn_first=False))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        for name in names:
            place = folder / "checkpoints" / name
            place.mkdir(parents=True, exist_ok=True)
            write(name, place)
            model = trimviz.load(place, device="cpu")
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            page = browser.new_page(viewport={"width": 1360, "height": 1000})
            page.set_default_timeout(WAIT)
            page.goto(show(build(Service(model)), "127.0.0.1", port, block=False, mcp=False))
            page.locator("#dense .card.dense").wait_for()  # the page begins with its first example
            asked(page, folder / f"{name}-picture.png")
            if model.takes_video:
                page.locator("#film button").first.click()
                page.locator("#clip input[type=file]").set_input_files(clip)
                page.locator("#strip img").first.wait_for()
                asked(page, folder / f"{name}-video.png")
            page.close()
            sources = {"picture": photo} | ({"video": clip} if model.takes_video else {})
            for kind, source in sources.items():
                made = [
                    trimviz.compare(model, source, QUESTION, method, "50%", limit=6, frames=6) for method in METHODS
                ]
                draw.figure(made, folder / f"{name}-{kind}-figure.png", width="cvpr-text", dpi=110)
            print(name, flush=True)
        browser.close()


if __name__ == "__main__":
    main()
