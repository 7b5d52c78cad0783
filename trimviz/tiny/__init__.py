"""The bundled model: a small LLaVA that learned from drawn scenes, and the scenes and questions it learned from."""

from .questions import KINDS, SUGGESTED, unknown_words, vocabulary

__all__ = ["KINDS", "SUGGESTED", "unknown_words", "vocabulary"]
