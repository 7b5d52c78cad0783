"""LLaVA-1.5 (Liu et al., 2023): each picture becomes one square grid of visual tokens behind a two-layer projector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import LlavaForConditionalGeneration

from trimviz.eye import Eye
from trimviz.models.base import Model
from trimviz.tape import recording
from trimviz.types import Look, Panel, Video, Vision


class Llava(Model):
    name: ClassVar[str] = "LLaVA-1.5"
    model_type: ClassVar[str] = "llava"
    auto_class: ClassVar[type] = LlavaForConditionalGeneration
    provides: frozenset[str] = frozenset({"keys", "cls", "cls_attention", "last_keys", "last_attention", "tower"})
    checkpoints: ClassVar[tuple[str, ...]] = ("llava-hf/llava-1.5-7b-hf", "llava-hf/llava-1.5-13b-hf")
    tokens: ClassVar[str] = "576 (24 x 24)"

    def __init__(self, repo: str, core: Any, processor: Any, revision: str = "", **settings: str) -> None:
        super().__init__(repo, core, processor, revision, **settings)
        config = core.config
        if not isinstance(config.vision_feature_layer, int) or config.vision_feature_select_strategy == "full":
            self.provides = self.provides - {"tower"}  # features are not the patches of one layer

    @torch.inference_mode()
    def look(self, pictures: Sequence[Image.Image | Video]) -> Look:
        pictures, _ = self.apart(pictures)
        start = self.clock()
        inputs = self.processor.image_processor(list(pictures), return_tensors="pt")
        pixels = inputs["pixel_values"].to(self.device, self.dtype)  # (B, 3, height, width)
        vision = self.see(pixels)
        tokens = vision.project(vision.features)
        seconds = self.clock() - start
        rows, cols = (side // self.core.config.vision_config.patch_size for side in pixels.shape[-2:])
        panels = []
        for b, picture in enumerate(pictures):
            cells = np.arange(rows * cols).reshape(rows, cols) + b * rows * cols
            name = "image" if len(pictures) == 1 else f"image {b + 1}"
            box = crop_box(picture.size, self.processor.image_processor)
            shown = restore(inputs["pixel_values"][b], self.processor.image_processor)
            panels.append(Panel(name, shown, cells, content(box, picture.size, rows, cols), box))
        counts = (rows * cols,) * len(pictures)
        return Look(tuple(pictures), tokens, vision, tuple(panels), counts, dict(inputs), seconds)

    def see(self, pixels: Tensor) -> Vision:
        """Pixels (B, 3, height, width) through the tower, with the attention of the layer that makes the features.

        Cuts inside the tower work on patches of one layer: with the strategy "full", or with features of several layers
        side by side, `tower` is None.
        """
        config, core = self.core.config, self.core.model
        which = config.vision_feature_layer
        layer = which if isinstance(which, int) else which[-1]
        modules = [block.self_attn for block in self.tower.encoder.layers]
        depth = layer if layer >= 0 else len(modules) + layer + 1  # layers whose output is used
        with recording(*dict.fromkeys([modules[depth - 1], modules[-1]])) as tapes:
            out = core.vision_tower(pixels, output_hidden_states=True, return_dict=True)
        states = [out.hidden_states[i] for i in ([which] if isinstance(which, int) else which)]
        state = torch.cat(states, dim=-1)  # (B, 1 + n, c)
        full = config.vision_feature_select_strategy == "full"
        patches = state if full else state[:, 1:]
        batch, count = patches.shape[:2]
        tape = tapes[0]
        cls_rows = tape.query[:, :, :1].float() @ tape.key.float().transpose(2, 3) * tape.scale  # (B, H, 1, 1 + n)
        attention = cls_rows.softmax(-1).mean(dim=1)[:, 0, -count:]  # (B, n)
        query, last_keys = (x.transpose(1, 2).flatten(2) for x in (tapes[-1].query, tapes[-1].key))  # (B, 1 + n, c)
        last_rows = query[:, :1].float() @ last_keys.float().transpose(1, 2) / query.shape[-1] ** 0.5  # (B, 1, 1 + n)
        tower = None
        if isinstance(which, int) and not full:
            every = torch.arange(batch * count, device=pixels.device)
            tower = Eye(self.tower, depth, pixels, core.multi_modal_projector, every)
        return Vision(
            features=patches.flatten(0, 1),
            tile=torch.arange(batch, device=pixels.device).repeat_interleave(count),
            project=core.multi_modal_projector,
            keys=tape.key.transpose(1, 2).flatten(2)[:, -count:].flatten(0, 1),
            cls=state[:, 0],
            cls_attention=attention.flatten(),
            heads=tape.query.shape[1],
            last_keys=last_keys[:, -count:].flatten(0, 1),
            last_attention=last_rows.softmax(-1)[:, 0, -count:].flatten(),
            tower=tower,
        )

    @property
    def tower(self) -> Any:
        """The vision transformer itself; some releases of transformers wrap it once more."""
        tower = self.core.model.vision_tower
        return getattr(tower, "vision_model", tower)


def crop_box(size: tuple[int, int], processor: Any) -> tuple[float, float, float, float]:
    """Left, top, right, bottom, in the original's pixels, of what resizing and centre crop leave of a picture."""
    width, height = size
    if getattr(processor, "do_pad", False):
        side = max(width, height)
        left, top = -((side - width) // 2), -((side - height) // 2)
        return (left, top, left + side, top + side)
    if not processor.do_center_crop:
        return (0, 0, width, height)
    edge = processor.size["shortest_edge"]
    if width <= height:
        resized = (edge, int(edge * height / width))
    else:
        resized = (int(edge * width / height), edge)
    crop = (processor.crop_size["width"], processor.crop_size["height"])
    left, top = ((resized[axis] - crop[axis]) // 2 for axis in (0, 1))
    scale_x, scale_y = width / resized[0], height / resized[1]
    return (left * scale_x, top * scale_y, (left + crop[0]) * scale_x, (top + crop[1]) * scale_y)


def content(box: tuple[float, float, float, float], size: tuple[int, int], rows: int, cols: int) -> np.ndarray:
    """(rows, cols) bool: which cells of a box hold some of a picture of that size, rather than padding alone."""
    xs = np.linspace(box[0], box[2], cols + 1)
    ys = np.linspace(box[1], box[3], rows + 1)
    across = (xs[1:] > 0) & (xs[:-1] < size[0])
    down = (ys[1:] > 0) & (ys[:-1] < size[1])
    return down[:, None] & across[None, :]


def restore(pixels: Tensor, processor: Any) -> Image.Image:
    """The picture that normalised pixels (3, height, width) show."""
    mean, std = (np.array(values)[:, None, None] for values in (processor.image_mean, processor.image_std))
    levels = (pixels.float().cpu().numpy() * std + mean) * 255
    return Image.fromarray(levels.round().clip(0, 255).astype(np.uint8).transpose(1, 2, 0))
