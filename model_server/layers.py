"""One pass through transformer layers over packed tokens, compiled so that Python is entered once.

Llama's layers (Touvron et al. 2023; transformers' `LlamaModel`): root-mean-square norms, rotary
embeddings, grouped-query attention, a gated MLP. A pass over a few tokens is many small operations; with
the interpreter between them they take twice as long, and wait for each other thread that runs Python.
Knows nothing of models as objects: weights come as a list.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["run_layers"]


def _norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    if x.dtype == torch.float32:
        return F.rms_norm(x, [x.shape[-1]], weight, eps)
    # As the models were trained: the norm in float32, the product in their own precision.
    return weight * F.rms_norm(x.float(), [x.shape[-1]], None, eps).to(x.dtype)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    turned = torch.cat([-x[..., half:], x[..., :half]], dim=-1)
    return torch.addcmul(x * cos, turned, sin)


def _linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
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
            y[start:end].addmm_(F.linear(x[start:end], a), b.t())


def _run(
    x: Tensor,
    cos: Tensor,
    sin: Tensor,
    kept: Tensor,
    places: Tensor,
    slots: Tensor | None,
    mask: Tensor,
    weights: list[Tensor],
    low: list[list[Tensor]],
    starts: list[int],
    ends: list[int],
    heads: int,
    scale: float,
    eps: float,
    activation: int,
) -> Tensor:
    tokens = x.shape[0]
    rows = mask.shape[0]
    wide = mask.shape[2]
    seen = mask.shape[3]
    kv_heads = kept.shape[3]
    width = kept.shape[5]
    for layer in range(kept.shape[0]):
        at = 12 * layer
        y = _norm(x, weights[at], eps)
        qkv = _linear(y, weights[at + 1], weights[at + 2])
        _add_low_rank(qkv, y, low, starts, ends, 8 * layer)
        qkv = qkv.view(tokens, heads + 2 * kv_heads, width)
        qk = _rotate(qkv[:, : heads + kv_heads], cos, sin)
        keys = kept[layer, 0]
        values = kept[layer, 1]
        new = qk[:, heads:].reshape(-1, width)
        keys.view(-1, width).index_copy_(0, places, new)
        new = qkv[:, heads + kv_heads :].reshape(-1, width)
        values.view(-1, width).index_copy_(0, places, new)
        q = qk[:, :heads]
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
        x = torch.addmm(x, flat, weights[at + 4].t())
        if weights[at + 5].numel() > 0:
            x = x + weights[at + 5]
        _add_low_rank(x, flat, low, starts, ends, 8 * layer + 2)
        y = _norm(x, weights[at + 6], eps)
        both = _linear(y, weights[at + 7], weights[at + 8])
        _add_low_rank(both, y, low, starts, ends, 8 * layer + 4)
        hidden = both.shape[1] // 2
        gate = both[:, :hidden]
        if activation == 0:
            gate = F.silu(gate)
        elif activation == 1:
            gate = F.gelu(gate, approximate="tanh")
        else:
            gate = F.gelu(gate)
        gate = gate * both[:, hidden:]
        x = torch.addmm(x, gate, weights[at + 10].t())
        if weights[at + 11].numel() > 0:
            x = x + weights[at + 11]
        _add_low_rank(x, gate, low, starts, ends, 8 * layer + 6)
    return x


def _compiled() -> Callable[..., Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return torch.jit.script(_run)  # type: ignore[no-any-return]
        except Exception:  # a Python or torch that compiles no more runs it as it is written
            return _run


_compiled_run = _compiled()


def run_layers(x: Tensor, *rest: object) -> Tensor:
    """Hidden states float[T, d]; `model_server.decoder.Decoder.run` says what goes in.

    Compiled on a CPU only: elsewhere the compiler would fuse anew for every shape.
    """
    run = _compiled_run if x.device.type == "cpu" else _run
    return run(x, *rest)
