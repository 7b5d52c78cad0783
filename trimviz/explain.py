"""What the scores measure: distances to each word, token norms, and what an unrelated question would have kept.

It knows runs, stages and their scores; it knows no method. Torch ends here: what leaves is `Explanation`, in numpy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from trimviz import engine
from trimviz.models.base import Model
from trimviz.pruners import Pruner
from trimviz.select import cosine, unit
from trimviz.types import Encoded, Look, Run, Stage

UNRELATED = "How long does it take to boil an egg?"
WHOLE = 1024  # up to this many tokens all similarities are sent, above it factors of them
FACTORS = 64  # columns of those factors
LEVELS = 127  # of int8, on either side of zero


@dataclass(frozen=True, eq=False)
class Similarity:
    """Cosine similarities of the visual tokens, coarse enough to send: for looking at, never for choosing by.

    Either `triangle`, the pairs i < j row by row, or `factors` and `scale`, where the similarity of i and j is
    scale[i] * scale[j] * factors[i] . factors[j].
    """

    triangle: np.ndarray | None  # (N (N - 1) / 2,) int8, in steps of 1 / 127
    factors: np.ndarray | None  # (N, R) int8
    scale: np.ndarray | None  # (N,) float32
    error: float  # largest difference from the float32 similarities, over the rows that were checked


@dataclass(frozen=True, eq=False)
class Explanation:
    """Numbers beside a run that say what its scores go by."""

    words: tuple[str, ...]  # of the question
    distances: np.ndarray  # (W, N) float32: Euclidean distance of each visual token to each word, mean over its tokens
    norms: np.ndarray  # (N,) float32: length of each visual token
    similarity: Similarity
    correlation: Mapping[str, float]  # {score of the first stage: Spearman's rho with -norm}
    unrelated: str  # another question about the same picture
    unrelated_scores: Mapping[str, np.ndarray]  # {score of the first stage: (N,) float32 under that question}
    overlap: float | None  # share of the first stage's set that the unrelated question keeps too; None without stages


@torch.inference_mode()
def explain(
    model: Model, look: Look, prompt: Encoded, pruner: Pruner, run: Run, unrelated: str = UNRELATED
) -> Explanation:
    """Numbers beside `run`, which `pruner` made of `prompt`; an unrelated question costs one more prefill."""
    with model.lock:
        visual = prompt.embeds[prompt.visual].float()  # (N, d)
        norms = visual.norm(dim=1)
        words, distances = _words(model, prompt, visual)
        similarity = _similarity(visual)
        stages: tuple[Stage, ...] = ()
        if run.stages:
            stages = engine.prefill(model, model.prompt(look, unrelated, prompt.before), pruner, run.budget).stages
    scores = run.stages[0].scores if run.stages else {}
    length = norms.cpu().numpy()
    return Explanation(
        words=words,
        distances=distances.cpu().numpy(),
        norms=length,
        similarity=similarity,
        correlation={name: _rho(values, -length) for name, values in scores.items()},
        unrelated=unrelated,
        unrelated_scores={name: stages[0].scores[name] for name in scores},
        overlap=_overlap(run.stages[0].kept, stages[0].kept) if stages and run.stages[0].kept.any() else None,
    )


def _words(model: Model, prompt: Encoded, visual: Tensor) -> tuple[tuple[str, ...], Tensor]:
    """The question's words and the distance (W, N) of every visual token to each."""
    text, bos = prompt.text, model.tokenizer.bos_token
    batch = model.tokenizer(text, return_offsets_mapping=True, add_special_tokens=not (bos and text.startswith(bos)))
    shift = len(prompt.ids) - len(
        batch["input_ids"]
    )  # here a placeholder stands once a picture, and before the question
    places = prompt.question.nonzero()[:, 0]
    spans = [batch["offset_mapping"][place - shift] for place in places.tolist()]
    start = spans[0][0]
    which = torch.tensor([len(text[start:end].split()) - 1 for _, end in spans], device=visual.device)
    words = text[start : spans[-1][1]].split()
    exact = "donot_use_mm_for_euclid_dist"
    distance = torch.cdist(prompt.embeds[places].float(), visual, compute_mode=exact)  # (tokens of the question, N)
    numbers = which.unique().tolist()
    rows = [distance[which == number].mean(dim=0) for number in numbers]
    return tuple(words[number] for number in numbers), torch.stack(rows)


def _similarity(visual: Tensor) -> Similarity:
    n = len(visual)
    if n <= WHOLE:
        exact = cosine(visual)
        rows, columns = torch.triu_indices(n, n, 1, device=visual.device)
        pairs = exact[rows, columns]
        triangle = (pairs * LEVELS).round().to(torch.int8)
        error = (triangle.float() / LEVELS - pairs).abs().max() if len(pairs) else torch.tensor(0.0)
        return Similarity(triangle.cpu().numpy(), None, None, float(error))
    directions = unit(visual)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        left, strength, _ = torch.svd_lowrank(directions.cpu(), q=min(FACTORS, *visual.shape))
    full = left * strength  # (N, R)
    scale = full.abs().amax(dim=1).clamp_min(1e-12) / LEVELS
    factors = (full / scale[:, None]).round().to(torch.int8)
    told = factors.float() * scale[:, None]
    checked = torch.arange(0, n, max(1, n // 64))
    error = (told[checked] @ told.T - (directions[checked] @ directions.T).cpu()).abs().max()
    return Similarity(None, factors.numpy(), scale.numpy(), float(error))


def _rho(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation; NaN where one of the two is constant."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(spearmanr(a, b).statistic)


def _overlap(kept: np.ndarray, other: np.ndarray) -> float:
    return float((kept & other).sum() / kept.sum())
