"""Hugging Face ZeroGPU: its decorator where the `spaces` package is installed, one without effect elsewhere."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

LENT = importlib.util.find_spec("spaces") is not None  # GPUs are lent to one function at a time
if LENT:
    importlib.import_module("spaces")  # before anything touches CUDA

# What ZeroGPU and CUDA say, and what it means for the person who waits.
MEANINGS = (
    ("quota", "The GPU time of this visitor is used up for now; sign in to Hugging Face or come back later."),
    (
        "illegal duration",
        "The request asked for more GPU time than one visitor may have; choose fewer methods at once.",
    ),
    ("no gpu", "No GPU became free in time; try again in a minute."),
    ("queue", "No GPU became free in time; try again in a minute."),
    ("timeout", "The run took longer than the GPU was lent for; ask for a shorter answer or try again."),
    ("gpu task aborted", "The run took longer than the GPU was lent for; ask for a shorter answer or try again."),
    ("worker", "The GPU worker stopped in the middle of the run; try again."),
)
SHORT = ("out of memory", "can't allocate memory")  # as CUDA and MPS, and as torch's allocator on the CPU, put it
NO_ROOM = (
    "There is too little memory for this picture and model; choose a smaller picture, fewer tokens or a smaller model."
)


def gpu(duration: Callable[..., int]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`spaces.GPU(duration=...)`, or the function as it is where that package is not installed."""
    if not LENT:
        return lambda function: function
    return importlib.import_module("spaces").GPU(duration=duration)


def short_of_memory(error: Exception) -> bool:
    """Whether a device or the machine had too little memory."""
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in SHORT)


def meaning(error: Exception) -> str | None:
    """The sentence for an error of ZeroGPU or of a GPU's memory, None for any other error."""
    if short_of_memory(error):
        return NO_ROOM
    said = f"{type(error).__name__} {getattr(error, 'title', '')} {error}".lower()
    return next((sentence for words, sentence in MEANINGS if words in said), None)
