"""Trains the bundled model from nothing, stage by stage; seeded, resumable, the same code on a laptop and on a GPU."""

import ctypes
import json
import math
import multiprocessing
import os
import sys
import tempfile
import time
import zlib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    track,
)
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn import functional as F
from torch.utils.data import DataLoader
from transformers import CLIPVisionModel, LlavaForConditionalGeneration

from . import lessons
from .dialogue import HEAD, IGNORE, NUMBER, Talk, pack, pairs
from .heads import MarkHeads, PatchHeads, WordHeads
from .questions import KINDS, quiz
from .shape import IMAGE_MEAN, IMAGE_STD, build
from .world import Scene, paint, scene, seeds


@dataclass(frozen=True)
class Stage:
    name: str
    steps: int
    batch: int  # crops or pictures a step
    rate: float  # peak learning rate
    scenes: int  # painted beforehand and cached; 0: new ones for every step
    horizon: int = 0  # steps that the cosine is laid out for; 0: as many as there are
    side: int = 336  # pixels of a crop
    spread: int = 0  # how far from its middle, in pixels, a crop may show the thing it was made for
    shares: tuple[int, ...] = (10, 10, 15, 11, 11, 15, 13, 3, 12)  # how often each of KINDS is asked
    pairs: int = 0  # question-answer pairs a picture; 0: the tower learns alone
    marks: float = 0.3  # weight of what phrases point at, beside the answers
    pool: int = 1  # visual tokens are averaged over pool x pool cells
    most: int = 6  # things in a scene
    tower: float = 1.0  # the tower's rate as a share of the others'; 0: it is frozen
    align: bool = False  # the projector alone learns to put visual tokens where the words for them are
    last: bool = False  # also teach the tower's last layer, which LLaVA leaves out


@dataclass(frozen=True)
class Preset:
    stages: tuple[Stage, ...]
    workers: int  # processes that prepare batches; 0 prepares them where they are learned from
    twins: int = 1  # processes of one thread that share each batch: on a few cores they make more than threads do
    half: bool = False  # products in bfloat16, weights in float32
    every: int = 200  # steps between checkpoints and checks


HARD = (7, 8, 20, 8, 7, 20, 11, 2, 17)  # counts, relations and captions are asked for more often
TOGETHER = Stage("further", steps=560, batch=16, rate=7e-4, scenes=0, pairs=24, tower=0.5, shares=HARD)
PRESETS = {
    "cpu": Preset(
        stages=(
            Stage("crops", steps=1000, batch=128, rate=2.5e-3, scenes=8000, side=112, spread=56),
            Stage("close", steps=450, batch=192, rate=1.5e-3, scenes=8000, side=84, spread=28),
            Stage("pictures", steps=160, batch=16, rate=8e-4, scenes=8000, last=True),
            Stage("again", steps=240, batch=16, rate=1.2e-3, scenes=8000),
            Stage("crowd", steps=1300, batch=16, rate=1.5e-3, scenes=9000, most=14),
            Stage("align", steps=600, batch=16, rate=3e-3, scenes=600, align=True),
            Stage("few", steps=200, batch=12, rate=2e-3, scenes=8000, pairs=24, pool=2, most=2, tower=0.0),
            Stage("talk", steps=1060, batch=24, rate=2e-3, scenes=8000, pairs=24, pool=2, tower=0.0),
            Stage(
                "whole",
                steps=120,
                batch=16,
                rate=8e-4,
                scenes=8000,
                pairs=24,
                tower=0.0,
                shares=HARD,
            ),
        ),
        workers=0,
        twins=2,
    ),
    # What a model that came out of "cpu" goes on with: everything at once, on processors that multiply bfloat16 fast.
    "cpu-further": Preset(
        stages=(
            TOGETHER,
            replace(TOGETHER, name="last", steps=220, rate=6e-4, shares=(6, 12, 20, 6, 8, 30, 10, 3, 15)),
            replace(TOGETHER, name="longer", steps=600, shares=(6, 10, 20, 6, 7, 30, 8, 2, 19)),
        ),
        workers=0,
        twins=2,
        every=100,
        half=True,
    ),
    # The same lessons, longer and on new scenes at every step; never timed, meant for one large GPU and some 14 cores.
    "gpu": Preset(
        stages=(
            Stage("crops", steps=2500, batch=512, rate=2.5e-3, scenes=20000, side=112, spread=56),
            Stage("close", steps=1000, batch=768, rate=1.5e-3, scenes=20000, side=84, spread=28),
            Stage("crowd", steps=2500, batch=64, rate=1.5e-3, scenes=20000, most=14),
            Stage("pictures", steps=500, batch=64, rate=8e-4, scenes=20000, last=True),
            Stage("align", steps=600, batch=32, rate=3e-3, scenes=2000, align=True),
            Stage("few", steps=400, batch=32, rate=2e-3, scenes=0, pairs=32, most=2, tower=0.0),
            Stage("whole", steps=4000, batch=32, rate=2e-3, scenes=0, pairs=32, tower=0.0),
            Stage("together", steps=1000, batch=32, rate=3e-4, scenes=0, pairs=32),
        ),
        workers=14,
        half=True,
    ),
}
WORDS_A_PAIR = 11  # a sequence has room for this many words times its pairs
CHECKED = 64  # tune scenes that a check asks about


def look(tower: CLIPVisionModel, patches: lessons.Patches, layers: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The hidden states (B, 1 + P, c) after `layers` layers, and after one layer less, for windows of pictures."""
    pixels = torch.tensor(patches.pixels, device=device).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(v, device=device).view(3, 1, 1) for v in (IMAGE_MEAN, IMAGE_STD))
    cells = torch.from_numpy(patches.rows * lessons.GRID + patches.columns).to(device)
    known = tower.embeddings
    place = known.position_embedding.weight
    seen = known.patch_embedding((pixels - mean) / std).flatten(2).transpose(1, 2) + place[1 + cells]
    cls = (known.class_embedding + place[0]).expand(len(seen), 1, -1)
    hidden = before = tower.pre_layrnorm(torch.cat((cls, seen), 1))
    for layer in tower.encoder.layers[:layers]:
        before, hidden = hidden, layer(hidden, None)
    return hidden, before


def train(
    preset: str,
    folder: Path,
    seed: int = 0,
    until: str | None = None,
    device: str = "auto",
    start: Path | None = None,
) -> LlavaForConditionalGeneration:
    """Runs the stages of a preset, from the last checkpoint in `folder` where there is one.

    `start`: a model saved earlier, whose weights the first stage begins with.
    """
    if preset not in PRESETS:
        raise ValueError(f"Unknown preset {preset!r}: expected one of {', '.join(PRESETS)}.")
    folder.mkdir(parents=True, exist_ok=True)
    twins = PRESETS[preset].twins
    if twins > 1:
        with tempfile.TemporaryDirectory() as meeting:
            torch.multiprocessing.spawn(
                _twin, (twins, f"file://{meeting}/twins", preset, folder, seed, until, start), nprocs=twins
            )
    return _stages(preset, folder, seed, until, device, start)


def _twin(
    rank: int, twins: int, meeting: str, preset: str, folder: Path, seed: int, until: str | None, start: Path | None
) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=twins)
    _stages(preset, folder, seed, until, "cpu", start)
    dist.destroy_process_group()


def _twins() -> tuple[int, int]:
    """Which of how many processes this is."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def _stages(
    preset: str, folder: Path, seed: int, until: str | None, device: str, start: Path | None
) -> LlavaForConditionalGeneration:
    _keep_memory()
    place = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    torch.manual_seed(seed)
    model = build().to(place)
    if start is not None:
        model.load_state_dict(LlavaForConditionalGeneration.from_pretrained(start, dtype=torch.float32).state_dict())
    plan = PRESETS[preset]
    done: dict | None = None
    for stage in plan.stages:
        path, before = folder / f"{stage.name}.pt", done
        done = torch.load(path, map_location=place, weights_only=True) if path.exists() else None
        if not done or done["step"] < stage.steps:
            _run(stage, plan, seed, model, place, path, done or before)
            done = torch.load(path, map_location=place, weights_only=True)
        model.load_state_dict(done["model"])
        if stage.name == until:
            break
    return model


def curve(preset: str, folder: Path) -> str:
    """What the stages wrote down while they learned, one JSON object a line."""
    logs = [folder / f"{stage.name}.jsonl" for stage in PRESETS[preset].stages]
    return "".join(log.read_text(encoding="utf-8") for log in logs if log.exists())


def _run(
    stage: Stage,
    plan: Preset,
    seed: int,
    model: LlavaForConditionalGeneration,
    place: torch.device,
    path: Path,
    done: dict[str, Any] | None,
) -> None:
    torch.manual_seed(seed)
    kind = _TalkCourse if stage.pairs else _AlignCourse if stage.align else _SeeCourse
    course = kind(stage, plan, seed, model, place, path.parent)
    optimizers = _optimizers(course.parts, stage.rate)
    if 0 < stage.tower < 1:
        optimizers += _optimizers((model.model.vision_tower,), stage.rate * stage.tower)
    start = 0
    shapes = {name: value.shape for name, value in course.heads.state_dict().items()}
    if done and {name: value.shape for name, value in done["heads"].items()} == shapes:  # of the same kind: go on
        model.load_state_dict(done["model"])
        course.heads.load_state_dict(done["heads"])
    if done and done["stage"] == stage.name:
        for optimizer, state in zip(optimizers, done["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        start = done["step"]
    batches = DataLoader(
        course, batch_size=None, sampler=range(start, stage.steps), num_workers=plan.workers, collate_fn=_same
    )
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    first = _twins()[0] == 0  # of several twins, one speaks and saves
    began = time.monotonic()
    log = (path.with_suffix(".jsonl") if first else Path(os.devnull)).open("a", encoding="utf-8")
    with log, Progress(*columns, disable=not first or not sys.stderr.isatty()) as bar:
        task = bar.add_task(stage.name, total=stage.steps, completed=start)
        for step, batch in enumerate(batches, start):
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = group["peak"] * _schedule(step, stage.horizon or stage.steps)
            with torch.autocast(place.type, torch.bfloat16, enabled=plan.half):
                loss, measures = course.loss(batch)
            loss.backward()
            _share(optimizers)
            nn.utils.clip_grad_norm_([p for o in optimizers for g in o.param_groups for p in g["params"]], 1.0)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
            bar.update(task, completed=step + 1, description=f"{stage.name} {loss.item():.3f}")
            last = step + 1 == stage.steps
            if first and (step == 0 or step % 20 == 19 or last):
                numbers = {name: round(value.item(), 4) for name, value in measures.items()}
                line = {"stage": stage.name, "step": step + 1, "loss": round(loss.item(), 4)} | numbers
                if (step + 1) % plan.every == 0 or last:
                    line |= course.check()
                log.write(json.dumps(line | {"seconds": round(time.monotonic() - began, 1)}) + "\n")
                log.flush()
            if first and ((step + 1) % plan.every == 0 or last):
                _save(path, stage.name, step + 1, model, course.heads, [] if last else optimizers)
    _wait()


class _SeeCourse:
    """The tower alone: every patch says what it shows."""

    def __init__(
        self,
        stage: Stage,
        plan: Preset,
        seed: int,
        model: LlavaForConditionalGeneration,
        place: torch.device,
        cache: Path,
    ):
        self.stage, self.place, self.key = stage, place, _key(stage, seed)
        self.rank, self.batch = _twins()[0], stage.batch // _twins()[1]
        self.tower = model.model.vision_tower
        self.layers = len(self.tower.encoder.layers) - (not stage.last)
        self.heads = PatchHeads(self.tower.config.hidden_size).to(place)
        self.parts = (self.tower, self.heads)
        rank, twins = _twins()  # twins paint and keep a part of the scenes each
        numbers = seeds("train", self.key, stage.scenes)[rank::twins]
        painters = plan.workers or 2 // twins
        self.book = lessons.album(numbers, stage.most, workers=painters) if stage.scenes else None

    def __getitem__(self, step: int) -> lessons.Patches:
        rng = np.random.default_rng([self.key, step, self.rank])
        book = self.book or lessons.album(seeds("train", int(rng.integers(2**31)), self.batch), self.stage.most)
        return lessons.crops(book, rng, self.batch, self.stage.side, self.stage.spread)

    def loss(self, batch: lessons.Patches) -> tuple[Tensor, dict[str, Tensor]]:
        last, before = look(self.tower, batch, self.layers, self.place)
        answers = {task: torch.from_numpy(values).to(self.place) for task, values in batch.answers.items()}
        tags = torch.from_numpy(batch.tags).to(self.place)
        if self.stage.last:
            return self.heads(before, last, answers, tags)
        return self.heads(last, None, answers, tags)

    def check(self) -> dict[str, float]:
        """Accuracy of each task on pictures of the tune split."""
        book = lessons.album(seeds("tune", 0, 4 * CHECKED))
        patches = lessons.crops(book, np.random.default_rng(0), 4 * CHECKED, self.stage.side, self.stage.spread)
        with torch.no_grad():
            _, measures = self.loss(patches)
        return {f"tune {name}": round(value.item(), 4) for name, value in measures.items()}


class _AlignCourse:
    """The projector alone: a visual token comes to lie where the words for what it shows lie."""

    def __init__(
        self,
        stage: Stage,
        plan: Preset,
        seed: int,
        model: LlavaForConditionalGeneration,
        place: torch.device,
        cache: Path,
    ):
        self.key, self.model, self.place = _key(stage, seed), model.model, place
        self.rank, self.batch = _twins()[0], stage.batch // _twins()[1]
        tower = self.model.vision_tower
        book = lessons.album(seeds("train", self.key, stage.scenes)[self.rank :: _twins()[1]])
        self.shown = lessons.whole(book)
        layers, found = len(tower.encoder.layers) - 1, []
        for start in range(0, len(book.scenes), 8):
            with torch.no_grad():
                found.append(look(tower, _whole(book.pictures[start : start + 8]), layers, place)[0][:, 1:])
        self.features = torch.cat(found)  # (S, 576, c)
        self.heads = WordHeads(model.config.text_config.hidden_size).to(place)
        self.parts = (self.model.multi_modal_projector, self.heads)

    def __getitem__(self, step: int) -> np.ndarray:
        return np.random.default_rng([self.key, step, self.rank]).integers(len(self.features), size=self.batch)

    def loss(self, batch: np.ndarray) -> tuple[Tensor, dict[str, Tensor]]:
        visual = self.model.multi_modal_projector(self.features[torch.from_numpy(batch).to(self.place)]).flatten(0, 1)
        table = self.model.language_model.embed_tokens.weight.detach()
        answers = {task: torch.from_numpy(v[batch].ravel()).to(self.place) for task, v in self.shown.answers.items()}
        return self.heads(visual, table, answers)

    def check(self) -> dict[str, float]:
        return {}


class _TalkCourse:
    """Projector, language model and, where it is not frozen, the tower: many questions about one picture."""

    def __init__(
        self,
        stage: Stage,
        plan: Preset,
        seed: int,
        model: LlavaForConditionalGeneration,
        place: torch.device,
        cache: Path,
    ):
        self.stage, self.place, self.key, self.model = stage, place, _key(stage, seed), model
        self.rank, self.batch = _twins()[0], stage.batch // _twins()[1]
        tower, language = model.model.vision_tower, model.model.language_model
        self.heads = MarkHeads(language.config.hidden_size).to(place)
        self.parts = (
            model.model.multi_modal_projector,
            language,
            model.lm_head,
            self.heads,
            *([tower] if stage.tower == 1 else []),
        )
        self.gallery = None
        if stage.scenes:
            if self.rank:
                _wait()  # for the first twin's look at the scenes
            self.gallery = Gallery.of(tower, seeds("train", seed, stage.scenes), plan.workers or 2, cache)
            if not self.rank:
                _wait()
        if self.gallery:
            self.fit = [i for i, made in enumerate(self.gallery.scenes) if len(made.things) <= stage.most]
        self.tune = [scene(seed, stage.most) for seed in seeds("tune", 1, CHECKED)]

    def __getitem__(self, step: int) -> tuple[Talk, np.ndarray, np.ndarray]:
        """The words of a step, the features or the pixels of its pictures, and the positions of their cells."""
        stage, rng = self.stage, np.random.default_rng([self.key, step, self.rank])
        if self.gallery:
            which = rng.choice(self.fit, size=self.batch)
            scenes, seen = [self.gallery.scenes[i] for i in which], self.gallery.features[which]
        else:
            scenes = [scene(s, stage.most) for s in seeds("train", int(rng.integers(2**31)), self.batch)]
            seen = np.stack([np.asarray(paint(made)[0]) for made in scenes])
        asked = [pairs(made, rng, stage.pairs, stage.shares) for made in scenes]
        places = np.stack([_positions(stage.pool, rng) for _ in scenes])
        return pack(scenes, asked, stage.pairs * WORDS_A_PAIR, rng), seen, places

    def loss(self, batch: tuple[Talk, np.ndarray, np.ndarray]) -> tuple[Tensor, dict[str, Tensor]]:
        talk, seen, places = batch
        scores, labels, marked = self._say(talk, seen, places)
        said = scores.argmax(-1) == labels
        loss = F.cross_entropy(scores.float(), labels)
        named = {task: torch.from_numpy(values).to(self.place) for task, values in talk.named.items()}
        pointing, measures = self.heads(marked, named)
        return loss + self.stage.marks * pointing, {"answers": loss, "words": said.float().mean()} | measures

    def check(self) -> dict[str, float]:
        """Exact-match accuracy on the tune split: a pair is right when every word of its answer is the likeliest."""
        rng = np.random.default_rng(1)
        asked: Counter[str] = Counter()
        right: Counter[str] = Counter()
        for start in range(0, len(self.tune), 16):
            scenes = self.tune[start : start + 16]
            talk = pack(scenes, [quiz(made, rng) for made in scenes], 12 * len(KINDS))
            seen = np.stack([np.asarray(paint(made)[0]) for made in scenes])
            places = np.stack([_positions(self.stage.pool)] * len(scenes))
            with torch.no_grad():
                scores, labels, _ = self._say(talk, seen, places)
            b, s = np.nonzero(talk.labels != IGNORE)
            wrong = (scores.argmax(-1) != labels).cpu().numpy()
            missed = set(zip(b[wrong].tolist(), talk.pair[b[wrong], s[wrong]].tolist(), strict=True))
            kinds = {
                (i, p): KINDS[k] for i, p, k in zip(b.tolist(), talk.pair[b, s].tolist(), talk.kind[b, s], strict=True)
            }
            asked.update(kinds.values())
            right.update(kind for pair, kind in kinds.items() if pair not in missed)
        numbers = {f"tune {kind}": round(right[kind] / asked[kind], 4) for kind in KINDS if asked[kind]}
        return {"tune accuracy": round(right.total() / asked.total(), 4)} | numbers

    def _say(self, talk: Talk, seen: np.ndarray, places: np.ndarray) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Scores (A, vocabulary) and labels (A,) where an answer is due, and the marked words midway."""
        model, pool, place = self.model.model, self.stage.pool, self.place
        data = torch.tensor(seen, device=place)
        if data.dtype == torch.uint8:
            with torch.set_grad_enabled(self.stage.tower > 0 and torch.is_grad_enabled()):
                data = look(model.vision_tower, _whole(seen), len(model.vision_tower.encoder.layers) - 1, place)[0][
                    :, 1:
                ]
        features = data.float()  # (B, N, c)
        if pool > 1:
            b, _, c = features.shape
            across = lessons.GRID // pool
            features = features.view(b, across, pool, across, pool, c).mean((2, 4)).flatten(1, 2)
        ids, pair, words, labels = (
            torch.from_numpy(values).to(place) for values in (talk.ids, talk.pair, talk.place, talk.labels)
        )
        embed = model.language_model.embed_tokens
        head = embed(torch.tensor([NUMBER[word] for word in HEAD], device=place)).expand(len(ids), -1, -1)
        hidden = torch.cat((head, model.multi_modal_projector(features).to(head.dtype), embed(ids)), 1)
        start = len(HEAD) + features.shape[1]
        cells, after = torch.from_numpy(places).to(place).split((features.shape[1], 1), -1)
        prefix = torch.cat((torch.arange(len(HEAD), device=place).expand(len(ids), -1), len(HEAD) + cells), 1)
        positions = torch.cat((prefix, len(HEAD) + after + words), 1)
        group = torch.cat((torch.full_like(prefix, -2), pair), 1)  # (B, T)
        size = hidden.shape[1]
        sees = (group[:, :, None] == group[:, None, :]) | (torch.arange(size, device=place) < start)
        mask = (sees & torch.ones(size, size, dtype=torch.bool, device=place).tril())[:, None]
        rope = model.language_model.rotary_emb(hidden, position_ids=positions)
        b, s = (torch.from_numpy(index).to(place) for index in talk.marked.T)
        marked = []
        for depth, layer in enumerate(model.language_model.layers):
            hidden = layer(
                hidden, attention_mask=mask, position_embeddings=rope, position_ids=positions, use_cache=False
            )
            if depth in self.heads.depths:
                marked.append(hidden[b, start + s])
        due = labels != IGNORE
        return self.model.lm_head(model.language_model.norm(hidden[:, start:][due])), labels[due], marked


def _positions(pool: int, rng: np.random.Generator | None = None) -> np.ndarray:
    """The position of each cell, counted from the first, and last that of the first word after them.

    With `rng`, half of the pictures stand closer, at uneven steps: where a thing is must be read from what its tokens
    hold, which stays true when fewer tokens are numbered anew.
    """
    size = lessons.GRID**2
    if rng is None or rng.random() < 0.5:
        return np.append(np.arange(size).reshape(lessons.GRID, -1)[::pool, ::pool].ravel(), size)
    span = int(rng.integers(16, size))
    return np.append(np.sort(rng.integers(0, span, size=size // pool**2)), span)


@dataclass(frozen=True)
class Gallery:
    """Scenes as the frozen tower sees them."""

    scenes: list[Scene]
    features: np.ndarray  # (S, 576, c) float16

    @staticmethod
    def of(tower: CLIPVisionModel, numbers: list[int], workers: int, cache: Path) -> "Gallery":
        """Looks at the scenes of these seeds once; the features stay in a file in `cache`, named after the weights."""
        weights = zlib.crc32(b"".join(p.detach().cpu().numpy().tobytes() for p in tower.parameters()))
        path = cache / f"features-{zlib.crc32(np.array(numbers).tobytes(), weights):08x}.npy"
        if path.exists():
            return Gallery([scene(number) for number in numbers], np.load(path, mmap_mode="r"))
        features = np.empty((len(numbers), lessons.GRID**2, tower.config.hidden_size), np.float16)
        scenes, size = [], 40
        chunks = [numbers[start : start + size] for start in range(0, len(numbers), size)]
        # Processes of one thread each make far more of a few cores than threads do.
        with multiprocessing.get_context("fork").Pool(workers, _seer, (tower,)) as pool:
            seen = pool.imap(_see, chunks)
            for i, (some, found) in enumerate(track(seen, "looking", len(chunks), disable=not sys.stderr.isatty())):
                scenes += some
                features[i * size : i * size + len(some)] = found
        np.save(path, features)
        return Gallery(scenes, features)


_TOWER: list[CLIPVisionModel] = []  # of a process that looks at scenes


def _seer(tower: CLIPVisionModel) -> None:
    torch.set_num_threads(1)
    _TOWER[:] = [tower]


def _see(numbers: list[int]) -> tuple[list[Scene], np.ndarray]:
    book, (tower,) = lessons.album(numbers), _TOWER
    layers, found = len(tower.encoder.layers) - 1, []
    for start in range(0, len(numbers), 8):
        with torch.no_grad():
            seen, _ = look(tower, _whole(book.pictures[start : start + 8]), layers, torch.device("cpu"))
        found.append(seen[:, 1:].half().numpy())
    return book.scenes, np.concatenate(found)


def _whole(pictures: np.ndarray) -> lessons.Patches:
    cell = np.broadcast_to(np.arange(lessons.GRID**2), (len(pictures), lessons.GRID**2))
    return lessons.Patches(pictures, cell // lessons.GRID, cell % lessons.GRID, {}, np.empty(0))


def _key(stage: Stage, seed: int) -> int:
    return int(np.random.default_rng([seed, *stage.name.encode()]).integers(2**31))


def _wait() -> None:
    if dist.is_initialized():
        dist.barrier()


def _share(optimizers: list[torch.optim.Optimizer]) -> None:
    """Gives every twin the mean of all twins' gradients."""
    if not dist.is_initialized():
        return
    found = [p.grad for o in optimizers for g in o.param_groups for p in g["params"] if p.grad is not None]
    flat = torch.cat([grad.flatten() for grad in found])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for grad, mean in zip(found, flat.split([grad.numel() for grad in found]), strict=True):
        grad.copy_(mean.view_as(grad))


def _optimizers(parts: tuple[nn.Module, ...], rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for everything else (embeddings, norms, biases, heads)."""
    matrices = [
        p
        for part in parts
        for n, p in part.named_parameters()
        if ".layers." in f".{n}" and p.ndim == 2 and p.requires_grad
    ]
    chosen = {id(p) for p in matrices}
    rest = [p for part in parts for p in part.parameters() if p.requires_grad and id(p) not in chosen]
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(rest, lr=rate, weight_decay=0.01, betas=(0.9, 0.98))]
    if matrices:
        optimizers.append(torch.optim.Muon(matrices, lr=rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = rate
    return optimizers


def _schedule(step: int, steps: int) -> float:
    """Warm-up over the first 4 %, then a cosine down to 2 %."""
    warm = max(1, steps // 25)
    if step < warm:
        return (step + 1) / warm
    return 0.02 + 0.98 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))) / 2


def _save(
    path: Path, stage: str, step: int, model: nn.Module, heads: nn.Module, optimizers: list[torch.optim.Optimizer]
) -> None:
    state = {"stage": stage, "step": step, "model": model.state_dict(), "heads": heads.state_dict()}
    state["optimizers"] = [optimizer.state_dict() for optimizer in optimizers]
    fresh = path.with_suffix(".new")
    torch.save(state, fresh)
    fresh.replace(path)


def _keep_memory() -> None:
    """Asks glibc to keep freed tensors instead of giving them back to the system at once."""
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(-4, 0)  # M_MMAP_MAX
            mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
            mallopt(-2, 2**29)  # M_TOP_PAD


def _same(batch: Any) -> Any:
    return batch
