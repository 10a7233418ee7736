"""A prompt made ready for the model: the pictures' part, shared by many questions, and the words after it.

Runs in threads of the HTTP side, so that decoding, scaling and tokenising overlap with the model. A
picture that several questions ask about is decoded and scaled once. Knows nothing of torch models.
"""

from __future__ import annotations

import copy
import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor
from transformers import ProcessorMixin

from model_server.decoding import Constraint
from model_server.families.answers import unreadable
from model_server.families.chat import answer_ids, encode, prompt_text
from model_server.families.pictures import quick_pixels
from model_server.grammars import Grammars
from model_server.jobs import Prompt

__all__ = ["Prefix", "Prompts", "Ready", "stacked"]

_KEPT_OPTIONS = 8192
_KEPT_TEXTS = 256
# Words that far back still decide how an option's first token is cut.
_TAIL = 64


@dataclass(frozen=True, eq=False)
class Prefix:
    """A prompt up to its last picture.

    Attributes:
        key: equal for equal pictures and words.
        ids: its tokens, image tokens included.
        inputs: what else the processor makes of the pictures, such as pixel_values.
    """

    key: bytes
    ids: tuple[int, ...]
    inputs: Mapping[str, Any]

    @property
    def nbytes(self) -> int:
        """Memory of the tensors, in bytes."""
        return sum(value.nbytes for value in self.inputs.values() if isinstance(value, Tensor))


@dataclass(frozen=True, eq=False)
class Ready:
    """A prompt as tokens.

    Attributes:
        prefix: the part with the pictures, None without pictures.
        ids: the tokens after it, at least one.
        options: per option its tokens, end of turn included.
        constraint: keeps the answer within its grammar, None without one.
    """

    prefix: Prefix | None
    ids: tuple[int, ...]
    options: tuple[tuple[int, ...], ...] = ()
    constraint: Constraint | None = None

    @property
    def length(self) -> int:
        """Tokens of the prompt, image tokens included."""
        return len(self.ids) + (len(self.prefix.ids) if self.prefix else 0)


class Prompts:
    """Prepares prompts for one processor; safe to use from several threads.

    Args:
        ends: ids that end the model's turn.
        max_bytes: memory for scaled pictures that may be asked about again.
    """

    def __init__(
        self, processor: ProcessorMixin, ends: tuple[int, ...], *, max_bytes: int = 64_000_000
    ) -> None:
        self._original = processor
        self._ends = ends
        self._max_bytes = max_bytes
        self._grammars = Grammars(processor.tokenizer, ends)
        self._local = threading.local()
        self._lock = threading.Lock()
        self._seen: OrderedDict[bytes, Future[Prefix]] = OrderedDict()
        self._size = 0
        self._boundary = _boundary(processor)
        # Pictures of one size take the same tokens, whatever they show.
        self._pixels = quick_pixels(processor)
        self._ids: OrderedDict[str, tuple[int, ...]] = OrderedDict()
        self._options: OrderedDict[tuple[str, str], tuple[int, ...]] = OrderedDict()

    def prepare(self, prompt: Prompt) -> Ready:
        """Raises RequestError for messages or pictures that the processor cannot read."""
        try:
            text = prompt_text(self._processor, prompt.messages)
            prefix, words = self._split(prompt, text)
            options = tuple(self._option(prompt, text, option) for option in prompt.options)
        except Exception as error:  # whatever a processor or template raises
            raise unreadable(error) from error
        return Ready(prefix, words, options, self._grammars.constraint(prompt.sampling.grammar))

    def splits(self, prompt: Prompt) -> bool:
        """True if the parts of this prompt, made apart, are what the processor makes of the whole."""
        text = prompt_text(self._processor, prompt.messages)
        images = [picture.load() for picture in prompt.images]
        whole = encode(self._processor, [text], [images])["input_ids"][0].tolist()
        try:
            ready = self.prepare(prompt)
        except Exception:  # another way of writing pictures: not ours to know
            return False
        return whole == [*(ready.prefix.ids if ready.prefix else ()), *ready.ids]

    @property
    def _processor(self) -> ProcessorMixin:
        # Tokenizers keep settings between calls and refuse a second thread meanwhile.
        if not hasattr(self._local, "processor"):
            self._local.processor = copy.deepcopy(self._original)
        return self._local.processor  # type: ignore[no-any-return]

    def _split(self, prompt: Prompt, text: str) -> tuple[Prefix | None, tuple[int, ...]]:
        tokenizer = self._processor.tokenizer
        if not prompt.images:
            return None, tuple(tokenizer(text)["input_ids"])
        mark = self._processor.image_token
        if text.count(mark) != len(prompt.images):
            raise ValueError(
                f"{len(prompt.images)} pictures, but {text.count(mark)} places for them ({mark})"
            )
        end = text.rindex(mark) + len(mark)
        known = len(tokenizer(mark, add_special_tokens=False)["input_ids"])
        # Behind the mark, as in the prompt: some tokenizers begin a text with a space.
        words = tokenizer(mark + text[end:], add_special_tokens=False)["input_ids"][known:]
        if not words:
            raise ValueError("the chat template puts nothing behind the last picture")
        return self._prefix(prompt, text[:end]), tuple(words)

    def _prefix(self, prompt: Prompt, text: str) -> Prefix:
        digest = hashlib.sha256(text.encode())
        for picture in prompt.images:
            digest.update(picture.digest)
        key = digest.digest()
        with self._lock:
            future = self._seen.get(key)
            mine = future is None
            if future is None:
                future = self._seen[key] = Future()
            else:
                self._seen.move_to_end(key)
        if not mine:
            return future.result()
        try:
            images = [picture.load() for picture in prompt.images]
            prefix = Prefix(key, *self._encoded(text, images))
        except BaseException as error:
            with self._lock:
                self._seen.pop(key, None)
            future.set_exception(error)
            raise
        future.set_result(prefix)
        with self._lock:
            self._size += prefix.nbytes
            self._trim()
        return prefix

    def _encoded(self, text: str, images: list[Image]) -> tuple[tuple[int, ...], Mapping[str, Any]]:
        """Tokens, and what else the processor makes of the pictures."""
        ids = self._ids.get(text)
        if ids is not None and self._pixels is not None:
            return ids, {"pixel_values": torch.cat([self._pixels(image) for image in images])}
        inputs = dict(encode(self._processor, [text], [images]))
        ids = tuple(inputs.pop("input_ids")[0].tolist())
        inputs.pop("attention_mask", None)
        if self._pixels is not None and set(inputs) == {"pixel_values"}:
            with self._lock:
                self._ids[text] = ids
                while len(self._ids) > _KEPT_TEXTS:
                    self._ids.popitem(last=False)
        return ids, inputs

    def _trim(self) -> None:
        # From the oldest on; what is being made has no size yet, and the newest stays.
        waiting = iter(list(self._seen)[:-1] if self._size > self._max_bytes else ())
        while self._size > self._max_bytes and (key := next(waiting, None)) is not None:
            if self._seen[key].done():
                self._size -= self._seen.pop(key).result().nbytes

    def _option(self, prompt: Prompt, text: str, option: str) -> tuple[int, ...]:
        key = (self._tail(text), option)
        with self._lock:
            ids = self._options.get(key)
        if ids is None:
            ids = tuple(answer_ids(self._processor, prompt.messages, option, self._ends))
            with self._lock:
                self._options[key] = ids
                while len(self._options) > _KEPT_OPTIONS:
                    self._options.popitem(last=False)
        return ids

    def _tail(self, text: str) -> str:
        """What of a prompt decides how an answer after it is cut."""
        # No token reaches over a special one, and most templates end with one.
        if self._boundary is not None:
            ends = [found.start() for found in self._boundary.finditer(text, len(text) - _TAIL)]
            if ends:
                return text[ends[-1] :]
        return text[-_TAIL:]


def _boundary(processor: ProcessorMixin) -> re.Pattern[str] | None:
    added = processor.tokenizer.added_tokens_decoder.values()
    texts = sorted((str(token.content) for token in added if token.special), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, texts))) if texts else None


def stacked(prefixes: list[Prefix]) -> dict[str, Any]:
    """Inputs of prefixes of equal shapes, as one batch."""
    first = prefixes[0].inputs
    return {
        name: torch.cat([prefix.inputs[name] for prefix in prefixes])
        if isinstance(value, Tensor)
        else value
        for name, value in first.items()
    }
