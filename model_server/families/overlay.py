"""Models that read marks drawn on the image: any image-text-to-text model with a chat template.

Answers one batch at a time for the engine: open questions are decoded, closed ones scored. Knows
nothing of queues or HTTP.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from transformers import BatchFeature, PreTrainedModel, ProcessorMixin

from model_server.adapters import Adapters
from model_server.decoding import FLOOR, Picked, Row, decode
from model_server.engine import Job
from model_server.errors import RequestError
from model_server.families.chat import answer_ids, encode, end_tokens, prompt_text, question_turn
from model_server.families.features import SeenImages
from model_server.families.tokens import token_bytes
from model_server.jobs import Answer, Prompt, Sampling, Token
from model_server.scoring import can_branch, score_branched, score_whole

__all__ = ["OverlayModel"]


class OverlayModel:
    """A model and its processor, answering batches of jobs."""

    def __init__(self, model: PreTrainedModel, processor: ProcessorMixin) -> None:
        self._model = model
        self._processor = processor
        self._adapters = Adapters(model)
        self._ends = end_tokens(model, processor)
        self._branches = can_branch(model)
        self._seen = SeenImages(model)
        text = model.config.get_text_config()
        self._limit = int(getattr(text, "max_position_embeddings", None) or 1 << 30)

    def warm_up(self) -> None:
        """Answer one question about a grey image: the first user should not pay for first calls."""
        turns = question_turn(1, "What is this?")
        image = Image.new("RGB", (64, 48), (127, 127, 127))
        job = Job(Prompt(turns, [image], sampling=Sampling(max_tokens=2)))
        self.answer([job])
        job.future.result(timeout=0)

    def load_adapter(self, name: str, path: Path) -> None:
        """Make an adapter available; raises AdapterError."""
        self._adapters.load(name, path)

    def unload_adapter(self, name: str) -> None:
        """Forget an adapter."""
        self._adapters.unload(name)
        self._seen.forget(name)

    def answer(self, jobs: Sequence[Job]) -> None:
        """Resolve every job's future; all jobs share adapter and kind of question."""
        try:
            inputs = self._encode(jobs)
        except Exception as error:
            if len(jobs) == 1:
                raise _unreadable(error) from error
            # One odd prompt must not fail the others.
            for job in jobs:
                self._answer_alone(job)
            return
        lengths = [int(length) for length in inputs["attention_mask"].sum(dim=1)]
        fitting = [
            job for job, length in zip(jobs, lengths, strict=True) if self._fits(job, length)
        ]
        if not fitting:
            return
        if len(fitting) < len(jobs):
            self.answer(fitting)
            return
        self._adapters.activate(jobs[0].adapter)
        inputs = self._placed(inputs)
        if self._seen.works and "pixel_values" in inputs:
            images = [image for job in jobs for image in job.prompt.images]
            with torch.inference_mode():
                self._seen.replace_pixels(inputs, images, jobs[0].adapter)
        if jobs[0].prompt.options:
            self._choose(jobs, inputs, lengths)
        else:
            self._decode(jobs, inputs, lengths)

    def _answer_alone(self, job: Job) -> None:
        try:
            self.answer([job])
        except RequestError as error:
            if not job.future.done():
                job.future.set_exception(error)

    def _encode(self, jobs: Sequence[Job]) -> BatchFeature:
        texts = [prompt_text(self._processor, job.prompt.messages) for job in jobs]
        return encode(self._processor, texts, [job.prompt.images for job in jobs])

    def _placed(self, inputs: BatchFeature) -> BatchFeature:
        placed = inputs.to(self._model.device)
        for key, value in placed.items():
            if torch.is_tensor(value) and value.is_floating_point():
                placed[key] = value.to(self._model.dtype)
        return placed

    def _fits(self, job: Job, length: int) -> bool:
        if length < self._limit:
            return True
        job.future.set_exception(
            RequestError(
                f"The prompt has {length} tokens, images included; the model takes {self._limit} "
                "with the answer. Ask a shorter question or send fewer images.",
                param="messages",
                code="context_length_exceeded",
            )
        )
        return False

    def _decode(self, jobs: Sequence[Job], inputs: BatchFeature, lengths: Sequence[int]) -> None:
        rows = [
            self._row(job, length, self._limit - length)
            for job, length in zip(jobs, lengths, strict=True)
        ]
        decode(self._model, inputs, rows, ends=self._ends)

    def _row(self, job: Job, length: int, room: int) -> Row:
        sampling = job.prompt.sampling

        def picked(row: Row) -> bool:
            if not (job.on_token or sampling.stop):
                return job.cancelled
            text = self._text([token.id for token in row.tokens])
            cut = _cut(text, sampling.stop)
            # A replacement character at the end is half a character: wait for the rest.
            if job.on_token and cut is None and not text.endswith("\ufffd"):
                job.on_token(self._token(row.tokens[-1]), text)
            return cut is not None or job.cancelled

        def ended(row: Row) -> None:
            text = self._text([token.id for token in row.tokens])
            cut = _cut(text, sampling.stop)
            job.future.set_result(
                Answer(
                    text=text if cut is None else text[:cut].rstrip(),
                    tokens=tuple(self._token(token) for token in row.tokens),
                    finish=row.finish or "stop",
                    prompt_tokens=length,
                )
            )

        return Row(sampling, room, picked, ended)

    def _choose(self, jobs: Sequence[Job], inputs: BatchFeature, lengths: Sequence[int]) -> None:
        options = [
            [
                answer_ids(self._processor, job.prompt.messages, option, self._ends)
                for option in job.prompt.options
            ]
            for job in jobs
        ]
        scores = score_branched(self._model, inputs, options) if self._branches else None
        if scores is None:
            self._branches = False
            scores = [self._score_whole(job, own) for job, own in zip(jobs, options, strict=True)]
        for job, own, logprobs, length in zip(jobs, options, scores, lengths, strict=True):
            answer = self._chosen(job, own, logprobs, length)
            for token in answer.tokens if job.on_token else ():
                job.on_token(token, "")
            job.future.set_result(answer)

    def _score_whole(self, job: Job, options: Sequence[Sequence[int]]) -> list[list[float]]:
        scores: list[list[float]] = []
        for start in range(0, len(options), 16):
            part = options[start : start + 16]
            inputs = self._placed(self._encode([job] * len(part)))
            scores += score_whole(self._model, inputs, part)
        return scores

    def _chosen(
        self,
        job: Job,
        options: Sequence[Sequence[int]],
        logprobs: Sequence[Sequence[float]],
        length: int,
    ) -> Answer:
        sums = [math.fsum(own) for own in logprobs]
        best = max(range(len(sums)), key=sums.__getitem__)
        weights = [math.exp(total - sums[best]) for total in sums]
        whole = math.fsum(weights)
        tokens = tuple(
            self._token(Picked(token, max(logprob, FLOOR)))
            for token, logprob in zip(options[best], logprobs[best], strict=True)
        )
        return Answer(
            text=job.prompt.options[best],
            tokens=tokens,
            finish="stop",
            prompt_tokens=length,
            options={
                option: weight / whole
                for option, weight in zip(job.prompt.options, weights, strict=True)
            },
        )

    def _text(self, ids: Sequence[int]) -> str:
        decoded = self._processor.tokenizer.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return str(decoded).strip()

    def _token(self, picked: Picked) -> Token:
        tokenizer = self._processor.tokenizer
        top = tuple(Token(id, token_bytes(tokenizer, id), value) for id, value in picked.top)
        return Token(picked.id, token_bytes(tokenizer, picked.id), picked.logprob, top)


def _cut(text: str, stops: Sequence[str]) -> int | None:
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return min(places) if places else None


def _unreadable(error: Exception) -> RequestError:
    if isinstance(error, RequestError):
        return error
    return RequestError(
        f"The model's processor cannot read these messages: {' '.join(str(error).split())}",
        param="messages",
        code="unreadable_messages",
    )
