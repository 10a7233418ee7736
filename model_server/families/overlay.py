"""Models that read marks drawn on the image: any image-text-to-text model with a chat template.

The general way, through each architecture's own ``generate``, for models that `model_server.families.packed` does
not know: open questions are decoded, closed ones scored, one adapter and one kind of question to a batch. Knows
nothing of queues or HTTP.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from pathlib import Path

import torch
from PIL import Image
from transformers import BatchFeature, PreTrainedModel, ProcessorMixin

from model_server.adapters import Adapters
from model_server.batches import Job
from model_server.decoding import decode
from model_server.errors import RequestError
from model_server.families.answers import Writer, too_long, unreadable
from model_server.families.chat import answer_ids, encode, prompt_text, question_turn
from model_server.grammars import Grammars
from model_server.jobs import Picture, Prompt, Sampling
from model_server.scoring import can_branch, score_branched, score_whole

__all__ = ["OverlayModel"]


class OverlayModel:
    """A model and its processor, answering batches of jobs."""

    def __init__(self, model: PreTrainedModel, processor: ProcessorMixin) -> None:
        self._model = model
        self._processor = processor
        self._adapters = Adapters(model)
        self._writer = Writer(model, processor)
        self._grammars = Grammars(processor.tokenizer, self._writer.ends)
        self._branches = can_branch(model)
        text = model.config.get_text_config()
        self.limit = int(getattr(text, "max_position_embeddings", None) or 1 << 30)
        self.counts: Counter[str] = Counter()

    def warm_up(self) -> None:
        """Answer one question about a grey image: the first user should not pay for first calls."""
        turns = question_turn(1, "What is this?")
        image = Picture.of(Image.new("RGB", (64, 48), (127, 127, 127)))
        job = Job(Prompt(turns, [image], sampling=Sampling(max_tokens=2)))
        self.answer([job])
        job.future.result(timeout=0)

    def prepare(self, prompt: Prompt) -> None:
        """Decode the pictures in the caller's thread; raises RequestError."""
        for picture in prompt.images:
            picture.load()

    def group(self, job: Job) -> Hashable:
        """Jobs that can share a batch: one adapter, all open or all closed, all with images or none."""
        return (job.adapter, bool(job.prompt.options), bool(job.prompt.images))

    def load_adapter(self, name: str, path: Path) -> None:
        """Make an adapter available; raises AdapterError."""
        self._adapters.load(name, path)

    def unload_adapter(self, name: str) -> None:
        """Forget an adapter."""
        self._adapters.unload(name)

    def answer(self, jobs: Sequence[Job]) -> None:
        """Resolve every job's future; all jobs are of one group."""
        try:
            inputs = self._encode(jobs)
        except Exception as error:
            if len(jobs) == 1:
                raise unreadable(error) from error
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
        images = [[picture.load() for picture in job.prompt.images] for job in jobs]
        return encode(self._processor, texts, images)

    def _placed(self, inputs: BatchFeature) -> BatchFeature:
        placed = inputs.to(self._model.device)
        for key, value in placed.items():
            if torch.is_tensor(value) and value.is_floating_point():
                placed[key] = value.to(self._model.dtype)
        return placed

    def _fits(self, job: Job, length: int) -> bool:
        if length < self.limit:
            return True
        job.future.set_exception(too_long(length, self.limit))
        return False

    def _decode(self, jobs: Sequence[Job], inputs: BatchFeature, lengths: Sequence[int]) -> None:
        rows = [
            self._writer.row(
                job,
                length=length,
                room=self.limit - length,
                constraint=self._grammars.constraint(job.prompt.sampling.grammar),
            )
            for job, length in zip(jobs, lengths, strict=True)
        ]
        decode(self._model, inputs, rows, ends=self._writer.ends)

    def _choose(self, jobs: Sequence[Job], inputs: BatchFeature, lengths: Sequence[int]) -> None:
        options = [
            [
                answer_ids(self._processor, job.prompt.messages, option, self._writer.ends)
                for option in job.prompt.options
            ]
            for job in jobs
        ]
        scores = score_branched(self._model, inputs, options) if self._branches else None
        if scores is None:
            self._branches = False
            scores = [self._score_whole(job, own) for job, own in zip(jobs, options, strict=True)]
        for job, own, logprobs, length in zip(jobs, options, scores, lengths, strict=True):
            self._writer.choose(job, own, logprobs, length=length)

    def _score_whole(self, job: Job, options: Sequence[Sequence[int]]) -> list[list[float]]:
        scores: list[list[float]] = []
        for start in range(0, len(options), 16):
            part = options[start : start + 16]
            inputs = self._placed(self._encode([job] * len(part)))
            scores += score_whole(self._model, inputs, part)
        return scores
