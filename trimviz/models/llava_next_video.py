"""LLaVA-NeXT-Video (Zhang et al., 2024): frames of a video, four patches pooled into one token; pictures as LLaVA-NeXT.

Tokens are frame after frame without newlines, and a budget is over all frames together. A token's keys are the mean of
those of its patches, its CLS attention their sum, each frame having a CLS token of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d
from transformers import CLIPImageProcessorPil, LlavaNextVideoForConditionalGeneration

from trimviz.models.llava import content, crop_box, restore
from trimviz.models.llava_next import LlavaNext
from trimviz.types import Look, Panel, Video

FRAMING = ("do_resize", "size", "resample", "do_center_crop", "crop_size", "image_mean", "image_std")


class LlavaNextVideo(LlavaNext):
    name: ClassVar[str] = "LLaVA-NeXT-Video"
    model_type: ClassVar[str] = "llava_next_video"
    auto_class: ClassVar[type] = LlavaNextVideoForConditionalGeneration
    checkpoints: ClassVar[tuple[str, ...]] = ("llava-hf/LLaVA-NeXT-Video-7B-hf",)
    tokens: ClassVar[str] = "144 (12 x 12) a frame; pictures as LLaVA-NeXT"
    takes_video: ClassVar[bool] = True
    provides: frozenset[str] = LlavaNext.provides - {"tower"}  # pooled patches cannot be cut inside it

    def look(self, pictures: Sequence[Image.Image | Video]) -> Look:
        _, videos = self.apart(pictures)
        return self.watch(videos) if videos else super().look(pictures)

    @torch.inference_mode()
    def watch(self, videos: Sequence[Video]) -> Look:
        """`look` for videos."""
        start = self.clock()
        frames = [frame for video in videos for frame in video.frames]
        images = self.framing
        pixels = images(frames, return_tensors="pt")["pixel_values"]  # (F, 3, height, width)
        seen = self.see(pixels.to(self.device, self.dtype))
        core, grid, count = self.core.model, self.grid, len(frames)
        pooled = core.vision_resampler(seen.features.unflatten(0, (count, -1)))  # (F, m, c)
        tokens = core.multi_modal_projector(pooled).flatten(0, 1)
        seconds = self.clock() - start
        stride = self.core.config.spatial_pool_stride
        side = grid // stride
        area = stride**2

        def mean(values: Tensor) -> Tensor:
            """Values (F * n, e) of patches -> (F * m, e) of tokens."""
            squares = values.float().view(count, grid, grid, -1).permute(0, 3, 1, 2)
            return avg_pool2d(squares, stride).flatten(2).transpose(1, 2).flatten(0, 1)

        tile = torch.arange(count, device=self.device).repeat_interleave(side**2)
        told: dict[str, Any] = {name: mean(getattr(seen, name)) for name in ("keys", "last_keys")}
        told |= {name: mean(getattr(seen, name)[:, None])[:, 0] * area for name in ("cls_attention", "last_attention")}
        vision = replace(seen, features=pooled.flatten(0, 1), tile=tile, tower=None, **told)
        panels = []
        for f, frame in enumerate(frames):
            box = crop_box(frame.size, images)
            cells = np.arange(side**2).reshape(side, side) + f * side**2
            shown = restore(pixels[f], images)
            panels.append(Panel(frame_name(videos, f), shown, cells, content(box, frame.size, side, side), box))
        counts = tuple(len(video.frames) * side**2 for video in videos)
        clips = pixels.split([len(video.frames) for video in videos])
        inputs = {"pixel_values_videos": torch.stack(clips) if len({len(c) for c in clips}) == 1 else clips}
        return Look(tuple(videos), tokens, vision, tuple(panels), counts, inputs, seconds)

    @property
    def framing(self) -> CLIPImageProcessorPil:
        """The processor of frames: the checkpoint's settings for videos, else those for pictures."""
        own, images = getattr(self.processor, "video", {}), self.processor.image_processor
        settings = {name: own.get(name, getattr(images, name)) for name in FRAMING}
        settings["do_center_crop"] = bool(settings["do_center_crop"])
        return CLIPImageProcessorPil(**settings)


def frame_name(videos: Sequence[Video], f: int) -> str:
    """What the f-th frame of all videos is called on screen."""
    v = 0
    while f >= len(videos[v].frames):
        f, v = f - len(videos[v].frames), v + 1
    return f"frame {f + 1}" if len(videos) == 1 else f"video {v + 1}, frame {f + 1}"
