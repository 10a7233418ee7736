"""A small shape of the model, and the ids that packing needs, for the tests of training."""

from __future__ import annotations

from typing import Any

from model_server.architectures import tokenizer as tokens
from model_server.architectures.tiny import Shape

__all__ = ["SHAPE", "ids_of"]

SHAPE = Shape(
    vision_width=48, vision_layers=2, vision_features=(1, 2), text_width=48, text_layers=2
)


def ids_of(tokenizer: Any) -> tuple[int, int, int]:
    """The ids of the image, user and padding tokens."""
    image, user, pad = (
        tokenizer.convert_tokens_to_ids(name) for name in (tokens.IMAGE, tokens.USER, tokens.PAD)
    )
    return image, user, pad
