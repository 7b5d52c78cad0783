"""What the engine may ask of a vision-language model; families differ in how pictures become visual tokens."""

from __future__ import annotations

import copy
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, ClassVar, Self

import torch
from PIL import Image
from torch import Tensor, nn

from trimviz.types import Encoded, Look, Video, Vision


@dataclass(frozen=True)
class Option:
    """One setting of a family as data: what a control needs to know."""

    choices: tuple[str, ...]  # the default first
    help: str


class Model(ABC):
    """A checkpoint in memory, its processor, and the parts of its language model by name.

    One run at a time: hold `lock` around calls that touch the weights.
    """

    name: ClassVar[str]  # of the family, on screen
    model_type: ClassVar[str]  # config.model_type of its checkpoints
    auto_class: ClassVar[Any]  # the transformers class
    provides: frozenset[str]  # fields of Vision that are not None; a checkpoint may offer less than its family
    checkpoints: ClassVar[tuple[str, ...]]  # on the Hub
    tokens: ClassVar[str]  # how many visual tokens, in words
    default_prompt: ClassVar[str] = "USER: {images}{question} ASSISTANT:"  # for a checkpoint without a chat template
    axes: ClassVar[int] = 1  # of RoPE positions
    whole: ClassVar[tuple[str, ...]] = ("vision_tower", "multi_modal_projector", "lm_head")  # never quantized: small
    takes_video: ClassVar[bool] = False
    image_token: ClassVar[str] = "<image>"  # placeholders, where a checkpoint names none
    video_token: ClassVar[str] = "<video>"
    options: ClassVar[Mapping[str, Option]] = {}  # {setting of the family: its choices}

    def __init__(self, repo: str, core: Any, processor: Any, revision: str = "", **settings: str) -> None:
        self.settings = self.choose(settings)
        self.repo = repo
        self.core = core.eval()
        self.processor = processor
        self.revision = revision
        self.lock = Lock()
        self.warm = False  # whether the layers have run once

    @classmethod
    def choose(cls, settings: Mapping[str, str]) -> dict[str, str]:
        """All settings of the family; ValueError for one that it does not have."""
        for name, value in settings.items():
            if name not in cls.options or value not in cls.options[name].choices:
                known = "; ".join(f"{key} is one of {', '.join(one.choices)}" for key, one in cls.options.items())
                raise ValueError(f"{cls.name} has no setting {name}={value!r}; {known or 'it has none at all'}.")
        return {name: one.choices[0] for name, one in cls.options.items()} | dict(settings)

    def set(self, **settings: str) -> Self:
        """The same checkpoint, with the same weights and lock, under other settings of its family."""
        twin = copy.copy(self)
        twin.settings = self.choose(self.settings | settings)
        return twin

    # --- the language model, for the engine -------------------------------------------------------------------

    @property
    def language(self) -> nn.Module:
        return self.core.model.language_model

    @property
    def layers(self) -> Sequence[nn.Module]:
        return self.language.layers

    @property
    def norm(self) -> nn.Module:
        return self.language.norm

    @property
    def embed(self) -> nn.Module:
        return self.core.get_input_embeddings()

    @property
    def head(self) -> nn.Module:
        return self.core.get_output_embeddings()

    @property
    def device(self) -> torch.device:
        return works_on(self.embed)

    def free(self) -> None:
        """Hand memory that nothing uses any more back to the device."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        elif self.device.type == "mps":
            torch.mps.empty_cache()

    @property
    def dtype(self) -> torch.dtype:
        return self.core.dtype

    @property
    def placeholder(self) -> str:
        """The word that stands for a picture in the prompt."""
        return self.processor.image_token

    def lines_kept(self, vision: Vision) -> Tensor | None:
        """(N,) the row of each visual token where its newline token stays with it through a cut; None where it goes."""
        return None

    def apart_by(self, vision: Vision) -> Tensor | None:
        """(N,) the tile of each visual token where tiles are cut one by one; None where a cut is of all of them."""
        return None

    @property
    def tokenizer(self) -> Any:
        return self.processor.tokenizer

    def rotary(self, hidden: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin for positions (1, S) or, on several axes, (3, S)."""
        return self.language.rotary_emb(hidden, positions if self.axes == 1 else positions[:, None])

    @property
    def eos(self) -> frozenset[int]:
        """Token ids that end an answer."""
        ids = self.core.generation_config.eos_token_id
        return frozenset([ids] if isinstance(ids, int) else ids or [])

    def decode(self, ids: Sequence[int]) -> str:
        """Token ids as text."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=True).strip()

    # --- where families differ --------------------------------------------------------------------------------

    @abstractmethod
    def look(self, pictures: Sequence[Image.Image | Video]) -> Look:
        """Pictures through processor, vision tower and projector, as the model itself does it."""

    def apart(self, given: Sequence[Image.Image | Video]) -> tuple[list[Image.Image], list[Video]]:
        """Pictures or videos, one of the lists being empty.

        Raises ValueError for nothing, for a mixture, and for videos that the family does not take.
        """
        pictures = [p for p in given if not isinstance(p, Video)]
        videos = [p for p in given if isinstance(p, Video)]
        if not given:
            raise ValueError("There is no picture to ask about; give at least one.")
        if videos and not self.takes_video:
            raise ValueError(f"{self.name} looks at pictures, not at videos; give a picture or choose a video model.")
        if videos and pictures:
            raise ValueError("Pictures and videos cannot be mixed in one question; ask about them separately.")
        return pictures, videos

    def prompt(self, look: Look, question: str, before: Sequence[tuple[str, str]] = ()) -> Encoded:
        """The prompt for one question about pictures that were looked at; ValueError for an unusable question.

        before: earlier turns of the conversation, each a question and its answer; the first asks about the pictures.
        """
        placeholder = self.processor.video_token if isinstance(look.pictures[0], Video) else self.placeholder
        text, (start, end) = self._render(question, look, placeholder, before)
        pieces = text.split(placeholder)
        # The question follows the last placeholder, so it moves along.
        words = zip(self.expand(look, placeholder), pieces[1:], strict=True)
        expanded = pieces[0] + "".join(picture + text for picture, text in words)
        start, end = start + len(expanded) - len(text), end + len(expanded) - len(text)
        bos = self.tokenizer.bos_token
        batch = self.tokenizer(
            expanded, return_offsets_mapping=True, add_special_tokens=not (bos and expanded.startswith(bos))
        )
        ids = torch.tensor(batch["input_ids"], device=self.device)
        limit = self.text_config.max_position_embeddings
        if len(ids) > limit:
            raise ValueError(f"The prompt has {len(ids)} tokens and the model takes {limit}; ask a shorter question.")
        offsets = torch.tensor(batch["offset_mapping"], device=self.device)
        seen = ids == self.tokenizer.convert_tokens_to_ids(self.standing(placeholder))
        own = (offsets[:, 0] < end) & (offsets[:, 1] > start) & ~seen
        embeds = self.embed(ids).detach().clone()
        embeds[seen] = look.tokens.to(embeds)
        newline = torch.full_like(ids, -1)
        if look.newline is not None:
            newline[seen] = look.newline.to(ids.device)
        return Encoded(
            asked=question,
            text=text,
            ids=ids,
            embeds=embeds,
            positions=self.positions(ids, look),
            visual=seen & (newline < 0),
            question=own,
            vision=look.vision.to(ids.device),
            panels=look.panels,
            seconds=look.seconds,
            newline=newline,
            before=tuple((asked, said) for asked, said in before),
        )

    def expand(self, look: Look, placeholder: str) -> list[str]:
        """What stands in the prompt for each picture: its placeholder once a token."""
        return [placeholder * n for n in look.counts]

    def standing(self, placeholder: str) -> str:
        """What stands for each token of what a placeholder holds the place of."""
        return placeholder

    def template(self, placeholder: str) -> str | None:
        """The chat template for pictures or videos."""
        return self.processor.chat_template or self.tokenizer.chat_template

    def positions(self, ids: Tensor, look: Look) -> Tensor:
        """RoPE positions (axes, T) of the whole prompt."""
        return torch.arange(len(ids), device=ids.device)[None]

    def _render(
        self, question: str, look: Look, placeholder: str, before: Sequence[tuple[str, str]]
    ) -> tuple[str, tuple[int, int]]:
        """The chat template's text, and the span of the question in it."""
        question = self._clean(question, placeholder)
        turns = [(self._clean(asked, placeholder), self._clean(said, placeholder)) for asked, said in before]
        kinds = [{"type": "video" if isinstance(p, Video) else "image"} for p in look.pictures]
        template = self.template(placeholder)
        if template:
            messages: list[dict[str, Any]] = []
            for asked, said in turns:
                messages.append({"role": "user", "content": [{"type": "text", "text": asked}]})
                messages.append({"role": "assistant", "content": [{"type": "text", "text": said}]})
            messages.append({"role": "user", "content": [{"type": "text", "text": question}]})
            messages[0]["content"] = [*kinds, *messages[0]["content"]]
            text = self.tokenizer.apply_chat_template(
                messages, chat_template=template, add_generation_prompt=True, tokenize=False
            )
            if any(said not in text for _, said in turns):
                raise ValueError("The chat template of this checkpoint leaves out earlier answers; ask one question.")
        elif turns:
            raise ValueError("This checkpoint has no chat template to write earlier turns with; ask one question.")
        else:
            text = self.default_prompt.format(images=f"{placeholder}\n" * len(kinds), question=question)
        start = text.rindex(question)
        return text, (start, start + len(question))

    def _clean(self, words: str, placeholder: str) -> str:
        """What a person wrote, its line breaks with it; ValueError for nothing, and for marks of the prompt."""
        words = words.strip()
        if not words:
            raise ValueError("The question is empty; ask something about the picture.")
        marks = (placeholder, self.standing(placeholder), *self.tokenizer.all_special_tokens)
        marker = next((mark for mark in marks if mark and mark in words), None)
        if marker:
            raise ValueError(f"The question holds {marker!r}, which marks a place in the prompt; leave it out.")
        return words

    def encode(
        self,
        pictures: Image.Image | Video | Sequence[Image.Image | Video],
        question: str,
        before: Sequence[tuple[str, str]] = (),
    ) -> Encoded:
        """`look` and `prompt` in one step."""
        if isinstance(pictures, Image.Image | Video):
            pictures = [pictures]
        return self.prompt(self.look(pictures), question, before)

    def clock(self) -> float:
        """Seconds, after the device has finished what it was given."""
        return clock(self.device)

    # --- what cost is made of ---------------------------------------------------------------------------------

    @property
    def text_config(self) -> Any:
        return self.core.config.get_text_config()

    @property
    def layer_weights(self) -> list[int]:
        """Weights of the linear maps in each decoder layer, (L,); by their shapes, since quantized ones are packed."""
        return [sum(linear_weights(m) for m in layer.modules()) for layer in self.layers]

    @property
    def heads(self) -> tuple[int, int, int]:
        """Query heads, key-value heads, width of a head."""
        config = self.text_config
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return config.num_attention_heads, config.num_key_value_heads, width


def works_on(module: nn.Module) -> torch.device:
    """Where a module with a weight runs."""
    hook = getattr(module, "_hf_hook", None)  # accelerate's, where weights wait elsewhere
    waiting = getattr(hook, "execution_device", None)
    return module.weight.device if waiting is None else torch.device(waiting)


def clock(device: torch.device) -> float:
    """Seconds, after a device has finished what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    elif device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter()


def linear_weights(module: nn.Module) -> int:
    """Weights of a linear map; 0 for any other module."""
    return module.in_features * module.out_features if isinstance(module, nn.Linear) else 0
