"""Many people at once on one server, each with a page of their own: `python tests/crowd.py --sessions 8 --seconds 180`.

Everybody picks examples and suggested questions, moves the slider, stops runs and loads the page again. What a page
shows in the end is held against the same request asked alone, of the library, afterwards: both answers and the kept
patches. The server may grow while its cache fills, and not after.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import psutil
from playwright.async_api import Browser, Page, Response, async_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from serve import started

CACHE = 64  # MiB of results that the server may keep
GROWTH = 256  # MiB by which it may grow beyond that, once everybody has asked something
WATCH = """() => {
    window.queued = 0;
    new MutationObserver(() => {
        if (/queue: \\d+\\/\\d+/.test(document.querySelector("#state")?.textContent ?? "")) window.queued += 1;
    }).observe(document.body, { childList: true, subtree: true, characterData: true });
}"""
SLIDE = """(slide, value) => {
    slide.dispatchEvent(new PointerEvent("pointerdown", { bubbles: true }));
    slide.value = value;
    slide.dispatchEvent(new Event("input", { bubbles: true }));
    slide.dispatchEvent(new PointerEvent("pointerup", { bubbles: true }));
}"""
ANSWERED = "q => document.querySelector('#dense .card.dense:not(.stale)')?.dataset.about === `“${q}”`"
SHOWN = """([keep, question]) => {
    const about = (which) => document.querySelector(`#${which} .card.${which}:not(.stale)`)?.dataset.about ?? "";
    return about("pruned").startsWith(`keep ${keep}`) && about("dense") === `“${question}”`
        && new URLSearchParams(location.search).get("k") === String(keep)
        && trimviz.lens.limits().run.k === keep && trimviz.lens.exact();
}"""


@dataclass
class Found:
    """What everybody saw."""

    shown: list[dict[str, Any]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)  # from asking to the whole answer
    stopped: int = 0
    reloaded: int = 0
    queued: int = 0  # sessions that were shown their place in the queue
    memory: list[float] = field(default_factory=list)  # MiB of the server, sampled through the run


async def person(browser: Browser, url: str, number: int, end: float, wait: float, found: Found) -> None:
    """One session, from opening the page to closing it."""
    chance = random.Random(number)
    context = await browser.new_context(viewport={"width": 1200, "height": 900})
    context.set_default_timeout(wait * 1000)
    page = await context.new_page()
    await open_page(page, url)
    await page.evaluate(WATCH)
    asked = 0
    while asked == 0 or time.monotonic() < end:  # on a busy machine the time can be over before the page is there
        what = chance.random()
        if what < 0.1:
            found.queued += bool(await page.evaluate("window.queued"))
            await open_page(page, url)
            await page.evaluate(WATCH)
            found.reloaded += 1
        elif what < 0.25:
            await pick(page, "suggestions", chance)
            await page.locator("#stop").click()
            found.stopped += 1
        await ask(page, chance, found)
        asked += 1
    found.queued += bool(await page.evaluate("window.queued"))
    await context.close()


async def open_page(page: Page, url: str) -> None:
    await page.goto(url)
    await page.wait_for_selector("#pruned .card.pruned:not(.stale)")
    await page.wait_for_selector(".controls[data-state=ready]")


async def pick(page: Page, row: str, chance: random.Random) -> str:
    """Click one of a row of choices; returns its words."""
    choices = page.locator(f"#{row} .pick")
    choice = choices.nth(chance.randrange(await choices.count()))
    words = await choice.inner_text()
    await choice.click()
    return words


async def ask(page: Page, chance: random.Random, found: Found) -> None:
    """An example, one of its questions and a number of patches; what is shown then is written down."""
    box = page.locator("#question textarea")
    if chance.random() < 0.5:
        row = await page.evaluate("gradio_config.components.find((one) => one.props.elem_id === 'examples').id")
        async with page.expect_response(lambda reply: joins(reply, row)):  # then its own questions are on the page
            await pick(page, "examples", chance)
    question = await pick(page, "suggestions", chance)
    await page.wait_for_function(ANSWERED, arg=question)
    most = int(await page.locator('.slide[data-name="k"]').get_attribute("max") or 1)
    keep = chance.randrange(2, most)
    began = time.monotonic()
    await page.locator('.slide[data-name="k"]').evaluate(SLIDE, keep)
    await page.wait_for_function(SHOWN, arg=[keep, question])
    found.seconds.append(time.monotonic() - began)
    found.shown.append(
        {
            "query": dict(parse_qsl(urlsplit(page.url).query)),
            "question": await box.input_value(),
            "pruned": plain(await page.locator("#pruned .said").inner_text()),
            "dense": plain(await page.locator("#dense .said").inner_text()),
            "kept": sorted(await page.evaluate("[...window.trimviz.lens.kept()]")),
        }
    )


def joins(reply: Response, trigger: int) -> bool:
    """Whether it lets a run into the queue that a component set off."""
    return "/queue/join" in reply.url and json.loads(reply.request.post_data or "{}").get("trigger_id") == trigger


def plain(said: str) -> str:
    """An answer without the marks that a card puts behind it."""
    return re.sub(r" ?…$", "", " ".join(said.split()).replace("(nothing)", ""))


async def crowd(model: str, sessions: int, seconds: float, wait: float = 120, delay: float = 0.0) -> Found:
    """Everybody at once, for so many seconds."""
    found = Found()
    with started(model, delay, cache=CACHE) as (url, process):
        server = psutil.Process(process.pid)
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=shutil.which("chromium") or shutil.which("chromium-browser"),
                args=["--no-sandbox", "--disable-dev-shm-usage"],
            )
            end = time.monotonic() + seconds
            people = [asyncio.create_task(person(browser, url, i, end, wait, found)) for i in range(sessions)]
            while not all(task.done() for task in people):
                found.memory.append(server.memory_info().rss / 2**20)
                await asyncio.sleep(0.5)
            await asyncio.gather(*people)
            await browser.close()
    return found


def wrong(model: str, found: Found, say: Callable[[str], None] = lambda text: None) -> list[str]:
    """What differs from the same requests asked alone; empty where all is right."""
    from tiny_models import llava

    import trimviz
    from trimviz.ui import address
    from trimviz.ui.examples import examples
    from trimviz.ui.service import Service

    service = Service(trimviz.load("tiny", device="cpu") if model == "tiny" else llava())
    offered = examples(drawn_first=service.bundled)
    out = []
    for number, shown in enumerate(found.shown):
        say(f"{number + 1} of {len(found.shown)}")
        request = address.read(shown["query"], offered)
        alone = service.finish(request).comparison
        expected = {
            "question": request.question,
            "pruned": plain(alone.pruned.answer.text),
            "dense": plain(alone.dense.answer.text),
            "kept": alone.pruned.kept.tolist(),
        }
        out += [f"{shown['query']}: {k} {shown[k]!r} != {v!r}" for k, v in expected.items() if shown[k] != v]
    return out


def growth(found: Found) -> float:
    """MiB by which the server grew from the first third of the run to its end."""
    third = max(1, len(found.memory) // 3)
    return max(found.memory[-third:]) - max(found.memory[:third])


def main() -> None:
    """Run it and say what was seen; exit code 1 where something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny", choices=("tiny", "random"))
    parser.add_argument("--sessions", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--wait", type=float, default=300, help="seconds that one answer may take")
    chosen = parser.parse_args()
    found = asyncio.run(crowd(chosen.model, chosen.sessions, chosen.seconds, chosen.wait))
    problems = wrong(chosen.model, found)
    told = {
        "sessions": chosen.sessions,
        "answers": len(found.shown),
        "stopped": found.stopped,
        "reloaded": found.reloaded,
        "sessions shown their place in the queue": found.queued,
        "median seconds": round(statistics.median(found.seconds), 2) if found.seconds else None,
        "slowest seconds": round(max(found.seconds), 2) if found.seconds else None,
        "MiB at the end": round(found.memory[-1]),
        "MiB grown": round(growth(found)),
        "wrong": problems,
    }
    print(json.dumps(told, indent=1, ensure_ascii=False))
    sys.exit(bool(problems) or growth(found) > CACHE + GROWTH or not found.shown)


if __name__ == "__main__":
    main()
