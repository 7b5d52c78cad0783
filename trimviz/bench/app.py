"""The app as its users have it: a server in a process of its own, clients that ask it, and its page in Chromium."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Barrier
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from trimviz.bench.measure import Result, Row, Timing
from trimviz.pruners import DEFAULT

EXAMPLES = Path(__file__).parents[2] / "assets" / "examples"
STARTING = 600  # seconds that a server may take
STEPS = 40  # of a slider
WAIT = 120_000  # milliseconds for anything on the page

# Notes how long a slider's event was handled, and when an answer's first word was there.
LISTEN = """() => {
  window.handled = []; window.first = null; window.clicked = null;
  document.addEventListener("input", () => { window.started = performance.now(); }, true);
  document.addEventListener("input", () => { window.handled.push(performance.now() - window.started); });
  document.querySelector("#run").addEventListener("click", () => {
    window.clicked = performance.now(); window.first = null;
  }, true);
  new MutationObserver(() => {
    if (window.clicked === null || window.first !== null) return;
    const live = document.querySelector("#pruned .card.live .said, #dense .card.live .said");
    if (live && live.textContent) window.first = performance.now() - window.clicked;
  }).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""
ANSWERED = "(asked) => document.querySelector('#dense .card.dense')?.dataset.about.includes(asked)"


def bench_app(model: str, device: str, dtype: str, users: int, rounds: int) -> Result:
    """Slider to repaint, click to the first word, and some users at once, each of whom must get the single answer.

    Raises ValueError where Playwright or Chromium is missing, and where an answer is another one under load.
    """
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise ValueError("The app is driven in Chromium and none is on the PATH; install it, or bench something else.")
    example = json.loads((EXAMPLES / "examples.json").read_text(encoding="utf-8"))[0]
    picture, questions = EXAMPLES / example["file"], example["questions"]
    with serving(model, device, dtype) as url:
        rows = [*_page(url, chromium, questions, rounds), *_users(url, picture, questions, users, rounds)]
    return Result("app", {"model": model, "users": users, "rounds": rounds, "slider steps": STEPS}, rows)


@contextmanager
def serving(model: str, device: str, dtype: str) -> Iterator[str]:
    """The address of a server that runs as long as the block; ValueError where it does not start."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/"
    options = ["--model", model, "--device", device, "--dtype", dtype, "--port", str(port)]
    server = subprocess.Popen([sys.executable, "-m", "trimviz", "app", *options], stdout=subprocess.DEVNULL)
    try:
        _await(server, url)
        yield url
    finally:
        server.terminate()
        server.wait(30)


def _await(server: subprocess.Popen[bytes], url: str) -> None:
    end = time.monotonic() + STARTING
    while time.monotonic() < end and server.poll() is None:
        try:
            with closing(urlopen(url, timeout=10)):
                return
        except (URLError, TimeoutError, ConnectionError):
            time.sleep(0.5)
    raise ValueError("The app did not start; run `trimviz app` with the same options to see why.")


def _page(url: str, chromium: str, questions: list[str], rounds: int) -> Iterator[Row]:
    """What somebody at the page waits for."""
    from playwright.sync_api import sync_playwright

    options: dict[str, Any] = {"executable_path": chromium, "args": ["--no-sandbox", "--disable-dev-shm-usage"]}
    with sync_playwright() as driver, closing(driver.chromium.launch(**options)) as browser:
        page = browser.new_page(viewport={"width": 1360, "height": 1000})
        page.set_default_timeout(WAIT)
        page.goto(url)
        page.wait_for_selector(".lens[data-state=ready]")
        page.wait_for_selector(".controls[data-state=ready]")
        page.evaluate(LISTEN)
        page.focus(".slide[data-name=k]")
        browser.start_tracing(page=page, categories=["input"])
        for step in range(STEPS):
            page.keyboard.press("ArrowRight" if step < STEPS // 2 else "ArrowLeft")
        page.wait_for_timeout(500)
        steps = {"drawn": page.evaluate("() => window.handled"), "on the screen": presented(browser.stop_tracing())}
        for what, times in steps.items():
            if len(times) != STEPS:
                raise ValueError(f"{len(times)} of {STEPS} slider steps were {what}; run it on a machine at rest.")
            yield {"what": f"slider step, {what}", **Timing(tuple(ms / 1000 for ms in times)).row}
        first, whole = [], []
        for asked in questions[1 : rounds + 2]:  # each is new to the server; the first one is not counted
            page.locator("#question textarea").fill(asked)
            start = time.perf_counter()
            page.locator("#run").click()
            page.wait_for_function(ANSWERED, arg=asked)
            whole.append(time.perf_counter() - start)
            first.append(page.evaluate("() => window.first") / 1000)
        yield {"what": "click to the first word", **Timing(tuple(first[1:])).row}
        yield {"what": "click to both answers", **Timing(tuple(whole[1:])).row}


def presented(trace: bytes) -> list[float]:
    """Milliseconds from each key press until its frame was on the screen: the EventLatency of a Chromium trace.

    trace: with the category "input"; it counts rastering, compositing and the wait for the next frame in.
    """
    begun: dict[tuple[Any, ...], float] = {}
    found = []
    events = [event for event in json.loads(trace)["traceEvents"] if event["name"] == "EventLatency"]
    for event in sorted(events, key=lambda event: event["ts"]):
        place = (event["pid"], json.dumps(event.get("id2", event.get("id"))))
        if event["ph"] == "e" and place in begun:
            found.append((event["ts"] - begun.pop(place)) / 1000)
        elif event["ph"] == "b" and event["args"]["event_latency"]["event_type"] == "KEY_PRESSED":
            begun[place] = event["ts"]
    return found


def _users(url: str, picture: Path, questions: list[str], users: int, rounds: int) -> Iterator[Row]:
    """One user alone, then all at once; every session is a client of its own and asks a question of its own."""
    from gradio_client import Client, handle_file

    clients = [Client(url, verbose=False) for _ in range(users)]
    everyone = list(range(users))
    together = Barrier(users)

    def ask(user: int, keep: int) -> tuple[float, str]:
        """A budget of its own in each round, so that nothing is answered from memory."""
        start = time.perf_counter()
        asked = questions[user % len(questions)]
        said = clients[user].predict(handle_file(picture), asked, DEFAULT, str(keep), "", "", api_name="/answer")
        return time.perf_counter() - start, json.dumps([said["dense"], said["pruned"]], sort_keys=True)

    def at_once(user: int, keep: int) -> tuple[float, str]:
        together.wait()
        return ask(user, keep)

    alone, crowd, last = [], [], []
    for turn in range(rounds + 1):
        with ThreadPoolExecutor(users) as pool:
            found = list(pool.map(at_once, everyone, [64 + turn] * users))
        single = [ask(user, 64 + turn) for user in everyone]
        if [text for _, text in found] != [text for _, text in single]:
            raise ValueError("An answer under load is not the one that a user alone gets; this is a bug.")
        fresh = ask(0, 128 + turn)[0]
        if turn:
            alone.append(fresh)
            crowd += [seconds for seconds, _ in found]
            last.append(max(seconds for seconds, _ in found))
    yield {"what": "both answers, one user", **Timing(tuple(alone)).row}
    yield {"what": f"both answers, each of {users} users at once", **Timing(tuple(crowd)).row}
    yield {"what": f"both answers, the last of {users} users", **Timing(tuple(last)).row}
