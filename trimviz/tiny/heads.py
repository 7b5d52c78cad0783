"""For training only: small heads that ask patches, pictures and words what they know; no checkpoint keeps them."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .dialogue import IGNORE, MARK_TASKS, NUMBER
from .lessons import PATCH_TASKS, PICTURE_TAGS
from .world import COLORS, GROUNDS, SHAPES, SIDE, SIZES, TEXTURES, WORDS

WEIGHTS = {"row": 0.3, "column": 0.3, "texture": 0.3, "ground": 0.3, "center": 0.5, "size": 0.7}


class PatchHeads(nn.Module):
    """Reads the tower: each patch at the feature layer, and CLS there and at the last layer."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.patch = nn.Linear(width, sum(PATCH_TASKS.values()))
        self.picture = nn.Linear(width, len(PICTURE_TAGS))
        self.last = nn.Linear(width, len(PICTURE_TAGS))

    def forward(
        self, hidden: Tensor, last: Tensor | None, answers: dict[str, Tensor], tags: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and each task's accuracy (where something is shown, for tasks with a "none")."""
        seen = self.norm(hidden)
        split = self.patch(seen[:, 1:]).float().split(list(PATCH_TASKS.values()), -1)
        scores = dict(zip(PATCH_TASKS, split, strict=True))
        something = (answers["shape"] > 0) | (answers["word"] > 0)  # (B, P)
        loss, right = hidden.new_zeros((), dtype=torch.float32), {}
        for task, score in scores.items():
            wrong = F.cross_entropy(score.flatten(0, 1), answers[task].flatten(), reduction="none").view_as(something)
            hit = score.argmax(-1) == answers[task]
            where = answers[task] > 0 if task in ("shape", "color", "size", "word", "center") else None
            if task == "center":
                busy = something
                loss = loss + WEIGHTS[task] * (wrong[busy].mean() + wrong[~busy].mean())
            elif where is not None:
                rest = something & ~where  # a word has no shape: rarer than bare background, worth as much
                loss = loss + WEIGHTS.get(task, 1.0) * (wrong[where].mean() + 0.3 * wrong[~something].mean())
                loss = loss + 0.2 * (wrong * rest).sum() / rest.sum().clamp(min=1)
            else:
                loss = loss + WEIGHTS[task] * wrong.mean()
            right[task] = hit[where].float().mean() if where is not None else hit.float().mean()
        tagged = self.picture(seen[:, 0]).float()
        loss = loss + 2 * F.binary_cross_entropy_with_logits(tagged, tags)
        right["tags"] = ((tagged > 0) == (tags > 0)).float().mean()
        if last is not None:
            loss = loss + F.binary_cross_entropy_with_logits(self.last(last[:, 0]).float(), tags)
        return loss, right


class MarkHeads(nn.Module):
    """Reads the language model midway: at the last word of a phrase such as "the red star", which thing is meant."""

    depths = (2, 4)  # after these layers, counted from 0

    def __init__(self, width: int):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in self.depths)
        self.reads = nn.ModuleList(nn.Linear(width, sum(MARK_TASKS.values()) + 4) for _ in self.depths)

    def forward(self, hiddens: list[Tensor], named: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """`hiddens`: the marked words after each layer of `depths`, (M, d) each."""
        loss, right = hiddens[0].new_zeros((), dtype=torch.float32), {}
        for norm, read, hidden in zip(self.norms, self.reads, hiddens, strict=True):
            *scores, own, first = read(norm(hidden)).float().split([*MARK_TASKS.values(), 2, 2], -1)
            for name, at, x, y in (("mark off", own, "x", "y"), ("first off", first, "first x", "first y")):
                there = named[x] != IGNORE
                where = torch.stack((named[x], named[y]), -1)[there] / (SIDE / 2) - 1  # (M', 2) from -1 to 1
                count = there.sum().clamp(min=1)
                loss = loss + 2 * ((at[there] - where) ** 2).sum() / (2 * count) / len(self.depths)
                right[name] = (at[there] - where).abs().sum() / (2 * count) * SIDE / 2  # pixels
            for task, score in zip(MARK_TASKS, scores, strict=True):
                known = named[task] != IGNORE
                count = known.sum().clamp(min=1)
                wrong = F.cross_entropy(score, named[task], ignore_index=IGNORE, reduction="sum")
                loss = loss + wrong / count / len(self.depths)
                right[f"mark {task}"] = (score.argmax(-1) == named[task])[known].sum() / count
        return loss, right


class WordHeads(nn.Module):
    """Reads the projector through the word table: a visual token should lie where the words for what it shows lie."""

    words: ClassVar[dict[str, tuple[str, ...]]] = {
        "kind": ("background", "thing", "word"),
        "center": ("", "one"),
        "shape": ("", *SHAPES),
        "color": ("", *COLORS),
        "size": ("", *SIZES),
        "word": ("", *WORDS),
        "row": ("top", "", "bottom"),
        "column": ("left", "", "right"),
        "texture": TEXTURES,
        "ground": tuple(GROUNDS),
    }  # "" for answers that no word says

    def __init__(self, width: int):
        super().__init__()
        self.at = nn.Linear(width, 2)

    def forward(self, visual: Tensor, table: Tensor, answers: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """visual (P, d), word table (V, d), answers: task -> (P,), row and column as numbers of 24."""
        loss, right = visual.new_zeros((), dtype=torch.float32), {}
        where = torch.stack((answers["column"], answers["row"]), -1) / 11.5 - 1  # (P, 2) from -1 to 1
        loss = loss + 4 * F.mse_loss(self.at(visual).float(), where)
        something = (answers["shape"] > 0) | (answers["word"] > 0)
        weight = torch.where(something, 1.0, 0.1)
        kind = torch.where(answers["shape"] > 0, 1, torch.where(answers["word"] > 0, 2, 0))
        thirds = {task: answers[task] // 8 for task in ("row", "column")}
        known_answers = answers | thirds | {"kind": kind}
        for task, words in self.words.items():
            said = torch.tensor([NUMBER[word] if word else -1 for word in words], device=visual.device)
            known = F.normalize(table, dim=-1)[said.clamp(min=0)] * (said >= 0)[:, None]  # no word: a score of 0
            score = 6 * (visual @ known.T).float()
            answer = known_answers[task]
            loss = loss + (F.cross_entropy(score, answer, reduction="none") * weight).sum() / weight.sum()
            if task in ("kind", "center", "shape", "color", "size", "word"):
                right[task] = (score.argmax(-1) == answer)[answer > 0].float().mean()
            else:
                right[task] = (score.argmax(-1) == answer).float().mean()
        return loss, right
