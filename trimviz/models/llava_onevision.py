"""LLaVA-OneVision (Li et al., 2024): tiles as LLaVA-NeXT, shrunk together where they are many; pictures, and videos.

Where the tiles hold more than a certain number of patches, the model shrinks their grid (bilinear), so that a token may
stand for one and a half patches in each direction. The cells drawn are those of the tokens: their number and extent are
found by sending the patches' coordinates through the model's own packing; shrunk or not, they divide the part of the
tiles that is no padding evenly. Of several pictures each is one square tile.
Each frame of a video is shrunk to half the rows and columns, and one newline token ends all of it.

The tower has no CLS token. Where a tile is no whole number of patches wide, the tower never sees the rest at its right
and bottom, 6 of 384 pixels in the published checkpoints. It is cut away from what is shown, whose cells are therefore
exact. The rests lie between tiles, so no even grid fits the original: where tiles stand side by side, `box` is off by
up to half a rest, less than a quarter of a patch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import LlavaOnevisionForConditionalGeneration

from trimviz.models.base import Option
from trimviz.models.llava import content, restore
from trimviz.models.llava_next import LlavaNext, lines, pad_box
from trimviz.models.llava_next_video import LlavaNextVideo, frame_name
from trimviz.types import Look, Panel, Video, Vision


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the places of one picture are."""

    visual: Tensor  # (S,) bool: False at newline tokens
    centre: Tensor  # (S, 2): row and column of each token's centre among the patches of all tiles
    overview: int  # tokens of the overview, which come first

    @property
    def rows(self) -> int:
        return int((~self.visual).sum())

    @property
    def cols(self) -> int:
        return (int(self.visual.sum()) - self.overview) // self.rows

    def extent(self, axis: int) -> tuple[float, float]:
        """First and last edge of the tiles' tokens among the patches, down (0) or across (1)."""
        centres = self.centre[self.visual][self.overview :, axis]
        first, last, count = float(centres.min()), float(centres.max()), (self.rows, self.cols)[axis]
        half = (last - first) / (count - 1) / 2 if count > 1 else 0.5
        return first - half, last + half


class LlavaOnevision(LlavaNextVideo):
    name: ClassVar[str] = "LLaVA-OneVision"
    model_type: ClassVar[str] = "llava_onevision"
    auto_class: ClassVar[type] = LlavaOnevisionForConditionalGeneration
    checkpoints: ClassVar[tuple[str, ...]] = (
        "llava-hf/llava-onevision-qwen2-0.5b-ov-hf",
        "llava-hf/llava-onevision-qwen2-7b-ov-hf",
    )
    tokens: ClassVar[str] = "729 (27 x 27) + up to about 7,900 of the tiles; 196 (14 x 14) a frame"
    default_prompt: ClassVar[str] = "<|im_start|>user {images}{question}<|im_end|><|im_start|>assistant\n"
    provides: frozenset[str] = frozenset()
    options: ClassVar[Mapping[str, Option]] = {k: v for k, v in LlavaNext.options.items() if k != "tiling"}

    def look(self, pictures: Sequence[Image.Image | Video]) -> Look:
        stills, videos = self.apart(pictures)
        return self.watch(videos) if videos else self.see_tiles(stills)

    @property
    def canvases(self) -> list[list[int]]:
        return self.core.config.image_grid_pinpoints

    @torch.inference_mode()
    def see_tiles(self, pictures: Sequence[Image.Image]) -> Look:
        start = self.clock()
        inputs = dict(self.processor.image_processor([list(pictures)], return_tensors="pt"))
        sizes = inputs["image_sizes"]  # (B, 2): height, width
        tilings = [self.tiling(size) if len(pictures) == 1 else (0, 0) for size in sizes.tolist()]
        shown = [v[: 1 + rows * cols] for v, (rows, cols) in zip(inputs["pixel_values"], tilings, strict=True)]
        counts = [len(tiles) for tiles in shown]
        features = self.patches(torch.cat(shown).to(self.device, self.dtype))  # (tiles, n, c)
        core = self.core.model
        tokens = torch.cat(self.lay(core.multi_modal_projector(features), self.newline, counts, sizes))
        seconds = self.clock() - start
        layouts = self.layouts(tilings, counts, sizes)
        visual = torch.cat([layout.visual for layout in layouts])
        tile = torch.cat([self.tile_of(*pair) for pair in zip(layouts, tilings, strict=True)])
        if len(pictures) > 1:
            tile = torch.arange(len(pictures), device=self.device).repeat_interleave(self.grid**2)
        places = [torch.where(layout.visual, 0, -1) for layout in layouts]
        row = lines(places, self.grid**2 if len(pictures) == 1 else 0)
        packed = torch.cat(self.lay(features, features.new_zeros(features.shape[-1]), counts, sizes))
        panels: list[Panel] = []
        for b, (picture, layout) in enumerate(zip(pictures, layouts, strict=True)):
            if len(pictures) == 1:
                panels += self.of_one(picture, shown[b], tilings[b], layout)
            else:
                panels.append(self.square(picture, shown[b][0], b))
        return Look(
            pictures=tuple(pictures),
            tokens=tokens,
            vision=self.vision(packed[visual.to(packed.device)], tile, row[visual]),
            panels=tuple(panels),
            counts=tuple(len(layout.visual) for layout in layouts),
            inputs=inputs,
            seconds=seconds,
            newline=torch.where(visual, -1, row),
        )

    def patches(self, pixels: Tensor) -> Tensor:
        """Pixels (B, 3, height, width) -> features (B, n, c) of the layers that the projector reads."""
        config = self.core.config
        which = config.vision_feature_layer
        states = self.core.model.vision_tower(pixels, output_hidden_states=True, return_dict=True).hidden_states
        state = torch.cat([states[i] for i in ([which] if isinstance(which, int) else which)], dim=-1)
        return state if config.vision_feature_select_strategy == "full" else state[:, 1:]

    def lay(self, values: Tensor, newline: Tensor, tiles: Sequence[int], sizes: Tensor) -> list[Tensor]:
        """Values (tiles, n, e) through the model's own packing: each picture's places (S, e)."""
        ratio = self.core.config.vision_aspect_ratio
        split = values.split(list(tiles))
        return self.core.model.pack_image_features(split, sizes, image_newline=newline, vision_aspect_ratio=ratio)[0]

    def layouts(self, tilings: Sequence[tuple[int, int]], tiles: Sequence[int], sizes: Tensor) -> list[Layout]:
        """Where the model puts which patches: their coordinates, laid as features are."""
        grid, every = self.grid, []
        cell = torch.arange(grid**2, dtype=torch.float64, device=self.device)
        own = torch.stack([torch.ones_like(cell), cell // grid + 0.5, cell % grid + 0.5], dim=1)  # (n, 3)
        for rows, cols in tilings:
            every.append(own)
            every += [own + own.new_tensor([0, row * grid, col * grid]) for row in range(rows) for col in range(cols)]
        packed = self.lay(torch.stack(every), own.new_tensor([-1, 0, 0]), tiles, sizes)
        return [Layout(places[:, 0] > 0, places[:, 1:], grid**2) for places in packed]

    def tile_of(self, layout: Layout, tiling: tuple[int, int]) -> Tensor:
        """(N,) the tile of each visual token of one picture, 0 being the overview."""
        row, col = (layout.centre[layout.visual] // self.grid).long().unbind(1)
        tile = 1 + row * tiling[1] + col
        tile[: layout.overview] = 0
        return tile

    def vision(self, features: Tensor, tile: Tensor, line: Tensor) -> Vision:
        return Vision(features=features, tile=tile, project=self.core.model.multi_modal_projector, line=line)

    def seen(self, tiles: Tensor) -> Tensor:
        """Tiles (..., height, width) without what the tower's patches do not reach."""
        side = self.grid * self.core.config.vision_config.patch_size
        return tiles[..., :side, :side]

    def of_one(self, picture: Image.Image, tiles: Tensor, tiling: tuple[int, int], layout: Layout) -> list[Panel]:
        """Overview and tiles of a picture that was asked about alone."""
        grid, side, images = self.grid, tiles.shape[-1], self.processor.image_processor
        rows, cols = tiling
        tiles = self.seen(tiles)
        reach = tiles.shape[-1]
        part = reach / side
        overview = np.arange(grid**2).reshape(grid, grid)
        whole = (0.0, 0.0, picture.width * part, picture.height * part)
        stitched = tiles[1:].unflatten(0, (rows, cols)).permute(2, 0, 3, 1, 4).reshape(3, rows * reach, cols * reach)
        (top, bottom), (left, right) = layout.extent(0), layout.extent(1)
        canvas = pad_box(picture.size, (cols * side, rows * side))
        patch = reach // grid

        def edge(at: float, count: int, first: float, last: float) -> float:
            """An edge among the patches of `count` tiles, in the pixels in which these go from `first` to `last`."""
            pixels = at * patch if count == 1 else at * side / grid - (side - reach) / 2
            return first + (last - first) * pixels / (count * side)

        box = (
            edge(left, cols, canvas[0], canvas[2]),
            edge(top, rows, canvas[1], canvas[3]),
            edge(right, cols, canvas[0], canvas[2]),
            edge(bottom, rows, canvas[1], canvas[3]),
        )
        area = tuple(round(at * patch) for at in (left, top, right, bottom))
        token = np.arange(layout.rows * layout.cols).reshape(layout.rows, layout.cols) + grid**2
        return [
            Panel("overview", restore(tiles[0], images), overview, np.ones_like(overview, dtype=bool), whole),
            Panel(
                "tiles",
                fitted(restore(stitched, images).crop(area), token.shape),
                token,
                content(box, picture.size, *token.shape),
                box,
            ),
        ]

    def square(self, picture: Image.Image, tile: Tensor, b: int) -> Panel:
        """The b-th of several pictures, padded to a square."""
        grid, side = self.grid, max(picture.size)
        left, top = -((side - picture.width) // 2), -((side - picture.height) // 2)
        reach = side * self.seen(tile).shape[-1] / tile.shape[-1]
        box = (float(left), float(top), left + reach, top + reach)
        token = np.arange(grid**2).reshape(grid, grid) + b * grid**2
        shown = restore(self.seen(tile), self.processor.image_processor)
        return Panel(f"image {b + 1}", shown, token, content(box, picture.size, grid, grid), box)

    @torch.inference_mode()
    def watch(self, videos: Sequence[Video]) -> Look:
        start = self.clock()
        frames = [frame for video in videos for frame in video.frames]
        images, core = self.framing, self.core.model
        pixels = images(frames, return_tensors="pt")["pixel_values"]  # (F, 3, height, width)
        features = self.patches(pixels.to(self.device, self.dtype))
        pooled = core.apply_pooling(core.multi_modal_projector(features))  # (F, m, d)
        lengths = [len(video.frames) for video in videos]
        end = self.newline[None].to(pooled)
        ended = [torch.cat([clip.flatten(0, 1), end]) for clip in pooled.split(lengths)]
        seconds = self.clock() - start
        side = round(pooled.shape[1] ** 0.5)
        per = [count * side**2 for count in lengths]
        device = self.device
        clip_of = torch.arange(len(videos), device=device).repeat_interleave(torch.tensor(per, device=device))
        tile = torch.arange(len(frames), device=device).repeat_interleave(side**2)
        panels = []
        for f, frame in enumerate(frames):
            seen = self.seen(pixels[f])
            part = seen.shape[-1] / pixels.shape[-1]
            box = (0.0, 0.0, frame.width * part, frame.height * part)
            token = np.arange(side**2).reshape(side, side) + f * side**2
            shown = fitted(restore(seen, images), token.shape)
            panels.append(Panel(frame_name(videos, f), shown, token, np.ones_like(token, dtype=bool), box))
        newline = torch.cat([torch.tensor([-1] * count + [v], device=device) for v, count in enumerate(per)])
        clips = pixels.split(lengths)
        inputs: dict[str, Any] = {"pixel_values_videos": torch.stack(clips) if len(set(lengths)) == 1 else clips}
        return Look(
            pictures=tuple(videos),
            tokens=torch.cat(ended),
            vision=self.vision(core.apply_pooling(features).flatten(0, 1), tile, clip_of),
            panels=tuple(panels),
            counts=tuple(count + 1 for count in per),
            inputs=inputs,
            seconds=seconds,
            newline=newline,
        )


def fitted(picture: Image.Image, cells: tuple[int, ...]) -> Image.Image:
    """A picture whose sides are whole numbers of pixels a cell."""
    rows, cols = cells
    width, height = (-(-picture.size[axis] // count) * count for axis, count in ((0, cols), (1, rows)))
    return picture if (width, height) == picture.size else picture.resize((width, height), Image.Resampling.BICUBIC)
