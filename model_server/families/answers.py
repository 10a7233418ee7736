"""From token ids to answers: texts, tokens, probabilities of options, ends.

What the packed and the general way of running a model share. Knows nothing of batches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from transformers import PreTrainedModel, ProcessorMixin

from model_server.batches import Job
from model_server.decoding import FLOOR, Constraint, Picked, Row
from model_server.errors import RequestError
from model_server.families.chat import end_tokens
from model_server.families.tokens import token_bytes
from model_server.jobs import Answer, Token

__all__ = ["Writer", "too_long", "unreadable"]


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
            # A replacement character at the end is half a character: wait for the rest.
            if job.on_token and cut is None and not text.endswith("\ufffd"):
                job.on_token(self.token(row.tokens[-1]), text)
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

        return Row(sampling, room, picked, ended, constraint, job.adapter)

    def choose(
        self,
        job: Job,
        options: Sequence[Sequence[int]],
        logprobs: Sequence[Sequence[float]],
        *,
        length: int,
    ) -> None:
        """Resolve a closed question with the likeliest option.

        Args:
            options: per option its token ids, end of turn included.
            logprobs: their natural-log probabilities.
        """
        sums = [math.fsum(own) for own in logprobs]
        best = max(range(len(sums)), key=sums.__getitem__)
        weights = [math.exp(total - sums[best]) for total in sums]
        whole = math.fsum(weights)
        tokens = tuple(
            self.token(Picked(token, max(logprob, FLOOR)))
            for token, logprob in zip(options[best], logprobs[best], strict=True)
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
        for token in answer.tokens if job.on_token else ():
            job.on_token(token, "")
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


def too_long(length: int, limit: int) -> RequestError:
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
