"""What a model makes of an image before any text, for the layout of LLaVA and its kin.

There every image of the batch becomes one row of features, which can be computed once and used by many questions.
Knows nothing of queues or training.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

__all__ = ["encoder_outputs", "feature_layers", "image_features", "projector"]

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


def feature_layers(model: PreTrainedModel) -> list[int] | None:
    """Which states of a CLIP tower the projector reads, 0 before the first layer; None for other layouts."""
    tower = getattr(getattr(model, "model", None), "vision_tower", None)
    strategy = getattr(model.config, "vision_feature_select_strategy", "default")
    if (
        projector(model) is None
        or type(tower).__name__ != "CLIPVisionModel"
        or strategy != "default"
    ):
        return None
    count = len(tower.encoder.layers)
    chosen = model.config.vision_feature_layer
    return [
        index if index >= 0 else count + 1 + index
        for index in ([chosen] if isinstance(chosen, int) else chosen)
    ]
