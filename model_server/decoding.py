"""Decoding a batch of open questions, each row with its own limits, temperature, seed and grammar.

Rows pick their own next token, so that one batch can hold greedy and sampled rows and the answer of
a row does not depend on its neighbours; a row that ends is told so at once. `decode_packed` runs on a
`Decoder`; `decode` on ``generate`` of transformers, which knows each other architecture's cache and
positions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

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

from model_server.decoder import Decoder, Rows, Segment
from model_server.errors import RequestError
from model_server.jobs import Sampling

__all__ = [
    "FLOOR",
    "Constraint",
    "Picked",
    "Row",
    "check_numbers",
    "decode",
    "decode_packed",
    "segments",
]

FLOOR = -9999.0
"""Stands for a log-probability of minus infinity, which JSON cannot write (OpenAI's choice)."""


# Dividing by less overflows, and would pick the likeliest anyway (vLLM's choice).
_COLDEST = 1e-5


class Constraint(Protocol):
    """Keeps the answer of one row within a grammar."""

    def allowed(self) -> Tensor:
        """bool[V]: the tokens that may come next."""

    def accept(self, token: int) -> bool:
        """Take note of a picked token; True when the answer is complete."""


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
        failed: called instead of `ended` with what was raised about this row; the others go on.
        constraint: the grammar of the answer, or None.
        adapter: whose answer it is.
    """

    sampling: Sampling
    room: int
    picked: Callable[[Row], bool]
    ended: Callable[[Row], None]
    failed: Callable[[Exception], None]
    constraint: Constraint | None = None
    adapter: str | None = None
    tokens: list[Picked] = field(default_factory=list)
    finish: str | None = None

    @property
    def limit(self) -> int:
        """The most tokens that the answer can have."""
        return min(self.sampling.max_tokens, self.room)


@torch.inference_mode()
def decode_packed(
    decoder: Decoder, rows: Sequence[Row], kept: Rows, logits: Tensor, *, ends: Sequence[int]
) -> None:
    """Decode rows whose prompts `kept` holds; results are in `rows`.

    Args:
        rows: in the order of `kept`; rows of one adapter follow each other.
        logits: float[B, V] after the prompts.
    """
    active = list(rows)
    picker = _Picker(rows, ends)
    adapters = segments([row.adapter for row in active])
    logprobs = torch.log_softmax(logits.float(), dim=-1)
    best, choice = logprobs.max(dim=-1)
    while True:
        ids = picker.pick(active, logprobs, best, choice)
        going = [place for place, row in enumerate(active) if row.finish is None]
        if not going:
            return
        if 2 * len(going) <= len(active):
            chosen = torch.tensor(going, device=ids.device)
            kept.select(chosen)
            ids = ids[chosen]
            active = [active[place] for place in going]
            adapters = segments([row.adapter for row in active])
        left = max(row.limit - len(row.tokens) for row in active)
        kept.make_room(1, wanted=min(left, 64))
        logprobs, best, choice = decoder.step(ids, kept, adapters)


def segments(adapters: Sequence[str | None], lengths: Sequence[int] | None = None) -> list[Segment]:
    """Stretches of packed tokens by adapter, for rows of so many tokens each (1 by default)."""
    found: list[Segment] = []
    start = 0
    for name, length in zip(adapters, lengths or [1] * len(adapters), strict=True):
        end = start + length
        if name is not None:
            if found and found[-1].name == name and found[-1].end == start:
                found[-1] = Segment(name, found[-1].start, end)
            else:
                found.append(Segment(name, start, end))
        start = end
    return found


@torch.inference_mode()
def decode(
    model: PreTrainedModel, inputs: BatchFeature, rows: Sequence[Row], *, ends: Sequence[int]
) -> None:
    """Generate all rows of a left-padded batch; results are in `rows`."""
    config = GenerationConfig(
        max_new_tokens=max(row.limit for row in rows),
        do_sample=False,
        num_beams=1,
        use_cache=True,
        eos_token_id=list(ends),
        pad_token_id=ends[0],
    )
    forced = _Forced(rows, _Picker(rows, ends))
    model.generate(
        **inputs,
        generation_config=config,
        logits_processor=LogitsProcessorList([forced]),
        stopping_criteria=StoppingCriteriaList([_Ended(rows)]),
    )


def check_numbers(logprob: float) -> None:
    """Raise RequestError 500 where a model made no numbers: weights or an adapter's are broken, or it overflowed."""
    if math.isnan(logprob):
        raise RequestError(
            "The model's probabilities of this answer are not numbers: its weights or the adapter's are broken, or its "
            "--dtype overflows (bfloat16 and float32 reach further than float16).",
            code="model_error",
            status=500,
        )


class _Picker:
    """Picks the next token of every row that goes on."""

    def __init__(self, rows: Sequence[Row], ends: Sequence[int]) -> None:
        self._ends = frozenset(ends)
        self._generators = {row: _generator(row.sampling) for row in rows if _is_sampled(row)}

    def pick(self, rows: Sequence[Row], logprobs: Tensor, best: Tensor, choice: Tensor) -> Tensor:
        """Returns int64[B], for rows that ended before any token; `best` is the largest of `logprobs`, at `choice`."""
        values, ids = best.tolist(), choice.tolist()
        own = False
        for index, row in enumerate(rows):
            if row.finish is not None:
                continue
            try:
                check_numbers(values[index])
                free = not _is_sampled(row) and row.constraint is None
                if not free or self._too_early(row, ids[index]):
                    own = True
                    ids[index] = self._own(row, logprobs[index])
                    values[index] = float(logprobs[index, ids[index]])
                self._record(row, ids[index], values[index], logprobs, index)
            except Exception as error:  # whatever it is, it is not its neighbours' fault
                row.finish = "error"
                row.failed(error)
        return torch.tensor(ids, device=choice.device) if own else choice

    def _too_early(self, row: Row, token: int) -> bool:
        return token in self._ends and len(row.tokens) < row.sampling.min_tokens

    def _own(self, row: Row, logprobs: Tensor) -> int:
        logprobs = self._within(row, logprobs.cpu())
        if _is_sampled(row):
            return int(_sample(logprobs, row.sampling, self._generators[row]))
        return int(logprobs.argmax())

    def _within(self, row: Row, logprobs: Tensor) -> Tensor:
        """Minus infinity where the row must not go; where nothing is left, it may end."""
        early = len(row.tokens) < row.sampling.min_tokens
        if not early and row.constraint is None:
            return logprobs
        ends = list(self._ends)
        shown = torch.ones(len(logprobs), dtype=torch.bool)
        if row.constraint is not None:
            allowed = row.constraint.allowed()[: len(shown)]
            shown[: len(allowed)] = allowed
            shown[len(allowed) :] = False
        if early:
            shown[ends] = False
        if not shown.any():
            shown[ends] = True
        return logprobs.masked_fill(~shown, -torch.inf)

    def _record(self, row: Row, token: int, logprob: float, logprobs: Tensor, index: int) -> None:
        top: tuple[tuple[int, float], ...] = ()
        if row.sampling.top_logprobs:
            values, ids = logprobs[index].topk(row.sampling.top_logprobs)
            likely = zip(ids.tolist(), values.tolist(), strict=True)
            top = tuple((id, max(value, FLOOR)) for id, value in likely)
        row.tokens.append(Picked(token, max(logprob, FLOOR), top))
        complete = row.constraint is not None and row.constraint.accept(token)
        if token in self._ends or row.picked(row) or complete:
            row.finish = "stop"
        elif len(row.tokens) >= row.limit:
            row.finish = "length"
        if row.finish is not None:
            row.ended(row)


class _Forced(LogitsProcessor):
    """Picks every row's token and leaves generate no other choice."""

    def __init__(self, rows: Sequence[Row], picker: _Picker) -> None:
        self._rows = rows
        self._picker = picker

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        logprobs = torch.log_softmax(scores.float(), dim=-1)
        choice = self._picker.pick(self._rows, logprobs, *logprobs.max(dim=-1))
        forced = torch.full_like(scores, -torch.inf)
        return forced.scatter_(1, choice[:, None], 0.0)


class _Ended(StoppingCriteria):
    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def __call__(self, input_ids: Tensor, scores: object, **kwargs: object) -> Tensor:
        ended = [row.finish is not None for row in self._rows]
        return torch.tensor(ended, device=input_ids.device)


def _is_sampled(row: Row) -> bool:
    return row.sampling.temperature > _COLDEST


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
        beyond = before >= sampling.top_p
        beyond[0] = False  # the smallest top_p are 0 in float32
        ordered = ordered.masked_fill(beyond, 0.0)
        return ids[torch.multinomial(ordered, 1, generator=generator)[0]]
    return torch.multinomial(probabilities, 1, generator=generator)[0]
