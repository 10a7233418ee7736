"""One pass through transformer layers, of words or of pictures, compiled so that Python is entered once.

Llama's layers (Touvron et al. 2023; transformers' `LlamaModel`): root-mean-square norms, rotary
embeddings, grouped-query attention, a gated MLP. A pass over a few tokens is many small operations; with
the interpreter between them they take twice as long, and wait for each other thread that runs Python.
The matrices may be narrower than everything else, bfloat16 beside float32: what goes through them is narrowed,
sums, norms and attention are not. Knows nothing of models as objects: weights come as a list.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["ACTIVATIONS", "run_layers", "see_layers", "step"]

T = TypeVar("T")

ACTIVATIONS = {"silu": 0, "gelu_pytorch_tanh": 1, "gelu": 2, "quick_gelu": 3}
"""The activations that the layers know, by their names in transformers' configurations."""


def _norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    if x.dtype == torch.float32:
        return F.rms_norm(x, [x.shape[-1]], weight, eps)
    # As the models were trained: the norm in float32, the product in their own precision.
    return weight * F.rms_norm(x.float(), [x.shape[-1]], None, eps).to(x.dtype)


def _rotate_(x: Tensor, cos: Tensor, sin: Tensor) -> None:
    # In place; the sign of the turned half is in `sin`.
    half = x.shape[-1] // 2
    turned = torch.cat([x[..., half:], x[..., :half]], dim=-1)
    x.mul_(cos).addcmul_(turned, sin)


def _linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    x = x.to(weight.dtype)
    if bias.numel() > 0:
        return F.linear(x, weight, bias)
    return F.linear(x, weight)


def _add_low_rank(
    y: Tensor,
    x: Tensor,
    low: list[list[Tensor]],
    starts: list[int],
    ends: list[int],
    place: int,
) -> None:
    for index in range(len(low)):
        a = low[index][place]
        if a.numel() > 0:
            b = low[index][place + 1]
            start = starts[index]
            end = ends[index]
            y[start:end].addmm_(F.linear(x[start:end].to(a.dtype), a), b.t())


def _added(
    x: Tensor,
    y: Tensor,
    weight: Tensor,
    bias: Tensor,
    low: list[list[Tensor]],
    starts: list[int],
    ends: list[int],
    place: int,
) -> Tensor:
    # What a layer makes of y, on top of x.
    if x.dtype != weight.dtype:
        made = _linear(y, weight, bias)
        _add_low_rank(made, y, low, starts, ends, place)
        return x + made
    x = torch.addmm(x, y, weight.t())
    if bias.numel() > 0:
        x = x + bias
    _add_low_rank(x, y, low, starts, ends, place)
    return x


def _activated(x: Tensor, activation: int) -> Tensor:
    if activation == 0:
        return F.silu(x)
    if activation == 1:
        return F.gelu(x, approximate="tanh")
    if activation == 2:
        return F.gelu(x)
    return x * torch.sigmoid(1.702 * x)


def _run(
    x: Tensor,
    cos: Tensor,
    sin: Tensor,
    kept: Tensor,
    places: Tensor,
    slots: Tensor | None,
    mask: Tensor,
    wanted: Tensor | None,
    wanted_slots: Tensor | None,
    wanted_mask: Tensor,
    weights: list[Tensor],
    low: list[list[Tensor]],
    starts: list[int],
    ends: list[int],
    wanted_starts: list[int],
    wanted_ends: list[int],
    heads: int,
    scale: float,
    eps: float,
    activation: int,
) -> Tensor:
    rows = mask.shape[0]
    seen = mask.shape[3]
    kv_heads = kept.shape[3]
    width = kept.shape[5]
    for layer in range(kept.shape[0]):
        at = 12 * layer
        y = _norm(x, weights[at], eps)
        qkv = _linear(y, weights[at + 1], weights[at + 2])
        _add_low_rank(qkv, y, low, starts, ends, 8 * layer)
        qkv = qkv.to(x.dtype).view(x.shape[0], heads + 2 * kv_heads, width)
        _rotate_(qkv[:, : heads + kv_heads], cos, sin)
        new = qkv[:, heads:].reshape(-1, width)
        kept[layer].view(-1, width).index_copy_(0, places, new)
        keys = kept[layer, 0]
        values = kept[layer, 1]
        q = qkv[:, :heads]
        if wanted is not None and layer == kept.shape[0] - 1:
            if wanted.shape[0] == 0:
                return x[:0]
            x = x.index_select(0, wanted)
            q = q.index_select(0, wanted)
            slots = wanted_slots
            mask = wanted_mask
            starts = wanted_starts
            ends = wanted_ends
        wide = mask.shape[2]
        if slots is not None:
            padded = q.new_zeros([rows * wide, heads, width])
            q = padded.index_copy_(0, slots, q)
        attended = F.scaled_dot_product_attention(
            q.reshape(rows, wide, heads, width).transpose(1, 2),
            keys[:, :, :seen],
            values[:, :, :seen],
            attn_mask=mask,
            scale=scale,
            enable_gqa=heads != kv_heads,
        )
        flat = attended.transpose(1, 2).reshape(rows * wide, heads * width)
        if slots is not None:
            flat = flat.index_select(0, slots)
        x = _added(x, flat, weights[at + 4], weights[at + 5], low, starts, ends, 8 * layer + 2)
        y = _norm(x, weights[at + 6], eps)
        both = _linear(y, weights[at + 7], weights[at + 8])
        _add_low_rank(both, y, low, starts, ends, 8 * layer + 4)
        hidden = both.shape[1] // 2
        gate = both[:, :hidden]
        gate = _activated(gate, activation)
        gate = gate * both[:, hidden:]
        x = _added(x, gate, weights[at + 10], weights[at + 11], low, starts, ends, 8 * layer + 6)
    return x


def _see(
    x: Tensor,
    weights: list[Tensor],
    low: list[Tensor],
    chosen: list[int],
    heads: int,
    eps: float,
    activation: int,
) -> Tensor:
    images = x.shape[0]
    tokens = x.shape[1]
    width = x.shape[2]
    x = x.reshape(images * tokens, width)
    states = [x]
    lows: list[list[Tensor]] = []
    if len(low) > 0:
        lows = [low]
    starts = [0]
    ends = [images * tokens]
    for layer in range(max(chosen)):
        at = 12 * layer
        y = F.layer_norm(x, [width], weights[at], weights[at + 1], eps)
        qkv = _linear(y, weights[at + 2], weights[at + 3])
        _add_low_rank(qkv, y, lows, starts, ends, 8 * layer)
        parts = qkv.to(x.dtype).view(images, tokens, 3, heads, width // heads)
        parts = parts.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(parts[0], parts[1], parts[2])
        flat = attended.transpose(1, 2).reshape(images * tokens, width)
        x = _added(x, flat, weights[at + 4], weights[at + 5], lows, starts, ends, 8 * layer + 2)
        y = F.layer_norm(x, [width], weights[at + 6], weights[at + 7], eps)
        hidden = _linear(y, weights[at + 8], weights[at + 9])
        _add_low_rank(hidden, y, lows, starts, ends, 8 * layer + 4)
        hidden = _activated(hidden, activation)
        x = _added(x, hidden, weights[at + 10], weights[at + 11], lows, starts, ends, 8 * layer + 6)
        states.append(x)
    return torch.cat([states[index].view(images, tokens, width) for index in chosen], dim=-1)


def _step(
    ids: Tensor,
    table: Tensor,
    head: Tensor,
    norm: Tensor,
    kept: Tensor,
    shown: Tensor,
    lengths: Tensor,
    used: int,
    cos: Tensor,
    sin: Tensor,
    weights: list[Tensor],
    low: list[list[Tensor]],
    starts: list[int],
    ends: list[int],
    heads: int,
    scale: float,
    eps: float,
    activation: int,
) -> tuple[Tensor, Tensor, Tensor]:
    rows = ids.shape[0]
    kv_heads = kept.shape[3]
    shown.select(1, used).fill_(True)
    mask = torch.zeros([rows, 1, 1, used + 1], dtype=table.dtype, device=table.device)
    mask = mask.masked_fill_(~shown[:, : used + 1].view(rows, 1, 1, used + 1), -torch.inf)
    # The last column of every head's keys, then of its values.
    places = torch.arange(2 * rows * kv_heads, device=ids.device) * kept.shape[4] + used
    places = places.view(2, rows, kv_heads).transpose(0, 1).reshape(-1)
    x = _run(
        F.embedding(ids, table),
        cos[lengths],
        sin[lengths],
        kept,
        places,
        None,
        mask,
        None,
        None,
        mask,
        weights,
        low,
        starts,
        ends,
        starts,
        ends,
        heads,
        scale,
        eps,
        activation,
    )
    lengths.add_(1)
    logprobs = torch.log_softmax(F.linear(_norm(x, norm, eps), head).float(), dim=-1)
    best, choice = logprobs.max(dim=-1)
    return logprobs, best, choice


def _compiled(run: Callable[..., T]) -> Callable[..., T]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return torch.jit.script(run)  # type: ignore[no-any-return]
        except Exception:  # a Python or torch that compiles no more runs it as it is written
            return run


_compiled_run = _compiled(_run)
_compiled_see = _compiled(_see)
_compiled_step = _compiled(_step)


def run_layers(x: Tensor, *rest: object) -> Tensor:
    """Hidden states float[T, d]; `model_server.decoder.Decoder.run` says what goes in.

    Compiled on a CPU only: elsewhere the compiler would fuse anew for every shape.
    """
    run = _compiled_run if x.device.type == "cpu" else _run
    return run(x, *rest)


def see_layers(x: Tensor, *rest: object) -> Tensor:
    """Chosen states float[N, S, chosen * d] of x float[N, S, d]; `model_server.tower.Tower` says what goes in.

    Layers of CLIP's vision tower (Radford et al. 2021; transformers' `CLIPEncoderLayer`). The states are those
    before the first layer (0) and behind each, side by side; layers behind the last chosen one are not run.
    """
    see = _compiled_see if x.device.type == "cpu" else _see
    return see(x, *rest)


def step(ids: Tensor, *rest: object) -> tuple[Tensor, Tensor, Tensor]:
    """One step of decoding; `model_server.decoder.Decoder.step` says what goes in and comes out."""
    run = _compiled_step if ids.device.type == "cpu" else _step
    return run(ids, *rest)
