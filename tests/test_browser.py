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
from test_lens import synthetic
from tiny_models import picture

from trimviz.ui.lens.export import export
from trimviz.ui.lens.payload import payload
from trimviz.ui.take import KINDS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None and "CI" not in os.environ:
    pytest.skip("needs a Chromium on the PATH", allow_module_level=True)

AXE = Path(__file__).parents[1] / ".venv" / "web" / "node_modules" / "axe-core" / "axe.min.js"
OURS = ("#head", "#suggestions", "#examples", "#settings", "#lens", "#pruned", "#dense", "#detail")
WAIT = 30_000  # milliseconds; on a busy machine a page is slow
LOCAL = re.compile(r"^(file://|https?://(127\.0\.0\.1|localhost)[:/]|data:|blob:|about:)")


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


def shoot(page: Page, name: str, full_page: bool = False) -> None:
    """Keep a screenshot for eyes where a folder for them is named."""
    if os.environ.get("TRIMVIZ_SHOTS"):
        page.screenshot(path=Path(os.environ["TRIMVIZ_SHOTS"]) / f"{name}.png", full_page=full_page)


def pruned_says(page: Page, words: str) -> None:
    expect(page.locator("#pruned")).to_contain_text(words, timeout=WAIT)


def test_the_newcomers_path(context: BrowserContext, bundled: str, tmp_path: Path) -> None:
    """Everything that somebody who comes for the first time would try, in one visit."""
    page = open_page(context, bundled)
    expect(page.locator("#head")).to_contain_text("toy")
    expect(page.locator("#detail")).to_contain_text("computed")
    expect(page.locator("#detail")).to_contain_text("measured on cpu")
    assert re.search(r"20\d\d-\d\d-\d\d: tiny", page.locator("#detail").inner_text()), "the day and the model"
    size = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert size[0] <= size[1]
    shoot(page, "1-opened")

    slide(page, "k", 100)
    pruned_says(page, "100 of 576 patches")
    slide(page, "n1", 300)
    page.wait_for_function("document.querySelector('#pruned .card').dataset.about === 'keep 100, N1 300'")
    assert "k=100" in page.url and "n1=300" in page.url
    assert page.evaluate("trimviz.lens.kept().length") == 100

    canvas = page.locator(".lens .panel canvas").first
    page.wait_for_function("trimviz.lens.limits().run.k === 100")  # the answer's own numbers have come
    width, height = canvas.evaluate("(canvas) => [canvas.clientWidth, canvas.clientHeight]")
    canvas.hover(position={"x": width * 0.5, "y": height * 0.4})
    expect(page.locator(".lens .tip")).to_contain_text("rank")
    canvas.click(position={"x": width * 0.5, "y": height * 0.4})
    expect(page.locator(".lens .live")).to_contain_text("Pinned. Token")
    expect(page.locator(".lens .legend")).to_contain_text("cosine similarity to token")
    pinned = re.search(r"pin=(\d+)", page.url)
    assert pinned
    shoot(page, "2-pinned")
    page.get_by_role("radio", name="Order").click()
    page.get_by_role("button", name="To the first pick").click()
    page.get_by_role("button", name="Play the order").click()
    page.wait_for_function("parseInt(document.querySelector('.lens .at').textContent) > 3")
    page.get_by_role("button", name="Play the order").click()
    step = page.locator(".lens .at").inner_text()
    page.wait_for_timeout(500)
    assert page.locator(".lens .at").inner_text() == step, "it stands still"
    assert f"step={step.split()[0]}" in page.url and "view=order" in page.url
    shoot(page, "3-played")

    page.locator("#suggestions .pick").nth(1).click()
    question = page.locator("#suggestions .pick").nth(1).inner_text()
    expect(page.locator("#question textarea")).to_have_value(question, timeout=WAIT)
    page.wait_for_function("q => document.querySelector('#dense .card').dataset.about === `“${q}”`", arg=question)
    pruned_says(page, "100 of 576 patches")
    assert "pin=" not in page.url, "what was pinned belonged to the question before"

    page.locator("#question textarea").fill("is there a zebra?")
    expect(page.locator("#pruned .stale-note")).to_contain_text("stale: for keep 100, N1 300", timeout=WAIT)
    shoot(page, "4-stale")
    page.locator("#run").click()
    expect(page.locator("#state")).to_contain_text("never seen “zebra”", timeout=WAIT)
    page.wait_for_function("document.querySelector('#dense .card').dataset.about === '“is there a zebra?”'")

    page.evaluate("trimviz.lens.view('order')")
    page.evaluate("trimviz.lens.pin(200)")
    page.locator("[data-copy=link]").click()
    expect(page.locator("[data-copy=link]")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == page.url and "pin=200" in page.url
    page.locator("[data-copy=command]").click()
    assert "--keep 100 --n1 300" in page.evaluate("navigator.clipboard.readText()")

    page.get_by_role("button", name="Edit by hand").click()
    before = page.evaluate("trimviz.lens.kept()")
    canvas = page.locator(".lens .panel canvas").first
    canvas.click(position={"x": 5, "y": 5})
    after = page.evaluate("trimviz.lens.kept()")
    assert len(set(before) ^ set(after)) == 1
    pruned_says(page, f"{len(after)} of 576 patches")
    page.wait_for_function("document.querySelector('#pruned .card').dataset.about.includes('by hand')")
    assert "k=100" in page.url and "n1=300" in page.url and "flip=0" in page.url
    shoot(page, "5-by-hand")
    page.get_by_role("button", name="Back to the method").click()
    page.wait_for_function("document.querySelector('#pruned .card').dataset.about === 'keep 100, N1 300'")

    page.emulate_media(color_scheme="dark")
    page.reload()
    answered(page)
    page.wait_for_selector("body.dark")
    shoot(page, "6-dark")
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function("document.documentElement.scrollWidth <= 390")
    shoot(page, "7-phone", full_page=True)


def test_a_copied_address_gives_the_same_view_in_another_browser(
    browser: Browser, context: BrowserContext, bundled: str
) -> None:
    """Question, method, sliders, view, pin, word, step, margin and changes by hand, all in the address."""
    page = context.new_page()
    query = "example=astronaut&q=what+is+this%3F&k=50&n1=200&view=order&pin=130&word=1&step=20&flip=0.1"
    page.goto(f"{bundled}?{query}")
    page.wait_for_function("document.querySelector('#pruned .card')?.dataset.about.includes('by hand')")
    state = """() => [
        trimviz.lens.kept(), trimviz.lens.order(), trimviz.lens.limits(),
        document.querySelector(".lens .at").textContent,
        document.querySelector("#question textarea").value, document.querySelector("#pruned .said").textContent,
        [...document.querySelectorAll(".lens [aria-checked=true]")].map((one) => one.textContent),
        document.querySelector(".slide[data-name=k]").value, document.querySelector(".slide[data-name=n1]").value,
        [...new URLSearchParams(location.search)].sort().join("&"),
    ]"""
    seen = page.evaluate(state)
    assert seen[3] == "20 of 50" and seen[7:9] == ["50", "200"]
    assert set(seen[0]) ^ set(seen[1]) == {0, 1}, "two patches were turned over by hand"
    link = page.url
    other = browser.new_context(viewport={"width": 1360, "height": 1000})
    other.set_default_timeout(WAIT)
    twin = other.new_page()
    twin.goto(link)
    twin.wait_for_function("document.querySelector('#pruned .card')?.dataset.about.includes('by hand')")
    assert twin.evaluate(state) == seen
    other.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_serious_finding_of_axe(context: BrowserContext, bundled: str, theme: str) -> None:
    """Roles, names, contrast and focus by axe-core, in the states that a person meets; gradio's own parts left out."""
    if not AXE.is_file() and "CI" not in os.environ:
        pytest.skip("needs axe-core: make .venv/web/done")
    page = context.new_page()
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    page.goto(bundled)
    answered(page)
    page.wait_for_selector(".lens[data-state=ready]")
    page.evaluate(AXE.read_text("utf-8"))
    for state in ("trimviz.lens.view('kept')", "trimviz.lens.view('all')", "trimviz.lens.pin(200)"):
        page.evaluate(state)
        page.evaluate("document.querySelectorAll('.lens details').forEach((fold) => (fold.open = true))")
        found = page.evaluate(
            """async (ours) => (await axe.run({ include: ours }, { resultTypes: ["violations"] })).violations
                .filter((one) => ["serious", "critical"].includes(one.impact))
                .map((one) => one.id + ": " + one.nodes.map((node) => node.target + node.failureSummary).join("; "))""",
            [[part] for part in OURS],
        )
        assert not found, f"{state}: " + "\n".join(found)


def test_the_keyboard_alone_reaches_everything(context: BrowserContext, bundled: str) -> None:
    page = open_page(context, bundled)
    page.get_by_role("radio", checked=True).first.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.view") == "order"
    page.keyboard.press("ArrowLeft")
    page.locator(".lens .panel").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    cell = page.locator(".lens [role=gridcell]").first
    expect(cell).to_contain_text("Token 25, row 2, column 2")
    assert page.locator(".lens .panel").first.get_attribute("aria-activedescendant") == cell.get_attribute("id")
    page.keyboard.press("Control+End")
    expect(cell).to_contain_text("row 24, column 24")
    page.keyboard.press("Enter")
    expect(page.locator(".lens .live")).to_contain_text("Pinned. Token 575")
    page.keyboard.press("Escape")
    expect(page.locator(".lens .live")).to_contain_text("Let go")
    page.keyboard.press("[")
    expect(page.locator(".lens .at")).to_have_text("63 of 64")
    page.keyboard.press("]")
    expect(page.locator(".lens .at")).to_have_text("64 of 64")
    page.locator(".slide[data-name=k]").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("trimviz.lens.kept().length") == 65
    pruned_says(page, "65 of 576 patches")


def test_a_finger_on_a_phone(browser: Browser, bundled: str) -> None:
    phone = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    phone.set_default_timeout(WAIT)
    page = phone.new_page()
    page.goto(bundled)
    answered(page)
    page.wait_for_selector(".lens[data-state=ready]")
    page.locator(".lens .panel canvas").first.tap()
    expect(page.locator(".lens .tip")).to_contain_text("Token")
    tip, width = page.locator(".lens .tip").bounding_box(), 390
    assert tip and tip["x"] >= 0 and tip["x"] + tip["width"] <= width
    page.get_by_role("button", name="All views").tap()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    small = page.evaluate(
        """[...document.querySelectorAll(".lens button, .controls button")].filter((one) => one.offsetWidth)
            .map((one) => [one.textContent, one.offsetHeight]).filter(([, height]) => height < 24)"""
    )
    assert not small, "every target is at least 24 pixels high"
    phone.close()


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


def test_a_comparison_of_methods_can_be_stopped(context: BrowserContext, chatty: str) -> None:
    page = open_page(context, chatty)
    page.get_by_role("tab", name="Compare methods").click()
    page.locator("#contest").click()
    rows = page.locator("#table table.contest tbody tr")
    expect(rows.first).to_contain_text("Dense", timeout=WAIT)  # one method is done, others wait
    page.locator("#contest-stop").click()
    expect(rows.last).to_contain_text("stopped", timeout=WAIT)
    count = page.locator("#table table.contest img").count()
    page.wait_for_timeout(1000)
    assert page.locator("#table table.contest img").count() == count >= 2
    assert "waiting" not in page.locator("#table").inner_text()


def test_a_question_is_followed_up_and_asked_about_several_pictures(context: BrowserContext, bundled: str) -> None:
    page = open_page(context, bundled)
    first, said = page.locator("#question textarea").input_value(), page.locator("#dense .said").inner_text()
    assert page.locator("#turns").is_hidden()
    page.locator("#follow").click()
    expect(page.locator("#turns")).to_contain_text(said)
    expect(page.locator("#question textarea")).to_be_focused()
    assert page.locator("#turns dd").all_inner_texts() == [first, said]
    page.keyboard.type("how many things are there ?")
    page.locator("#run").click()
    page.wait_for_function("document.querySelector('#dense .card.dense')?.dataset.about.includes('how many')")
    assert "before=" in page.url
    other = open_page(context, page.url)
    expect(other.locator("#turns dd").first).to_have_text(first)
    shoot(page, "follow-up")

    page.locator("#turns").get_by_role("button", name="Start over").click()
    expect(page.locator("#dense .stale-note")).to_contain_text("stale")
    assert page.locator("#turns").is_hidden()
    page.locator("#others button").first.click()
    drawn = [str(Path(__file__).parents[1] / "assets" / "examples" / f"scene-{number}.png") for number in (2, 3)]
    page.locator("#others input[type=file]").set_input_files(drawn)
    expect(page.locator("#others")).to_contain_text("scene-3")
    page.locator("#run").click()
    pruned_says(page, "192 of 1728 patches")
    assert page.locator(".lens .panel canvas").count() == 3 and "before=" not in page.url
    shoot(page, "several-pictures")
    page.locator("#examples .pick").nth(1).click()
    pruned_says(page, "64 of 576 patches")
    expect(page.locator("#others")).not_to_contain_text("scene-3")

    page.locator("#question textarea").fill("never asked")
    page.locator("#follow").click()
    expect(page.locator(".toast-body")).to_contain_text("run the question first")


def test_a_choice_stands_where_an_answer_arrives_as_the_slider_is_let_go(context: BrowserContext, chatty: str) -> None:
    page = open_page(context, chatty)
    page.locator('.slide[data-name="k"]').evaluate(
        """(slide) => {
            slide.dispatchEvent(new PointerEvent("pointerdown", { bubbles: true }));
            slide.value = 17;
            slide.dispatchEvent(new Event("input", { bubbles: true }));
            slide.dispatchEvent(new PointerEvent("pointerup", { bubbles: true }));
            window.dispatchEvent(new CustomEvent("trimviz:loaded", { detail: { id: "lens", same: false } }));
        }"""
    )
    pruned_says(page, "17 of 36 patches")
    assert page.locator('.slide[data-name="k"]').input_value() == "17"


def test_methods_and_their_settings(context: BrowserContext, chatty: str) -> None:
    page = open_page(context, chatty)
    menu = page.locator("#settings .menu select")
    options = menu.locator("option:not([disabled])")
    key = options.nth(1).get_attribute("value")
    menu.select_option(key)
    page.wait_for_function("key => new URLSearchParams(location.search).get('method') === key", arg=key)
    page.get_by_text("Settings of the method").click()
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


STARTS = {
    "pdf": b"%PDF",
    "svg": b"<?xml",
    "png": b"\x89PNG",
    "png-600": b"\x89PNG",
    "gif": b"GIF8",
    "html": b"<!doctype",
}


def test_every_kind_can_be_taken_home(context: BrowserContext, bundled: str) -> None:
    page = open_page(context, bundled)
    page.locator("#figure button").first.click()
    for kind in KINDS:
        page.locator(f"#figure-kind input[value='{kind}']").check()
        page.locator("#export").click()
        ending = "." + kind.partition("-")[0]
        link = page.locator(f"#figure-files a[download$='{ending}']").first
        link.wait_for()
        with page.expect_download() as download:
            link.click()
        content = Path(download.value.path()).read_bytes()
        assert content.startswith(STARTS[kind]) if kind in STARTS else content[4:8] == b"ftyp", kind
    shoot(page, "export")


def test_a_slow_drag_shows_every_position(context: BrowserContext, tmp_path: Path) -> None:
    """Every value that the slider takes is on the canvas in the frame that follows, for few tokens and for many."""
    for grid in ((24, 24), (48, 60)):
        run, table, explanation, photo = synthetic(*grid)
        file = tmp_path / f"{grid[0]}.html"
        file.write_text(export(payload(run, table, explanation, "?", [photo]), "drag"), "utf-8")
        page = context.new_page()
        page.goto(file.as_uri())
        page.wait_for_selector(".lens[data-state=ready]")
        page.evaluate(
            """() => {
                const canvas = document.querySelector(".panel canvas");
                const print = () => {
                    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
                    const words = new Uint32Array(pixels.data.buffer);
                    return words.reduce((sum, word) => (Math.imul(sum, 31) + word) | 0, 0);
                };
                window.took = []; window.drawn = [];
                document.querySelector(".slide[data-name=k]").addEventListener("input", (event) => {
                    window.took.push(Number(event.target.value));
                    requestAnimationFrame(() => window.drawn.push([trimviz.lens.kept().length, print()]));
                });
            }"""
        )
        slider = page.locator(".slide[data-name=k]")
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        assert box
        before = int(slider.input_value())
        x, y = box["x"] + 10 + (box["width"] - 20) * before / run.stages[0].kept.size, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        for step in range(1, 25):
            page.mouse.move(x + 2 * step, y)
            page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        page.mouse.up()
        took, drawn = page.evaluate("[window.took, window.drawn]")
        assert len(took) >= 20 and took == sorted(set(took)), "the slider moved at every step of the hand"
        assert [kept for kept, _ in drawn] == took, "each position was drawn, in its turn"
        assert len({print for _, print in drawn}) == len(took), "and each drawing is another one"
        page.close()


@pytest.mark.parametrize(
    ("width", "height", "theme"),
    [(1360, 1000, "light"), (1360, 1000, "dark"), (1920, 1080, "light"), (390, 844, "light"), (390, 844, "dark")],
)
def test_nothing_sticks_out(context: BrowserContext, bundled: str, width: int, height: int, theme: str) -> None:
    page = context.new_page()
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=theme)
    page.goto(bundled)
    answered(page)
    page.wait_for_selector(".lens[data-state=ready]")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    shoot(page, f"app-{width}-{theme}", full_page=width < 500)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    shade = sum(map(int, re.findall(r"\d+", background)[:3])) / 3
    assert (shade < 60) == (theme == "dark")
    for name in ("#run", "#pruned", "#dense", ".slide[data-name=k]"):
        box = page.locator(name).bounding_box()
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= width, name
        if width > 1000:
            assert box["y"] + box["height"] <= height, f"{name} is below the fold"
