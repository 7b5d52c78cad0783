"""The page in Chromium, as somebody who comes for the first time: nothing may leave the machine, nothing may fail."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from serve import served
from tiny_models import picture

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None and "CI" not in os.environ:
    pytest.skip("needs a Chromium on the PATH", allow_module_level=True)

WAIT = 30_000  # milliseconds; on a busy machine a page is slow
LOCAL = re.compile(r"^(https?://(127\.0\.0\.1|localhost)[:/]|data:|blob:|about:)")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        assert CHROMIUM is not None, "CI runs these tests: install Chromium"
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def bundled() -> Iterator[str]:
    with served("tiny") as url:
        yield url


@pytest.fixture(scope="module")
def chatty() -> Iterator[str]:
    """A random model that says long things slowly."""
    with served("random", delay=0.05) as url:
        yield url


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A window of its own that complains about requests to elsewhere, exceptions and console errors."""
    window = browser.new_context(viewport={"width": 1360, "height": 1000})
    window.grant_permissions(["clipboard-read", "clipboard-write"])
    window.set_default_timeout(WAIT)
    complaints: list[str] = []

    def listen(page: Page) -> None:
        page.on("request", lambda r: None if LOCAL.match(r.url) else complaints.append(f"request to {r.url}"))
        page.on("pageerror", lambda error: complaints.append(f"exception {error}"))
        page.on("console", lambda m: complaints.append(f"console: {m.text}") if m.type == "error" else None)

    window.on("page", listen)
    yield window
    window.close()
    assert not complaints


def open_page(context: BrowserContext, url: str) -> Page:
    """A page whose example is answered and drawn."""
    page = context.new_page()
    page.goto(url)
    answered(page)
    page.wait_for_selector(".lens[data-state=ready]")
    page.wait_for_selector(".controls[data-state=ready]")
    return page


def answered(page: Page) -> None:
    page.wait_for_selector("#pruned .card.pruned:not(.stale)")
    page.wait_for_selector("#dense .card.dense:not(.stale)")


def slide(page: Page, name: str, value: int) -> None:
    """Move a slider as a hand does: input events, then letting go."""
    page.locator(f'.slide[data-name="{name}"]').evaluate(
        """(slide, value) => {
            slide.dispatchEvent(new PointerEvent("pointerdown", { bubbles: true }));
            slide.value = value;
            slide.dispatchEvent(new Event("input", { bubbles: true }));
            slide.dispatchEvent(new PointerEvent("pointerup", { bubbles: true }));
        }""",
        value,
    )


def pruned_says(page: Page, words: str) -> None:
    expect(page.locator("#pruned")).to_contain_text(words, timeout=WAIT)


def test_the_newcomers_path(context: BrowserContext, bundled: str, tmp_path: Path) -> None:
    page = open_page(context, bundled)
    expect(page.locator("#head")).to_contain_text("toy")
    expect(page.locator("#detail")).to_contain_text("computed")
    expect(page.locator("#detail")).to_contain_text("measured on cpu")
    size = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert size[0] <= size[1]

    slide(page, "k", 100)
    pruned_says(page, "100 of 576 patches")
    slide(page, "n1", 300)
    page.wait_for_function("document.querySelector('#pruned .card').dataset.about === 'keep 100, N1 300'")
    assert "k=100" in page.url and "n1=300" in page.url

    page.locator("#suggestions .pick").nth(1).click()
    question = page.locator("#suggestions .pick").nth(1).inner_text()
    expect(page.locator("#question textarea")).to_have_value(question, timeout=WAIT)
    page.wait_for_function("q => document.querySelector('#dense .card').dataset.about === `“${q}”`", arg=question)
    pruned_says(page, "100 of 576 patches")

    page.locator("#question textarea").fill("is there a zebra?")
    expect(page.locator("#pruned .stale-note")).to_contain_text("stale: for keep 100, N1 300", timeout=WAIT)
    page.locator("#run").click()
    expect(page.locator("#state")).to_contain_text("never seen “zebra”", timeout=WAIT)
    page.wait_for_function("document.querySelector('#dense .card').dataset.about === '“is there a zebra?”'")

    page.locator("[data-copy=link]").click()
    expect(page.locator("[data-copy=link]")).to_have_text("Copied")
    link = page.evaluate("navigator.clipboard.readText()")
    other = open_page(context, link)
    expect(other.locator("#question textarea")).to_have_value("is there a zebra?", timeout=WAIT)
    other.wait_for_function("document.querySelector('#pruned .card').dataset.about === 'keep 100, N1 300'")
    assert other.locator('.slide[data-name="k"]').input_value() == "100"
    assert other.locator('.slide[data-name="n1"]').input_value() == "300"
    other.close()
    page.locator("[data-copy=command]").click()
    assert "--keep 100 --n1 300" in page.evaluate("navigator.clipboard.readText()")


def test_a_bad_file_gets_a_sentence_and_a_good_one_an_answer(
    context: BrowserContext, bundled: str, tmp_path: Path
) -> None:
    page = open_page(context, bundled)
    good = tmp_path / "good.png"
    picture(300, 500).save(good)
    cut = tmp_path / "cut.png"
    cut.write_bytes(good.read_bytes()[:200])
    page.locator("#picture button[aria-label='Remove Image']").click()
    page.locator("#picture input[type=file]").set_input_files(cut)
    page.wait_for_selector("#picture img")
    page.locator("#run").click()
    expect(page.locator(".toast-body")).to_contain_text("damaged or cut off", timeout=WAIT)
    page.locator(".toast-close").first.click()
    page.locator("#picture button[aria-label='Remove Image']").click()
    page.locator("#run").click()
    expect(page.locator(".toast-body")).to_contain_text("There is no picture", timeout=WAIT)
    page.locator("#picture input[type=file]").set_input_files(good)
    page.wait_for_selector("#picture img")
    page.locator("#question textarea").fill("what color is the background?")
    page.locator("#run").click()
    page.wait_for_function("document.querySelector('#dense .card').dataset.about.includes('background')")
    assert "example=" not in page.url


def test_answers_stream_and_the_last_setting_wins(context: BrowserContext, chatty: str) -> None:
    page = open_page(context, chatty)
    page.evaluate(
        """() => {
            window.seen = { pruned: [], dense: [] };
            new MutationObserver(() => {
                for (const which of ["pruned", "dense"]) {
                    const said = document.querySelector(`#${which} .card.live .said`)?.textContent;
                    if (said && window.seen[which].at(-1) !== said) window.seen[which].push(said);
                }
            }).observe(document.body, { childList: true, subtree: true, characterData: true });
        }"""
    )
    page.locator("#question textarea").fill("what is the colour of two thing ?")
    page.locator("#run").click()
    page.wait_for_function("window.seen.dense.length >= 2")
    seen = page.evaluate("window.seen")
    assert len(seen["pruned"]) >= 3, "the pruned answer grew before the dense one began"
    page.wait_for_selector("#dense .card.dense")

    page.evaluate("window.seen = { pruned: [], dense: [] }")
    slide(page, "k", 9)
    page.wait_for_function("window.seen.pruned.length >= 2")
    slide(page, "k", 20)  # while it runs
    slide(page, "k", 12)
    pruned_says(page, "12 of 36 patches")
    page.wait_for_timeout(1500)
    pruned_says(page, "12 of 36 patches")
    assert page.evaluate("window.seen.dense.length") == 0, "only the pruned answer runs again"

    page.locator("#question textarea").fill("what is left ?")
    page.locator("#run").click()
    page.wait_for_selector("#pruned .card.live")
    page.locator("#stop").click()
    expect(page.locator("#state")).to_contain_text("stopped", timeout=WAIT)
    said = page.locator("#pruned .said").inner_text()
    page.wait_for_timeout(600)
    assert page.locator("#pruned .said").inner_text() == said


def test_methods_and_their_settings(context: BrowserContext, chatty: str) -> None:
    page = open_page(context, chatty)
    menu = page.locator("#settings .menu select")
    options = menu.locator("option:not([disabled])")
    key = options.nth(1).get_attribute("value")
    menu.select_option(key)
    page.wait_for_function("key => new URLSearchParams(location.search).get('method') === key", arg=key)
    page.locator("#settings summary").click()
    page.locator("#settings select[name=positions]").select_option("keep")
    page.wait_for_function("new URLSearchParams(location.search).get('knobs') === 'positions:keep'")
    page.locator("#settings .reset").click()
    page.wait_for_function("!new URLSearchParams(location.search).has('knobs')")
    for disabled in menu.locator("option[disabled]").all():
        assert disabled.get_attribute("title")


def test_the_compare_tab(context: BrowserContext, bundled: str) -> None:
    page = open_page(context, bundled)
    page.get_by_role("tab", name="Compare methods").click()
    boxes = page.locator("#methods input[type=checkbox]")
    for box in boxes.all()[3:]:
        box.uncheck()
    page.locator("#contest").click()
    page.wait_for_selector("#table table.jaccard")
    assert page.locator("#table table.contest tbody tr").count() == 4
    assert page.locator("#table table.contest img").count() >= 3, "one may be unable to meet the budget, and says so"
    page.get_by_role("tab", name="Explore").click()
    page.wait_for_selector(".lens[data-state=ready]")


def test_a_figure_can_be_taken_home(context: BrowserContext, bundled: str) -> None:
    page = open_page(context, bundled)
    page.locator("#figure button").first.click()
    page.locator("#figure-kind label", has_text="svg").click()
    page.locator("#export").click()
    expect(page.locator("#figure-files")).to_contain_text("svg", timeout=WAIT)
    with page.expect_download() as download:
        page.locator("#figure-files a[download]").first.click()
    assert Path(download.value.path()).read_text("utf-8").startswith("<?xml")


@pytest.mark.parametrize(
    ("width", "height", "theme"), [(1360, 1000, "light"), (1360, 1000, "dark"), (390, 844, "light")]
)
def test_nothing_sticks_out(context: BrowserContext, bundled: str, width: int, height: int, theme: str) -> None:
    page = context.new_page()
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=theme)
    page.goto(bundled)
    answered(page)
    page.wait_for_selector(".lens[data-state=ready]")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if os.environ.get("TRIMVIZ_SHOTS"):
        page.screenshot(path=Path(os.environ["TRIMVIZ_SHOTS"]) / f"app-{width}-{theme}.png", full_page=width < 500)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    shade = sum(map(int, re.findall(r"\d+", background)[:3])) / 3
    assert (shade < 60) == (theme == "dark")
    for name in ("#run", "#pruned", "#dense", ".slide[data-name=k]"):
        box = page.locator(name).bounding_box()
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= width, name
        if width > 1000:
            assert box["y"] + box["height"] <= height, f"{name} is below the fold"
