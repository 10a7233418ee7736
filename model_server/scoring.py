"""Scoring a closed question: the log-probability of every option, not a decoded guess.

The prompt runs through the model once; its cache is then branched, and all options follow in one
batched pass. Architectures whose cache or positions cannot be branched this way run prompt and
option together instead, with the same result.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import BatchFeature, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

__all__ = ["can_branch", "score_branched", "score_whole"]

_ROWS = 64


def can_branch(model: PreTrainedModel) -> bool:
    """True if positions are plain token counts and tokens see what is before them.

    Models with 2-D or 3-D positions compute their own.
    """
    parts = (model, getattr(model, "model", None))
    return not _reads_both_ways(model) and not any(
        hasattr(module, "get_rope_index") for module in parts
    )


def _reads_both_ways(model: PreTrainedModel) -> bool:
    # A prefix language model: its prompt is of token type 0 and sees itself whole, its answer of type 1.
    return str(model.config.model_type) == "paligemma"


@torch.inference_mode()
def score_branched(
    model: PreTrainedModel, inputs: BatchFeature, options: Sequence[Sequence[Sequence[int]]]
) -> list[list[list[float]]] | None:
    """Score options after one shared pass over the prompts.

    Args:
        inputs: B left-padded prompts.
        options: per prompt, per option, its token ids, end of turn included.

    Returns the natural-log probability of every token, in the shape of `options`, or None when the
    model's cache cannot be branched.
    """
    mask = inputs["attention_mask"]
    positions = (mask.cumsum(dim=-1) - 1).clamp(min=0)
    out = model(**inputs, position_ids=positions, use_cache=True, logits_to_keep=1)
    cache = out.past_key_values
    if type(cache) is not DynamicCache or any(
        type(layer) is not DynamicLayer for layer in cache.layers
    ):
        return None
    first = torch.log_softmax(out.logits[:, -1].float(), dim=-1)
    flat = [(prompt, ids) for prompt, own in enumerate(options) for ids in own]
    scores: list[list[float]] = []
    for start in range(0, len(flat), _ROWS):
        part = flat[start : start + _ROWS]
        rows = torch.tensor([prompt for prompt, _ in part], device=mask.device)
        ids, own_mask = _padded([ids for _, ids in part], device=mask.device)
        logits = model(
            input_ids=ids,
            attention_mask=torch.cat([mask[rows], own_mask], dim=1),
            position_ids=mask[rows].sum(dim=1, keepdim=True)
            + torch.arange(ids.shape[1], device=mask.device),
            past_key_values=_branch(cache, rows),
            use_cache=True,
        ).logits
        scores += _gathered(first[rows], logits, [ids for _, ids in part])
    return _shaped(scores, options)


@torch.inference_mode()
def score_whole(
    model: PreTrainedModel, inputs: BatchFeature, options: Sequence[Sequence[int]]
) -> list[list[float]]:
    """Score options with the prompt in front of each.

    Args:
        inputs: R left-padded prompts, one per option.
        options: R lists of token ids, end of turn included.

    Returns the natural-log probability of every token, in the shape of `options`.
    """
    prompt_mask = inputs["attention_mask"]
    ids, own_mask = _padded(options, device=prompt_mask.device)
    length = prompt_mask.shape[1]
    whole = dict(inputs)
    for key, value in inputs.items():
        if key in {"input_ids", "attention_mask"}:
            continue
        if isinstance(value, Tensor) and value.shape == prompt_mask.shape:
            said = value.new_ones if _reads_both_ways(model) else value.new_zeros
            whole[key] = torch.cat([value, said(ids.shape)], dim=1)
    whole["input_ids"] = torch.cat([inputs["input_ids"], ids], dim=1)
    whole["attention_mask"] = torch.cat([prompt_mask, own_mask], dim=1)
    if can_branch(model) or _reads_both_ways(model):
        whole["position_ids"] = (whole["attention_mask"].cumsum(dim=-1) - 1).clamp(min=0)
    logits = model(**whole, use_cache=False).logits
    first = torch.log_softmax(logits[:, length - 1].float(), dim=-1)
    return _gathered(first, logits[:, length:], options)


def _padded(options: Sequence[Sequence[int]], *, device: torch.device) -> tuple[Tensor, Tensor]:
    # The last token of an option is only predicted, never read. One column at least, because a
    # model cannot run on none.
    width = max(1, *(len(ids) - 1 for ids in options))
    ids = torch.zeros(len(options), width, dtype=torch.long)
    mask = torch.zeros(len(options), width, dtype=torch.long)
    for row, option in enumerate(options):
        ids[row, : len(option) - 1] = torch.tensor(option[:-1], dtype=torch.long)
        mask[row, : len(option) - 1] = 1
    return ids.to(device), mask.to(device)


def _branch(cache: DynamicCache, rows: Tensor) -> DynamicCache:
    branched = DynamicCache()
    for index, layer in enumerate(cache.layers):
        branched.update(layer.keys.index_select(0, rows), layer.values.index_select(0, rows), index)
    return branched


def _gathered(first: Tensor, logits: Tensor, options: Sequence[Sequence[int]]) -> list[list[float]]:
    later = torch.log_softmax(logits.float(), dim=-1)
    return [
        [
            float(first[row, ids[0]]),
            *(float(later[row, place, token]) for place, token in enumerate(ids[1:])),
        ]
        for row, ids in enumerate(options)
    ]


def _shaped(
    scores: list[list[float]], options: Sequence[Sequence[Sequence[int]]]
) -> list[list[list[float]]]:
    remaining = iter(scores)
    return [[next(remaining) for _ in own] for own in options]
