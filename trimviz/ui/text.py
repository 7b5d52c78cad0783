"""The words and small drawings beside the lens, as HTML: answers, what differs, what it cost, commands to repeat it."""

from __future__ import annotations

import base64
import io
import json
import shlex
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from trimviz.compare import Comparison, Divergence, overlap
from trimviz.types import Panel, Run, Stage, Video
from trimviz.ui.service import FIRST, Result
from trimviz.video import is_video

THUMB = 168  # pixels, long side of a mask in the table of methods
STRIP = 96  # and of a frame in the filmstrip
DROPPED, MERGED = 0.3, 0.6  # brightness there
PARTS = {
    "vision": "vision",
    "select": "select",
    "prefill": "prefill",
    "first token": "first token",
    "decode": "per token after",
}


def card(title: str, note: str, body: str, about: str = "", kind: str = "") -> str:
    """One answer; `about` says which settings it belongs to, for the day they have changed."""
    return (
        f'<section class="card {kind}" data-about="{escape(about)}" aria-label="{escape(title)}">'
        f'<header><h3>{escape(title)}</h3><span class="note">{note}</span></header>'
        f'<div class="said">{body}</div><p class="stale-note" role="status"></p></section>'
    )


def waiting(title: str, says: str = "") -> str:
    """A card without an answer."""
    return card(title, "", f'<span class="quiet">{escape(says) or "no answer yet"}</span>')


def streaming(title: str, text: str, n: str) -> str:
    """An answer that is being written."""
    return card(title, n, escape(text) + '<span class="cursor" aria-hidden="true"></span>', kind="live")


def pruned_card(result: Result) -> str:
    """The pruned answer, words that differ marked, and the verdict in words."""
    c = result.comparison
    kept = left(c.pruned, c.n)
    badge = f'<span class="badge {"same" if c.divergence is None else "differs"}">{escape(c.badge)}</span>'
    note = f"{kept} of {c.n} patches ({kept / c.n:.1%}) {badge}"
    return card("Pruned answer", note, marked(c, "pruned"), settings_said(result), kind="pruned")


def dense_card(result: Result) -> str:
    """The dense answer, words that the pruned one lacks marked."""
    c = result.comparison
    return card("Dense answer", f"all {c.n} patches", marked(c, "dense"), f"“{result.ask.question}”", kind="dense")


def left(run: Run, n: int) -> int:
    """Visual tokens after the last stage; tokens merged into one count as one."""
    return len(set(run.stages[-1].owner.tolist()) - {-1}) if run.stages else n


def settings_said(result: Result) -> str:
    """The settings of a run in words: "keep 64, N1 460"."""
    run = result.comparison.pruned
    if result.ask.chosen is not None:
        return f"{len(run.kept)} patches chosen by hand"
    said = f"keep {keep(result)}"
    return said if run.n1 is None else f"{said}, N1 {run.n1}"


def marked(comparison: Comparison, which: str) -> str:
    """An answer with the words that only it has in <mark>."""
    pieces = [
        escape(words) if kind == "same" else f"<mark>{escape(words)}</mark>"
        for kind, words in comparison.diff
        if kind in ("same", which)
    ]
    run = comparison.pruned if which == "pruned" else comparison.dense
    tail = "" if run.answer.finished else ' <span class="quiet" title="stopped at the token limit">…</span>'
    return " ".join(pieces) + tail or '<span class="quiet">(nothing)</span>'


def divergence(found: Divergence | None) -> str:
    """Both models' five likeliest next words where the answers part."""
    if found is None:
        return ""
    columns = "".join(
        f'<div><h4>{name}</h4><ol class="odds">{_odds(pairs)}</ol></div>'
        for name, pairs in (("pruned", found.pruned), ("dense", found.dense))
    )
    return (
        f'<details class="fold" open><summary>Where they part: word {found.word}</summary>'
        f'<p class="quiet">The five likeliest next tokens there, with their probabilities.</p>'
        f'<div class="two">{columns}</div></details>'
    )


def _odds(pairs: Sequence[tuple[str, float]]) -> str:
    return "".join(
        f'<li><span class="bar" style="width:{100 * p:.1f}%"></span><b>{escape(word)}</b><span>{p:.1%}</span></li>'
        for word, p in pairs
    )


def cost(comparison: Comparison, day: str = "") -> str:
    """Tokens entering each layer, what is computed from them, and the seconds that were measured."""
    dense, pruned = comparison.dense, comparison.pruned
    rows = [
        ("Prefill", "FLOPs", [f"{_short(run.flops)}" for run in (pruned, dense)], _ratio(dense.flops, pruned.flops)),
        (
            "KV cache",
            "",
            [f"{run.kv_bytes / 1e6:.2f} MB" for run in (pruned, dense)],
            _ratio(dense.kv_bytes, pruned.kv_bytes),
        ),
    ]
    computed = "".join(
        f"<tr><th>{name} {unit}</th>{''.join(f'<td>{v}</td>' for v in values)}<td>{ratio}</td></tr>"
        for name, unit, values, ratio in rows
    )
    measured = "".join(
        f"<tr><th>{said}</th><td>{_ms(pruned.seconds[part])}</td><td>{_ms(dense.seconds[part])}</td>"
        f"<td>{_ratio(dense.seconds[part], pruned.seconds[part])}</td></tr>"
        for part, said in PARTS.items()
        if part in pruned.seconds
    )
    kl = f" · mean KL {comparison.kl.mean():.3f} nats per answer token" if len(comparison.kl) else ""
    return (
        '<details class="fold cost" open><summary>Cost</summary>'
        f"{staircase(pruned, dense)}"
        "<table><thead><tr><th></th><th>pruned</th><th>dense</th><th></th></tr></thead>"
        f'<tbody><tr class="group"><th colspan="4"><i>computed</i></th></tr>{computed}'
        f'<tr class="group"><th colspan="4"><i>measured on {escape(comparison.device)}, '
        f"{escape(comparison.dtype)}{escape(', ' + day if day else '')}: {escape(comparison.model)}</i></th></tr>"
        f"{measured}</tbody></table>"
        '<p class="quiet">Distance of the two models: '
        f"{'same words' if comparison.same else 'different words'}{kl}</p></details>"
    )


def staircase(pruned: Run, dense: Run) -> str:
    """Tokens entering each decoder layer as two stepped lines."""
    layers, top = len(dense.alive), max(int(dense.alive.max()), 1)
    width, height = 300, 64

    def steps(alive: np.ndarray) -> str:
        points = []
        for layer, tokens in enumerate(alive.tolist()):
            y = 4 + (height - 8) * (1 - tokens / top)
            points += [f"{width * layer / layers:.1f},{y:.1f}", f"{width * (layer + 1) / layers:.1f},{y:.1f}"]
        return " ".join(points)

    said = f"Tokens entering each of {layers} layers: dense {dense.alive[0]}, pruned {_runs(pruned.alive)}."
    return (
        f'<figure class="stairs"><svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" '
        f'aria-label="{said}">'
        f'<polyline class="dense" points="{steps(dense.alive)}"/><polyline class="pruned" '
        f'points="{steps(pruned.alive)}"/></svg>'
        f"<figcaption>Tokens entering each of {layers} layers: <b class='dense'>{dense.alive[0]}</b> dense, "
        f"<b class='pruned'>{_runs(pruned.alive)}</b> pruned</figcaption></figure>"
    )


def _runs(alive: np.ndarray) -> str:
    """Distinct successive values, in order: "608 → 96"."""
    steps = [str(value) for i, value in enumerate(alive.tolist()) if i == 0 or value != alive[i - 1]]
    return " → ".join(steps if len(steps) <= 5 else [*steps[:2], "…", *steps[-2:]])


def _short(value: float) -> str:
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f}"


def _ms(seconds: float) -> str:
    if not seconds:
        return "–"
    return f"{1000 * seconds:.1f} ms" if seconds < 10 else f"{seconds:.1f} s"


def _ratio(dense: float, pruned: float) -> str:
    return f"{dense / pruned:.1f}×" if pruned > 0 and dense > 0 else ""


# --- take it away -----------------------------------------------------------------------------------------------------


def as_python(result: Result, model: str, files: Sequence[str]) -> str:
    """Code that makes the same comparison of files."""
    settings = {"method": result.ask.method, "keep": keep(result), **_knobs(result)}
    if result.ask.chosen is not None:
        head = "from trimviz.chosen import Chosen\n"
        settings = {"method": f"Chosen(tokens={result.ask.chosen})", "keep": len(result.ask.chosen)}
        said = ", ".join(f"{k}={v}" for k, v in settings.items())
    else:
        head = ""
        said = ", ".join(f"{name}={value!r}" for name, value in settings.items())
    if any(is_video(path) for path in files):
        said += f", frames={result.ask.frames}"
    if result.ask.before:
        said += f", before={list(result.ask.before)!r}"
    pictures = repr(files[0]) if len(files) == 1 else repr(list(files))
    how = "".join(f", {name}={value!r}" for name, value in result.ask.settings.items())
    return (
        f"{head}import trimviz\n\n"
        f"model = trimviz.load({model!r}, device={_device(result)!r}, dtype={result.comparison.dtype!r}{how})\n"
        f"result = trimviz.compare(model, {pictures}, {result.ask.question!r}, {said})\n"
        "print(result.pruned.kept.tolist(), result.badge)\n"
    )


def as_command(result: Result, model: str, files: Sequence[str]) -> str:
    """A command line that makes the same comparison of files and writes it to a file."""
    parts = ["python", "-m", "trimviz", "compare", files[0], result.ask.question, "--model", model]
    for path in files[1:]:
        parts += ["--also", path]
    for turn in result.ask.before:
        parts += ["--before", json.dumps(turn, ensure_ascii=False)]
    if result.ask.chosen is None:
        parts += ["--method", result.ask.method, "--keep", str(keep(result))]
        knobs = _knobs(result)
        if FIRST in knobs:
            parts += ["--n1", str(knobs.pop(FIRST))]
        for name, value in knobs.items():
            parts += ["--knob", f"{name}={json.dumps(value) if isinstance(value, bool) else value}"]
    else:
        parts += ["--tokens", ",".join(map(str, result.ask.chosen))]
    if any(is_video(path) for path in files):
        parts += ["--frames", str(result.ask.frames)]
    for name, chosen in result.ask.settings.items():
        parts += ["--setting", f"{name}={chosen}"]
    parts += ["--device", _device(result), "--dtype", result.comparison.dtype, "--json", "comparison.json"]
    return shlex.join(parts)


def _device(result: Result) -> str:
    return result.comparison.device


def keep(result: Result) -> int | float:
    """Visual tokens per layer that were asked for, which is what a slider, an address and a command say."""
    budget = result.comparison.pruned.budget or 0
    return int(budget) if budget == int(budget) else budget


def _knobs(result: Result) -> dict[str, Any]:
    """Settings that differ from the method's own."""
    pruner = result.ask.pruner()
    own = type(pruner)().settings()
    return {name: value for name, value in pruner.settings().items() if value != own[name]}


def takeaway(result: Result, model: str, files: Sequence[str]) -> str:
    """Buttons that copy the address, code and a command; the page's script does the copying."""
    buttons = [
        ("link", "Copy link", ""),
        ("python", "Copy as Python", as_python(result, model, files)),
        ("command", "Copy as command", as_command(result, model, files)),
    ]
    made = "".join(
        f'<button type="button" class="plain" data-copy="{kind}" data-text="{escape(text)}">{label}</button>'
        for kind, label, text in buttons
    )
    return f'<div class="take">{made}</div>'


# --- the table of methods ---------------------------------------------------------------------------------------------


def contest(rows: Sequence[tuple[str, str, Result | str | None]]) -> str:
    """A row for each (key, name, result): in place of a result a reason why it cannot run, or None while it waits."""
    results = [r for _, _, r in rows if isinstance(r, Result)]
    body = "".join(_row(name, r) for _, name, r in rows)
    head = "".join(
        f"<th>{said}</th>"
        for said in (
            "Method", "Kept", "Answer", "Agreement", "Mean KL, nats",
            "Visual tokens in, mean", "Visual tokens out, mean", "Visual tokens at the end",
            "Prefill FLOPs, computed", "Prefill ms, measured", "ms per token, measured",
        )
    )  # fmt: skip
    dense = ""
    if results:
        run = results[0].comparison.dense
        dense = _cells("Dense", thumb(run), run, "", "")
    table = (
        f'<div class="scroll"><table class="contest"><thead><tr>{head}</tr></thead><tbody>'
        f"{dense}{body}</tbody></table></div>"
        '<p class="quiet">Visual tokens in: those that enter a decoder layer, mean over layers, which is what the '
        "budget sets. Out: those left when the cut behind a layer is done, as some papers count. Veiled patches were "
        "dropped; half veiled ones were merged into one that is shown bright.</p>"
    )
    return table + (jaccard(rows) if len(results) > 1 else "")


def _row(name: str, result: Result | str | None) -> str:
    if result is None:
        return f'<tr><th>{escape(name)}</th><td colspan="10" class="quiet">waiting</td></tr>'
    if isinstance(result, str):
        return f'<tr><th>{escape(name)}</th><td colspan="10" class="quiet">{escape(result)}</td></tr>'
    c = result.comparison
    badge = f'<span class="badge {"same" if c.divergence is None else "differs"}">{escape(c.badge)}</span>'
    return _cells(name, thumb(c.pruned), c.pruned, badge, f"{c.kl.mean():.3f}" if len(c.kl) else "")


def _cells(name: str, picture: str, run: Run, badge: str, kl: str) -> str:
    cells = (
        picture,
        escape(run.answer.text),
        badge,
        kl,
        f"{run.counts['input']:.1f}",
        f"{run.counts['output']:.1f}",
        f"{run.counts['final']:.0f}",
        _short(run.flops),
        f"{1000 * (run.seconds['prefill'] + run.seconds['select']):.1f}",
        f"{1000 * run.seconds['decode']:.1f}" if run.seconds["decode"] else "–",
    )
    return f"<tr><th>{escape(name)}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def jaccard(rows: Sequence[tuple[str, str, Result | str | None]]) -> str:
    """Overlap of the kept patches of each pair of methods."""
    named = [(name, r.comparison.pruned) for _, name, r in rows if isinstance(r, Result)]
    table = overlap([run for _, run in named])
    head = "".join(f"<th>{escape(name)}</th>" for name, _ in named)
    body = "".join(
        f"<tr><th>{escape(name)}</th>"
        + "".join(f'<td class="heat" style="--heat:{value:.2f}">{value:.2f}</td>' for value in line)
        + "</tr>"
        for (name, _), line in zip(named, table.tolist(), strict=True)
    )
    return (
        "<h3>Kept patches in common</h3><p class='quiet'>Jaccard overlap: shared patches over all that "
        "either method keeps. Of merged patches only the one in whose place they stand counts as kept.</p>"
        f'<div class="scroll"><table class="jaccard"><thead><tr><th></th>{head}</tr></thead><tbody>'
        f"{body}</tbody></table></div>"
    )


def thumb(run: Run) -> str:
    """The panels of a run side by side as <img>, dropped cells veiled and merged ones half veiled."""
    pictures = "".join(veiled(panel, run.stages[-1] if run.stages else None) for panel in run.panels[:4])
    return f'<span class="thumbs">{pictures}</span>'


def veiled(panel: Panel, stage: Stage | None) -> str:
    """A panel as <img>: what a stage dropped dark, what it merged half dark; everything bright without a stage."""
    picture = panel.picture.convert("RGB")
    picture.thumbnail((THUMB, THUMB))
    shown = panel.token >= 0
    said = f"{shown.sum()} of {shown.sum()} patches kept"
    if stage is not None:
        bright = shown & stage.standing[panel.token]
        merged = shown & stage.kept[panel.token] & ~bright
        said = f"{bright.sum()} of {shown.sum()} patches kept" + (f", {merged.sum()} merged" if merged.any() else "")
        grey = picture.convert("L").convert("RGB")
        veiled = ImageEnhance.Brightness(grey).enhance(DROPPED)
        half = ImageEnhance.Brightness(Image.blend(grey, picture, 0.5)).enhance(MERGED)
        picture = Image.composite(
            picture, Image.composite(half, veiled, _mask(merged, picture)), _mask(bright, picture)
        )
    return f'<img src="{data_url(picture)}" alt="{escape(panel.name)}: {said}">'


def _mask(cells: np.ndarray, picture: Image.Image) -> Image.Image:
    return Image.fromarray((cells * 255).astype(np.uint8)).resize(picture.size, Image.Resampling.NEAREST)


def data_url(picture: Image.Image, quality: int = 82) -> str:
    """A picture as a WebP data URL."""
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "WEBP", quality=quality)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def filmstrip(video: Video) -> str:
    """The frames that are taken of a video, each with its time, in a row that scrolls."""
    shown = []
    for number, (frame, seconds) in enumerate(zip(video.frames, video.times, strict=True), 1):
        small = frame.copy()
        small.thumbnail((STRIP, STRIP))
        at = f"{int(seconds // 60)}:{seconds % 60:04.1f}"
        shown.append(
            f'<figure><img src="{data_url(small)}" alt="frame {number}"><figcaption>{at}</figcaption></figure>'
        )
    count = len(shown)
    said = "1 frame is taken of this video" if count == 1 else f"{count} frames are taken of this video"
    strip = f'<div class="strip" role="group" tabindex="0" aria-label="{said}">{"".join(shown)}</div>'
    return f'{strip}<p class="quiet">{said}; questions are about it until it is taken away.</p>'


def thumbnail(path: Path) -> str:
    """A small square of a picture as a data URL."""
    with Image.open(path) as picture:
        return data_url(ImageOps.fit(picture.convert("RGB"), (96, 96)), 80)
