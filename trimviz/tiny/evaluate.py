"""Asks the bundled model about held-out scenes, dense and pruned, and counts exact answers."""

import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.stats import binomtest
from tqdm.auto import tqdm

from trimviz import load
from trimviz.compare import answer, budget_of, check, finish
from trimviz.pruners import Pruner

from .questions import KINDS, Question, quiz
from .world import paint, scene, seeds

LONGEST = 32  # words of an answer


@dataclass
class Tally:
    """Right and wrong answers of one method at one budget, by kind of question."""

    method: str
    knobs: dict[str, Any]
    keep: str | None
    asked: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    right: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    refused: str = ""  # why the method cannot meet the budget on this model

    def record(self) -> dict[str, Any]:
        """Accuracy overall and by kind, each with its Wilson 95 % interval; or why there is none."""
        if self.refused:
            return {"method": self.method, "knobs": self.knobs, "keep": self.keep, "refused": self.refused}
        kinds = {kind: _share(self.right[kind], self.asked[kind]) for kind in KINDS if self.asked[kind]}
        total = _share(sum(self.right.values()), sum(self.asked.values()))
        return {"method": self.method, "knobs": self.knobs, "keep": self.keep} | total | {"kinds": kinds}


def exam(n: int, seed: int, split: str = "test") -> Iterator[tuple[Image.Image, list[Question]]]:
    """Pictures of a split with one question of each kind that the scene allows, n questions in all."""
    if n < 1:
        raise ValueError(f"Expected at least one question, got {n}; choose n of 1 or more.")
    for number in seeds(split, seed, n):  # a scene allows at least one question, so n scenes are enough
        made = scene(number)
        asked = quiz(made, np.random.default_rng(number))[:n]
        yield paint(made)[0], asked
        n -= len(asked)
        if n == 0:
            return


def evaluate(
    folder: str | Path = "tiny",
    n: int = 2000,
    seed: int = 0,
    pruners: Sequence[Pruner] = (),
    keeps: Sequence[str] = (),
    device: str = "auto",
    split: str = "test",
) -> dict[str, Any]:
    """Exact-match accuracy on n questions of a split: dense, and for every pruner at every budget.

    `accuracy` at the top is that of the one method and budget asked for, else the dense model's; `runs` holds all.
    """
    if bool(pruners) != bool(keeps):
        raise ValueError("A method needs a number of tokens to keep and the other way round; give both or none.")
    model = load(folder, device=device)
    for pruner in pruners:
        check(pruner, model)
    dense = Tally("dense", {}, None)
    cells = [(pruner, keep, Tally(pruner.key, pruner.settings(), keep)) for pruner, keep in product(pruners, keeps)]
    everything: list[tuple[Pruner | None, str | None, Tally]] = [(None, None, dense), *cells]
    start = time.perf_counter()
    with tqdm(total=n, unit="question", disable=None) as bar:
        for picture, questions in exam(n, seed, split):
            look = model.look([picture])
            for question in questions:
                prompt = model.prompt(look, question.text)
                for method, keep, tally in everything:
                    if tally.refused:
                        continue
                    budget = None if keep is None else budget_of(keep, prompt.n)
                    try:
                        said = finish(answer(model, prompt, method, budget, LONGEST)).run.answer.text
                    except ValueError as error:
                        if len(cells) == 1 or any(tally.asked.values()):
                            raise
                        tally.refused = str(error)
                        continue
                    tally.asked[question.kind] += 1
                    tally.right[question.kind] += said == question.answer
                bar.update()
    runs = [dense.record(), *(tally.record() for _, _, tally in cells)]
    top = runs[1] if len(runs) == 2 else runs[0]
    packages = {name: version(name) for name in ("torch", "transformers", "tokenizers", "numpy", "pillow")}
    return top | {
        "model": str(folder),
        "split": split,
        "seed": seed,
        "seconds": round(time.perf_counter() - start, 1),
        "versions": {"python": platform.python_version()} | packages,
        "runs": runs,
    }


def _share(right: int, asked: int) -> dict[str, Any]:
    low, high = binomtest(right, asked).proportion_ci(method="wilson")
    return {"n": asked, "accuracy": round(right / asked, 4), "interval": [round(low, 4), round(high, 4)]}
