"""The layers of a Llama-like language model, run on tokens packed without padding.

`generate` of transformers spends most of a small model's time outside its matrix products. Here a batch
is a list of tokens, each with its row, its place and what it may look at, so that prompts of any length,
branches of one prompt and single steps of decoding are one and the same pass. The weights are those of
the model itself: fused matrices of which its modules become views. Knows nothing of requests, images or
sampling.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from model_server.layers import run_layers

__all__ = ["Decoder", "LowRank", "Rows", "Segment"]

_MODELS = {"llama", "mistral", "qwen2"}
# Rotary embeddings whose angles depend on the position alone.
_ROPES = {"default", "linear", "llama3", "yarn"}
_POOLED_BYTES = 1 << 29
_ACTIVATIONS = {"silu": 0, "gelu_pytorch_tanh": 1, "gelu": 2}
_FUSED = (
    ("self_attn", ("q_proj", "k_proj", "v_proj")),
    ("self_attn", ("o_proj",)),
    ("mlp", ("gate_proj", "up_proj")),
    ("mlp", ("down_proj",)),
)

LowRank = tuple[Tensor, Tensor]
"""A float[r, in] and B float[out, r], the scale already in B: the layer adds x A^T B^T."""


@dataclass(frozen=True)
class Segment:
    """Packed tokens `start` to `end` pass through the adapter `name`."""

    name: str
    start: int
    end: int


@dataclass(eq=False)
class Rows:
    """Keys and values of a batch.

    Attributes:
        kept: float[layers, 2, B, heads, L, D].
        shown: bool[B, L], the columns that every later token of the row sees.
        lengths: int64[B], tokens of the row so far, which is the next position.
        used: columns in use; the next token goes there.
    """

    kept: Tensor
    shown: Tensor
    lengths: Tensor
    used: int

    def select(self, rows: Tensor) -> None:
        """Keep only some rows, in place."""
        self.kept = self.kept.index_select(2, rows)
        self.shown = self.shown.index_select(0, rows)
        self.lengths = self.lengths.index_select(0, rows)

    def make_room(self, columns: int, *, wanted: int) -> None:
        """Have at least `columns` free columns; if more must be made, make `wanted`."""
        have = self.kept.shape[4]
        if have - self.used >= columns:
            return
        layers, two, rows, heads, _, width = self.kept.shape
        more = max(columns, wanted)
        self.kept = torch.cat(
            [self.kept, self.kept.new_zeros(layers, two, rows, heads, more, width)], dim=4
        )
        self.shown = torch.cat([self.shown, self.shown.new_zeros(rows, more)], dim=1)


class Decoder:
    """The language model of `model`, whose weights it shares."""

    def __init__(self, model: PreTrainedModel) -> None:
        text = _language_model(model)
        assert text is not None
        config = text.config
        first = text.layers[0].self_attn
        self._embed: nn.Module = model.get_input_embeddings()
        self._head: nn.Module = model.get_output_embeddings()
        self._norm: nn.Module = text.norm
        self._rotary: nn.Module = text.rotary_emb
        self._angles: tuple[Tensor, Tensor] | None = None
        self._activation = _ACTIVATIONS[config.hidden_act]
        self._heads = config.num_attention_heads
        self.kv_heads = int(config.num_key_value_heads)
        self.head_dim = int(first.head_dim)
        self._scale = float(first.scaling)
        self._eps = float(text.norm.variance_epsilon)
        self._names = {module: name for name, module in model.named_modules()}
        self._layers = list(text.layers)
        self._groups = [
            [getattr(getattr(layer, part), name) for name in names]
            for layer in self._layers
            for part, names in _FUSED
        ]
        self._weights = self._fused()
        self._merged: tuple[str, list[Tensor]] | None = None
        self._low: dict[str, list[Tensor]] = {}
        self._pool = self._weights[1].new_empty(0)

    @staticmethod
    def fits(model: PreTrainedModel) -> bool:
        """True for models whose language model is Llama, Mistral or Qwen2 with plain positions."""
        text = _language_model(model)
        config = getattr(text, "config", None)
        rope = getattr(config, "rope_parameters", None) or {}
        return bool(
            text is not None
            and config is not None
            and config.model_type in _MODELS
            and rope.get("rope_type", "default") in _ROPES
            and config.hidden_act in _ACTIVATIONS
            and not getattr(config, "sliding_window", None)
            and model.get_output_embeddings() is not None
            and all(
                type(module) is nn.Linear
                for layer in text.layers
                for part, names in _FUSED
                for module in (getattr(getattr(layer, part), name) for name in names)
            )
        )

    @property
    def layer_count(self) -> int:
        """Number of transformer layers."""
        return len(self._layers)

    def modules(self) -> dict[str, nn.Linear]:
        """The linear layers that this runs itself, by their names in the model."""
        return {self._names[module]: module for group in self._groups for module in group}

    def embed(self, ids: Tensor) -> Tensor:
        """Word embeddings float[T, d] of ids int64[T]."""
        return self._embed(ids)  # type: ignore[no-any-return]

    def logits(self, hidden: Tensor) -> Tensor:
        """float32[N, V] of hidden states float[N, d] that `run` returned."""
        return self._head(self._norm(hidden)).float()  # type: ignore[no-any-return]

    def rows(self, count: int, columns: int) -> Rows:
        """Empty rows with room for so many columns, on memory that the next call may use again."""
        weight = self._weights[1]
        shape = (self.layer_count, 2, count, self.kv_heads, columns, self.head_dim)
        size = math.prod(shape)
        # Columns not shown are read all the same and times zero: they must hold numbers.
        if size > self._pool.numel():
            self._pool = weight.new_zeros(size)
        kept = self._pool[:size].view(shape)
        if size * weight.element_size() > _POOLED_BYTES:
            self._pool = weight.new_empty(0)
        shown = torch.zeros(count, columns, dtype=torch.bool, device=weight.device)
        lengths = torch.zeros(count, dtype=torch.long, device=weight.device)
        return Rows(kept, shown, lengths, 0)

    def run(
        self,
        x: Tensor,
        rows: Rows,
        *,
        positions: Tensor,
        owners: Tensor,
        columns: Tensor,
        slots: Tensor | None,
        mask: Tensor,
        segments: Sequence[Segment] = (),
    ) -> Tensor:
        """One pass over packed tokens; writes their keys and values into `rows`.

        Args:
            x: float[T, d] embeddings.
            positions: int64[T].
            owners: int64[T], each token's row.
            columns: int64[T], where in its row the token is kept.
            slots: int64[T], row * Q + slot in `mask`; None if the tokens fill it in order.
            mask: bool[B, Q, C]; what each slot sees of the first C columns.
            segments: the adapters, by stretches of tokens; those outside use the base model.

        Returns hidden states float[T, d] before the last norm.
        """
        cos, sin = self._rotations(int(positions.max()) + 1)
        weights, low, starts, ends = self._chosen(x.shape[0], segments)
        heads = torch.arange(self.kv_heads, device=x.device)
        places = (owners[:, None] * self.kv_heads + heads) * rows.kept.shape[4] + columns[:, None]
        return run_layers(
            x,
            cos[positions],
            sin[positions],
            rows.kept,
            places.view(-1),
            slots,
            torch.zeros_like(mask, dtype=x.dtype).masked_fill_(~mask, -torch.inf).unsqueeze(1),
            weights,
            low,
            starts,
            ends,
            self._heads,
            self._scale,
            self._eps,
            self._activation,
        )

    # Adapters.

    def add(self, name: str, parts: dict[str, LowRank]) -> None:
        """Make an adapter known; `parts` by module name, those of other modules are ignored."""
        flat: list[Tensor] = []
        for group in self._groups:
            flat += self._low_rank(group, parts)
        self._low[name] = flat

    def remove(self, name: str) -> None:
        """Forget an adapter."""
        del self._low[name]
        if self._merged is not None and self._merged[0] == name:
            self._merged = None

    def merge(self, name: str) -> None:
        """Keep a copy of the weights with this adapter in them, for batches of it alone."""
        merged = list(self._weights)
        for index in range(len(self._groups)):
            a, b = self._low[name][2 * index : 2 * index + 2]
            if a.numel():
                place = _place(index)
                merged[place] = (merged[place].float() + b.float() @ a.float()).to(merged[place])
        self._merged = (name, merged)

    def _chosen(
        self, tokens: int, segments: Sequence[Segment]
    ) -> tuple[list[Tensor], list[list[Tensor]], list[int], list[int]]:
        if self._merged is not None and len(segments) == 1:
            (only,) = segments
            if only.name == self._merged[0] and (only.start, only.end) == (0, tokens):
                return self._merged[1], [], [], []
        low = [self._low[segment.name] for segment in segments]
        return self._weights, low, [s.start for s in segments], [s.end for s in segments]

    def _low_rank(self, group: list[nn.Linear], parts: dict[str, LowRank]) -> list[Tensor]:
        # Adapters of matrices that are fused here become one: A stacked, B block by block.
        own = [parts.get(self._names[module]) for module in group]
        like = group[0].weight
        found = [part for part in own if part is not None]
        if not found:
            return [like.new_empty(0), like.new_empty(0)]
        a = torch.cat([part[0] for part in found]).to(like)
        b = like.new_zeros(sum(module.out_features for module in group), a.shape[0])
        row = column = 0
        for module, part in zip(group, own, strict=True):
            if part is not None:
                rank = part[1].shape[1]
                b[row : row + module.out_features, column : column + rank] = part[1].to(like)
                column += rank
            row += module.out_features
        return [a, b]

    def _fused(self) -> list[Tensor]:
        weights: list[Tensor] = []
        with torch.no_grad():
            for index, layer in enumerate(self._layers):
                norms = (layer.input_layernorm, None, layer.post_attention_layernorm, None)
                for group, norm in zip(self._groups[4 * index : 4 * index + 4], norms, strict=True):
                    weight = torch.cat([module.weight.data for module in group])
                    bias = torch.cat(
                        [
                            weight.new_zeros(module.out_features)
                            if module.bias is None
                            else module.bias.data
                            for module in group
                        ]
                    )
                    if all(module.bias is None for module in group):
                        bias = weight.new_empty(0)
                    row = 0
                    for module in group:  # the model keeps working, on the same memory
                        module.weight.data = weight[row : row + module.out_features]
                        row += module.out_features
                    weights += [norm.weight.data if norm is not None else bias[:0], weight, bias]
        return weights

    def _rotations(self, count: int) -> tuple[Tensor, Tensor]:
        if self._angles is None or len(self._angles[0]) < count:
            weight = self._weights[1]
            places = torch.arange(max(count, 512), device=weight.device)
            cos, sin = self._rotary(weight[:1], places[None])
            self._angles = (cos[0, :, None], sin[0, :, None])
        return self._angles


def _place(group: int) -> int:
    return 3 * group + 1


def _language_model(model: PreTrainedModel) -> Any:
    inner = getattr(model, "model", model)
    return getattr(inner, "language_model", None) or getattr(inner, "text_model", None)
