"""CLIP's vision tower, run in one compiled pass for all pictures of a batch.

Module by module, half of a small tower's time goes outside its matrix products. The weights are those of the
model itself. Knows nothing of questions, caches or training.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from model_server.families.features import feature_layers, projector
from model_server.fused import Fused, Pair, linear_groups
from model_server.layers import ACTIVATIONS, see_layers

__all__ = ["Tower"]

_FUSED = (
    ("self_attn", ("q_proj", "k_proj", "v_proj")),
    ("self_attn", ("out_proj",)),
    ("mlp", ("fc1",)),
    ("mlp", ("fc2",)),
)


class Tower:
    """The vision tower and projector of `model`, whose weights it shares.

    `products`: the dtype of the layers' matrices, by default the model's.
    """

    def __init__(self, model: PreTrainedModel, *, products: torch.dtype | None = None) -> None:
        tower: Any = model.model.vision_tower
        chosen = feature_layers(model)
        project = projector(model)
        assert chosen is not None and project is not None
        self._chosen = chosen
        self._project: nn.Module = project
        self._embed: nn.Module = tower.embeddings
        self._first_norm: nn.Module = tower.pre_layrnorm
        self._heads = int(tower.config.num_attention_heads)
        self._eps = float(tower.config.layer_norm_eps)
        self._activation = ACTIVATIONS[tower.config.hidden_act]
        self._layers = list(tower.encoder.layers)
        groups = linear_groups(self._layers, _FUSED)
        arranged = partial(_with_norms, self._layers)
        self.fused = Fused(model, groups, arranged=arranged, dtype=products)

    @staticmethod
    def fits(model: PreTrainedModel) -> bool:
        """True for models of LLaVA's layout on a CLIP tower."""
        if feature_layers(model) is None:
            return False
        tower: Any = model.model.vision_tower
        return tower.config.hidden_act in ACTIVATIONS and all(
            type(module) is nn.Linear
            for group in linear_groups(tower.encoder.layers, _FUSED)
            for module in group
        )

    def see(self, pixels: Tensor, adapter: str | None = None) -> Tensor:
        """Projected features float[N, T, D] of pixels float[N, 3, H, W]."""
        weights, low = self._with(adapter)
        states = see_layers(
            self._first_norm(self._embed(pixels)),
            weights,
            low,
            self._chosen,
            self._heads,
            self._eps,
            self._activation,
        )
        features: Tensor = self._project(states[:, 1:])
        return features

    def _with(self, adapter: str | None) -> tuple[list[Tensor], list[Tensor]]:
        if adapter is None:
            return self.fused.own, []
        if (merged := self.fused.merged(adapter)) is not None:
            return merged, []
        return self.fused.own, self.fused.low(adapter)


def _with_norms(layers: Sequence[Any], pairs: Sequence[Pair]) -> list[Tensor]:
    weights: list[Tensor] = []
    for index, layer in enumerate(layers):
        attention, out, up, down = pairs[4 * index : 4 * index + 4]
        first, second = layer.layer_norm1, layer.layer_norm2
        weights += [first.weight.data, first.bias.data, *attention, *out]
        weights += [second.weight.data, second.bias.data, *up, *down]
    return weights
