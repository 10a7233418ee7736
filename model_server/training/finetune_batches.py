"""From items to batches: tokens, labels on answers only, and what the frozen vision tower saw.

Prompts are padded on the left and answers on the right, so the answers of a batch line up in its
last columns and logits are needed only there. When the vision tower is frozen, its output is
computed once per image instead of once per visit. Knows nothing of optimisers or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, ProcessorMixin

from model_server.families.chat import answer_ids, encode, end_tokens, prompt_text, question_turn
from model_server.families.features import encoder_outputs, image_features, projector
from model_server.scoring import can_branch
from model_server.training.finetune_data import Item, open_images

__all__ = ["Batches", "answer_logprobs", "answer_loss", "answer_sums"]

_IGNORED = -100
_CHUNK = 32


class Batches:
    """Items made ready for a model, and put together on demand.

    Args:
        frozen_tower: the vision tower does not learn, so its output may be kept.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        processor: ProcessorMixin,
        items: Sequence[Item] = (),
        *,
        frozen_tower: bool,
    ) -> None:
        self._model = model
        self._processor = processor
        self._ends = end_tokens(model, processor)
        self._pad = self._ends[0]
        self._projector = projector(model) if frozen_tower else None
        self._items: list[Item] = []
        self._texts: list[str] = []
        self._answers: list[list[int]] = []
        self._prompts: list[Tensor] = []
        self._seen: list[Tensor] = []
        self.add(items)

    def __len__(self) -> int:
        """How many items there are."""
        return len(self._items)

    def add(self, items: Sequence[Item]) -> None:
        """Take further items; call it before the model learns, because it may look at images."""
        first = len(self._items)
        for item in items:
            turns = question_turn(len(item.images), item.prompt)
            self._items.append(item)
            self._texts.append(prompt_text(self._processor, turns))
            self._answers.append(answer_ids(self._processor, turns, item.answer, self._ends))
        if self._projector is not None:
            self._look(first)

    @property
    def keeps_features(self) -> bool:
        """True if the vision tower ran once per image and is not needed any more."""
        return self._projector is not None

    def batch(self, indices: Sequence[int]) -> tuple[dict[str, Any], Tensor]:
        """Model inputs of these items and labels int64[B, W], -100 where there is no answer.

        `logits_to_keep` is among the inputs: logits cover the last W + 1 positions.
        """
        inputs = self._kept(indices) if self._projector is not None else self._encoded(indices)
        prompt_mask = inputs["attention_mask"]
        answers = [self._answers[index] for index in indices]
        width = max(len(ids) for ids in answers)
        ids = torch.full((len(indices), width), self._pad)
        labels = torch.full((len(indices), width), _IGNORED)
        for row, answer in enumerate(answers):
            ids[row, : len(answer)] = labels[row, : len(answer)] = torch.tensor(answer)
        for key, value in list(inputs.items()):
            same = isinstance(value, Tensor) and value.shape == prompt_mask.shape
            if same and key not in {"input_ids", "attention_mask"}:
                inputs[key] = torch.cat([value, value.new_zeros(ids.shape)], dim=1)
        inputs["input_ids"] = torch.cat([inputs["input_ids"], ids], dim=1)
        mask = torch.cat([prompt_mask, (labels != _IGNORED).to(prompt_mask)], dim=1)
        inputs["attention_mask"] = mask
        if can_branch(self._model):
            inputs["position_ids"] = (mask.cumsum(dim=-1) - 1).clamp(min=0)
        device, dtype = self._model.device, self._model.dtype
        for key, value in inputs.items():
            if isinstance(value, Tensor):
                inputs[key] = value.to(device, dtype if value.is_floating_point() else None)
        if self._projector is not None:
            inputs["mm_encoder_outputs"] = self._projected(indices)
        inputs["logits_to_keep"] = width + 1
        return inputs, labels.to(device)

    @torch.no_grad()
    def answered_right(self) -> list[bool]:
        """Whether the model, as it is, already says the answer of each item.

        Teacher-forced: every token of the answer is the likeliest, which is what greedy decoding
        says.
        """
        right: list[bool] = []
        for start in range(0, len(self), _CHUNK):
            inputs, labels = self.batch(range(start, min(start + _CHUNK, len(self))))
            said = self._model(**inputs, use_cache=False).logits[:, :-1].argmax(dim=-1)
            right += ((said == labels) | (labels == _IGNORED)).all(dim=1).tolist()
        return right

    def _encoded(self, indices: Sequence[int]) -> dict[str, Any]:
        texts = [self._texts[index] for index in indices]
        images = [open_images(self._items[index]) for index in indices]
        return dict(encode(self._processor, texts, images))

    def _kept(self, indices: Sequence[int]) -> dict[str, Any]:
        prompts = [self._prompts[index] for index in indices]
        longest = max(len(prompt) for prompt in prompts)
        ids = torch.full((len(prompts), longest), self._pad)
        mask = torch.zeros(len(prompts), longest, dtype=torch.long)
        for row, prompt in enumerate(prompts):
            ids[row, longest - len(prompt) :] = prompt
            mask[row, longest - len(prompt) :] = 1
        return {"input_ids": ids, "attention_mask": mask}

    def _projected(self, indices: Sequence[int]) -> dict[str, Any]:
        assert self._projector is not None
        seen = torch.cat([self._seen[index] for index in indices])
        features = self._projector(seen.to(self._model.device, self._model.dtype))
        return encoder_outputs(self._model, features)

    @torch.no_grad()
    def _look(self, first: int) -> None:
        """Run the vision tower over new images, keeping what reaches the projector."""
        assert self._projector is not None
        caught: list[Tensor] = []
        hook = self._projector.register_forward_pre_hook(
            lambda _, args: caught.append(args[0].detach().half().cpu())
        )
        try:
            for start in range(first, len(self._items), _CHUNK):
                indices = range(start, min(start + _CHUNK, len(self._items)))
                inputs = self._encoded(indices)
                image_features(self._model, inputs["pixel_values"])
                counts = [len(self._items[index].images) for index in indices]
                self._seen += caught.pop().split(counts)
                for ids, mask in zip(inputs["input_ids"], inputs["attention_mask"], strict=True):
                    self._prompts.append(ids[mask.bool()])
        finally:
            hook.remove()


def answer_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over answer tokens, end of turn included.

    Args:
        logits: float[B, W + 1, V] over the last W + 1 positions.
        labels: int64[B, W], -100 where there is no answer.
    """
    total, count = answer_sums(logits, labels)
    return total / count


def answer_sums(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of the cross-entropy over answer tokens, end of turn included, and how many tokens that are.

    Args:
        logits: float[B, W + 1, V] over the last W + 1 positions.
        labels: int64[B, W], -100 where there is no answer.
    """
    predicted = logits[:, :-1].float().flatten(0, 1)
    total = nn.functional.cross_entropy(
        predicted, labels.flatten(), ignore_index=_IGNORED, reduction="sum"
    )
    return total, (labels != _IGNORED).sum()


def answer_logprobs(logits: Tensor, labels: Tensor) -> Tensor:
    """Log-probability of each whole answer, float[B]; arguments as of `answer_loss`."""
    every = torch.log_softmax(logits[:, :-1].float(), dim=-1)
    said = every.gather(2, labels.clamp(min=0)[..., None])[..., 0]
    return (said * (labels != _IGNORED)).sum(dim=1)
