"""One model answered for by our engine and by plain `generate` of transformers: the same weights, inputs and device.

Both are handed questions that are tokens and pixels already, on the CPU; what they take to the device counts. Knows
no clock but its own and prints nothing.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from transformers import PreTrainedModel, ProcessorMixin

from model_server.batches import Job
from model_server.families.chat import encode, prompt_text, question_turn
from model_server.families.packed import PackedModel
from model_server.jobs import Picture, Prompt, Sampling

__all__ = ["Answer", "Question", "Sides", "copy_bandwidth", "peak_bytes", "synchronise"]

Answer = Callable[[], list[list[int]]]
"""Answers a batch once; the ids of every answer."""


@dataclass(frozen=True, eq=False)
class Question:
    """A question about a picture; one with options is closed."""

    image: Image.Image
    text: str
    options: tuple[str, ...] = ()


class Sides:
    """Our engine and `generate` on one model, which share its weights."""

    def __init__(self, model: PreTrainedModel, processor: ProcessorMixin) -> None:
        if not PackedModel.fits(model, processor):
            raise ValueError(f"{type(model).__name__} of this layout does not run packed")
        self.model = model
        self._processor = processor
        self._packed = PackedModel(model, processor)
        self._packed.warm_up()

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device

    def ours(self, asked: Sequence[Question], tokens: int) -> Answer:
        """A batch for our engine, of answers of exactly so many tokens; closed questions are scored."""
        prompts = [_prompt(own, tokens) for own in asked]
        ready = [self._packed.prepare(prompt) for prompt in prompts]

        def answer() -> list[list[int]]:
            jobs = [Job(prompt, ready=made) for prompt, made in zip(prompts, ready, strict=True)]
            self._packed.forget()  # every picture is a new one
            self._packed.answer(jobs)
            return [[token.id for token in job.future.result(0).tokens] for job in jobs]

        return answer

    def generate(self, asked: Sequence[Question], tokens: int, *, exactly: bool = True) -> Answer:
        """The same batch for `generate`, which decodes all; if not `exactly`, an answer may end before `tokens`."""
        texts = [prompt_text(self._processor, question_turn(1, own.text)) for own in asked]
        inputs = encode(self._processor, texts, [[own.image] for own in asked])
        begin = inputs["input_ids"].shape[1]

        @torch.inference_mode()
        def answer() -> list[list[int]]:
            placed = {
                name: value.to(self.device, self.model.dtype if value.is_floating_point() else None)
                for name, value in inputs.items()
            }
            model: Any = self.model
            made = model.generate(
                **placed,
                max_new_tokens=tokens,
                min_new_tokens=tokens if exactly else 0,
                do_sample=False,
            )
            found: list[list[int]] = made[:, begin:].tolist()
            return found

        return answer

    def seconds(self, answer: Answer) -> tuple[float, list[list[int]]]:
        """How long a batch takes, and its answers."""
        synchronise(self.device)
        start = time.perf_counter()
        found = answer()
        synchronise(self.device)
        return time.perf_counter() - start, found

    def forget(self) -> None:
        """Drop what our engine keeps of pictures."""
        self._packed.forget()

    def length(self, asked: Sequence[Question]) -> int:
        """Tokens of all these prompts together, those of pictures included."""
        return sum(self._packed.prepare(_prompt(own)).length for own in asked)

    def longest_option(self, asked: Sequence[Question]) -> int:
        """Tokens of the longest option of closed questions, its end included."""
        return max(len(ids) for own in asked for ids in self._packed.prepare(_prompt(own)).options)

    def step_bytes(self, tokens: int) -> int:
        """Bytes that one step of decoding cannot but read.

        They are the decoder's layers and its output matrix, once for all rows, and keys and values of the `tokens` that
        all rows have together so far.
        """
        text = self.model.config.get_text_config()
        language: Any = self.model.model.language_model
        weights = [*language.layers.parameters(), *language.norm.parameters()]
        weights.append(self.model.get_output_embeddings().weight)
        states = 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim
        kept = tokens * states * self.model.dtype.itemsize
        return int(kept + sum(own.nbytes for own in weights))


def _prompt(asked: Question, tokens: int = 1) -> Prompt:
    sampling = Sampling(max_tokens=tokens, min_tokens=tokens)
    picture = Picture.of(asked.image)
    return Prompt(question_turn(1, asked.text), [picture], asked.options, sampling)


def synchronise(device: torch.device) -> None:
    """Wait until the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def copy_bandwidth(device: torch.device, nbytes: int, times: int = 5) -> float:
    """Bytes a second that the device reads and writes while it copies `nbytes` from one place to another, at best."""
    source = torch.ones(nbytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    best = float("inf")
    for turn in range(times + 1):
        synchronise(device)
        start = time.perf_counter()
        target.copy_(source)
        synchronise(device)
        if turn:
            best = min(best, time.perf_counter() - start)
    return 2 * nbytes / best


def peak_bytes(device: torch.device, answer: Answer) -> int:
    """Most memory held while a batch is answered; on a CPU that of the process since it began, on Apple's after it."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        answer()
        return int(torch.cuda.max_memory_allocated(device))
    answer()
    if device.type == "mps":
        return int(torch.mps.driver_allocated_memory())
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
