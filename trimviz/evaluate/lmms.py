"""trimviz in lmms-eval, the harness of the paper: `lmms-eval --model trimviz --model_args pretrained=...,method=...`.

lmms-eval finds it by the entry point `lmms_eval.models` and calls `manifest`. Tasks, prompts and metrics are its own;
the answers are the engine's, greedy and one at a time. Pictures stand before the words of a question, wherever a task
puts them, and the prompt around both is the checkpoint's own chat template.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from lmms_eval.api.instance import Instance
from lmms_eval.api.model import lmms
from tqdm.auto import tqdm

from trimviz.compare import answer, ask, budget_of, check
from trimviz.models import load
from trimviz.video import FRAMES
from trimviz.written import methods

if TYPE_CHECKING:
    from lmms_eval.models.registry_v2 import ModelManifest

DENSE = "dense"
LONGEST = 1024  # answer tokens, where a task sets no limit: lmms-eval's own
MARKS = ("<image>", "<video>")  # by which tasks say where pictures stand


def manifest() -> ModelManifest:
    """What lmms-eval's registry is told."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(model_id="trimviz", simple_class_path=f"{__name__}.{TrimViz.__name__}")


class TrimViz(lmms):
    """A model with a method; what `--model_args` says.

    pretrained: "tiny", a Hub name or a folder. method: "dense", or a method such as
    trimtokenator:n1=0.7:stages=swapped. keep: visual tokens per layer, or a share such as 11.1%. frames: of a video.
    settings: those of the model's family. Raises ValueError, in one sentence, for what does not fit together.
    """

    def __init__(
        self,
        pretrained: str = "tiny",
        method: str = DENSE,
        keep: float | str | None = None,
        frames: int = FRAMES,
        device: str = "auto",
        dtype: str = "auto",
        quantize: str | None = None,
        revision: str | None = None,
        batch_size: int | str = 1,
        max_batch_size: int | None = None,
        **settings: str,
    ) -> None:
        super().__init__()
        if str(batch_size) != "1" or max_batch_size not in (None, 1):
            raise ValueError(f"trimviz answers one question at a time; expected batch_size 1, got {batch_size}.")
        if (method == DENSE) != (keep is None):
            raise ValueError("A method goes with keep, the tokens to keep; give both, or neither for dense answers.")
        self.accelerator = Accelerator()
        self._rank, self._world_size = self.accelerator.process_index, self.accelerator.num_processes
        if self.world_size > 1 and device in ("auto", "cuda") and torch.cuda.is_available():
            device = f"cuda:{self.accelerator.local_process_index}"
        self.pruner = None if method == DENSE else methods([method])[0]
        self.model = load(pretrained, device, dtype, quantize, revision, **settings)
        if self.pruner is not None:
            check(self.pruner, self.model)
        self.keep, self.frames = keep, frames

    @property
    def device(self) -> torch.device:
        return self.model.device

    def generate_until(self, requests: Sequence[Instance]) -> list[str]:
        """An answer to every request; ValueError for a task without pictures, or one that wants to sample."""
        return [self._answer(*r.args) for r in tqdm(requests, desc="answers", disable=self.rank != 0)]

    def loglikelihood(self, requests: Sequence[Instance]) -> list[tuple[float, bool]]:
        raise NotImplementedError("trimviz answers questions; it takes no task that compares likelihoods.")

    def generate_until_multi_round(self, requests: Sequence[Instance]) -> list[str]:
        raise NotImplementedError("trimviz answers one question at a time; it takes no task of several rounds.")

    def _answer(
        self, context: str, wanted: Mapping[str, Any], doc_to_visual: Any, doc_id: int, task: str, split: str
    ) -> str:
        if wanted.get("do_sample") or wanted.get("temperature") or wanted.get("num_beams", 1) != 1:
            raise ValueError(f"trimviz decodes greedily and {task} wants {dict(wanted)}; override it by --gen_kwargs.")
        for mark in (*MARKS, self.model.placeholder):
            context = context.replace(mark, "")
        visuals = doc_to_visual(self.task_dict[task][split][doc_id])
        prompt = ask(self.model, visuals, context, self.frames)
        budget = None if self.keep is None else budget_of(self.keep, prompt.n)
        until = wanted.get("until") or []
        said = ""
        for part in answer(self.model, prompt, self.pruner, budget, wanted.get("max_new_tokens", LONGEST)):
            said = shortened(part.text, [until] if isinstance(until, str) else until)
            if said != part.text:
                break
        return said


def shortened(text: str, until: Sequence[str]) -> str:
    """A text up to the first of some words that end it."""
    return min((text.split(end, 1)[0] for end in until if end), key=len, default=text)
