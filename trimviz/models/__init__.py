"""The list of model families, and `load`, which finds the family of a checkpoint from its config."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import HFValidationError
from safetensors import SafetensorError
from transformers import AutoConfig, BitsAndBytesConfig

from trimviz.models.base import Model
from trimviz.models.idefics3 import Idefics3, SmolVLM
from trimviz.models.llava import Llava
from trimviz.models.llava_next import LlavaNext
from trimviz.models.llava_next_video import LlavaNextVideo
from trimviz.models.llava_onevision import LlavaOnevision
from trimviz.models.parts import Parts
from trimviz.models.qwen2_vl import Qwen2VL, Qwen25VL

MODELS: dict[str, type[Model]] = {
    cls.model_type: cls
    for cls in (Llava, LlavaNext, LlavaNextVideo, LlavaOnevision, Qwen2VL, Qwen25VL, Idefics3, SmolVLM)
}

BUNDLED = Path(__file__).parents[2] / "assets" / "tiny-llava"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load(
    repo: str | Path = "tiny",
    device: str = "auto",
    dtype: str = "auto",
    quantize: str | None = None,
    revision: str | None = None,
    **settings: str,
) -> Model:
    """A model from the Hub ("owner/name"), a folder, or "tiny", the bundled one.

    device: "auto" (CUDA, then MPS, then CPU), "cpu", "cuda", "cuda:1", "mps", or "split" over all GPUs.
    dtype: "auto" (bfloat16 on CUDA, float32 elsewhere), "float32", "bfloat16", "float16".
    quantize: None, "4bit" or "8bit", which need a CUDA GPU and bitsandbytes.
    settings: options of the family, such as newlines="keep" or tiling="paper" for LLaVA-NeXT.
    Raises ValueError, in one sentence, for a wrong folder, no network, an unsupported family, too little memory.
    """
    place = BUNDLED if str(repo) == "tiny" else repo
    device = pick_device(device)
    kind = pick_dtype(dtype, device)
    config = _config(place, revision)
    if config.model_type not in MODELS:
        raise ValueError(
            f"{repo} is of the family {config.model_type!r}; supported are {', '.join(sorted(MODELS))}. "
            "Choose another checkpoint."
        )
    family = MODELS[config.model_type]
    family.choose(settings)
    options: dict = {"dtype": kind, "attn_implementation": "sdpa", "revision": revision}
    if quantize is not None:
        options["quantization_config"] = _quantization(quantize, kind, device, family.whole)
    if device == "split":
        options["device_map"] = "auto"
    elif quantize is not None:  # bitsandbytes puts weights where they stay
        options["device_map"] = {"": device}
    check_memory(family, config, kind, device, quantize, str(repo))
    try:
        core, told = family.auto_class.from_pretrained(place, output_loading_info=True, **options)
        if "device_map" not in options:
            core = core.to(device)
    except torch.OutOfMemoryError:
        raise ValueError(
            f"{repo} does not fit into the memory of {device}; try quantize='4bit' or a smaller model."
        ) from None
    except (OSError, SafetensorError) as error:
        raise ValueError(_unreachable(place, error)) from None
    if told["missing_keys"]:  # transformers would answer with random weights in their place
        some = ", ".join(sorted(told["missing_keys"])[:2])
        raise ValueError(f"{repo} lacks {len(told['missing_keys'])} of its weights, such as {some}; download it again.")
    try:
        processor = Parts.load(place, revision, family.image_token, family.video_token)
    except (OSError, ValueError) as error:
        cause = str(error).strip().splitlines()[0].split(". ")[0]
        raise ValueError(f"{repo} lacks its tokenizer or its picture processor ({cause}); download it again.") from None
    return family(str(repo), core, processor, getattr(config, "_commit_hash", None) or "", **settings)


def pick_device(device: str) -> str:
    """The device by name; "auto" is CUDA, then MPS, then CPU."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if device == "split":
        return device
    kind = device.split(":")[0]
    if kind not in ("cpu", "cuda", "mps"):
        raise ValueError(f"Expected a device such as auto, cpu, cuda, cuda:1, mps or split; got {device!r}.")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError("No CUDA GPU is available to this torch; choose device cpu or auto.")
    number = device.removeprefix(kind).removeprefix(":")
    if device != kind and not (number.isdigit() and (kind != "cuda" or int(number) < torch.cuda.device_count())):
        raise ValueError(f"There is no device {device!r} on this machine; choose one that there is, or auto.")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise ValueError("MPS is not available on this machine; choose device cpu or auto.")
    return device


def pick_dtype(dtype: str, device: str) -> torch.dtype:
    """The dtype by name; "auto" is bfloat16 on CUDA and float32 elsewhere."""
    if dtype == "auto":
        return torch.bfloat16 if device.startswith(("cuda", "split")) else torch.float32
    if dtype not in DTYPES:
        raise ValueError(f"Expected a dtype of auto, {', '.join(DTYPES)}; got {dtype!r}.")
    return DTYPES[dtype]


def _config(place: str | Path, revision: str | None) -> Any:
    folder = Path(place)
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise ValueError(f"The folder {place} holds no config.json; expected a checkpoint saved by save_pretrained.")
    try:
        if folder.is_dir():
            json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return AutoConfig.from_pretrained(place, revision=revision)
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise ValueError(
            f"The config.json in {place} is not valid JSON; save or download the checkpoint again."
        ) from None
    except (OSError, HFValidationError) as error:
        raise ValueError(_unreachable(place, error)) from None
    except ValueError as error:
        raise ValueError(
            f"The config of {place} is not one that transformers knows: {str(error).splitlines()[0]}"
        ) from None


def _unreachable(place: str | Path, error: Exception) -> str:
    cause = str(error).strip().splitlines()[0]
    if Path(place).is_dir():
        return f"The weights in {place} cannot be read ({cause}); save or download the checkpoint again."
    if str(place).startswith((".", "~", os.sep)) or str(place).count("/") > 1:
        known = f"a checkpoint's folder, a Hub name such as {Llava.checkpoints[0]}, or tiny"
        return f"There is no folder {place}; give {known}."
    where = "neither a folder here nor could it be fetched from the Hub"
    return f"{place} is {where} ({cause}) Check the name and the network."


def _quantization(quantize: str, kind: torch.dtype, device: str, whole: Sequence[str]) -> BitsAndBytesConfig:
    if quantize not in ("4bit", "8bit"):
        raise ValueError(f"Expected quantize to be 4bit or 8bit, got {quantize!r}.")
    if importlib.util.find_spec("bitsandbytes") is None or not device.startswith(("cuda", "split")):
        raise ValueError(
            f"quantize={quantize!r} needs a CUDA GPU and the package bitsandbytes; install it or leave it out."
        )
    if quantize == "4bit":
        return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=kind, llm_int8_skip_modules=list(whole))
    return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=list(whole))


def check_memory(
    family: type[Model], config: Any, kind: torch.dtype, device: str, quantize: str | None, repo: str
) -> None:
    """Refuse weights that cannot fit before hours of download or a killed process."""
    with torch.device("meta"):
        weights = sum(p.numel() for p in family.auto_class(config).parameters())
    size = weights * {"4bit": 0.6, "8bit": 1.1, None: kind.itemsize}[quantize]
    free = _free(device)
    if size > free:
        raise ValueError(
            f"{repo} needs {size / 2**30:.1f} GiB for its weights and {device} has {free / 2**30:.1f} GiB free; "
            "choose a smaller model, a smaller dtype or quantize."
        )


def _free(device: str) -> float:
    """Bytes free on a device; infinity where that cannot be asked."""
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)[0]
    if device.startswith("cpu"):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES") + _reclaimable()
    return float("inf")


def _reclaimable() -> int:
    """Bytes of file cache that Linux gives back when asked; 0 elsewhere."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.is_file():
        return 0
    values = dict(line.split(":") for line in meminfo.read_text().splitlines())
    return (int(values["MemAvailable"].split()[0]) - int(values["MemFree"].split()[0])) * 1024
