"""What a model makes of an image before any text: computed once, used by many questions.

An annotator's region is asked about several times, once per field, with the same rendered image; the
vision tower is half of the cost of an answer. Works for the layout of LLaVA and its kin, where
every image of the batch becomes one row of features. Knows nothing of queues or training.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import MutableMapping, Sequence
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

__all__ = ["SeenImages", "encoder_outputs", "image_features", "projector"]

_LAYOUT = {"LlavaForConditionalGeneration", "VipLlavaForConditionalGeneration"}


def projector(model: PreTrainedModel) -> nn.Module | None:
    """The module between vision tower and language model, or None for other layouts."""
    if type(model).__name__ not in _LAYOUT:
        return None
    return getattr(getattr(model, "model", model), "multi_modal_projector", None)


def image_features(model: PreTrainedModel, pixels: Tensor) -> Tensor:
    """Projected features float[N, T, D] of pixel_values float[N, 3, H, W]."""
    out = model.get_image_features(
        pixel_values=pixels.to(model.device, model.dtype), return_dict=True
    ).pooler_output
    return out if isinstance(out, Tensor) else torch.stack(list(out))


def encoder_outputs(
    model: PreTrainedModel, features: Tensor
) -> dict[str, BaseModelOutputWithPooling]:
    """`mm_encoder_outputs` for features float[N, T, D], in the form this model's forward expects."""
    per_image = type(model).__name__ == "LlavaForConditionalGeneration"
    output = tuple(features) if per_image else features
    return {"image": BaseModelOutputWithPooling(pooler_output=output)}


class SeenImages:
    """Features of recently seen images, by adapter, up to a number of bytes."""

    def __init__(self, model: PreTrainedModel, *, max_bytes: int = 128_000_000) -> None:
        self._model = model
        self._max_bytes = max_bytes
        self._kept: OrderedDict[tuple[str | None, bytes], Tensor] = OrderedDict()
        self._bytes = 0
        self.works = projector(model) is not None

    def replace_pixels(
        self, inputs: MutableMapping[str, Any], images: Sequence[Image], adapter: str | None
    ) -> None:
        """Put features in the place of `pixel_values`, running the tower on new images only.

        `images` are those of the batch in the order of `pixel_values`; `adapter` is the active one.
        """
        pixels = inputs.pop("pixel_values")
        keys = [(adapter, _digest(image)) for image in images]
        new = {key: row for row, key in enumerate(keys) if key not in self._kept}
        found = {key: self._kept[key] for key in keys if key in self._kept}
        if new:
            made = image_features(self._model, pixels[list(new.values())])
            found.update(zip(new, made, strict=True))
        inputs["mm_encoder_outputs"] = encoder_outputs(
            self._model, torch.stack([found[key] for key in keys])
        )
        for key in keys:
            self._keep(key, found[key])

    def forget(self, adapter: str | None) -> None:
        """Drop what was seen through an adapter: its name may come back with other weights."""
        for key in [key for key in self._kept if key[0] == adapter]:
            self._bytes -= self._kept.pop(key).nbytes

    def _keep(self, key: tuple[str | None, bytes], features: Tensor) -> None:
        if key not in self._kept:
            # A row of a larger tensor would keep all of it in memory.
            self._kept[key] = features.clone()
            self._bytes += features.nbytes
        self._kept.move_to_end(key)
        while self._bytes > self._max_bytes:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes


def _digest(image: Image) -> bytes:
    return hashlib.sha256(f"{image.size}".encode() + image.tobytes()).digest()
