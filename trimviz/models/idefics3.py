"""Idefics3 (Laurençon et al., 2024) and SmolVLM (Marafioti et al., 2025): tiles row by row, then the whole picture.

Between the tiles stand words that name their row and column; they are text, and no cut touches them. A square of
patches becomes one token (pixel shuffle). A picture is brought to a whole number of tiles, its aspect changing a
little, so nothing is padded. The tower has no CLS token. Videos, which SmolVLM takes as many pictures between time
stamps, are not taken here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import nn
from transformers import Idefics3ForConditionalGeneration, SmolVLMForConditionalGeneration

from trimviz.models.base import Model
from trimviz.models.llava import restore
from trimviz.types import Look, Panel, Video, Vision


class Idefics3(Model):
    name: ClassVar[str] = "Idefics3"
    model_type: ClassVar[str] = "idefics3"
    auto_class: ClassVar[type] = Idefics3ForConditionalGeneration
    provides: ClassVar[frozenset[str]] = frozenset()
    checkpoints: ClassVar[tuple[str, ...]] = ("HuggingFaceM4/Idefics3-8B-Llama3",)
    tokens: ClassVar[str] = "169 (13 x 13) a tile, up to 4 x 4 tiles, and as many for the whole"
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

    @torch.inference_mode()
    def look(self, pictures: Sequence[Image.Image | Video]) -> Look:
        stills, _ = self.apart(pictures)
        start = self.clock()
        inputs = dict(self.processor.image_processor([stills], return_row_col_info=True, return_tensors="pt"))
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
        return Look(tuple(stills), tokens, vision, tuple(panels), counts, {**inputs, "tilings": tilings}, seconds)

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
        "HuggingFaceTB/SmolVLM-256M-Instruct",
        "HuggingFaceTB/SmolVLM-500M-Instruct",
        "HuggingFaceTB/SmolVLM2-2.2B-Instruct",
    )
    tokens: ClassVar[str] = "64 (8 x 8) a tile, up to 4 x 4 tiles, and as many for the whole"
    default_prompt: ClassVar[str] = "<|im_start|>User:{images}{question}<end_of_utterance>\nAssistant:"
