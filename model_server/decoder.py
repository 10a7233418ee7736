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
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from model_server.fused import Fused, Pair, linear_groups
from model_server.layers import ACTIVATIONS, run_layers, step

__all__ = ["Decoder", "Rows", "Segment"]

_MODELS = {"llama", "mistral", "qwen2"}
# Rotary embeddings whose angles depend on the position alone.
_ROPES = {"default", "linear", "llama3", "yarn"}
_POOLED_BYTES = 1 << 29
_FUSED = (
    ("self_attn", ("q_proj", "k_proj", "v_proj")),
    ("self_attn", ("o_proj",)),
    ("mlp", ("gate_proj", "up_proj")),
    ("mlp", ("down_proj",)),
)


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
        lengths: int64[B], tokens of the row so far, which is the next position; a step counts on in place.
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
    """The language model of `model`, whose weights it shares.

    `products`: the dtype of the layers' matrices, by default the model's.
    """

    def __init__(self, model: PreTrainedModel, *, products: torch.dtype | None = None) -> None:
        text = _language_model(model)
        assert text is not None
        config = text.config
        first = text.layers[0].self_attn
        self._embed: Any = model.get_input_embeddings()
        self._head: Any = model.get_output_embeddings()
        self._norm: Any = text.norm
        self._rotary: nn.Module = text.rotary_emb
        self._angles: tuple[Tensor, Tensor] | None = None
        self._activation = ACTIVATIONS[config.hidden_act]
        self._heads = config.num_attention_heads
        self.kv_heads = int(config.num_key_value_heads)
        self.head_dim = int(first.head_dim)
        self._scale = float(first.scaling)
        self._eps = float(text.norm.variance_epsilon)
        self._layers = list(text.layers)
        groups = linear_groups(self._layers, _FUSED)
        arranged = partial(_with_norms, self._layers)
        self.fused = Fused(model, groups, arranged=arranged, dtype=products)
        self._pool = self._norm.weight.new_empty(0)

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
            and config.hidden_act in ACTIVATIONS
            and not getattr(config, "sliding_window", None)
            and type(model.get_input_embeddings()) is nn.Embedding
            and type(model.get_output_embeddings()) is nn.Linear
            and model.get_output_embeddings().bias is None
            and all(
                type(module) is nn.Linear
                for group in linear_groups(text.layers, _FUSED)
                for module in group
            )
        )

    @property
    def layer_count(self) -> int:
        """Number of transformer layers."""
        return len(self._layers)

    def embed(self, ids: Tensor) -> Tensor:
        """Word embeddings float[T, d] of ids int64[T]."""
        return self._embed(ids)  # type: ignore[no-any-return]

    def logits(self, hidden: Tensor) -> Tensor:
        """float32[N, V] of hidden states float[N, d] that `run` returned."""
        return self._head(self._norm(hidden)).float()  # type: ignore[no-any-return]

    @torch.inference_mode()
    def rows(self, count: int, columns: int) -> Rows:
        """Empty rows with room for so many columns, on memory that the next call may use again."""
        weight = self._norm.weight
        shape = (self.layer_count, 2, count, self.kv_heads, columns, self.head_dim)
        size = math.prod(shape)
        if size > self._pool.numel():
            self._pool = weight.new_empty(size)
        # Columns not shown are read all the same and times zero: they must hold numbers, and what is left there of
        # earlier rows may hold none.
        kept = self._pool[:size].view(shape).zero_()
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
        wanted: Tensor | None = None,
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
            wanted: int64[W] rising, the tokens whose hidden states are asked for; None for all. Of the others the
                last layer makes only what later tokens look at.

        Returns hidden states float[W, d] before the last norm.
        """
        cos, sin = self._rotations(int(positions.max()) + 1)
        weights, low = self._chosen(x.shape[0], segments)
        shown = torch.zeros_like(mask, dtype=x.dtype).masked_fill_(~mask, -torch.inf)
        last = _narrowed(wanted, owners, slots, shown)
        bounds = [[s.start for s in segments], [s.end for s in segments]]
        narrow = bounds
        if wanted is not None and segments:
            edges = torch.tensor(bounds, device=x.device)
            narrow = torch.searchsorted(wanted, edges).tolist()
        # Per token, where each head's keys go in a layer of `kept`, then where its values go.
        rest = rows.kept.shape[2:5]
        heads = torch.arange(2, device=x.device)[:, None] * rest[0] * rest[1]
        heads = (heads + torch.arange(rest[1], device=x.device)).view(-1)
        places = (owners[:, None] * rest[1] + heads) * rest[2] + columns[:, None]
        return run_layers(
            x,
            cos[positions],
            sin[positions],
            rows.kept,
            places.view(-1),
            slots,
            shown.unsqueeze(1),
            wanted,
            *last,
            weights,
            low,
            *bounds,
            *narrow,
            self._heads,
            self._scale,
            self._eps,
            self._activation,
        )

    def step(
        self, ids: Tensor, rows: Rows, segments: Sequence[Segment] = ()
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One more token int64[B] for every row, for whose keys and values there must be room.

        Returns float32[B, V], the log-probabilities of what may come next; of the likeliest float32[B] that and
        int64[B] its id. All of a step but its bookkeeping is compiled.
        """
        cos, sin = self._rotations(rows.used + 1)  # no position is behind its column
        weights, low = self._chosen(len(ids), segments)
        found = step(
            ids,
            self._embed.weight,
            self._head.weight,
            self._norm.weight,
            rows.kept,
            rows.shown,
            rows.lengths,
            rows.used,
            cos,
            sin,
            weights,
            low,
            [s.start for s in segments],
            [s.end for s in segments],
            self._heads,
            self._scale,
            self._eps,
            self._activation,
        )
        rows.used += 1
        return found

    def _chosen(
        self, tokens: int, segments: Sequence[Segment]
    ) -> tuple[list[Tensor], list[list[Tensor]]]:
        # Through one adapter alone?
        if len(segments) == 1 and (segments[0].start, segments[0].end) == (0, tokens):
            merged = self.fused.merged(segments[0].name)
            if merged is not None:
                return merged, []
        return self.fused.own, [self.fused.low(segment.name) for segment in segments]

    def _rotations(self, count: int) -> tuple[Tensor, Tensor]:
        if self._angles is None or len(self._angles[0]) < count:
            weight = self._norm.weight
            places = torch.arange(max(count, 512), device=weight.device)
            cos, sin = self._rotary(weight, places[None])
            half = sin.shape[-1] // 2
            sin = torch.cat([-sin[..., :half], sin[..., half:]], dim=-1)
            self._angles = (cos[0, :, None], sin[0, :, None])
        return self._angles


def _with_norms(layers: Sequence[Any], pairs: Sequence[Pair]) -> list[Tensor]:
    none = pairs[0][0].new_empty(0)
    weights: list[Tensor] = []
    for index, layer in enumerate(layers):
        norms = (
            layer.input_layernorm.weight.data,
            none,
            layer.post_attention_layernorm.weight.data,
            none,
        )
        for norm, pair in zip(norms, pairs[4 * index : 4 * index + 4], strict=True):
            weights += [norm, *pair]
    return weights


def _narrowed(
    wanted: Tensor | None, owners: Tensor, slots: Tensor | None, shown: Tensor
) -> tuple[Tensor | None, Tensor]:
    """Slots and mask of the wanted tokens alone, for the last layer."""
    if wanted is None or not len(wanted):
        return slots, shown.unsqueeze(1)
    rows, _, columns = shown.shape
    own = owners[wanted]
    counts = torch.bincount(own, minlength=rows)
    wide = int(counts.max())
    within = torch.arange(len(wanted), device=own.device) - (counts.cumsum(0) - counts)[own]
    narrow = own * wide + within
    seen = shown.view(-1, columns)[wanted if slots is None else slots[wanted]]
    mask = shown.new_zeros(rows * wide, columns).index_copy_(0, narrow, seen)
    filled = len(wanted) == rows * wide
    return None if filled else narrow, mask.view(rows, 1, wide, columns)


def _language_model(model: PreTrainedModel) -> Any:
    inner = getattr(model, "model", model)
    return getattr(inner, "language_model", None) or getattr(inner, "text_model", None)
