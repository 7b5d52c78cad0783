"""The sweep and the dataset tab in Chromium: maps fill, a cell sets the sliders, dropped files become tables."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright
from serve import served
from tiny_models import QUESTION, picture

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None and "CI" not in os.environ:
    pytest.skip("needs a Chromium on the PATH", allow_module_level=True)

WAIT = 120_000  # milliseconds; on a busy machine a page is slow
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with served("random", delay=0.01) as url:
        yield url


@pytest.fixture
def page(server: str) -> Iterator[Page]:
    """A page whose example is answered; it must say nothing on the console."""
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        page = browser.new_page()
        page.set_default_timeout(WAIT)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        page.goto(server)
        page.wait_for_selector("#pruned .card.pruned:not(.stale)")
        page.wait_for_selector(".controls[data-state=ready]")
        yield page
        browser.close()
    assert complaints == []


def test_a_cell_of_a_sweep_sets_the_sliders(page: Page) -> None:
    page.get_by_role("tab", name="Sweep").click()
    page.locator("#sweep-n1 textarea").fill("20, 1.0")
    page.locator("#sweep-keep textarea").fill("6, 50%, 30")
    page.locator("#sweep-start").click()
    page.wait_for_selector("#sweep .sweep[data-state=ready]")
    cells = page.locator("#sweep figure.kl td button")
    assert cells.count() == page.locator("#sweep figure.same td button").count() == 6
    assert [cell.is_disabled() for cell in cells.all()] == [False, False, True, False, False, False], "N1 below keep"
    cells.nth(4).click()
    expect(page.get_by_role("tab", name="Explore")).to_have_attribute("aria-selected", "true", timeout=WAIT)
    page.wait_for_function("document.querySelector('#pruned .card.pruned')?.dataset.about === 'keep 18'")
    assert page.locator('.slide[data-name="k"]').input_value() == "18"
    assert page.locator('.slide[data-name="n1"]').input_value() == "36"
    assert "k=18" in page.url and "n1=36" in page.url
    page.get_by_role("tab", name="Sweep").click()
    page.locator("#sweep-keep textarea").fill("many")
    page.locator("#sweep-start").click()
    expect(page.locator(".toast-body")).to_contain_text("Expected sizes", timeout=WAIT)


def test_a_sweep_can_be_stopped(page: Page) -> None:
    page.get_by_role("tab", name="Sweep").click()
    page.locator("#sweep-n1 textarea").fill(", ".join(map(str, range(17, 37))))
    page.locator("#sweep-keep textarea").fill(", ".join(map(str, range(1, 17))))
    page.locator("#sweep-start").click()
    page.wait_for_selector("#sweep figure.kl td button:not(:disabled)")
    page.locator("#sweep-stop").click()
    expect(page.locator("#sweep .says")).to_contain_text("stopped", timeout=WAIT)
    says = page.locator("#sweep .says").inner_text()
    page.wait_for_timeout(1500)
    assert page.locator("#sweep .says").inner_text() == says


def test_dropped_pictures_become_tables_and_files(page: Page, tmp_path: Path) -> None:
    paths = []
    for seed in range(2):
        paths.append(tmp_path / f"picture-{seed}.png")
        picture(seed=seed).save(paths[-1])
    page.get_by_role("tab", name="Dataset").click()
    page.locator("#dataset-files input[type=file]").set_input_files(paths)
    expect(page.locator("#dataset-files")).to_contain_text("picture-1", timeout=WAIT)
    page.locator("#dataset-question textarea").fill(QUESTION)
    page.locator("#dataset-start").click()
    page.wait_for_selector("#dataset-found h3")
    assert page.locator("#dataset-found table").count() == 2
    assert page.locator("#dataset-found img").count() == 2
    for name in ("samples.csv", "summary.csv", "report.html"):
        expect(page.locator("#dataset-out")).to_contain_text(name.split(".")[0], timeout=WAIT)
    with page.expect_download() as download:
        page.locator("#dataset-out a[download]").first.click()
    rows = Path(download.value.path()).read_text().splitlines()
    assert len(rows) > 2 and "picture-0.png" in "\n".join(rows)
