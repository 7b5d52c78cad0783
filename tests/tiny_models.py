"""Tiny random models and processors, one a family, built from configs: real classes, no download."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessorPil,
    LlavaNextProcessor,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from trimviz.models.base import Model
from trimviz.models.llava import Llava
from trimviz.models.llava_next import LlavaNext

WORDS = "user assistant : what is the colour of thing in picture ? . red blue green left right a on and one two".split()
TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'user' %}user: {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image> {% else %}{{ c['text'] }} {% endif %}{% endfor %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
QUESTION = "what is the colour of the thing in the picture ?"


SIDE, PATCH = 84, 14  # of a tile, of a cell


def tokenizer(*more: str) -> PreTrainedTokenizerFast:
    """Word-level, with the special tokens of a LLaVA tokenizer and some more."""
    vocabulary = ["<unk>", "<s>", "</s>", "<pad>", "<image>", *WORDS, *more]
    raw = Tokenizer(models.WordLevel({w: i for i, w in enumerate(vocabulary)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=["<image>", *more],
    )


def shake(core: torch.nn.Module, seed: int) -> None:
    """Weights large enough that greedy answers vary and attention is not uniform."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in core.named_parameters():
            if p.ndim >= 2:
                fan = p[0].numel()
                scale = 3.0 if ("q_proj" in name or "k_proj" in name) else 1.5
                p.copy_(torch.randn(p.shape, generator=generator) * (scale / fan**0.5))


def clip() -> CLIPVisionConfig:
    """A random tower with a 6 x 6 grid."""
    return CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=4, num_attention_heads=4, image_size=SIDE, patch_size=PATCH
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
    shake(core, seed)
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
    config = LlavaConfig(vision_config=clip(), text_config=llama(words, layers), image_token_index=4, image_seq_length=36)
    core = build(LlavaForConditionalGeneration, config, seed, endless=False)
    images = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    processor = LlavaProcessor(
        images, words, patch_size=14, vision_feature_select_strategy="default", chat_template=TEMPLATE,
        num_additional_image_tokens=1,
    )  # fmt: skip
    return Llava("random llava", core, processor)


@cache
def llava_next(layers: int = 6, seed: int = 0, **settings: str) -> Model:
    """LLaVA-NeXT with tiles of 6 x 6 and the usual shapes of canvas."""
    words = tokenizer()
    pinpoints = [[SIDE * rows, SIDE * cols] for rows, cols in ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3))]
    config = LlavaNextConfig(
        vision_config=clip(), text_config=llama(words, layers), image_token_index=4, image_grid_pinpoints=pinpoints
    )
    core = build(LlavaNextForConditionalGeneration, config, seed)
    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}, image_grid_pinpoints=pinpoints
    )
    processor = LlavaNextProcessor(
        images, words, patch_size=PATCH, vision_feature_select_strategy="default", chat_template=TEMPLATE,
        num_additional_image_tokens=1,
    )  # fmt: skip
    return LlavaNext("random llava_next", core, processor, **settings)


FAMILIES = {"llava": llava, "llava_next": llava_next}


def picture(width: int = 100, height: int = 84, seed: int = 0) -> Image.Image:
    """Coarse random colours."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((width, height), Image.Resampling.NEAREST)
