"""Known shapes with random weights, built in place on their device: speed needs no checkpoint, and nothing is fetched.

What such a model says means nothing. Its words come from a stand-in tokenizer; its word table has the real size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaNextConfig,
    LlavaNextImageProcessorPil,
    Qwen2VLConfig,
    Qwen2VLImageProcessorPil,
)

from trimviz.bench.standin import TEMPLATE, VISION, VISION_TEMPLATE, WORDS, tokenizer
from trimviz.models import MODELS, check_memory, load, pick_device, pick_dtype
from trimviz.models.base import Model
from trimviz.models.parts import Parts

RANDOM = "random:"
QUESTION = " ".join((WORDS * 2)[3:43])  # 40 words, about as many as a question of a benchmark with its instructions
SIDE, PATCH = 336, 14
PINPOINTS = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]


@dataclass(frozen=True)
class Shape:
    """A model's sizes, and the picture that it is shown."""

    family: str  # config.model_type
    config: Callable[[], Any]
    side: int  # of the picture, in pixels
    settings: Mapping[str, str] = field(default_factory=dict)


def clip(width: int = 1024, layers: int = 24, heads: int = 16) -> CLIPVisionConfig:
    """CLIP at 336 pixels; ViT-L unless told otherwise."""
    return CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        image_size=SIDE,
        patch_size=PATCH,
    )


def llama(width: int = 4096, inner: int = 11008, layers: int = 32, heads: int = 32, words: int = 32064) -> LlamaConfig:
    """Vicuna 7B unless told otherwise."""
    return LlamaConfig(
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        vocab_size=words,
        max_position_embeddings=4096,
        rms_norm_eps=1e-5,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=3,
    )


def llava(vision: CLIPVisionConfig, text: LlamaConfig) -> LlavaConfig:
    return LlavaConfig(vision_config=vision, text_config=text, image_token_index=4)


def llava_next(vision: CLIPVisionConfig, text: LlamaConfig) -> LlavaNextConfig:
    return LlavaNextConfig(
        vision_config=vision, text_config=text, image_token_index=4, image_grid_pinpoints=list(PINPOINTS)
    )


def qwen2_vl() -> Qwen2VLConfig:
    """Qwen2-VL 7B."""
    ids = dict(zip(VISION, tokenizer(*VISION).convert_tokens_to_ids(list(VISION)), strict=True))
    text = {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
        "max_position_embeddings": 32768,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 3,
    }
    return Qwen2VLConfig(
        text_config=text,
        vision_config={"depth": 32, "embed_dim": 1280, "hidden_size": 3584, "num_heads": 16, "mlp_ratio": 4},
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )


PAPER = {"tiling": "paper"}  # 2,880 tokens for every picture
SHAPES: dict[str, Shape] = {
    "llava-1.5-7b": Shape("llava", lambda: llava(clip(), llama()), SIDE),
    "llava-next-7b": Shape("llava_next", lambda: llava_next(clip(), llama()), 2 * SIDE, PAPER),
    "qwen2-vl-7b": Shape("qwen2_vl", qwen2_vl, 2 * SIDE),
    "mid": Shape(  # the proportions of LLaVA-NeXT, small enough for two CPU cores
        "llava_next", lambda: llava_next(clip(256, 6, 4), llama(768, 2048, 8, 12)), 2 * SIDE, PAPER
    ),
}


def shape_of(name: str) -> Shape:
    """A shape by its name, "random:mid" or "mid"; ValueError lists the names."""
    known = name.removeprefix(RANDOM)
    if known not in SHAPES:
        raise ValueError(f"There is no shape {name!r}; choose one of {', '.join(RANDOM + key for key in SHAPES)}.")
    return SHAPES[known]


def random_model(name: str, device: str = "auto", dtype: str = "auto") -> Model:
    """A shape with random weights; ValueError for an unknown one or too little memory."""
    shape = shape_of(name)
    device = pick_device(device)
    kind = pick_dtype(dtype, device)
    return build(MODELS[shape.family], shape.config(), name, device, kind, shape.settings)


def build(
    family: type[Model], config: Any, name: str, device: str, kind: torch.dtype, settings: Mapping[str, str]
) -> Model:
    """A model of a config, its weights drawn where they will stay."""
    check_memory(family, config, kind, device, None, name)
    torch.manual_seed(0)
    with torch.device(device):
        core = family.auto_class._from_config(config, attn_implementation="sdpa", dtype=kind)
    core.generation_config.eos_token_id, core.generation_config.pad_token_id = 2, 3
    return family(name, core, _parts(config), **settings)


def _parts(config: Any) -> Parts:
    if hasattr(config, "image_token_id") and hasattr(config, "vision_start_token_id"):
        images, video = VISION[2:]
        return Parts(tokenizer(*VISION), Qwen2VLImageProcessorPil(), VISION_TEMPLATE, images, video)
    side = config.vision_config.image_size
    sizes = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    if hasattr(config, "image_grid_pinpoints"):
        pictures = LlavaNextImageProcessorPil(image_grid_pinpoints=config.image_grid_pinpoints, **sizes)
        return Parts(tokenizer(), pictures, TEMPLATE, "<image>")
    return Parts(tokenizer(), CLIPImageProcessorPil(**sizes), TEMPLATE, "<image>")


def open_model(name: str, device: str = "auto", dtype: str = "auto") -> Model:
    """ "random:SHAPE", or what `load` takes."""
    return random_model(name, device, dtype) if name.startswith(RANDOM) else load(name, device, dtype)


def subject(name: str) -> Image.Image:
    """The picture that a model is shown: noise, since speed depends on its size alone."""
    side = shape_of(name).side if name.startswith(RANDOM) else 2 * SIDE
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(noise)
