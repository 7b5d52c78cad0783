"""What a processor is made of: tokenizer, picture processor on Pillow, chat template.

transformers builds several processors only beside torchvision, which is no dependency here: the parts suffice, since
a model expands its placeholders itself. Pillow is used where torchvision is present too, so that pixels do not
depend on it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import AutoImageProcessor, AutoTokenizer, ProcessorMixin
from transformers.utils import cached_file

VIDEO_FILE = "video_preprocessor_config.json"


@dataclass
class Parts:
    """Named as the attributes of a transformers processor, which may stand in its place."""

    tokenizer: Any
    image_processor: Any
    chat_template: str | None
    image_token: str
    video_token: str = "<video>"
    video: Mapping[str, Any] = field(default_factory=dict)  # settings of the checkpoint's video processor

    @classmethod
    def load(cls, place: str | Path, revision: str | None, image_token: str, video_token: str) -> Parts:
        """The parts of a checkpoint on the Hub or in a folder; the two tokens hold where it names none."""
        settings, _ = ProcessorMixin.get_processor_dict(str(place), revision=revision)
        tokenizer = AutoTokenizer.from_pretrained(place, revision=revision)
        return cls(
            tokenizer=tokenizer,
            image_processor=AutoImageProcessor.from_pretrained(place, revision=revision, backend="pil"),
            chat_template=settings.get("chat_template") or tokenizer.chat_template,
            image_token=settings.get("image_token") or getattr(tokenizer, "image_token", None) or image_token,
            video_token=settings.get("video_token") or getattr(tokenizer, "video_token", None) or video_token,
            video=settings.get("video_processor") or _video_settings(place, revision),
        )

    def apply_chat_template(self, messages: list[dict[str, Any]], **kwargs: Any) -> str:
        """Messages as the text of a prompt."""
        return self.tokenizer.apply_chat_template(messages, chat_template=self.chat_template, **kwargs)


def _video_settings(place: str | Path, revision: str | None) -> dict[str, Any]:
    found = cached_file(str(place), VIDEO_FILE, revision=revision, _raise_exceptions_for_missing_entries=False)
    return json.loads(Path(found).read_text(encoding="utf-8")) if found else {}
