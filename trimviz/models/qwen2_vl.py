"""Qwen2-VL (Wang et al., 2024) and Qwen2.5-VL (Bai et al., 2025): native resolution, a token for each 2 x 2 patches.

A token of a video stands for the same cell of two frames on end. Positions have three axes, time, row and column
(M-RoPE), and hold a token's place in the picture: kept tokens keep theirs through every cut, and the answer goes on
behind the prompt's last. The tower has no CLS token, and its attention runs in pieces (frames, windows), so neither
is offered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2VLForConditionalGeneration
from transformers.vision_utils import get_vision_window_index

from trimviz.models.base import Model
from trimviz.models.llava import restore
from trimviz.types import Look, Panel, Video, Vision

VIDEO_SIZE = {"shortest_edge": 128 * 28 * 28, "longest_edge": 768 * 28 * 28}  # pixels, where a checkpoint says nothing


class Qwen2VL(Model):
    name: ClassVar[str] = "Qwen2-VL"
    model_type: ClassVar[str] = "qwen2_vl"
    auto_class: ClassVar[type] = Qwen2VLForConditionalGeneration
    provides: frozenset[str] = frozenset()
    checkpoints: ClassVar[tuple[str, ...]] = ("Qwen/Qwen2-VL-2B-Instruct", "Qwen/Qwen2-VL-7B-Instruct")
    tokens: ClassVar[str] = "one for each 28 x 28 pixels, 4 to 16,384; two frames of a video share them"
    default_prompt: ClassVar[str] = (
        "<|im_start|>user\n<|vision_start|>{images}<|vision_end|>{question}<|im_end|>\n<|im_start|>assistant\n"
    )
    axes: ClassVar[int] = 3
    whole: ClassVar[tuple[str, ...]] = ("visual", "lm_head")
    takes_video: ClassVar[bool] = True
    image_token: ClassVar[str] = "<|image_pad|>"
    video_token: ClassVar[str] = "<|video_pad|>"
    placed_by: ClassVar[tuple[str, ...]] = ("image_grid_thw", "video_grid_thw")  # inputs that positions follow from

    @torch.inference_mode()
    def look(self, pictures: Sequence[Image.Image | Video]) -> Look:
        stills, videos = self.apart(pictures)
        start = self.clock()
        core = self.core.model
        if videos:
            inputs = self.frames(videos)
            pixels, grid = inputs["pixel_values_videos"], inputs["video_grid_thw"].to(self.device)
            out = core.get_video_features(pixels.to(self.device), grid, return_dict=True)
        else:
            inputs = dict(self.processor.image_processor(stills, return_tensors="pt"))
            pixels, grid = inputs["pixel_values"], inputs["image_grid_thw"].to(self.device)
            out = core.get_image_features(pixels.to(self.device), grid, return_dict=True)
        tokens = torch.cat(list(out.pooler_output))
        seconds = self.clock() - start
        merge = core.visual.spatial_merge_size
        grids = grid.tolist()
        counts = tuple(t * h * w // merge**2 for t, h, w in grids)
        patches = self.in_order(out.last_hidden_state.unflatten(0, (-1, merge**2)), grid)  # (N, merge^2, c)
        frames = torch.tensor([h * w // merge**2 for t, h, w in grids for _ in range(t)])
        vision = Vision(
            features=patches.flatten(1),
            tile=torch.arange(len(frames)).repeat_interleave(frames).to(self.device),
            project=lambda rows: core.visual.merger(rows.reshape(-1, patches.shape[-1])),
        )
        panels = self.panels(pictures, pixels, grids)
        return Look(tuple(pictures), tokens, vision, tuple(panels), counts, inputs, seconds)

    def frames(self, videos: Sequence[Video]) -> dict[str, Any]:
        """What the official video processor makes of videos, by that of pictures: an odd last frame comes twice."""
        images = self.processor.image_processor
        size = VIDEO_SIZE | _size_of(getattr(self.processor, "video", {}))
        step, clips, grids = images.temporal_patch_size, [], []
        for video in videos:
            frames = [*video.frames, *video.frames[-1:] * (-len(video.frames) % step)]
            single = images(frames, return_tensors="pt", size=size)
            _, height, width = single["image_grid_thw"][0].tolist()
            first = single["pixel_values"].view(len(frames), height * width, -1, step, images.patch_size**2)[:, :, :, 0]
            paired = first.unflatten(0, (-1, step)).permute(0, 2, 3, 1, 4)  # (t, patches, colours, step, pixels)
            clips.append(paired.reshape(-1, paired.shape[2:].numel()))
            grids.append([len(frames) // step, height, width])
        return {"pixel_values_videos": torch.cat(clips), "video_grid_thw": torch.tensor(grids)}

    def in_order(self, patches: Tensor, grid: Tensor) -> Tensor:
        """Patches of each token as the tower leaves them -> in the order of the tokens."""
        return patches

    def positions(self, ids: Tensor, look: Look) -> Tensor:
        config = self.core.config
        kinds = (ids == config.image_token_id).int() + 2 * (ids == config.video_token_id).int()
        known = {name: look.inputs[name] for name in self.placed_by if name in look.inputs}
        return self.core.model.get_rope_index(ids[None], mm_token_type_ids=kinds[None], **known)[0][:, 0]

    def panels(self, pictures: Sequence[Image.Image | Video], pixels: Tensor, grids: list[list[int]]) -> list[Panel]:
        """One for each picture, and one for each pair of frames, which shows the first of the two."""
        images, merge = self.processor.image_processor, self.core.model.visual.spatial_merge_size
        side, step = images.patch_size, images.temporal_patch_size
        panels, before = [], 0
        for b, (picture, (t, h, w)) in enumerate(zip(pictures, grids, strict=True)):
            rows, cols = h // merge, w // merge
            own, pixels = pixels[: t * h * w], pixels[t * h * w :]
            blocks = own.view(t, rows, cols, merge, merge, -1, step, side, side)[:, :, :, :, :, :, 0]
            shown = blocks.permute(0, 5, 1, 3, 6, 2, 4, 7).reshape(t, -1, h * side, w * side)
            first = picture.frames[0] if isinstance(picture, Video) else picture
            for i in range(t):
                token = np.arange(rows * cols).reshape(rows, cols) + before
                box = (0.0, 0.0, float(first.width), float(first.height))
                whole = np.ones((rows, cols), dtype=bool)
                panels.append(Panel(_name(pictures, b, i, step), restore(shown[i], images), token, whole, box))
                before += rows * cols
        return panels


class Qwen25VL(Qwen2VL):
    name: ClassVar[str] = "Qwen2.5-VL"
    model_type: ClassVar[str] = "qwen2_5_vl"
    auto_class: ClassVar[type] = Qwen2_5_VLForConditionalGeneration
    checkpoints: ClassVar[tuple[str, ...]] = ("Qwen/Qwen2.5-VL-3B-Instruct", "Qwen/Qwen2.5-VL-7B-Instruct")
    placed_by: ClassVar[tuple[str, ...]] = (*Qwen2VL.placed_by, "second_per_grid_ts")

    def frames(self, videos: Sequence[Video]) -> dict[str, Any]:
        step = self.processor.image_processor.temporal_patch_size
        return super().frames(videos) | {"second_per_grid_ts": [step / (video.fps or step) for video in videos]}

    def in_order(self, patches: Tensor, grid: Tensor) -> Tensor:
        tower = self.core.model.visual
        windows, _ = get_vision_window_index(
            grid,
            spatial_merge_size=tower.spatial_merge_size,
            window_size=tower.window_size,
            patch_size=tower.patch_size,
        )
        return patches[windows.argsort()]


def _size_of(settings: Mapping[str, Any]) -> dict[str, int]:
    """The bounds in pixels that a video processor's settings give, in the older words too."""
    given = dict(settings.get("size") or {})
    older = {"shortest_edge": settings.get("min_pixels"), "longest_edge": settings.get("max_pixels")}
    bounds = {edge: given.get(edge) or older[edge] for edge in older}
    return {edge: int(bound) for edge, bound in bounds.items() if bound}


def _name(pictures: Sequence[Image.Image | Video], b: int, i: int, step: int) -> str:
    picture = pictures[b]
    if not isinstance(picture, Video):
        return "image" if len(pictures) == 1 else f"image {b + 1}"
    first, last = i * step + 1, min((i + 1) * step, len(picture.frames))
    frames = f"frame {first}" if first == last else f"frames {first} and {last}"
    return frames if len(pictures) == 1 else f"video {b + 1}, {frames}"
