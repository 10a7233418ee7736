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
from model_server.families.answers import Writer, check_room
from model_server.families.chat import question_turn
from model_server.families.rescue import begun_fail, prepared, together_or_alone
from model_server.families.whole import Whole, WholePrompts
from model_server.jobs import Picture, Prompt, Sampling
from model_server.scoring import can_branch, score_branched, score_whole

__all__ = ["OverlayModel"]

Asked = Sequence[tuple[Job, Whole]]


class OverlayModel:
    """A model and its processor, answering batches of jobs."""

    def __init__(self, model: PreTrainedModel, processor: ProcessorMixin) -> None:
        self._model = model
        self._processor = processor
        self._adapters = Adapters(model)
        self._writer = Writer(model, processor)
        self._prompts = WholePrompts(processor, self._writer.ends)
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

    def prepare(self, prompt: Prompt) -> Whole:
        """Tokens and pixels of a prompt, made in the caller's thread.

        Raises RequestError, also for a prompt that leaves no room for an answer.
        """
        ready = self._prompts.prepare(prompt)
        check_room(ready.length, ready.options, self.limit)
        return ready

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
        asked = prepared(jobs, self.prepare)
        if asked:
            self._adapters.notice([job.adapter for job, _ in asked])
            self._adapters.activate(jobs[0].adapter)
            together_or_alone(asked, self._answer)

    def _answer(self, asked: Asked) -> None:
        inputs = self._placed(self._prompts.together([ready for _, ready in asked]))
        if asked[0][1].options:
            self._choose(asked, inputs)
        else:
            self._decode(asked, inputs)

    def _placed(self, inputs: BatchFeature) -> BatchFeature:
        placed = inputs.to(self._model.device)
        for key, value in placed.items():
            if torch.is_tensor(value) and value.is_floating_point():
                placed[key] = value.to(self._model.dtype)
        return placed

    def _decode(self, asked: Asked, inputs: BatchFeature) -> None:
        rows = [
            self._writer.row(
                job,
                length=ready.length,
                room=self.limit - ready.length,
                constraint=ready.constraint,
            )
            for job, ready in asked
        ]
        with begun_fail(rows, [job for job, _ in asked]):
            decode(self._model, inputs, rows, ends=self._writer.ends)

    def _choose(self, asked: Asked, inputs: BatchFeature) -> None:
        options = [ready.options for _, ready in asked]
        scores = score_branched(self._model, inputs, options) if self._branches else None
        if scores is None:
            self._branches = False
            scores = [self._score_whole(ready) for _, ready in asked]
        for (job, ready), logprobs in zip(asked, scores, strict=True):
            self._writer.choose(job, ready.options, logprobs, length=ready.length)

    def _score_whole(self, ready: Whole) -> list[list[float]]:
        scores: list[list[float]] = []
        for start in range(0, len(ready.options), 16):
            part = ready.options[start : start + 16]
            inputs = self._placed(self._prompts.together([ready] * len(part)))
            scores += score_whole(self._model, inputs, part)
        return scores
