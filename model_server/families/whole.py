"""A prompt as the processor makes it whole, pictures and words together: for models that run through ``generate``.

Made in threads of the HTTP side, so that decoding and scaling pictures overlap with the model; the worker only puts
prompts together. Knows nothing of models or jobs.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from PIL import Image
from torch import Tensor
from transformers import BatchFeature, ProcessorMixin

from model_server.decoding import Constraint
from model_server.families.answers import unreadable
from model_server.families.chat import answer_ids, encode, prompt_text, question_turn
from model_server.grammars import Grammars
from model_server.jobs import Picture, Prompt

__all__ = ["Whole", "WholePrompts"]


@dataclass(frozen=True, eq=False)
class Whole:
    """A prompt made ready.

    Attributes:
        text: the chat template filled in.
        pictures: its pictures, not decoded: what is made of them is smaller.
        inputs: what the processor makes of both, a batch of one.
        options: per option its tokens, end of turn included.
        constraint: keeps the answer within its grammar, None without one.
    """

    text: str
    pictures: tuple[Picture, ...]
    inputs: BatchFeature = field(repr=False)
    options: tuple[tuple[int, ...], ...] = ()
    constraint: Constraint | None = None

    @property
    def length(self) -> int:
        """Tokens of the prompt, image tokens included."""
        return int(self.inputs["attention_mask"].sum())


class WholePrompts:
    """Prepares prompts for one processor; safe to use from several threads.

    Args:
        ends: ids that end the model's turn.
    """

    def __init__(self, processor: ProcessorMixin, ends: tuple[int, ...]) -> None:
        self._processor = processor
        self._ends = ends
        self._grammars = Grammars(processor.tokenizer, ends)
        # Tokenizers keep settings between calls and refuse a second thread meanwhile.
        self._lock = threading.Lock()
        self._joins = self._can_join([(64, 48), (40, 90)], ["What is this?", "A small red star"])
        self._repeats = self._can_join([(64, 48)] * 2, ["What is this?"] * 2)

    def prepare(self, prompt: Prompt) -> Whole:
        """Raises RequestError for messages or pictures that the processor cannot read."""
        try:
            images = [picture.load() for picture in prompt.images]
            with self._lock:
                text = prompt_text(self._processor, prompt.messages)
                inputs = encode(self._processor, [text], [images])
                options = tuple(
                    tuple(answer_ids(self._processor, prompt.messages, option, self._ends))
                    for option in prompt.options
                )
        except Exception as error:  # whatever a processor or template raises
            raise unreadable(error) from error
        constraint = self._grammars.constraint(prompt.sampling.grammar)
        return Whole(text, tuple(prompt.images), inputs, options, constraint)

    def together(self, prompts: Sequence[Whole]) -> BatchFeature:
        """One batch of prompts, padded on the left, that the caller may change."""
        one_only = all(one is prompts[0] for one in prompts)
        if len(prompts) == 1 or self._joins or (self._repeats and one_only):
            joined = self._joined([one.inputs for one in prompts])
            if joined is not None:
                return joined
        images = [[picture.load() for picture in one.pictures] for one in prompts]
        with self._lock:
            return encode(self._processor, [one.text for one in prompts], images)

    def _joined(self, parts: Sequence[BatchFeature]) -> BatchFeature | None:
        """The parts as one batch, None where they do not fit together."""
        if len(parts) == 1:
            return BatchFeature(dict(parts[0]))
        wide = max(part["input_ids"].shape[1] for part in parts)
        made: dict[str, Tensor] = {}
        for name in parts[0]:
            values = [part.get(name) for part in parts]
            if not all(isinstance(value, Tensor) and value.ndim for value in values):
                return None
            if all(
                v.shape == part["input_ids"].shape for v, part in zip(values, parts, strict=True)
            ):
                blank = self._processor.tokenizer.pad_token_id if name == "input_ids" else 0
                values = [
                    torch.nn.functional.pad(value, (wide - value.shape[1], 0), value=blank)
                    for value in values
                ]
            if any(value.shape[1:] != values[0].shape[1:] for value in values):
                return None
            made[name] = torch.cat(values)
        return BatchFeature(made)

    def _can_join(self, sizes: Sequence[tuple[int, int]], words: Sequence[str]) -> bool:
        """True if prompts made alone and joined are what the processor makes of them together."""
        images = [[Image.new("RGB", size, (127, 127, 127))] for size in sizes]
        try:
            texts = [prompt_text(self._processor, question_turn(1, asked)) for asked in words]
            parts = [
                encode(self._processor, [text], [own])
                for text, own in zip(texts, images, strict=True)
            ]
            joined = self._joined(parts)
            right = encode(self._processor, texts, images)
            return (
                joined is not None
                and set(joined) == set(right)
                and all(torch.equal(right[name], value) for name, value in joined.items())
            )
        except Exception:  # another way of writing pictures: not ours to know
            return False
