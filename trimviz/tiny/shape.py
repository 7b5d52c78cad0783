"""The size and form of the bundled model: the real LLaVA classes, built small and untrained; it knows no weights."""

from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    GenerationConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from .questions import vocabulary

IMAGE_MEAN = (0.48145466, 0.4578275, 0.40821073)  # CLIP's own
IMAGE_STD = (0.26862954, 0.26130258, 0.27577711)
SPECIAL = ("<unk>", "<s>", "</s>", "<pad>", "<image>")
PROMPT = "USER: <image>\n{} ASSISTANT:"
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | upper }}: "
    "{% if message['content'] is string %}{{ message['content'] }} {% else %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}<image>\n{% endfor %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ part['text'] }} {% endfor %}"
    "{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
ROOM = 256  # rows of the word table; the ones that no word uses stay untrained


def build() -> LlavaForConditionalGeneration:
    """The untrained model: CLIP 192 x 5 at 336 px, a two-layer projector, Llama 192 x 8."""
    vision = CLIPVisionConfig(
        image_size=336,
        patch_size=14,
        hidden_size=192,
        intermediate_size=768,
        num_hidden_layers=5,
        num_attention_heads=6,
        hidden_act="gelu",
        projection_dim=192,
    )
    _, bos, eos, pad, image = range(len(SPECIAL))
    text = LlamaConfig(
        vocab_size=ROOM,
        hidden_size=192,
        intermediate_size=528,
        num_hidden_layers=8,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=2048,
        # Slow rotations, as newer Llamas have: half of each head compares content whatever the distance.
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        bos_token_id=bos,
        eos_token_id=eos,
        pad_token_id=pad,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=image,
        image_seq_length=(336 // 14) ** 2,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    model = LlavaForConditionalGeneration(config)
    model.generation_config = GenerationConfig(bos_token_id=bos, eos_token_id=eos, pad_token_id=pad, max_new_tokens=32)
    return model


def tokenizer() -> PreTrainedTokenizerFast:
    """One token a word; a word outside the little vocabulary becomes <unk>."""
    words = (*SPECIAL, *vocabulary())
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    core.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(r"[^\p{L}\p{N}]"), behavior="isolated")]
    )
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", words.index("<s>"))])
    unk, bos, eos, pad, image = SPECIAL
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token=unk,
        bos_token=bos,
        eos_token=eos,
        pad_token=pad,
        additional_special_tokens=[image],
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=2048,
    )


def processor() -> LlavaProcessor:
    return LlavaProcessor(
        image_processor=CLIPImageProcessorPil(
            size={"shortest_edge": 336},
            crop_size={"height": 336, "width": 336},
            image_mean=list(IMAGE_MEAN),
            image_std=list(IMAGE_STD),
        ),
        tokenizer=tokenizer(),
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,  # CLS
        chat_template=TEMPLATE,
    )


def export(model: LlavaForConditionalGeneration, folder: Path) -> None:
    """Saves the model in half precision, with its processor, as any checkpoint is saved."""
    half = build()
    half.load_state_dict(model.state_dict())
    half.to(torch.float16).save_pretrained(folder)
    processor().save_pretrained(folder)
