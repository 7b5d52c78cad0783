"""Idefics3 (Laurençon et al., 2024) and SmolVLM (Marafioti et al., 2025): tiles row by row, then the whole picture.

The first SmolVLM checkpoints are Idefics3 by their config; SmolVLM2, which takes videos, has a family of its own.

Between the tiles stand words that name their row and column; they are text, and no cut touches them. A square of
patches becomes one token (pixel shuffle). A picture is brought to a whole number of tiles, its aspect changing a
little, so nothing is padded. The tower has no CLS token. SmolVLM takes a video as its frames, each as one tile behind
a line with its time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

import numpy as np
import torch
from num2words import num2words
from PIL import Image
from torch import nn
from transformers import Idefics3ForConditionalGeneration, SmolVLMForConditionalGeneration
from transformers.models.smolvlm.processing_smolvlm import (
    DEFAULT_CHAT_TEMPLATE,
    DEFAULT_MEDIA_OUTTRO,
    DEFAULT_VIDEO_INTRO,
    FRAME_TIMESTAMP_MESSAGE,
)

from trimviz.models.base import Model
from trimviz.models.llava import restore
from trimviz.models.llava_next_video import frame_name
from trimviz.types import Look, Panel, Video, Vision


class Idefics3(Model):
    name: ClassVar[str] = "Idefics3"
    model_type: ClassVar[str] = "idefics3"
    auto_class: ClassVar[type] = Idefics3ForConditionalGeneration
    provides: frozenset[str] = frozenset()
    checkpoints: ClassVar[tuple[str, ...]] = (
        "HuggingFaceM4/Idefics3-8B-Llama3",
        "HuggingFaceTB/SmolVLM-256M-Instruct",
        "HuggingFaceTB/SmolVLM-500M-Instruct",
    )
    tokens: ClassVar[str] = "169 (13 x 13) or 64 (8 x 8) a tile, up to 4 x 4 tiles, and as many for the whole"
    default_prompt: ClassVar[str] = "<|begin_of_text|>User:{images}{question}<end_of_utterance>\nAssistant:"
    whole: ClassVar[tuple[str, ...]] = ("vision_model", "connector", "lm_head")
    surround: ClassVar[str] = "<fake_token_around_image>"
    overall: ClassVar[str] = "<global-img>"

    @property
    def language(self) -> nn.Module:
        return self.core.model.text_model

    @property
    def grid(self) -> int:
        """Cells along the side of a tile."""
        config = self.core.config
        return config.vision_config.image_size // config.vision_config.patch_size // config.scale_factor

    def look(self, pictures: Sequence[Image.Image | Video]) -> Look:
        stills, _ = self.apart(pictures)
        return self.see(stills, stills, {})

    @torch.inference_mode()
    def see(
        self, given: Sequence[Image.Image | Video], stills: Sequence[Image.Image], settings: Mapping[str, Any]
    ) -> Look:
        """`look` at `stills`, which may be frames of what was given; settings are those of the picture processor."""
        start = self.clock()
        images = self.processor.image_processor
        inputs = dict(images([list(stills)], return_row_col_info=True, return_tensors="pt", **settings))
        tilings = list(zip(inputs.pop("rows")[0], inputs.pop("cols")[0], strict=True))
        pixels = inputs["pixel_values"].to(self.device)  # (1, tiles of all pictures, 3, height, width)
        core, n = self.core.model, self.grid**2
        out = core.get_image_features(pixels, inputs["pixel_attention_mask"].to(self.device), return_dict=True)
        tokens = torch.cat(list(out.pooler_output))
        seconds = self.clock() - start
        shuffled = core.connector.pixel_shuffle(out.last_hidden_state, self.core.config.scale_factor)  # (tiles, n, c)
        vision = Vision(
            features=shuffled.flatten(0, 1),
            tile=torch.arange(len(shuffled), device=self.device).repeat_interleave(n),
            project=core.connector.modality_projection,
        )
        panels: list[Panel] = []
        first = 0
        for b, (picture, (rows, cols)) in enumerate(zip(stills, tilings, strict=True)):
            number = f" {b + 1}" if len(stills) > 1 else ""
            tiles = inputs["pixel_values"][0, first : first + rows * cols + 1]
            panels += self.panels(picture, tiles, rows, cols, first * n, number)
            first += len(tiles)
        counts = tuple((rows * cols + 1) * n for rows, cols in tilings)
        return Look(tuple(given), tokens, vision, tuple(panels), counts, {**inputs, "tilings": tilings}, seconds)

    def panels(
        self, picture: Image.Image, tiles: torch.Tensor, rows: int, cols: int, before: int, number: str
    ) -> list[Panel]:
        """The tiles, where there are any, and the overview behind them; `before` visual tokens stand before them."""
        grid, images, side = self.grid, self.processor.image_processor, tiles.shape[-1]
        box = (0.0, 0.0, float(picture.width), float(picture.height))
        token = np.arange(len(tiles) * grid**2) + before
        overview, whole = token[-(grid**2) :].reshape(grid, grid), np.ones((grid, grid), dtype=bool)
        panels = [Panel(f"overview{number}", restore(tiles[-1], images), overview, whole, box)]
        if len(tiles) > 1:
            blocks = token[: -(grid**2)].reshape(rows, cols, grid, grid).swapaxes(1, 2)
            canvas = blocks.reshape(rows * grid, cols * grid)
            stitched = tiles[:-1].unflatten(0, (rows, cols)).permute(2, 0, 3, 1, 4).reshape(3, rows * side, cols * side)
            shown = restore(stitched, images)
            panels.insert(0, Panel(f"tiles{number}", shown, canvas, np.ones_like(canvas, dtype=bool), box))
        return panels

    def expand(self, look: Look, placeholder: str) -> list[str]:
        """Each tile behind the words for its row and column, then the whole picture."""
        tile = placeholder * self.grid**2
        last = f"{self.surround}{self.overall}{tile}{self.surround}"
        out = []
        for rows, cols in look.inputs["tilings"]:
            named = [[f"{self.surround}<row_{r + 1}_col_{c + 1}>{tile}" for c in range(cols)] for r in range(rows)]
            out.append("".join("".join(row) + "\n" for row in named) + ("\n" if named else "") + last)
        return out


class SmolVLM(Idefics3):
    name: ClassVar[str] = "SmolVLM"
    model_type: ClassVar[str] = "smolvlm"
    auto_class: ClassVar[type] = SmolVLMForConditionalGeneration
    checkpoints: ClassVar[tuple[str, ...]] = (
        "HuggingFaceTB/SmolVLM2-256M-Video-Instruct",
        "HuggingFaceTB/SmolVLM2-500M-Video-Instruct",
        "HuggingFaceTB/SmolVLM2-2.2B-Instruct",
    )
    tokens: ClassVar[str] = "64 (8 x 8) or 81 (9 x 9) a tile, up to 4 x 4 tiles, as many for the whole, and a frame"
    default_prompt: ClassVar[str] = "<|im_start|>User:{images}{question}<end_of_utterance>\nAssistant:"
    takes_video: ClassVar[bool] = True

    def look(self, pictures: Sequence[Image.Image | Video]) -> Look:
        _, videos = self.apart(pictures)
        return self.watch(videos) if videos else super().look(pictures)

    def watch(self, videos: Sequence[Video]) -> Look:
        """`look` for videos: each frame as a picture that is not cut into tiles."""
        frames = [frame for video in videos for frame in video.frames]
        look = self.see(videos, frames, {"do_image_splitting": False} | self.framing)
        lengths = [len(video.frames) for video in videos]
        panels = (replace(panel, name=frame_name(videos, f)) for f, panel in enumerate(look.panels))
        return replace(look, panels=tuple(panels), counts=tuple(length * self.grid**2 for length in lengths))

    @property
    def framing(self) -> dict[str, Any]:
        """What the checkpoint's settings for videos say of the size of frames."""
        own = getattr(self.processor, "video", {})
        size = own.get("video_sampling", {}).get("video_size") or own.get("size")
        given = {"size": size, "max_image_size": own.get("max_image_size")}
        return {name: value for name, value in given.items() if value}

    def standing(self, placeholder: str) -> str:
        return self.processor.image_token

    def template(self, placeholder: str) -> str | None:
        """For videos the family's own, as the official processor does: those of some checkpoints know pictures only."""
        return DEFAULT_CHAT_TEMPLATE if placeholder == self.processor.video_token else super().template(placeholder)

    def expand(self, look: Look, placeholder: str) -> list[str]:
        if placeholder != self.processor.video_token:
            return super().expand(look, placeholder)
        tile = self.standing(placeholder) * self.grid**2
        frame = f"{self.surround}{self.overall}{tile}{self.surround}"
        out = []
        for video in (p for p in look.pictures if isinstance(p, Video)):
            length = timedelta(seconds=int(video.times[-1] if video.duration is None else video.duration))
            words = DEFAULT_VIDEO_INTRO.format(frame_count=num2words(len(video.frames)), video_duration=str(length))
            for seconds in video.times:
                at = f"{int(seconds // 60):02d}:{int(seconds % 60):02d}"
                words += FRAME_TIMESTAMP_MESSAGE.format(timestamp=at) + frame
            out.append(words + DEFAULT_MEDIA_OUTTRO)
        return out
