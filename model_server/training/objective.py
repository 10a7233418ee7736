"""What pretraining minimises, and with which optimisers.

The vision tower is told what lies in every image patch (a dense auxiliary task that needs no decoder); the whole model
is told the tokens of the answers. Matrices are trained by Muon (Jordan et al. 2024, scaled to AdamW's step as in
Moonlight, arXiv 2502.16982), everything else by AdamW. Knows nothing of where examples come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import VipLlavaForConditionalGeneration

from model_server.architectures.tiny import Shape
from model_server.training.packing import Packed, answer_logits, decoder_states, pack, vision_states
from model_server.training.readings import Placed, Readouts, Terms, compares, looking, place
from model_server.training.stream import DENSE, Encoded, dense_classes, sequence_length

__all__ = ["Batch", "DenseHeads", "Losses", "collate", "losses", "optimisers", "together"]


class DenseHeads(nn.Module):
    """Linear readouts of every patch, used in training only."""

    def __init__(self, width: int) -> None:
        """Make one readout per name of DENSE over vision features of `width`."""
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.heads = nn.ModuleList(nn.Linear(width, dense_classes(name)) for name in DENSE)

    def forward(self, state: torch.Tensor) -> list[torch.Tensor]:
        """Logits float[B, patches, classes] per name of DENSE for hidden states float[B, 1 + patches, width]."""
        normed = self.norm(state[:, 1:])
        return [head(normed) for head in self.heads]


@dataclass(frozen=True)
class Batch:
    """One training batch; without texts there are no readings.

    pixels: float32[B * pictures, 3, side, side] as the processor makes them, an example's pictures one after the other;
    dense: int64[B * pictures, len(DENSE), patches].
    """

    pixels: torch.Tensor
    dense: torch.Tensor
    texts: Packed | None
    readings: Placed | None = None

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        texts = None if self.texts is None else self.texts.to(device)
        readings = None if self.readings is None else self.readings.to(device)
        return Batch(self.pixels.to(device), self.dense.to(device), texts, readings)


@dataclass(frozen=True)
class Losses:
    """The losses: of dense labels, of the answers' tokens (None without texts), and one by one of the readings.

    right: for the log, shares of right answers: per dense label on objects, of readings, of answer tokens.
    """

    dense: torch.Tensor
    answer: torch.Tensor | None
    readings: Terms
    right: dict[str, float]


def collate(
    items: Sequence[Encoded],
    shape: Shape,
    rng: np.random.Generator,
    *,
    ids: tuple[int, int, int] | None,
    tokens: int,
    comparing: float = 1.0,
) -> Batch:
    """Make a batch; `ids` are the image, user and padding token ids, or None to leave the texts out.

    With texts, all examples have as many pictures as the first. comparing: how many times likelier than another a turn
    that compares is to be the next that is put into what room there is.
    """
    pixels = torch.from_numpy(np.concatenate([item.pixels for item in items]))
    pictures = len(items[0].pixels)
    scaled = pixels.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0).contiguous()
    dense = torch.from_numpy(np.concatenate([item.dense for item in items]).astype(np.int64))
    texts = readings = None
    if ids is not None:
        image_id, user_id, pad_id = ids
        orders = [_order(item, rng, comparing) for item in items]
        texts = pack(
            [[item.turns[i] for i in order] for item, order in zip(items, orders, strict=True)],
            image_tokens=pictures * shape.image_tokens,
            image_id=image_id,
            user_id=user_id,
            pad_id=pad_id,
            length=sequence_length(shape, tokens, pictures=pictures),
        )
        told = [[item.told[i] for i in order] for item, order in zip(items, orders, strict=True)]
        readings = place(
            told,
            texts.begins,
            [item.seen for item in items],
        )
    return Batch(scaled, dense, texts, readings)


def _order(item: Encoded, rng: np.random.Generator, comparing: float) -> NDArray[np.int64]:
    """The turns by chance, those that compare `comparing` times as likely (Efraimidis and Spirakis 2006)."""
    weights = np.array([comparing if compares(told) else 1.0 for told in item.told])
    return np.argsort(rng.exponential(size=len(weights)) / weights)


def losses(
    model: VipLlavaForConditionalGeneration,
    heads: DenseHeads,
    readouts: Readouts,
    batch: Batch,
    *,
    readouts_only: bool = False,
) -> Losses:
    """Run the model on a batch. Gradients flow to everything that either loss reaches.

    `readouts_only`: the dense loss and the readings train the readouts and leave the model alone.
    """
    states = vision_states(model, batch.pixels)
    right: dict[str, float] = {}
    total = torch.zeros((), device=batch.pixels.device)
    there = batch.dense[:, 0] > 0
    read = heads(states[-1].detach() if readouts_only else states[-1])
    for name, logits, target in zip(DENSE, read, batch.dense.unbind(1), strict=True):
        weight = torch.ones(logits.shape[-1], device=logits.device)
        weight[0] = 0.3
        total = total + nn.functional.cross_entropy(
            logits.float().flatten(0, 1), target.flatten(), weight=weight
        )
        with torch.no_grad():
            right[name] = float((logits.argmax(-1) == target)[there].float().mean())
    answer = None
    told: Terms = {}
    if batch.texts is not None:
        inside, attention = decoder_states(model, states, batch.texts)
        if batch.readings is not None:
            seen = [state.detach() for state in inside] if readouts_only else inside
            told, shares = readouts(seen, batch.readings)
            right |= shares
            if attention and not readouts_only:
                looked, shares = looking(attention, batch.readings)
                told, right = told | looked, right | shares
        predicted = answer_logits(model, inside, batch.texts).float()
        answer = nn.functional.cross_entropy(predicted, batch.texts.targets)
        with torch.no_grad():
            hits = predicted.argmax(-1) == batch.texts.targets
            right["answer"] = float(hits.float().mean())
    return Losses(total, answer, told, right)


def together(found: Sequence[Losses], batches: Sequence[Batch]) -> Losses:
    """The losses of several batches as if they were one: every picture, reading and answer token counts the same.

    Of dense labels that holds as nearly as pictures show as much of objects. For the log, shares of batches of more
    than one picture an example are told apart, as in "answer of 2".
    """
    pictures = [len(batch.dense) for batch in batches]
    tokens = [0 if batch.texts is None else len(batch.texts.targets) for batch in batches]
    right: dict[str, float] = {}
    for one, batch in zip(found, batches, strict=True):
        each = 1 if batch.texts is None else len(batch.dense) // len(batch.texts.ids)
        for name, share in one.right.items():
            right.setdefault(name if each == 1 else f"{name} of {each}", share)
    readings: Terms = {}
    for name in {name: None for one in found for name in one.readings}:
        terms = [one.readings[name] for one in found if name in one.readings]
        total = sum(count for _, count in terms)
        readings[name] = _mean([loss for loss, _ in terms], [count for _, count in terms]), total
    answers = [one.answer for one in found if one.answer is not None]
    return Losses(
        _mean([one.dense for one in found], pictures),
        _mean(answers, [count for count in tokens if count]) if answers else None,
        readings,
        right,
    )


def _mean(losses: Sequence[torch.Tensor], counts: Sequence[int]) -> torch.Tensor:
    total = max(1, sum(counts))
    return torch.stack([loss * (n / total) for loss, n in zip(losses, counts, strict=True)]).sum()


def optimisers(
    model: VipLlavaForConditionalGeneration,
    heads: Sequence[nn.Module],
    *,
    matrix_lr: float,
    other_lr: float,
) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices inside the blocks and AdamW for embeddings, norms, biases and readouts."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        inside = parameter.ndim == 2 and "embed" not in name and "lm_head" not in name
        (matrices if inside else others).append(parameter)
    others.extend(parameter for head in heads for parameter in head.parameters())
    return [
        torch.optim.Muon(
            matrices,
            lr=matrix_lr,
            weight_decay=0.02,
            momentum=0.95,
            ns_steps=4,
            adjust_lr_fn="match_rms_adamw",
        ),
        torch.optim.AdamW(others, lr=other_lr, betas=(0.9, 0.98), weight_decay=0.01),
    ]
