"""Pictures and words as the decoder's first layer sees them, made by the model's own code.

Each architecture merges image features into word embeddings in its own way. It is let do so, and stopped
before its language model; LLaVA's way on a CLIP tower is done here. Knows nothing of batches or caches.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from model_server.families.features import projector
from model_server.families.prompts import Prefix, stacked
from model_server.tower import Tower

__all__ = ["embedded"]


class _Stopped(Exception):
    """Carries the embeddings out of the model."""

    def __init__(self, embeddings: Tensor) -> None:
        super().__init__()
        self.embeddings = embeddings


def embedded(
    model: PreTrainedModel,
    prefixes: Sequence[Prefix],
    *,
    tower: Tower | None = None,
    adapter: str | None = None,
) -> list[Tensor]:
    """Embeddings float[P, d] of every prefix, those of equal shapes made together where rows are images.

    Args:
        tower: sees plain pictures, through `adapter`; without one the model's own modules do.
    """
    together = projector(model) is not None
    made: list[Tensor] = []
    for _, group in groupby(prefixes, key=lambda own: _shape(own) if together else own.key):
        same = list(group)
        made += _run(model, [own.ids for own in same], stacked(same), tower, adapter)
    return made


def _shape(prefix: Prefix) -> tuple[Any, ...]:
    shapes = [getattr(value, "shape", None) for value in prefix.inputs.values()]
    return (len(prefix.ids), *shapes)


def _run(
    model: PreTrainedModel,
    ids: Sequence[Sequence[int]],
    inputs: dict[str, Any],
    tower: Tower | None,
    adapter: str | None,
) -> list[Tensor]:
    inner: nn.Module = model.model  # type: ignore[assignment]
    language = getattr(inner, "language_model", None) or inner.text_model
    placed = {
        name: value.to(model.device, model.dtype if value.is_floating_point() else None)
        if isinstance(value, Tensor)
        else value
        for name, value in inputs.items()
    }
    tokens = torch.tensor([list(own) for own in ids], device=model.device)
    if tower is not None and set(inputs) == {"pixel_values"}:
        features = tower.see(placed["pixel_values"], adapter)
        words = model.get_input_embeddings()(tokens)
        places = tokens == model.config.image_token_id
        words[places] = features.reshape(-1, features.shape[-1])
        return list(words)

    def stop(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        raise _Stopped(kwargs["inputs_embeds"])

    hook = language.register_forward_pre_hook(stop, with_kwargs=True)
    try:
        inner(input_ids=tokens, attention_mask=torch.ones_like(tokens), use_cache=False, **placed)
    except _Stopped as stopped:
        return list(stopped.embeddings)
    finally:
        hook.remove()
    raise RuntimeError(f"{type(model).__name__} did not reach its language model")
