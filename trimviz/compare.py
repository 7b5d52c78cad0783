"""Dense and pruned runs of one prompt side by side: answers, agreement, cost, and how far pruning moved the model.

Torch ends here: what leaves is `Run` and `Comparison`, in numpy.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from trimviz import engine
from trimviz.models.base import Model
from trimviz.pruners import DEFAULT, PRUNERS, OrderTable, Pruner
from trimviz.types import Answer, Encoded, Run, Video
from trimviz.video import FRAMES, open_source

LIMIT = 64  # answer tokens, unless told otherwise
Picture = str | Path | Image.Image | Video
Pictures = Picture | Sequence[Picture]
OnText = Callable[[str, str], None]  # (which run, text so far)


@dataclass(frozen=True, eq=False)
class Trace:
    """A finished run with what a comparison still needs of it."""

    run: Run
    logits: Tensor  # (A, V) float32 on the CPU, that chose each answer token
    state: engine.Prefilled


@dataclass(frozen=True, eq=False)
class Partial:
    """An answer on its way; `trace` comes with the last one."""

    text: str
    trace: Trace | None = None


@dataclass(frozen=True)
class Divergence:
    """Where two answers part, and what both models would have said there."""

    token: int  # index of the first differing token
    word: int  # number of the word it is in, counted from 1
    dense: tuple[tuple[str, float], ...]  # the five likeliest next tokens and their probabilities
    pruned: tuple[tuple[str, float], ...]


@dataclass(frozen=True, eq=False)
class Comparison:
    """What pruning changed."""

    model: str
    revision: str  # commit of the checkpoint on the Hub, "" for a folder
    device: str
    dtype: str
    settings: Mapping[str, str]  # of the model family, all of them
    processor: Mapping[str, Any]  # settings of the image processor
    prompt: str  # as the chat template wrote it, one placeholder a picture
    question: str
    before: tuple[tuple[str, str], ...]  # earlier turns of the conversation, each a question and its answer
    n: int  # visual tokens, N
    dense: Run
    pruned: Run
    same: bool  # the same words
    diff: tuple[tuple[str, str], ...]  # (kind, words): "same", "dense" (only there), "pruned" (only there)
    divergence: Divergence | None
    dense_under_pruned: np.ndarray  # (A,) log-probability of each dense answer token under the pruned model
    kl: np.ndarray  # (A,) KL divergence in nats from dense to pruned at each dense answer token

    @property
    def asked(self) -> str:
        """The question, behind what was said before it."""
        return " · ".join([*(f"{question} – {said}" for question, said in self.before), self.question])

    @property
    def badge(self) -> str:
        """The outcome in words."""
        return "same answer" if self.divergence is None else f"differs at word {self.divergence.word}"


def answer(
    model: Model,
    prompt: Encoded,
    pruner: Pruner | None = None,
    budget: float | None = None,
    limit: int = LIMIT,
    stop: engine.Stop = lambda: False,
) -> Iterator[Partial]:
    """Answer a prompt, token by token; the last item holds the trace. `pruner` None runs dense.

    Raises `engine.Cancelled` where `stop()` becomes true before the first token; later, the answer ends unfinished.
    """
    with model.lock:
        state = engine.prefill(model, prompt, pruner, budget, stop)
        ids: list[int] = []
        logits: list[Tensor] = []
        times = [model.clock()]
        steps = engine.stream(model, state, limit, stop)
    while True:
        with model.lock:
            step = next(steps, None)
            if step is not None:
                times.append(model.clock())
        if step is None:
            break
        ids.append(step[0])
        logits.append(step[1].cpu())
        yield Partial(model.decode(ids))
    stacked = torch.stack(logits) if logits else torch.empty(0, len(state.logits))
    chosen = stacked.log_softmax(-1)[torch.arange(len(ids)), torch.tensor(ids, dtype=torch.long)]
    finished = len(ids) < limit and not stop()
    seconds = {
        **state.seconds,
        "first token": sum(state.seconds.values()),
        "decode": (times[-1] - times[1]) / max(1, len(ids) - 1) if len(ids) > 1 else 0.0,
    }
    run = Run(
        method=pruner.key if pruner else "dense",
        knobs=pruner.settings() if pruner else {},
        budget=budget if pruner else None,
        answer=Answer(tuple(ids), model.decode(ids), chosen.numpy(), finished),
        stages=state.stages,
        alive=state.alive,
        visual_alive=state.visual_alive,
        seconds=seconds,
        flops=prefill_flops(model, state.alive),
        kv_bytes=kv_bytes(model, state.alive),
        panels=prompt.panels,
    )
    yield Partial(run.answer.text, Trace(run, stacked, state))


def finish(partials: Iterator[Partial], on_text: Callable[[str], None] = lambda text: None) -> Trace:
    """Follow an answer to its end."""
    for part in partials:
        on_text(part.text)
        if part.trace is not None:
            return part.trace
    raise RuntimeError("The answer ended without a trace.")


def judge(model: Model, prompt: Encoded, dense: Trace, pruned: Trace) -> Comparison:
    """Set two runs of one prompt side by side."""
    said, short = dense.run.answer, pruned.run.answer
    with model.lock:
        moved = engine.score(model, pruned.state, said.ids).cpu()
    own, other = dense.logits.log_softmax(-1), moved.log_softmax(-1)
    ids = torch.tensor(said.ids, dtype=torch.long)
    return Comparison(
        model=model.repo,
        revision=model.revision,
        device=str(model.device),
        dtype=str(model.dtype).removeprefix("torch."),
        settings=model.settings,
        processor=model.processor.image_processor.to_dict(),
        prompt=prompt.text,
        question=prompt.asked,
        before=prompt.before,
        n=prompt.n,
        dense=dense.run,
        pruned=pruned.run,
        same=said.text == short.text,
        diff=word_diff(said.text, short.text),
        divergence=_divergence(model, dense, pruned),
        dense_under_pruned=other[torch.arange(len(ids)), ids].numpy(),
        kl=(own.exp() * (own - other)).sum(-1).clamp_min(0).numpy(),
    )


def compare(
    model: Model,
    picture: Pictures,
    question: str,
    method: str | Pruner = DEFAULT,
    keep: float | str = "11.1%",
    *,
    limit: int = LIMIT,
    frames: int = FRAMES,
    before: Sequence[tuple[str, str]] = (),
    on_text: OnText = lambda which, text: None,
    **knobs: Any,
) -> Comparison:
    """Answer one question about a picture dense and pruned.

    keep: visual tokens per decoder layer, mean over layers at their input, or a share such as "11.1%".
    knobs: settings of the method, by name. frames: how many to take of a video file. before: earlier turns of the
    conversation, each a question and its answer.
    on_text("dense" or the method's key, text so far) follows both answers.
    Raises ValueError, in one sentence, for bad input.
    """
    pruner = method if isinstance(method, Pruner) else pick(method, knobs)
    prompt = ask(model, picture, question, frames, before)
    return contest(model, prompt, [pruner], keep, limit=limit, on_text=on_text)[0]


def ask(
    model: Model, picture: Pictures, question: str, frames: int = FRAMES, before: Sequence[tuple[str, str]] = ()
) -> Encoded:
    """Open pictures or videos and encode a question about them; everything that methods share is computed here, once.

    frames: how many to take of a video file. before: earlier turns of the conversation, each a question and its answer.
    """
    several = [picture] if isinstance(picture, str | Path | Image.Image | Video) else picture
    pictures = [open_source(p, frames) for p in several]
    with model.lock:
        return model.encode(pictures, question, before)


def read_turns(text: str) -> tuple[tuple[str, str], ...]:
    """Earlier turns of a conversation out of JSON, [[question, answer], ...]; ValueError for anything else."""
    try:
        return turns_of(json.loads(text or "[]"))
    except json.JSONDecodeError:
        return turns_of(text)


def turns_of(found: Any) -> tuple[tuple[str, str], ...]:
    """Earlier turns of a conversation, each a question and its answer; ValueError for anything else."""
    try:
        if all(isinstance(asked, str) and isinstance(said, str) for asked, said in found):
            return tuple((asked, said) for asked, said in found)
    except (TypeError, ValueError):
        pass
    shown = str(found)[:60]
    raise ValueError(f'Expected earlier turns as JSON such as [["what is this?", "a dog"]]; got {shown!r}.')


def contest(
    model: Model,
    prompt: Encoded,
    pruners: Sequence[Pruner],
    keep: float | str,
    *,
    limit: int = LIMIT,
    on_text: OnText = lambda which, text: None,
) -> list[Comparison]:
    """Several methods on one prompt, each set beside the same dense run; arguments as in `compare`."""
    for pruner in pruners:
        check(pruner, model)
    budget = budget_of(keep, prompt.n)
    with model.lock:
        engine.warm_up(model)
    traces = [finish(answer(model, prompt, p, budget, limit), partial(on_text, p.key)) for p in pruners]
    dense = finish(answer(model, prompt, limit=limit), partial(on_text, "dense"))
    return [judge(model, prompt, dense, trace) for trace in traces]


def overlap(runs: Sequence[Run]) -> np.ndarray:
    """(R, R) Jaccard overlap of the visual tokens that runs keep through their last stage.

    Of merged tokens the one in whose place they stand counts; two runs that keep nothing agree.
    """
    kept = [set(run.standing.tolist()) for run in runs]
    return np.array([[len(a & b) / len(a | b) if a | b else 1.0 for b in kept] for a in kept])


def pick(method: str, knobs: Mapping[str, Any]) -> Pruner:
    """A method by key with its settings; ValueError lists the keys."""
    if method not in PRUNERS:
        raise ValueError(f"There is no method {method!r}; choose one of {', '.join(PRUNERS)}.")
    return PRUNERS[method].make(knobs)


def check(pruner: Pruner, model: Model) -> None:
    """ValueError where the model does not offer what the method needs."""
    reason = misfit(type(pruner), model)
    if reason:
        raise ValueError(reason)


def misfit(pruner: type[Pruner], model: Model | type[Model]) -> str:
    """Why a method cannot run on a checkpoint, or on any of a family; "" where it can."""
    lacking = sorted(pruner.needs - model.provides)
    if not lacking:
        return ""
    needed = " and ".join(lacking).replace("_", " ")
    return f"{pruner.name} needs {needed}, which {model.name} does not offer; choose another method."


def budget_of(keep: float | str, n: int) -> float:
    """Visual tokens to keep, from a number or a share such as "11.1%" of n; ValueError for anything below 1."""
    text = str(keep).strip()
    try:
        value = float(text[:-1]) * n / 100 if text.endswith("%") else float(text)
    except ValueError:
        value = float("nan")
    if text.endswith("%"):
        value = float(round(value))
    if not 1 <= value < float("inf"):
        raise ValueError(
            f"Expected keep to be a number of visual tokens from 1 to {n} or a share such as 11.1%; got {keep!r}."
        )
    return min(value, float(n))


@torch.inference_mode()
def order_table(model: Model, prompt: Encoded, pruner: Pruner) -> OrderTable | None:
    """All orders of a method at once; every selection in it is the one that a run would use.

    None where the method has none, and where it is asked tile by tile.
    """
    if model.apart_by(prompt.vision) is not None:
        return None
    with model.lock:
        return pruner.order_table(engine.door(prompt))


def with_size(model: Model, prompt: Encoded, pruner: Pruner, table: OrderTable, n1: int) -> OrderTable:
    """A table with the order of one more first-stage size, that of `pruner`; as it is where it has it or needs none."""
    if len(table.sizes) == 1 or n1 in table.sizes:
        return table
    with model.lock:
        cut = pruner.cut(engine.door(prompt), n1)
    assert cut.order is not None  # a method with a table picks in an order
    order = cut.anchor[cut.order.argsort()].cpu().numpy()
    at = int(np.searchsorted(table.sizes, n1))
    return OrderTable(np.insert(table.sizes, at, n1), table.first, (*table.orders[:at], order, *table.orders[at:]))


def word_diff(dense: str, pruned: str) -> tuple[tuple[str, str], ...]:
    """Both answers as stretches of words: ("same", words), ("dense", words), ("pruned", words)."""
    a, b = dense.split(), pruned.split()
    out: list[tuple[str, str]] = []
    for kind, a0, a1, b0, b1 in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if kind == "equal":
            out.append(("same", " ".join(a[a0:a1])))
            continue
        if a1 > a0:
            out.append(("dense", " ".join(a[a0:a1])))
        if b1 > b0:
            out.append(("pruned", " ".join(b[b0:b1])))
    return tuple(out)


def _divergence(model: Model, dense: Trace, pruned: Trace) -> Divergence | None:
    a, b = dense.run.answer.ids, pruned.run.answer.ids
    if a == b:
        return None
    token = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    if token == min(len(a), len(b)) and not (dense.run.answer.finished and pruned.run.answer.finished):
        return None  # one was cut short and agrees as far as it goes
    with model.lock:
        rows = [
            trace.logits[token] if token < len(trace.logits) else engine.score(model, trace.state, [*ids, 0])[-1].cpu()
            for trace, ids in ((dense, a), (pruned, b))
        ]
    word = len(model.decode(a[:token]).split()) + 1
    return Divergence(token, word, *(_likeliest(model, row) for row in rows))


def _likeliest(model: Model, logits: Tensor, count: int = 5) -> tuple[tuple[str, float], ...]:
    best = logits.softmax(-1).topk(min(count, len(logits)))
    tokenizer = model.tokenizer
    words = (tokenizer.decode([i]).strip() or tokenizer.convert_ids_to_tokens(i) for i in best.indices.tolist())
    return tuple(zip(words, best.values.tolist(), strict=True))


def prefill_flops(model: Model, alive: np.ndarray) -> float:
    """Floating-point operations of the decoder layers in prefill, for tokens entering each layer (L,).

    Two for each weight and token, and two each for QK and AV over the causal half of the token pairs.
    """
    query_heads, _, width = model.heads
    weights = np.array(model.layer_weights, dtype=float)
    return float((2 * weights * alive + 2 * query_heads * width * alive.astype(float) ** 2).sum())


def kv_bytes(model: Model, alive: np.ndarray) -> int:
    """Bytes of keys and values after prefill, for tokens entering each layer (L,)."""
    _, kv_heads, width = model.heads
    return int(alive.sum()) * 2 * kv_heads * width * model.dtype.itemsize
