"""Decoding a batch of open questions, each row with its own limits, temperature and seed.

Rows pick their own next token, so that one batch can hold greedy and sampled rows and the answer of
a row does not depend on its neighbours; a row that ends is told so at once. Built on
``generate`` of transformers, which knows each architecture's cache and positions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import (
    BatchFeature,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    StoppingCriteria,
    StoppingCriteriaList,
)

from model_server.jobs import Sampling

__all__ = ["FLOOR", "Picked", "Row", "decode"]

FLOOR = -9999.0
"""Stands for a log-probability of minus infinity, which JSON cannot write (OpenAI's choice)."""


@dataclass(frozen=True)
class Picked:
    """A token id, its log-probability under the model (temperature 1), and the likeliest others."""

    id: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(eq=False)
class Row:
    """One row of a batch.

    Attributes:
        room: tokens that fit after the prompt.
        picked: called after each token; returns True to end the row (a stop text, a cancellation).
        ended: called once when the row is complete, while others may go on.
    """

    sampling: Sampling
    room: int
    picked: Callable[[Row], bool]
    ended: Callable[[Row], None]
    tokens: list[Picked] = field(default_factory=list)
    finish: str | None = None


@torch.inference_mode()
def decode(
    model: PreTrainedModel, inputs: BatchFeature, rows: Sequence[Row], *, ends: Sequence[int]
) -> None:
    """Generate all rows of a left-padded batch; results are in `rows`."""
    longest = max(min(row.sampling.max_tokens, row.room) for row in rows)
    config = GenerationConfig(
        max_new_tokens=longest,
        do_sample=False,
        num_beams=1,
        use_cache=True,
        eos_token_id=list(ends),
        pad_token_id=ends[0],
    )
    picker = _Picker(rows, ends)
    model.generate(
        **inputs,
        generation_config=config,
        logits_processor=LogitsProcessorList([picker]),
        stopping_criteria=StoppingCriteriaList([_Ended(rows)]),
    )


class _Picker(LogitsProcessor):
    """Picks every row's token itself and leaves generate no other choice."""

    def __init__(self, rows: Sequence[Row], ends: Sequence[int]) -> None:
        self._rows = rows
        self._ends = frozenset(ends)
        self._generators = [_generator(row.sampling) for row in rows]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        logprobs = torch.log_softmax(scores.float(), dim=-1).cpu()
        choice = logprobs.argmax(dim=-1)
        for index, row in enumerate(self._rows):
            if row.finish is not None:
                continue
            own = logprobs[index]
            if row.sampling.temperature > 0:
                choice[index] = _sample(own, row.sampling, self._generators[index])
            self._record(row, int(choice[index]), own)
        forced = torch.full_like(scores, -torch.inf)
        return forced.scatter_(1, choice[:, None].to(scores.device), 0.0)

    def _record(self, row: Row, token: int, logprobs: Tensor) -> None:
        top: tuple[tuple[int, float], ...] = ()
        if row.sampling.top_logprobs:
            values, ids = logprobs.topk(row.sampling.top_logprobs)
            top = tuple(
                (int(id), max(float(value), FLOOR)) for id, value in zip(ids, values, strict=True)
            )
        row.tokens.append(Picked(token, max(float(logprobs[token]), FLOOR), top))
        if token in self._ends or row.picked(row):
            row.finish = "stop"
        elif len(row.tokens) >= min(row.sampling.max_tokens, row.room):
            row.finish = "length"
        if row.finish is not None:
            row.ended(row)


class _Ended(StoppingCriteria):
    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def __call__(self, input_ids: Tensor, scores: object, **kwargs: object) -> Tensor:
        ended = [row.finish is not None for row in self._rows]
        return torch.tensor(ended, device=input_ids.device)


def _generator(sampling: Sampling) -> torch.Generator:
    generator = torch.Generator()
    if sampling.seed is None:
        generator.seed()
    else:
        generator.manual_seed(sampling.seed % 2**63)
    return generator


def _sample(logprobs: Tensor, sampling: Sampling, generator: torch.Generator) -> Tensor:
    probabilities = torch.softmax(logprobs / sampling.temperature, dim=-1)
    if sampling.top_p < 1:
        ordered, ids = probabilities.sort(descending=True)
        before = ordered.cumsum(dim=-1) - ordered
        ordered = ordered.masked_fill(before >= sampling.top_p, 0.0)
        return ids[torch.multinomial(ordered, 1, generator=generator)[0]]
    return torch.multinomial(probabilities, 1, generator=generator)[0]
