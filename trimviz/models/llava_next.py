"""LLaVA-NeXT (Liu et al., 2024): an overview of the whole picture, then its tiles at full resolution, row by row.

Which cell each token shows is asked of the model: cell numbers go through its own `pack_image_features`, as features
do.

Every row of the tiles ends in a learned newline token. It holds nothing of the picture, so no method ever sees it:
it is not a visual token, has no cell and counts in no budget. A dense run has them all, as `generate` does. Where
visual tokens are cut, the setting `newlines` says what becomes of them: "drop" takes them all away at the first cut,
"keep" lets each stay for as long as a token of its row does.

The setting `selection` is "global", or "per tile": then a method that cuts at the language model's door sees one tile
at a time, the overview being one, and keeps of each in proportion to its size.

The setting `tiling` is "native" or "paper": one grid of two by two tiles for every picture, nothing unpadded and no
newline tokens, which is what papers mean by 2,880 tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from accelerate.utils import align_module_device
from PIL import Image
from torch import Tensor
from transformers import LlavaNextForConditionalGeneration
from transformers.models.llava_next.modeling_llava_next import get_anyres_image_grid_shape

from trimviz.models.base import Option
from trimviz.models.llava import Llava, content, restore
from trimviz.types import Look, Panel, Video, Vision


class LlavaNext(Llava):
    name: ClassVar[str] = "LLaVA-NeXT"
    model_type: ClassVar[str] = "llava_next"
    auto_class: ClassVar[type] = LlavaNextForConditionalGeneration
    checkpoints: ClassVar[tuple[str, ...]] = (
        "llava-hf/llava-v1.6-vicuna-7b-hf",
        "llava-hf/llava-v1.6-vicuna-13b-hf",
        "llava-hf/llava-v1.6-mistral-7b-hf",
        "llava-hf/llama3-llava-next-8b-hf",
    )
    tokens: ClassVar[str] = "576 + up to 2,304 of the tiles; 2,880 in paper mode"
    options: ClassVar[Mapping[str, Option]] = {
        "newlines": Option(("drop", "keep"), "At a cut, newline tokens go, or stay while a token of their row does"),
        "selection": Option(("global", "per tile"), "Before the language model, tokens compete across tiles or within"),
        "tiling": Option(("native", "paper"), "Tiles by the picture's shape, or two by two for all, as in papers"),
    }

    @property
    def canvases(self) -> list[list[int]]:
        """Height and width in pixels of the canvases that a picture may be cut into tiles on."""
        if self.settings["tiling"] == "paper":
            side = 2 * self.core.config.vision_config.image_size
            return [[side, side]]
        return self.core.config.image_grid_pinpoints

    @contextmanager
    def tiled(self) -> Iterator[None]:
        """The model's own config with these canvases for as long as the block."""
        config = self.core.config
        own, config.image_grid_pinpoints = config.image_grid_pinpoints, self.canvases
        try:
            yield
        finally:
            config.image_grid_pinpoints = own

    @property
    def grid(self) -> int:
        """Cells along the side of a tile."""
        config = self.core.config.vision_config
        return config.image_size // config.patch_size

    @property
    def newline(self) -> Tensor:
        """(d,) the learned token at the end of a row."""
        with align_module_device(self.core.model):  # it may wait elsewhere until the whole model is called
            return self.core.model.image_newline.detach().clone()

    def lines_kept(self, vision: Vision) -> Tensor | None:
        return vision.line if self.settings["newlines"] == "keep" else None

    def apart_by(self, vision: Vision) -> Tensor | None:
        return vision.tile if self.settings["selection"] == "per tile" else None

    def look(self, pictures: Sequence[Image.Image | Video]) -> Look:
        stills, _ = self.apart(pictures)
        with self.tiled():
            return self.see_tiles(stills)

    @torch.inference_mode()
    def see_tiles(self, pictures: Sequence[Image.Image]) -> Look:
        """`look` for pictures, on the canvases that the config has by now."""
        start = self.clock()
        images = self.processor.image_processor
        inputs = images(list(pictures), return_tensors="pt", image_grid_pinpoints=self.canvases)
        sizes = inputs["image_sizes"]  # (B, 2): height, width
        tilings = [self.tiling(size) for size in sizes.tolist()]
        shown = [v[: 1 + rows * cols] for v, (rows, cols) in zip(inputs["pixel_values"], tilings, strict=True)]
        if self.settings["tiling"] == "paper":  # as if the picture filled the canvas: there is nothing to unpad
            sizes = torch.tensor(self.canvases).expand(len(pictures), 2)
        seen = self.see(torch.cat(shown).to(self.device, self.dtype))
        pack = partial(self.pack, tiles=[len(tiles) for tiles in shown], sizes=sizes)
        tokens = torch.cat(pack(seen.project(seen.features), self.newline))
        seconds = self.clock() - start
        numbers = torch.arange(len(seen.features), dtype=torch.float64, device=self.device)
        cells = [c[:, 0].long() for c in pack(numbers[:, None], numbers.new_tensor([-1]))]
        row = lines(cells, self.grid**2)
        everywhere = torch.cat(cells)
        visual = everywhere >= 0

        def aligned(values: Tensor | None) -> Tensor | None:
            if values is None:
                return None
            flat = values.reshape(len(values), -1)
            return torch.cat(pack(flat, flat.new_zeros(flat.shape[1])))[visual].reshape(-1, *values.shape[1:])

        vision = replace(
            seen,
            features=aligned(seen.features),
            keys=aligned(seen.keys),
            cls_attention=aligned(seen.cls_attention),
            last_keys=aligned(seen.last_keys),
            last_attention=aligned(seen.last_attention),
            tower=seen.tower and seen.tower.packed(everywhere[visual]),
            tile=everywhere[visual] // self.grid**2,
            line=row[visual],
        )
        panels: list[Panel] = []
        for b, picture in enumerate(pictures):
            number = f" {b + 1}" if len(pictures) > 1 else ""
            first = sum(len(tiles) for tiles in shown[:b]) * self.grid**2
            before = sum(int((c >= 0).sum()) for c in cells[:b])
            places = torch.where(cells[b] >= 0, cells[b] - first, -1).cpu().numpy()
            panels += self.panels(picture, shown[b], tilings[b], places, before, number)
        newline = torch.where(visual, -1, row)
        counts = tuple(len(c) for c in cells)
        return Look(tuple(pictures), tokens, vision, tuple(panels), counts, dict(inputs), seconds, newline)

    def tiling(self, size: Sequence[int]) -> tuple[int, int]:
        """Rows and columns of tiles for a picture of this height and width."""
        config = self.core.config
        return get_anyres_image_grid_shape(list(size), config.image_grid_pinpoints, config.vision_config.image_size)

    def pack(self, values: Tensor, newline: Tensor, tiles: Sequence[int], sizes: Tensor) -> list[Tensor]:
        """Values (P, e) of all patches of all tiles through the model's own packing: each picture's places (S, e)."""
        split = values.unflatten(0, (sum(tiles), -1)).split(list(tiles))
        strategy = self.core.config.vision_feature_select_strategy
        ends = None if self.settings["tiling"] == "paper" else newline
        return self.core.model.pack_image_features(split, sizes, strategy, image_newline=ends)[0]

    def panels(
        self, picture: Image.Image, tiles: Tensor, tiling: tuple[int, int], cells: np.ndarray, before: int, number: str
    ) -> list[Panel]:
        """The overview and the tiles of one picture.

        cells: the patch in each of its places, -1 for a newline. before: visual tokens of the pictures before it.
        """
        grid, (rows, cols), n = self.grid, tiling, self.grid**2
        patches = cells[cells >= 0]
        token = np.full((1 + rows * cols) * n, -1)
        token[patches] = np.arange(len(patches)) + before
        whole = (0.0, 0.0, float(picture.width), float(picture.height))
        overview = token[:n].reshape(grid, grid)
        canvas = token[n:].reshape(rows, cols, grid, grid).swapaxes(1, 2).reshape(rows * grid, cols * grid)
        side = tiles.shape[-1]
        stitched = tiles[1:].unflatten(0, (rows, cols)).permute(2, 0, 3, 1, 4).reshape(3, rows * side, cols * side)
        box = pad_box(picture.size, (cols * side, rows * side))
        images = self.processor.image_processor
        return [
            Panel(f"overview{number}", restore(tiles[0], images), overview, np.ones_like(overview, dtype=bool), whole),
            Panel(f"tiles{number}", restore(stitched, images), canvas, content(box, picture.size, *canvas.shape), box),
        ]


def lines(cells: Sequence[Tensor], overview: int) -> Tensor:
    """(S,) the row that each place of the pictures is in, newlines included; -1 in overviews and without newlines."""
    out, before = [], 0
    for places in cells:
        ends = (places < 0).long()
        row = ends.cumsum(0) - ends + before
        row[:overview] = -1
        out.append(row if ends.any() else torch.full_like(row, -1))
        before += int(ends.sum())
    return torch.cat(out)


def pad_box(size: tuple[int, int], canvas: tuple[int, int]) -> tuple[float, float, float, float]:
    """The canvas (width, height) in the pixels of a picture that was made to fit and put in its middle."""
    across, down = canvas[0] / size[0], canvas[1] / size[1]
    # Rounded as transformers' get_patch_output_size does.
    width = canvas[0] if across < down else min(math.ceil(size[0] * down), canvas[0])
    height = canvas[1] if across >= down else min(math.ceil(size[1] * across), canvas[1])
    left, top = (canvas[0] - width) // 2, (canvas[1] - height) // 2
    x, y = size[0] / width, size[1] / height
    return (-left * x, -top * y, (canvas[0] - left) * x, (canvas[1] - top) * y)
