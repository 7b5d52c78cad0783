"""Tiny random models and processors, one a family, built from configs: real classes, no download."""

from __future__ import annotations

from copy import deepcopy
from functools import cache

import numpy as np
import torch
from PIL import Image
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessorPil,
    LlavaNextProcessor,
    LlavaNextVideoConfig,
    LlavaNextVideoForConditionalGeneration,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessorPil,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    SiglipVisionConfig,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessorPil,
)

from trimviz.bench.standin import TEMPLATE, VISION, VISION_TEMPLATE, tokenizer
from trimviz.models.base import Model
from trimviz.models.idefics3 import Idefics3, SmolVLM
from trimviz.models.llava import Llava
from trimviz.models.llava_next import LlavaNext
from trimviz.models.llava_next_video import LlavaNextVideo
from trimviz.models.llava_onevision import LlavaOnevision
from trimviz.models.parts import Parts
from trimviz.models.qwen2_vl import Qwen2VL, Qwen25VL
from trimviz.types import Video
from trimviz.video import frames_of

QUESTION = "what is the colour of the thing in the picture ?"


SIDE, PATCH = 84, 14  # of a tile, of a cell
PINPOINTS = [[SIDE * rows, SIDE * cols] for rows, cols in ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3))]


def shake(core: torch.nn.Module, seed: int, focus: float = 3.0) -> None:
    """Weights large enough that greedy answers vary and attention is not uniform."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in core.named_parameters():
            if p.ndim >= 2:
                fan = p[0].numel()
                scale = focus if ("q_proj" in name or "k_proj" in name) else 1.5
                p.copy_(torch.randn(p.shape, generator=generator) * (scale / fan**0.5))


def clip() -> CLIPVisionConfig:
    """A random tower with a 6 x 6 grid."""
    return CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=SIDE,
        patch_size=PATCH,
    )


def llama(words: PreTrainedTokenizerFast, layers: int) -> LlamaConfig:
    """A random language model with grouped-query attention."""
    return LlamaConfig(
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=len(words),
        max_position_embeddings=1024,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=3,
    )


def build(cls: type, config, seed: int, endless: bool = True):
    """A random model of a transformers class, ready to answer; an endless one all but never ends its answer early."""
    torch.manual_seed(seed)
    core = cls._from_config(config, attn_implementation="sdpa")
    shake(core, seed, focus=1.5 if endless else 3.0)
    if endless:
        with torch.no_grad():
            core.get_output_embeddings().weight[2] = 0
    core.generation_config.eos_token_id = 2
    core.generation_config.pad_token_id = 3
    return core


@cache
def llava(layers: int = 6, seed: int = 0) -> Model:
    """LLaVA with a 6 x 6 grid, grouped-query attention and a random tower."""
    words = tokenizer()
    config = LlavaConfig(
        vision_config=clip(), text_config=llama(words, layers), image_token_index=4, image_seq_length=36
    )
    core = build(LlavaForConditionalGeneration, config, seed, endless=False)
    images = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    processor = LlavaProcessor(
        images, words, patch_size=14, vision_feature_select_strategy="default", chat_template=TEMPLATE,
        num_additional_image_tokens=1,
    )  # fmt: skip
    return Llava("random llava", core, processor)


def anyres() -> LlavaNextImageProcessorPil:
    return LlavaNextImageProcessorPil(
        size={"shortest_edge": SIDE},
        crop_size={"height": SIDE, "width": SIDE},
        image_grid_pinpoints=deepcopy(PINPOINTS),
    )


@cache
def llava_next(layers: int = 6, seed: int = 0, **settings: str) -> Model:
    """LLaVA-NeXT with tiles of 6 x 6 and the usual shapes of canvas."""
    words = tokenizer()
    config = LlavaNextConfig(
        vision_config=clip(), text_config=llama(words, layers), image_token_index=4, image_grid_pinpoints=PINPOINTS
    )
    core = build(LlavaNextForConditionalGeneration, config, seed)
    processor = LlavaNextProcessor(
        anyres(), words, patch_size=PATCH, vision_feature_select_strategy="default", chat_template=TEMPLATE,
        num_additional_image_tokens=1,
    )  # fmt: skip
    return LlavaNext("random llava_next", core, processor, **settings)


@cache
def llava_next_video(layers: int = 6, seed: int = 0) -> Model:
    """LLaVA-NeXT-Video with frames of 3 x 3 tokens; its processor has to do without torchvision."""
    words = tokenizer("<video>")
    config = LlavaNextVideoConfig(
        vision_config=clip(), text_config=llama(words, layers), image_token_index=4,
        video_token_index=words.convert_tokens_to_ids("<video>"), image_grid_pinpoints=PINPOINTS,
    )  # fmt: skip
    core = build(LlavaNextVideoForConditionalGeneration, config, seed)
    return LlavaNextVideo("random llava_next_video", core, Parts(words, anyres(), TEMPLATE, "<image>", "<video>"))


@cache
def llava_onevision(layers: int = 6, seed: int = 0, most: int = 9, side: int = SIDE, **settings: str) -> Model:
    """LLaVA-OneVision with tiles of 6 x 6; more than `most` tiles' worth of tokens are shrunk."""
    words = tokenizer("<video>")
    vision = SiglipVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=4, num_attention_heads=4, image_size=side,
        patch_size=PATCH, vision_use_head=False,
    )  # fmt: skip
    text = Qwen2Config(
        hidden_size=64, intermediate_size=96, num_hidden_layers=layers, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=len(words), max_position_embeddings=1024, bos_token_id=1, eos_token_id=2, pad_token_id=3,
    )  # fmt: skip
    pinpoints = [[h // SIDE * side, w // SIDE * side] for h, w in PINPOINTS]
    config = LlavaOnevisionConfig(
        vision_config=vision, text_config=text, image_token_index=4, image_grid_pinpoints=pinpoints,
        video_token_index=words.convert_tokens_to_ids("<video>"), vision_aspect_ratio=f"anyres_max_{most}",
    )  # fmt: skip
    core = build(LlavaOnevisionForConditionalGeneration, config, seed)
    images = LlavaOnevisionImageProcessorPil(size={"height": side, "width": side}, image_grid_pinpoints=pinpoints)
    parts = Parts(words, images, TEMPLATE, "<image>", "<video>")
    return LlavaOnevision("random llava_onevision", core, parts, **settings)


def qwen(family: type[Model], layers: int, seed: int, config_class: type, core_class: type, **vision) -> Model:
    """Tokens of 28 x 28 pixels and positions on three axes."""
    words = tokenizer(*VISION)
    ids = dict(zip(VISION, words.convert_tokens_to_ids(list(VISION)), strict=True))
    text = {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": len(words),
        "max_position_embeddings": 1024,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 3,
    }
    config = config_class(
        text_config=text,
        vision_config=dict(depth=3, num_heads=4, patch_size=PATCH, **vision),
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    size = {"shortest_edge": 56 * 56, "longest_edge": 56 * 56 * 8}
    images = Qwen2VLImageProcessorPil(patch_size=PATCH, size=size)
    parts = Parts(words, images, VISION_TEMPLATE, "<|image_pad|>", "<|video_pad|>", {"size": size})
    return family(f"random {family.model_type}", build(core_class, config, seed), parts)


@cache
def qwen2_vl(layers: int = 6, seed: int = 0) -> Model:
    tower = {"embed_dim": 32, "hidden_size": 64, "mlp_ratio": 2}
    return qwen(Qwen2VL, layers, seed, Qwen2VLConfig, Qwen2VLForConditionalGeneration, **tower)


@cache
def qwen2_5_vl(layers: int = 6, seed: int = 0) -> Model:
    """Its tower looks through windows of 2 x 2 tokens, but for one layer."""
    tower = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "out_hidden_size": 64,
        "window_size": 56,
        "fullatt_block_indexes": [1],
    }
    return qwen(Qwen25VL, layers, seed, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, **tower)


TAGS = ("<fake_token_around_image>", "<global-img>", *(f"<row_{r}_col_{c}>" for r in range(1, 4) for c in range(1, 4)))


def idefics(family: type[Model], layers: int, seed: int, config_class: type, core_class: type, images: type) -> Model:
    """Tiles of 3 x 3 tokens, at most 3 along a side."""
    words = tokenizer(*TAGS)
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "image_size": SIDE,
        "patch_size": PATCH,
    }
    config = config_class(vision_config=vision, text_config=llama(words, layers), image_token_id=4, scale_factor=2)
    pictures = images(size={"longest_edge": 3 * SIDE}, max_image_size={"longest_edge": SIDE})
    core = build(core_class, config, seed)
    return family(f"random {family.model_type}", core, Parts(words, pictures, TEMPLATE, "<image>"))


@cache
def idefics3(layers: int = 6, seed: int = 0) -> Model:
    return idefics(Idefics3, layers, seed, Idefics3Config, Idefics3ForConditionalGeneration, Idefics3ImageProcessorPil)


@cache
def smolvlm(layers: int = 6, seed: int = 0) -> Model:
    return idefics(SmolVLM, layers, seed, SmolVLMConfig, SmolVLMForConditionalGeneration, SmolVLMImageProcessorPil)


FAMILIES = {
    "llava": llava,
    "llava_next": llava_next,
    "llava_next_video": llava_next_video,
    "llava_onevision": llava_onevision,
    "qwen2_vl": qwen2_vl,
    "qwen2_5_vl": qwen2_5_vl,
    "idefics3": idefics3,
    "smolvlm": smolvlm,
}
FILMED = {name: make for name, make in FAMILIES.items() if name not in ("llava", "llava_next", "idefics3")}


def picture(width: int = 100, height: int = 84, seed: int = 0) -> Image.Image:
    """Coarse random colours."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize(
        (width, height), Image.Resampling.NEAREST
    )


def clip_of(frames: int = 5, width: int = 100, height: int = 84) -> Video:
    """A video of random colours, two frames a second."""
    return frames_of([picture(width, height, seed) for seed in range(frames)], [i / 2 for i in range(frames)])
