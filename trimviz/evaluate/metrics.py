"""Answers against references, by the rules of the benchmarks; it knows texts and nothing of models.

Every metric gives one row of numbers a sample; the metric of a set of samples follows from the sum of their rows, so
that means, ratios such as precision, and corpus scores such as BLEU are all resampled in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from rapidfuzz.distance import Levenshtein
from sacrebleu import BLEU

Texts = Sequence[str]
References = Sequence[Sequence[str]]
Rows = Callable[[Texts, References], np.ndarray]  # (S,) answers, (S, ...) references -> (S, q)

ARTICLES = {"a", "an", "the"}
DIGITS = "zero one two three four five six seven eight nine ten".split()
TOLERANCE = 0.05  # relative error that ChartQA forgives


def mean(sums: np.ndarray, n: int) -> np.ndarray:
    """(..., 1) sums of n rows -> (...) their mean."""
    return sums[..., 0] / n


def _ratio(sums: np.ndarray, n: int) -> np.ndarray:
    """(..., 2) -> (...); NaN where nothing was counted."""
    return np.divide(sums[..., 0], sums[..., 1], out=np.full(sums.shape[:-1], np.nan), where=sums[..., 1] > 0)


@dataclass(frozen=True)
class Metric:
    """A way to judge answers; higher is better."""

    name: str
    label: str
    rows: Rows
    total: Callable[[np.ndarray, int], np.ndarray] = mean
    percent: bool = True  # shown times 100
    yes_no: bool = False  # references must be yes or no

    @property
    def per_sample(self) -> bool:
        """Whether a single answer has a score of its own."""
        return self.total is mean

    def check(self, references: References, task: str) -> None:
        """ValueError where references are missing or of the wrong kind."""
        if not all(references):
            raise ValueError(f"{self.label} needs an answer in every record of {task}, and some have none; add them.")
        if self.yes_no and not all(_words(r)[:1] in (["yes"], ["no"]) for several in references for r in several):
            raise ValueError(f"{self.label} needs answers that are yes or no, and {task} has others; choose another.")


def _each(score: Callable[[str, Sequence[str]], float]) -> Rows:
    """Rows of one number from a score of one answer."""
    return lambda answers, references: np.array(
        [[score(a, r)] for a, r in zip(answers, references, strict=True)], dtype=float
    ).reshape(len(answers), 1)


def _plain(text: str) -> str:
    return " ".join(text.lower().split()).rstrip(".").rstrip()


def _words(text: str) -> list[str]:
    return re.findall(r"\w+(?:'\w+)?", text.lower())


def exact(answer: str, references: Sequence[str]) -> float:
    """1 where the answer is a reference but for case, spacing and a final full stop."""
    return float(_plain(answer) in {_plain(r) for r in references})


def relaxed(answer: str, references: Sequence[str]) -> float:
    """ChartQA (Masry et al., 2022): a number within 5 %, any other answer exactly but for case."""
    return float(any(_close(_plain(answer), _plain(r)) for r in references))


def _close(answer: str, reference: str) -> bool:
    said, true = _number(answer), _number(reference)
    if said is None or not true:  # a reference of 0 has no relative error
        return answer == reference
    return abs(said - true) <= TOLERANCE * abs(true)


def _number(text: str) -> float | None:
    match = re.fullmatch(r"([-+]?[\d,]*\.?\d+(?:e[-+]?\d+)?)\s*(%?)", text)
    if match is None:
        return None
    return float(match[1].replace(",", "")) / (100 if match[2] else 1)


def vqa(answer: str, references: Sequence[str]) -> float:
    """VQA accuracy (Antol et al., 2015): min(1, people who said so / 3), mean over all people but one.

    A single reference counts as everybody. Case, articles, punctuation and number words make no difference; of the
    official list of contractions only the apostrophe is taken out.
    """
    said, people = _vqa(answer), [_vqa(r) for r in references]
    if len(people) == 1:
        return float(said == people[0])
    same = [said == p for p in people]
    return float(np.mean([min(1.0, (sum(same) - one) / 3) for one in same]))


def _vqa(text: str) -> str:
    words = re.sub(r"(?<!\d)[.,]|[.,](?!\d)|[^\w\s.,]", " ", text.lower().replace("'", "")).split()
    return " ".join(str(DIGITS.index(w)) if w in DIGITS else w for w in words if w not in ARTICLES)


def anls(answer: str, references: Sequence[str]) -> float:
    """ANLS (Biten et al., 2019): best normalised Levenshtein similarity, 0 where it is one half or less."""
    best = max(Levenshtein.normalized_similarity(_plain(answer), _plain(r)) for r in references)
    return best if best > 0.5 else 0.0


def yes(text: str) -> bool:
    """POPE's reading (Li et al., 2023): the first sentence means no where it holds "no" or "not", yes otherwise."""
    return not {"no", "not"} & set(_words(text.split(".")[0]))


def _answered(answers: Texts, references: References) -> np.ndarray:
    """(S, 2) bool: said yes, and yes is right."""
    return np.array([(yes(a), yes(r[0])) for a, r in zip(answers, references, strict=True)], dtype=bool).reshape(-1, 2)


def _accuracy(answers: Texts, references: References) -> np.ndarray:
    said, true = _answered(answers, references).T
    return (said == true).astype(float)[:, None]


def _precision(answers: Texts, references: References) -> np.ndarray:
    said, true = _answered(answers, references).T
    return np.stack([said & true, said], axis=1).astype(float)


def _recall(answers: Texts, references: References) -> np.ndarray:
    said, true = _answered(answers, references).T
    return np.stack([said & true, true], axis=1).astype(float)


def _f1(answers: Texts, references: References) -> np.ndarray:
    said, true = _answered(answers, references).T
    return np.stack([2.0 * (said & true), 1.0 * said + true], axis=1)


def caption(text: str) -> str:
    """Lower case without punctuation, as captions are compared; COCO's own tokenizer is a Java program."""
    return " ".join(_words(text))


def _bleu(order: int) -> Rows:
    def rows(answers: Texts, references: References) -> np.ndarray:
        scorer = BLEU(smooth_method="none", tokenize="none", max_ngram_order=order, effective_order=True)
        out = []
        for answer, several in zip(answers, references, strict=True):
            score = scorer.sentence_score(caption(answer), [caption(r) for r in several])
            out.append([*score.counts, *score.totals, score.sys_len, score.ref_len])
        return np.array(out, dtype=float).reshape(len(out), 2 * order + 2)

    return rows


def _bleu_total(sums: np.ndarray, n: int) -> np.ndarray:
    """(..., 2 k + 2) sums -> (...) corpus BLEU-k from 0 to 1."""
    k = (sums.shape[-1] - 2) // 2
    flat = sums.reshape(-1, sums.shape[-1]).astype(int).tolist()
    scores = [
        BLEU.compute_bleu(row[:k], row[k : 2 * k], row[-2], row[-1], "none", max_ngram_order=k).score / 100
        for row in flat
    ]
    return np.array(scores).reshape(sums.shape[:-1])


def _coco(scorer: type) -> Rows:
    """Scores by the captions' own code; CIDEr counts its document frequencies over the references given."""

    def rows(answers: Texts, references: References) -> np.ndarray:
        said = {i: [caption(a)] for i, a in enumerate(answers)}
        true = {i: [caption(r) for r in several] for i, several in enumerate(references)}
        return np.asarray(scorer().compute_score(true, said)[1], dtype=float)[:, None]

    return rows


METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        Metric("exact", "Exact match", _each(exact)),
        Metric("relaxed", "Relaxed accuracy", _each(relaxed)),
        Metric("vqa", "VQA accuracy", _each(vqa)),
        Metric("anls", "ANLS", _each(anls)),
        Metric("accuracy", "Accuracy", _accuracy, yes_no=True),
        Metric("precision", "Precision", _precision, _ratio, yes_no=True),
        Metric("recall", "Recall", _recall, _ratio, yes_no=True),
        Metric("f1", "F1", _f1, _ratio, yes_no=True),
        *(Metric(f"bleu-{k}", f"BLEU-{k}", _bleu(k), _bleu_total) for k in range(1, 5)),
        Metric("rouge", "ROUGE-L", _coco(Rouge)),
        Metric("cider", "CIDEr", _coco(Cider), percent=False),
    )
}


def choose(wanted: Sequence[str], tasks: Sequence[str]) -> dict[str, list[Metric]]:
    """{task: metrics} from texts such as "exact", "precision,f1" for every task or "chartqa=relaxed" for one.

    A task that is not named takes those for every task. Raises ValueError for an unknown metric or task.
    """
    general: list[Metric] = []
    own: dict[str, list[Metric]] = {}
    for text in wanted:
        task, equals, names = text.rpartition("=")
        if equals and task not in tasks:
            raise ValueError(f"There is no task {task!r} in the data; it has {', '.join(tasks)}.")
        for name in names.split(","):
            if name.strip() not in METRICS:
                raise ValueError(f"There is no metric {name.strip()!r}; choose from {', '.join(METRICS)}.")
            (own.setdefault(task, []) if equals else general).append(METRICS[name.strip()])
    return {task: own.get(task, general) for task in tasks}
