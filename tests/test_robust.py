"""The app under load and under attack: nobody sees another's answer, nobody waits for who left, files stay inside."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from crowd import CACHE, GROWTH, crowd, growth, wrong
from gradio_client import Client, handle_file
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright
from serve import served, started
from tiny_models import QUESTION, picture

from trimviz.pruners import DEFAULT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None and "CI" not in os.environ:
    pytest.skip("needs a Chromium on the PATH", allow_module_level=True)

WAIT = 120_000  # milliseconds; on a busy machine a page is slow
PLACE = re.compile(r"queue: \d+/\d+")  # whoever else is being answered
ABOUT = "q => document.querySelector('#dense .card.dense:not(.stale)')?.dataset.about === `“${q}”`"
SLOW = 0.4  # seconds after each answer token
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def slow() -> Iterator[str]:
    """A random model whose answers take some twenty seconds."""
    with served("random", delay=SLOW) as url:
        yield url


def opened(browser: Browser | BrowserContext, url: str) -> Page:
    page = (browser.new_context() if isinstance(browser, Browser) else browser).new_page()
    page.set_default_timeout(WAIT)
    page.goto(url)
    page.wait_for_selector("#pruned .card.pruned:not(.stale)")
    page.wait_for_selector(".controls[data-state=ready]")
    return page


def asks(page: Page, question: str) -> None:
    page.locator("#question textarea").fill(question)
    page.locator("#run").click()


# --- many at once -------------------------------------------------------------------------------------------------


def test_nobody_sees_anothers_answer() -> None:
    """A short run of what `python tests/crowd.py` does for three minutes with eight people and the bundled model."""
    found = asyncio.run(crowd("random", sessions=3, seconds=15, delay=0.02))
    assert len(found.shown) >= 3
    assert wrong("random", found) == []
    assert growth(found) < CACHE + GROWTH


def test_a_place_in_the_queue_is_shown_and_who_leaves_frees_the_worker(browser: Browser, slow: str) -> None:
    first, second, third = (opened(browser, slow) for _ in range(3))
    asks(first, "what is first ?")
    first.wait_for_selector("#pruned .card.live")
    asks(second, "what is second ?")
    asks(third, "what is third ?")
    expect(third.locator("#state")).to_contain_text(PLACE, timeout=WAIT)
    expect(third.locator("#state .progress-text")).to_be_visible()
    first.context.close()  # in the middle of an answer of 64 tokens, which would take 25 seconds
    began = time.monotonic()
    second.wait_for_selector("#pruned .card.live")
    assert time.monotonic() - began < 30 * SLOW, "the worker went on for somebody who had left"
    expect(third.locator("#state")).to_contain_text(PLACE, timeout=WAIT)
    second.locator("#stop").click()
    expect(third.locator("#pruned .card.live .said")).not_to_be_empty(timeout=WAIT)
    said = second.locator("#pruned .said").inner_text()
    second.wait_for_timeout(1000)
    assert second.locator("#pruned .said").inner_text() == said
    for page in (second, third):
        page.context.close()


def test_a_page_shows_nothing_of_another_session(browser: Browser, slow: str) -> None:
    mine = opened(browser, slow)
    asks(mine, "what is my secret ?")
    mine.wait_for_selector("#pruned .card.live")
    other = opened(browser, slow)
    assert "secret" not in other.content()
    with urllib.request.urlopen(slow + "config") as reply:
        assert "secret" not in reply.read().decode()
    for page in (mine, other):
        page.context.close()


HELD = """(() => {
    const plain = window.fetch;
    window.fetch = async (...asked) => {
        const reply = await plain(...asked);
        if (!String(asked[0].url ?? asked[0]).includes("/queue/data")) return reply;
        const held = new TransformStream({
            async transform(text, out) {
                const end = text.search(/data: *{"msg": *"close_stream"/);
                out.enqueue(end < 0 ? text : text.slice(0, end));
                if (end < 0) return;
                await new Promise((done) => { window.letGo = done; });
                window.letGo = null;
                out.enqueue(text.slice(end));
            },
        });
        const text = reply.body.pipeThrough(new TextDecoderStream());
        const body = text.pipeThrough(held).pipeThrough(new TextEncoderStream());
        return new Response(body, { status: reply.status, headers: reply.headers });
    };
})()"""  # the word that nothing is left to wait for comes as late as the test likes


def test_a_question_is_answered_that_was_asked_while_the_page_hung_up(browser: Browser, server: str) -> None:
    context = browser.new_context()
    context.add_init_script(HELD)
    page = opened(context, server)
    for question in ("what is first ?", "what is second ?"):  # of the page's own first stream, and of a later one
        page.wait_for_function("Boolean(window.letGo)")
        with page.expect_response("**/queue/join*"):
            asks(page, question)
        page.wait_for_timeout(500)  # until the page has taken the reply
        page.evaluate("window.letGo?.()")
        page.wait_for_function(ABOUT, arg=question)
    context.close()


def test_a_run_stopped_in_the_queue_never_starts(browser: Browser, slow: str) -> None:
    first, second, third = (opened(browser, slow) for _ in range(3))
    asks(first, "what is before ?")
    first.wait_for_selector("#pruned .card.live")
    asks(second, "what is queued ?")
    expect(second.locator("#state")).to_contain_text(PLACE, timeout=WAIT)
    second.locator("#stop").click()
    expect(second.locator("#state")).to_contain_text("stopped", timeout=WAIT)
    asks(third, "what is after ?")
    expect(third.locator("#state")).to_contain_text(PLACE, timeout=WAIT)
    first.locator("#stop").click()
    third.wait_for_selector("#pruned .card.live")  # the queue has come past the second
    assert "queued" not in second.locator("#dense").inner_html()
    expect(second.locator("#pruned .card.pruned")).to_be_visible()
    for page in (first, second, third):
        page.context.close()


@pytest.mark.parametrize("row", ["suggestions", "examples"])
def test_the_last_click_counts_where_the_server_hears_of_an_earlier_one_later(
    browser: Browser, server: str, row: str
) -> None:
    page = opened(browser, server)
    held: list[Route] = []
    page.route("**/gradio_api/run/**", lambda route: route.continue_() if held else held.append(route))
    with page.expect_request("**/gradio_api/run/**"):
        page.locator(f"#{row} .pick").nth(2).click()
    pick = page.locator("#suggestions .pick").nth(1)
    last = pick.inner_text()
    pick.click()
    page.wait_for_function(ABOUT, arg=last)
    with page.expect_response("**/queue/join*"):
        held[0].continue_()
    page.wait_for_timeout(3000)
    assert page.evaluate(ABOUT, last)
    assert page.locator("#question textarea").input_value() == last
    page.context.close()


def test_an_open_page_recovers_when_the_server_was_killed(browser: Browser) -> None:
    with started("random") as (url, process):
        page = opened(browser, url)
        port = int(url.rstrip("/").rsplit(":", 1)[1])
        process.kill()
        process.wait()
    with started("random", port=port):
        page.wait_for_timeout(3000)
        for _ in range(20):  # the page may load itself again in between
            try:
                asks(page, "what is left ?")
                page.wait_for_function(
                    "document.querySelector('#dense .card.dense')?.dataset.about === '“what is left ?”'", timeout=15_000
                )
                break
            except Exception as error:  # noqa: BLE001
                last = error
        else:
            raise last
        assert page.locator("#pruned .card.pruned").is_visible()
    page.context.close()


# --- files --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with served("random") as url:
        yield url


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture that was never uploaded."""
    path = tmp_path_factory.mktemp("elsewhere") / "secret.png"
    picture(seed=5).save(path)
    return path


def status(url: str, body: bytes | None = None, **headers: str) -> int:
    request = urllib.request.Request(url, body, headers)
    try:
        with urllib.request.urlopen(request) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize("path", ["/etc/passwd", "../../../../etc/passwd", "pyproject.toml", "SECRET"])
def test_files_that_were_not_uploaded_cannot_be_fetched(server: str, secret: Path, path: str) -> None:
    wanted = str(secret) if path == "SECRET" else path
    assert status(f"{server}gradio_api/file={wanted}") in (403, 404)


@pytest.mark.parametrize("path", ["/etc/passwd", "SECRET"])
def test_a_path_that_was_not_uploaded_is_no_picture(server: str, secret: Path, path: str) -> None:
    """Every event that takes a file, private ones too, as anybody can post them; then the same file, uploaded."""
    wanted = {"path": str(secret) if path == "SECRET" else path, "meta": {"_type": "gradio.FileData"}}
    with urllib.request.urlopen(server + "config") as reply:
        page = json.load(reply)
    files = {c["id"]: c["type"] for c in page["components"] if c["type"] in ("image", "video", "file")}
    taking = [d for d in page["dependencies"] if d["backend_fn"] and files.keys() & set(d["inputs"])]
    assert len(taking) >= 8
    for event in taking:
        values = [[wanted] if files.get(i) == "file" else wanted if i in files else None for i in event["inputs"]]
        assert not finished(server, event["id"], values), event["api_name"]
    client = Client(server, verbose=False)
    assert client.predict(handle_file(secret), QUESTION, DEFAULT, "9", "", "", api_name="/analyze")["k"] == 9


def finished(server: str, number: int, values: list[object]) -> bool:
    """Whether an event of the page, posted by hand, came to a good end."""
    session = f"posted {number}"
    body = json.dumps({"data": values, "fn_index": number, "session_hash": session}).encode()
    assert status(f"{server}gradio_api/queue/join", body, **{"Content-Type": "application/json"}) == 200
    with urllib.request.urlopen(f"{server}gradio_api/queue/data?session_hash={session.replace(' ', '%20')}") as stream:
        for line in stream:
            if b"process_completed" in line:
                return bool(json.loads(line.removeprefix(b"data:"))["success"])
    raise AssertionError("the stream ended before the event did")


def test_an_upload_beyond_the_bound_is_refused(server: str) -> None:
    edge = "----edge"
    head = f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'.encode()
    body = head + bytes(65 * 2**20) + f"\r\n--{edge}--\r\n".encode()
    kind = {"Content-Type": f"multipart/form-data; boundary={edge}"}
    assert status(f"{server}gradio_api/upload", body, **kind) == 413
    assert status(f"{server}gradio_api/upload", head + b"few" + f"\r\n--{edge}--\r\n".encode(), **kind) == 200
