"""What the decoder is told besides the answers: what it must know of the marked objects where a phrase names them.

An answer alone teaches comparing very slowly: the model would have to find out at once that it must look up two things
and that it must compare them. So, in training only, linear readouts of the states inside the decoder are told the words
of the object where the phrase of its mark ends, and which words two objects share where the second phrase ends (deep
supervision, Lee et al. 2015, arXiv 1409.5185). Knows nothing of pictures or of how turns are packed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedTokenizerFast

from model_server.worlds import vocabulary

__all__ = ["READ", "Placed", "Readouts", "place", "readings"]

READ: tuple[str, ...] = ("colour", "material", "shape")
_UNKNOWN = -100
# After these blocks of the decoder: the words of one object, then, as it takes another look, what two share.
_WORDS_AT, _SHARED_AT = 2, 3


@dataclass(frozen=True)
class Placed:
    """Readings of a batch: rows, columns int64[N], where; labels int64[N, 2 * len(READ)], -100 where nothing is told.

    The first half of a label row are words by their place in the vocabulary, the second 1 where two objects share it.
    """

    rows: torch.Tensor
    columns: torch.Tensor
    labels: torch.Tensor

    def to(self, device: torch.device) -> Placed:
        """The same readings on another device."""
        return Placed(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


def readings(
    tokenizer: PreTrainedTokenizerFast,
    prompt: str,
    phrases: Sequence[str],
    words: Sequence[Mapping[str, str]],
) -> NDArray[np.int16]:
    """Return int16[K, 1 + 2 * len(READ)]: a token's place in the prompt and its labels, as in `Placed`.

    phrases: those that name the marks of the objects with these `words`, one or two. Besides where they end, the token
    after the prompt is told the same as the last phrase's. A phrase that the prompt lacks is told nothing.
    """
    said = tokenizer(prompt, add_special_tokens=False, return_offsets_mapping=True)
    ends = [end for _, end in said["offset_mapping"]]
    rows: list[list[int]] = []
    for number, (phrase, own) in enumerate(zip(phrases, words, strict=True)):
        at = prompt.find(phrase)
        if at < 0:
            continue
        place = next(i for i, end in enumerate(ends) if end >= at + len(phrase))
        told = [vocabulary.values(name).index(own[name]) for name in READ]
        shared = [_UNKNOWN] * len(READ)
        if number == 1:
            shared = [int(words[0][name] == own[name]) for name in READ]
        rows.append([place, *told, *shared])
        if number == len(words) - 1:
            alone = told if number == 0 else [_UNKNOWN] * len(READ)
            rows.append([len(ends), *alone, *shared])
    return np.array(rows, dtype=np.int16).reshape(-1, 1 + 2 * len(READ))


def place(told: Sequence[Sequence[NDArray[np.int16]]], begins: Sequence[Sequence[int]]) -> Placed:
    """Put the readings of every picture's turns where the turns begin in its sequence, -1 for those left out."""
    rows: list[NDArray[np.int64]] = []
    columns: list[NDArray[np.int64]] = []
    labels: list[NDArray[np.int64]] = []
    for row, (turns, starts) in enumerate(zip(told, begins, strict=True)):
        for each, start in zip(turns, starts, strict=True):
            if start >= 0:
                rows.append(np.full(len(each), row, dtype=np.int64))
                columns.append(start + each[:, 0].astype(np.int64))
                labels.append(each[:, 1:].astype(np.int64))
    return Placed(*(torch.from_numpy(np.concatenate(part)) for part in (rows, columns, labels)))


class Readouts(nn.Module):
    """Linear readouts of the decoder's states, used in training only."""

    def __init__(self, width: int) -> None:
        """Make them for states of `width`."""
        super().__init__()
        self.words_norm, self.shared_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.words = nn.ModuleList(nn.Linear(width, len(vocabulary.values(n))) for n in READ)
        self.shared = nn.ModuleList(nn.Linear(width, 2) for _ in READ)

    def forward(
        self, states: Sequence[torch.Tensor], placed: Placed
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """The loss and, for the log, the shares of right readings.

        states: float[B, S, width], the embeddings and what every block of the decoder returns, in order; a decoder with
        fewer blocks is read at its last.
        """
        total = torch.zeros((), device=placed.labels.device)
        right: dict[str, float] = {}
        halves = (
            ("read", self.words, self.words_norm, _WORDS_AT, placed.labels[:, : len(READ)]),
            ("shared", self.shared, self.shared_norm, _SHARED_AT, placed.labels[:, len(READ) :]),
        )
        for name, heads, norm, layer, labels in halves:
            state = states[min(layer, len(states) - 1)][placed.rows, placed.columns]
            told = labels[:, 0] != _UNKNOWN
            if not bool(told.any()):
                continue
            normed, hits = norm(state[told]), []
            for head, target in zip(heads, labels[told].unbind(1), strict=True):
                logits = head(normed).float()
                total = total + nn.functional.cross_entropy(logits, target)
                with torch.no_grad():
                    hits.append((logits.argmax(-1) == target).float().mean())
            right[name] = float(torch.stack(hits).mean())
        return total, right
