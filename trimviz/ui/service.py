"""What the app asks of the model: runs that can be cancelled, and their results kept by bytes; no gradio in here.

A person's session holds no tensors: everything is found again by the picture's bytes, the question and the settings.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import math
from collections import OrderedDict
from collections.abc import Callable, Generator, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import RLock
from typing import Any

from PIL import Image

from trimviz import engine
from trimviz.chosen import Chosen
from trimviz.compare import (
    LIMIT,
    Comparison,
    Trace,
    answer,
    budget_of,
    check,
    judge,
    misfit,
    order_table,
    pick,
    with_size,
)
from trimviz.explain import Explanation, explain
from trimviz.models.base import Model
from trimviz.pruners import PRUNERS, OrderTable, Pruner
from trimviz.select import share
from trimviz.tiny.questions import unknown_words
from trimviz.types import Encoded, Look, Run, Video
from trimviz.ui.spaces import short_of_memory
from trimviz.video import FRAMES, is_video, open_source

BUNDLED = "tiny"
KEEP = "11.1%"  # of the visual tokens, until a person says otherwise
MOST_FRAMES = 64  # of a video
MOST_PICTURES = 8  # in one question
LONGEST = 2000  # characters of a question
FIRST = "n1"  # the knob that holds the size of a first stage, in every method that has one
CACHE_BYTES = 3 * 2**30
SESSIONS = 2000


@dataclass(frozen=True)
class Ask:
    """What a person wants to see; plain data, so that it can travel to another process."""

    picture: str  # path of a file, a picture or a video
    question: str
    method: str = next(iter(PRUNERS))
    knobs: Mapping[str, Any] = field(default_factory=dict)  # settings that differ from the method's own
    keep: float | str = KEEP  # visual tokens, or a share such as "11.1%"
    n1: float | int | None = None  # size of the first stage, for a method that has one; None is the method's own
    chosen: tuple[int, ...] | None = None  # tokens toggled by hand; they replace the method
    limit: int = LIMIT
    frames: int = FRAMES  # how many are taken of a video
    settings: Mapping[str, str] = field(default_factory=dict)  # of the model, that differ from its family's own
    more: tuple[str, ...] = ()  # files of further pictures that the question is about
    before: tuple[tuple[str, str], ...] = ()  # earlier turns of the conversation, each a question and its answer

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that the question is about."""
        return self.picture, *self.more

    @property
    def seen(self) -> Hashable:
        """What the model looks at: the bytes of the files, and what decides on the pixels and tokens made of them."""
        frames = self.frames if any(is_video(path) for path in self.files) else None
        return tuple(fingerprint(path) for path in self.files), frames, _plain(self.settings)

    @property
    def told(self) -> Hashable:
        """What the model looks at and reads."""
        return self.seen, self.before, self.question

    def pruner(self) -> Pruner:
        """The method with its settings; ValueError for one that does not exist or a value out of range."""
        if self.chosen is not None:
            if not self.chosen:
                raise ValueError("No patch is kept; choose at least one.")
            return Chosen(tokens=tuple(sorted(set(self.chosen))))
        kind = type(pick(self.method, {}))
        settings = dict(self.knobs)
        if self.n1 is not None and FIRST in {knob.name for knob in kind.knobs()}:
            settings[FIRST] = _size(self.n1)
        return kind.make(settings)

    def budget(self, n: int) -> float:
        """Visual tokens per layer out of n; ValueError for less than one or more than n."""
        if self.chosen is not None:
            return float(len(set(self.chosen)))
        budget = budget_of(self.keep, n)
        if isinstance(self.keep, int | float) and self.keep > n:
            raise ValueError(f"The picture has {n} visual tokens, so keep lies between 1 and {n}; got {self.keep:g}.")
        return budget


@dataclass(frozen=True, eq=False)
class Step:
    """How far a run is; the last one holds the comparison."""

    says: str = ""  # what is going on, in words
    n: int = 0  # visual tokens, once known
    pruned: str | None = None  # the answer so far
    dense: str | None = None
    view: Sight | None = None  # what the pruned run kept, as soon as it is known
    result: Result | None = None


@dataclass(frozen=True, eq=False)
class Sight:
    """What a picture of the selection needs, before and after there is something to compare with."""

    run: Run
    table: OrderTable | None
    originals: tuple[Image.Image, ...]
    default: Mapping[str, int]  # {"n1", "k"}: the method's own first stage and the usual share


@dataclass(frozen=True, eq=False)
class Result:
    """All that the page shows of one run; numpy and pictures."""

    ask: Ask
    comparison: Comparison
    view: Sight
    explanation: Explanation | None
    day: str = field(default_factory=lambda: datetime.date.today().isoformat())  # on which it was run


class Store:
    """Least recently used things go first once their bytes exceed a limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._things: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = RLock()

    def get(self, key: Hashable) -> Any:
        """The thing, or None."""
        with self._lock:
            if key in self._things:
                self._things.move_to_end(key)
            return self._things.get(key)

    def put(self, key: Hashable, thing: Any) -> None:
        """Keep a thing, and drop old ones until the rest fits; the newest stays in any case."""
        with self._lock:
            self._things[key] = thing
            self._things.move_to_end(key)
            while len(self._things) > 1 and size_of(list(self._things.values())) > self.limit:
                self._things.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._things.clear()

    def __len__(self) -> int:
        return len(self._things)


class Service:
    """One model for the whole process, the runs that people ask of it, and which of them are still wanted."""

    def __init__(self, model: Model, note: str = "", cache_bytes: int = CACHE_BYTES) -> None:
        self.model = model
        self.note = note  # why it is this model, where the person asked for another
        self.store = Store(cache_bytes)
        self._epochs: OrderedDict[str, int] = OrderedDict()
        self._lock = RLock()

    # --- last one wins --------------------------------------------------------------------------------------------

    def bump(self, session: str, turn: int | None = None) -> int:
        """Start a new epoch: every run of this session that began earlier ends within one token.

        turn: what the page itself counts, so that a click which was overtaken on its way ends nothing; without it, the
        next number.
        """
        with self._lock:
            last = self._epochs.pop(session, 0)
            epoch = last + 1 if turn is None else turn
            self._epochs[session] = max(last, epoch)
            while len(self._epochs) > SESSIONS:
                self._epochs.popitem(last=False)
            return epoch

    def wanted(self, session: str, epoch: int) -> bool:
        """Whether no newer epoch began."""
        return self._epochs.get(session, epoch) == epoch

    # --- what is computed once ------------------------------------------------------------------------------------

    def asked_of(self, ask: Ask) -> Model:
        """The model under the settings that a person chose."""
        return self.model.set(**ask.settings)

    def ensure(self, ask: Ask) -> Encoded:
        """The prompt of a picture and a question, computed where it is not at hand; ValueError for unusable ones."""
        if len(ask.question) > LONGEST:
            raise ValueError(f"The question has {len(ask.question):,} characters; at most {LONGEST:,} are taken.")
        if len(ask.files) > MOST_PICTURES:
            raise ValueError(f"The question is about {len(ask.files)} pictures; at most {MOST_PICTURES} are taken.")
        key = ("prompt", ask.told)
        prompt = self.store.get(key)
        if prompt is None:
            look = self._look(ask)
            with self.model.lock:
                prompt = self.asked_of(ask).prompt(look, ask.question, ask.before)
            self.store.put(key, prompt)
        return prompt

    def _look(self, ask: Ask) -> Look:
        key = ("look", ask.seen)
        look = self.store.get(key)
        if look is None:
            opened = [open_source(path, ask.frames) for path in ask.files]
            with self.model.lock:
                if not self.model.warm:
                    self.model.look(opened)  # a first call pays for what later ones find ready
                    engine.warm_up(self.model)
                look = self.asked_of(ask).look(opened)
            self.store.put(key, look)
        return look

    def table(self, ask: Ask, prompt: Encoded, n1: int | None) -> OrderTable | None:
        """Orders of the method, that of first-stage size n1 among them; None without any or for tokens set by hand."""
        if ask.chosen is not None:
            return None
        key = ("table", ask.told, ask.method, _plain(ask.knobs))
        found = self.store.get(key)
        if found is None:
            found = (order_table(self.asked_of(ask), prompt, replace(ask, n1=None).pruner()),)
            self.store.put(key, found)
        table = found[0]
        if table is None or n1 is None:
            return table
        return with_size(self.asked_of(ask), prompt, ask.pruner(), table, n1)

    @contextmanager
    def sparing(self) -> Iterator[None]:
        """Where memory runs out inside, everything kept is forgotten, so that the next request finds room."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if short_of_memory(error):
                self.store.clear()
                self.model.free()
            raise

    # --- runs -----------------------------------------------------------------------------------------------------

    def run(self, ask: Ask, stop: engine.Stop = lambda: False) -> Iterator[Step]:
        """Answer pruned, then dense, then set both side by side; what was computed before is not computed again.

        Ends early, without a result, once `stop()` is true. Raises ValueError, in one sentence, for bad input.
        """
        with self.sparing():
            yield from self._run(ask, stop)

    def _run(self, ask: Ask, stop: engine.Stop) -> Iterator[Step]:
        if not ask.picture:
            raise ValueError("There is no picture; choose an example or upload one.")
        done = self.recall(ask)
        if done is not None:
            yield _last(done)
            return
        yield Step("looking at the picture")
        pruner = ask.pruner()
        model = self.asked_of(ask)
        check(pruner, model)
        prompt = self.ensure(ask)
        budget = ask.budget(prompt.n)
        yield Step("answering from the kept patches", prompt.n)
        try:
            pruned = yield from self._answer(model, prompt, pruner, budget, ask.limit, stop)
            look = self._look(ask)
            view = Sight(
                pruned.run, self.table(ask, prompt, pruned.run.n1), originals_of(look), self._default(ask, prompt.n)
            )
            dense = yield from self._dense(ask, prompt, stop, pruned.run.answer.text, view)
        except engine.Cancelled:
            return
        if stop():
            return
        comparison = judge(model, prompt, dense, pruned)
        result = Result(ask, comparison, view, explain(model, look, prompt, pruner, pruned.run))
        self.remember(result)
        yield _last(result)

    def _default(self, ask: Ask, n: int) -> dict[str, int]:
        """Where the method itself would put the sliders."""
        own = type(replace(ask, chosen=None).pruner())().settings()
        return {"n1": share(own.get(FIRST, 1.0), n), "k": int(budget_of(KEEP, n))}

    def _answer(
        self, model: Model, prompt: Encoded, pruner: Pruner, budget: float, limit: int, stop: engine.Stop
    ) -> Generator[Step, None, Trace]:
        for partial in answer(model, prompt, pruner, budget, limit, stop):
            if stop():
                break
            yield Step("answering from the kept patches", prompt.n, pruned=partial.text)
            if partial.trace is not None:
                return partial.trace
        raise engine.Cancelled

    def _dense(
        self, ask: Ask, prompt: Encoded, stop: engine.Stop, said: str, view: Sight | None
    ) -> Generator[Step, None, Trace]:
        key = _dense_key(ask)
        trace: Trace | None = self.store.get(key)
        if trace is not None:
            return trace
        yield Step("answering from all patches", prompt.n, pruned=said, view=view)
        for partial in answer(self.model, prompt, limit=ask.limit, stop=stop):
            yield Step("answering from all patches", prompt.n, pruned=said, dense=partial.text)
            trace = partial.trace
        if trace is None or stop():
            raise engine.Cancelled
        self.store.put(key, trace)
        return trace

    def dense(self, ask: Ask, prompt: Encoded, stop: engine.Stop = lambda: False) -> Trace | None:
        """The answer from all patches, given once a picture and question; None where it was stopped."""
        steps = self._dense(ask, prompt, stop, "", None)
        try:
            while True:
                next(steps)
        except StopIteration as end:
            return end.value
        except engine.Cancelled:
            return None

    def has_dense(self, ask: Ask) -> bool:
        """Whether the dense answer of a request is at hand."""
        return self.store.get(_dense_key(ask)) is not None

    def said(self, ask: Ask) -> str | None:
        """The dense answer to a request that was answered in full, None where it was not."""
        return self.store.get(("said", ask.told, ask.limit)) if ask.picture else None

    def recall(self, ask: Ask) -> Result | None:
        """The result of an earlier run that asked for the same, None where there is none."""
        return self.store.get(key_of(ask)) if ask.picture else None

    def remember(self, result: Result) -> None:
        """Keep a result for `recall`."""
        self.store.put(key_of(result.ask), result)
        self.store.put(("said", result.ask.told, result.ask.limit), result.comparison.dense.answer.text)

    def finish(self, ask: Ask, stop: engine.Stop = lambda: False) -> Result:
        """`run` to its end; `engine.Cancelled` where it was stopped."""
        result = None
        for step in self.run(ask, stop):
            result = step.result
        if result is None:
            raise engine.Cancelled
        return result

    # --- what the model is ----------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """What `trimviz.load` takes."""
        return self.model.repo

    @property
    def bundled(self) -> bool:
        """Whether it is the small model that comes with the project."""
        return self.name == BUNDLED

    @property
    def device(self) -> str:
        return str(self.model.device)

    @property
    def dtype(self) -> str:
        return str(self.model.dtype).removeprefix("torch.")

    def methods(self) -> dict[str, str]:
        """{method: why it cannot run on this model, "" where it can}."""
        return {key: misfit(pruner, self.model) for key, pruner in PRUNERS.items()}

    def unknown(self, question: str) -> list[str]:
        """Words that the bundled model has never seen; none for any other model."""
        return unknown_words(question) if self.bundled else []


def _last(result: Result) -> Step:
    comparison = result.comparison
    return Step("", comparison.n, comparison.pruned.answer.text, comparison.dense.answer.text, result.view, result)


def _dense_key(ask: Ask) -> Hashable:
    return ("dense", ask.told, ask.limit)


def key_of(ask: Ask) -> Hashable:
    """What makes two requests the same."""
    return (
        "result",
        ask.told,
        ask.method,
        _plain(ask.knobs),
        str(ask.keep),
        ask.n1,
        ask.chosen,
        ask.limit,
    )


def originals_of(look: Look) -> tuple[Image.Image, ...]:
    """The pictures as they were given; of a video its frames, where each has a panel of its own."""
    pictures = [p for p in look.pictures if isinstance(p, Image.Image)]
    frames = [frame for p in look.pictures if isinstance(p, Video) for frame in p.frames]
    return tuple(pictures or (frames if len(frames) == len(look.panels) else ()))


def _plain(knobs: Mapping[str, Any]) -> str:
    return json.dumps(dict(knobs), sort_keys=True)


def _size(value: float | int) -> float | int:
    """A first-stage size as the knob takes it: a share up to 1, or a whole number of tokens."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise ValueError(f"Expected the size of the first stage to be a share or a number of tokens; got {value!r}.")
    return int(value) if value > 1 or isinstance(value, int) else float(value)


def fingerprint(path: str) -> str:
    """The SHA-256 of a file's bytes; ValueError where there is no such file."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except FileNotFoundError:
        raise ValueError("The picture is no longer on the server; choose or upload it again.") from None


def size_of(thing: Any, seen: set[int] | None = None) -> int:
    """Bytes of the arrays, tensors, pictures and texts inside a thing, each once; functions and models are free."""
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return 0
    seen.add(id(thing))
    if hasattr(thing, "nbytes"):
        return int(thing.nbytes)
    if isinstance(thing, str | bytes):
        return len(thing)
    if isinstance(thing, Image.Image):
        return thing.width * thing.height * len(thing.getbands())
    parts: Callable[[], Any]
    if isinstance(thing, Mapping):
        parts = thing.values
    elif isinstance(thing, list | tuple | set | frozenset):
        return sum(size_of(part, seen) for part in thing)
    elif dataclasses.is_dataclass(thing) or (hasattr(thing, "__dict__") and not callable(thing)):
        parts = vars(thing).values
    else:
        return 0
    return sum(size_of(part, seen) for part in parts())
