"""From token ids to answers: texts, tokens, probabilities of options, ends.

What the packed and the general way of running a model share. Knows nothing of batches.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from functools import partial

from transformers import PreTrainedModel, ProcessorMixin

from model_server.batches import Job, told
from model_server.decoding import FLOOR, Constraint, Picked, Row, check_numbers
from model_server.errors import RequestError
from model_server.families.chat import end_tokens
from model_server.families.tokens import token_bytes
from model_server.jobs import Answer, Token

__all__ = ["Writer", "check_room", "fail", "unreadable"]

log = logging.getLogger("model_server")


class Writer:
    """Writes the answers of one model."""

    def __init__(self, model: PreTrainedModel, processor: ProcessorMixin) -> None:
        self._tokenizer = processor.tokenizer
        self.ends = end_tokens(model, processor)
        self._bytes: dict[int, bytes] = {}

    def row(self, job: Job, *, length: int, room: int, constraint: Constraint | None = None) -> Row:
        """The row of an open question: reports to the job and resolves its future."""
        sampling = job.prompt.sampling

        def picked(row: Row) -> bool:
            if not (job.on_token or sampling.stop):
                return job.cancelled
            text = self.text([token.id for token in row.tokens])
            cut = _cut(text, sampling.stop)
            # All tokens but the last ones, whose text may not be said; the whole answer has those.
            if job.on_token and cut is None:
                job.on_token(self.token(row.tokens[-1]), _settled(text, sampling.stop))
            return cut is not None or job.cancelled

        def ended(row: Row) -> None:
            text = self.text([token.id for token in row.tokens])
            cut = _cut(text, sampling.stop)
            job.future.set_result(
                Answer(
                    text=text if cut is None else text[:cut].rstrip(),
                    tokens=tuple(self.token(token) for token in row.tokens),
                    finish=row.finish or "stop",
                    prompt_tokens=length,
                )
            )

        return Row(sampling, room, picked, ended, partial(fail, job), constraint, job.adapter)

    def choose(
        self,
        job: Job,
        options: Sequence[Sequence[int]],
        logprobs: Sequence[Sequence[float]],
        *,
        length: int,
    ) -> None:
        """Resolve a closed question with the likeliest option, or fail it where the scores are no numbers.

        Args:
            options: per option its token ids, end of turn included.
            logprobs: their natural-log probabilities.
        """
        sums = [math.fsum(own) for own in logprobs]
        best = max(range(len(sums)), key=sums.__getitem__)
        weights = [math.exp(total - sums[best]) for total in sums]
        whole = math.fsum(weights)
        try:  # no number if any score is none, or if all are minus infinity
            check_numbers(whole)
        except RequestError as error:  # its neighbours have their answers
            fail(job, error)
            return
        most = job.prompt.sampling.top_logprobs
        tokens = tuple(
            self.token(
                Picked(
                    token,
                    max(logprob, FLOOR),
                    _others(options, logprobs, best, place)[:most] if most else (),
                )
            )
            for place, (token, logprob) in enumerate(
                zip(options[best], logprobs[best], strict=True)
            )
        )
        answer = Answer(
            text=job.prompt.options[best],
            tokens=tokens,
            finish="stop",
            prompt_tokens=length,
            options={
                option: weight / whole
                for option, weight in zip(job.prompt.options, weights, strict=True)
            },
        )
        job.future.set_result(answer)

    def text(self, ids: Sequence[int]) -> str:
        """What the ids say, without special tokens, stripped."""
        decoded = self._tokenizer.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return str(decoded).strip()

    def token(self, picked: Picked) -> Token:
        """A picked token with its bytes and those of the alternatives."""
        top = tuple(Token(id, self._said(id), value) for id, value in picked.top)
        return Token(picked.id, self._said(picked.id), picked.logprob, top)

    def _said(self, id: int) -> bytes:
        if id not in self._bytes:
            self._bytes[id] = token_bytes(self._tokenizer, id)
        return self._bytes[id]


def _cut(text: str, stops: Sequence[str]) -> int | None:
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return min(places) if places else None


def _settled(text: str, stops: Sequence[str]) -> str:
    """What of a text in the making is part of the answer whatever follows."""
    # A replacement character at the end is half a character.
    text = text.rstrip("\ufffd")
    begun = (
        size
        for stop in stops
        for size in range(min(len(stop) - 1, len(text)), 0, -1)
        if text.endswith(stop[:size])
    )
    return text[: len(text) - max(begun, default=0)].rstrip()


def _others(
    options: Sequence[Sequence[int]], logprobs: Sequence[Sequence[float]], best: int, place: int
) -> tuple[tuple[int, float], ...]:
    """How the options that begin like the best one go on at a place, the likeliest first."""
    begin = list(options[best][:place])
    found = {
        ids[place]: max(own[place], FLOOR)
        for ids, own in zip(options, logprobs, strict=True)
        if len(ids) > place and list(ids[:place]) == begin
    }
    found[options[best][place]] = max(logprobs[best][place], FLOOR)
    return tuple(sorted(found.items(), key=lambda item: -item[1]))


def fail(job: Job, error: Exception) -> None:
    """Resolve a job with what was raised about it, if it is not resolved yet."""
    if not isinstance(error, RequestError):
        log.error("a request failed", exc_info=error)
    if not job.future.done():
        job.future.set_exception(told(error))


def check_room(length: int, options: Sequence[Sequence[int]], limit: int) -> None:
    """Raise RequestError for a prompt of `length` tokens that leaves no room for its longest option, or for a token."""
    if length + max((len(ids) - 1 for ids in options), default=1) > limit:
        raise _too_long(length, limit)


def _too_long(length: int, limit: int) -> RequestError:
    """A prompt that does not fit the model."""
    return RequestError(
        f"The prompt has {length} tokens, images included; the model takes {limit} with the "
        "answer. Ask a shorter question or send fewer images.",
        param="messages",
        code="context_length_exceeded",
    )


def unreadable(error: Exception) -> RequestError:
    """What a processor raised about messages, told to the client."""
    if isinstance(error, RequestError):
        return error
    return RequestError(
        f"The model's processor cannot read these messages: {' '.join(str(error).split())}",
        param="messages",
        code="unreadable_messages",
    )
