"""Chat turns to tokens: how a prompt and its answer are written for a model.

Serving, scoring and fine-tuning all write prompts and answers through this module, so that what is
trained is what is asked. Knows nothing of queues, HTTP or training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PIL.Image import Image
from transformers import BatchFeature, PreTrainedModel, ProcessorMixin

__all__ = ["answer_ids", "encode", "end_tokens", "prompt_text", "question_turn"]

Turns = Sequence[Mapping[str, Any]]


def question_turn(images: int, prompt: str) -> list[dict[str, Any]]:
    """One user turn: the images first, then the text."""
    parts: list[dict[str, Any]] = [{"type": "image"} for _ in range(images)]
    return [{"role": "user", "content": [*parts, {"type": "text", "text": prompt}]}]


def prompt_text(processor: ProcessorMixin, turns: Turns) -> str:
    """The chat template filled in, up to where the answer begins."""
    return processor.apply_chat_template(list(turns), add_generation_prompt=True, tokenize=False)


def encode(
    processor: ProcessorMixin, texts: Sequence[str], images: Sequence[Sequence[Image]]
) -> BatchFeature:
    """Tokenise and preprocess a batch, padded on the left.

    Args:
        texts: B filled-in templates.
        images: B lists of RGB images, all empty or none empty.

    Returns input_ids and attention_mask int64[B, L] and whatever else the model's processor adds.
    """
    made = processor(
        text=list(texts),
        images=[list(own) for own in images] if any(images) else None,
        text_kwargs={"padding": True, "padding_side": "left"},
        return_tensors="pt",
    )
    # Some processors take a prompt for an example to learn from.
    made.pop("labels", None)
    return made


def end_tokens(model: PreTrainedModel, processor: ProcessorMixin) -> tuple[int, ...]:
    """Ids that end the model's turn; the first is the tokenizer's own end of sequence."""
    named = getattr(model.generation_config, "eos_token_id", None)
    named = named if isinstance(named, list) else [named]
    ends = [processor.tokenizer.eos_token_id, *named]
    return tuple(dict.fromkeys(int(end) for end in ends if end is not None))


def answer_ids(
    processor: ProcessorMixin, turns: Turns, answer: str, ends: Sequence[int]
) -> list[int]:
    """Token ids of an answer as the template writes it, up to and including the end of turn.

    Tokens are those that follow the prompt's own tokens, because generation starts after them.
    """
    tokenizer = processor.tokenizer
    before = prompt_text(processor, turns)
    said = {"role": "assistant", "content": [{"type": "text", "text": answer}]}
    whole = processor.apply_chat_template([*turns, said], tokenize=False)
    after = whole[len(before) :]
    if not whole.startswith(before) or answer.strip() not in after:
        after = answer
    known = tokenizer(before, add_special_tokens=False)["input_ids"]
    joint = tokenizer(before + after, add_special_tokens=False)["input_ids"]
    ids = joint[len(known) :]
    if joint[: len(known)] != known:
        ids = tokenizer(after, add_special_tokens=False)["input_ids"]
    for place, token in enumerate(ids):
        if token in ends:
            return list(ids[: place + 1])
    return [*ids, ends[0]]
