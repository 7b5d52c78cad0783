"""A tokenizer and a chat template for models without a checkpoint: a word a token, nothing to download."""

from __future__ import annotations

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

WORDS = "user assistant : what is the colour of thing in picture ? . red blue green left right a on and one two".split()
TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'user' %}user: {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image> {% elif c['type'] == 'video' %}<video> "
    "{% else %}{{ c['text'] }} {% endif %}{% endfor %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
VISION = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
VISION_TEMPLATE = TEMPLATE.replace("<image>", "<|vision_start|><|image_pad|><|vision_end|>").replace(
    "<video>", "<|vision_start|><|video_pad|><|vision_end|>"
)


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
