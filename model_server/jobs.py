"""What travels between the HTTP side and the worker that owns the model.

Plain frozen values: a prompt with its pictures, how to answer it, and the answer. Knows nothing of HTTP
or torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Answer", "Picture", "Prompt", "Sampling", "Token"]


@dataclass(frozen=True)
class Sampling:
    """How an open question is decoded. The default is greedy.

    Attributes:
        max_tokens: upper bound on answer tokens.
        min_tokens: the answer does not end before so many tokens.
        temperature: 0 is greedy; otherwise logits are divided by it.
        top_p: nucleus sampling (Holtzman et al. 2020): smallest set with this probability mass.
        seed: makes a sampled answer repeatable, whatever else is in the batch.
        top_logprobs: alternatives reported per token.
        stop: texts at which the answer ends; not part of the answer.
        grammar: what the answer must look like, as `model_server.grammars` writes it, or None.
    """

    max_tokens: int = 48
    min_tokens: int = 0
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    top_logprobs: int = 0
    stop: tuple[str, ...] = ()
    grammar: str | None = None


@dataclass(frozen=True, eq=False)
class Picture:
    """An image of a prompt, decoded only when it was not seen before.

    Attributes:
        digest: names the pixels; equal digests mean equal pictures.
        load: returns the upright RGB image; may raise RequestError.
    """

    digest: bytes
    load: Callable[[], Image]

    @classmethod
    def of(cls, image: Image) -> Picture:
        """A picture that is decoded already."""
        pixels = f"{image.mode} {image.size} ".encode() + image.tobytes()
        return cls(hashlib.sha256(pixels).digest(), lambda: image)


@dataclass(frozen=True, eq=False)
class Prompt:
    """One question to the model.

    Attributes:
        messages: chat turns; content is a list of ``{"type": "text", "text": …}`` and
            ``{"type": "image"}`` parts.
        images: pictures in the order of the image parts.
        options: the closed question's options, scored instead of decoded; empty for an open one.
        sampling: decoding of an open question.
    """

    messages: Sequence[Mapping[str, Any]]
    images: Sequence[Picture]
    options: tuple[str, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)


@dataclass(frozen=True)
class Token:
    """One answer token: its id, bytes, natural-log probability, and the likeliest alternatives."""

    id: int
    data: bytes
    logprob: float
    top: tuple[Token, ...] = ()


@dataclass(frozen=True)
class Answer:
    """The answer to one prompt.

    Attributes:
        text: the answer without special tokens, stripped.
        tokens: answer tokens, the end-of-turn token included when the model ended its turn.
        finish: ``stop`` or ``length``.
        prompt_tokens: prompt length in tokens, image tokens included.
        options: probability per option for a closed question, summing to 1, else None.
    """

    text: str
    tokens: tuple[Token, ...]
    finish: str
    prompt_tokens: int
    options: Mapping[str, float] | None = None
