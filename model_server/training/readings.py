"""What the decoder is told besides the answers: where to look, and what it must know, where a phrase names a mark.

An answer alone teaches comparing very slowly: the model would have to find out at once that it must look up two
things, which is which, and that it must compare them. So, in training only, one head of a block is told where to look:
from the end of a phrase at the object that it marks, from the second phrase back at the first, from the place of the
answer at the second (supervised attention, Liu et al. 2016, arXiv 1609.04186). And linear readouts of the states
between the blocks are told the words of the object, then which words two objects share (deep supervision, Lee et al.
2015, arXiv 1409.5185). Knows nothing of pictures or of how turns are packed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedTokenizerFast

from model_server.worlds import vocabulary

__all__ = ["READ", "Placed", "Readouts", "Terms", "compares", "looking", "place", "readings"]

Terms = dict[str, tuple[torch.Tensor, int]]
"""Losses by name: the mean, and of how many."""

READ: tuple[str, ...] = ("colour", "material", "shape")
_UNKNOWN = -100
_SAME = "same"
# The column of the first patch: the user's token comes before.
_FIRST = 1
# Columns of a reading: where; the object looked at, by its place among the phrases; where else to look; labels.
_AT, _THING, _BACK, _LABELS = 0, 1, 2, 3
# After so many blocks of the decoder the words of one object are known, then what two share; and the blocks, from 0, in
# which is looked at an object, from the second phrase back at the first, and from the answer at the second.
_WORDS_AT, _SHARED_AT = 2, 3
_SEES_IN, _COMPARES_IN, _ANSWERS_IN = 1, 2, 3


@dataclass(frozen=True)
class Placed:
    """Readings of a batch: rows, columns int64[N], where; labels int64[N, 2 * len(READ)], -100 where nothing is told.

    The first half of a label row are words by their place in the vocabulary, the second 1 where two objects share it.
    sees: float32[N, patches of all pictures], 1 where the object is that is to be looked at, 0 everywhere if none is.
    back: int64[N], the column of an earlier phrase to look at, -1 for none;
    answers: bool[N], whether that is done for the answer.
    """

    rows: torch.Tensor
    columns: torch.Tensor
    labels: torch.Tensor
    sees: torch.Tensor
    back: torch.Tensor
    answers: torch.Tensor

    def to(self, device: torch.device) -> Placed:
        """The same readings on another device."""
        return Placed(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


def readings(
    tokenizer: PreTrainedTokenizerFast,
    prompt: str,
    phrases: Sequence[str],
    words: Sequence[Mapping[str, str]],
    things: Sequence[int],
    *,
    named: tuple[str, str] | None = None,
    answer: str = "",
) -> NDArray[np.int16]:
    """Return int16[K, 3 + 2 * len(READ)], what is told of a turn.

    A row: a token's place in the prompt, the object that it is to look at (-1 for none), the place of an earlier phrase
    that it is to look at (-1 for none), and its labels, as in `Placed`. phrases: those that name the marks of the
    objects with these `words`, one or two, which are the `things`-th of the picture's marked objects. Besides where
    they end, the token after the prompt is told: of one object the same, of two what they share. A phrase that it
    lacks is told nothing. named: the attribute and the word that the prompt asks about, yes or no: where it stands, the
    object is looked at again, and whether it has that word is told there and to the token after the prompt. answer: of
    one that says what two objects share, the word "same" is told what they share, since what follows it says which.
    """
    said = tokenizer(prompt, add_special_tokens=False, return_offsets_mapping=True)
    ends = [end for _, end in said["offset_mapping"]]
    rows: list[list[int]] = []
    for number, (phrase, own, thing) in enumerate(zip(phrases, words, things, strict=True)):
        at = prompt.find(phrase)
        if at < 0:
            break
        place = next(i for i, end in enumerate(ends) if end >= at + len(phrase))
        told = [vocabulary.values(name).index(own[name]) for name in READ]
        shared = [_UNKNOWN] * len(READ)
        if number == 1:
            shared = [int(words[0][name] == own[name]) for name in READ]
        back = rows[0][_AT] if number == 1 and rows[0][_AT] < place else -1
        rows.append([place, thing, back, *told, *shared])
        if number == len(words) - 1:
            alone = number == 0
            asked = _find(prompt, named[1], phrase) if named and alone else -1
            if named and asked >= 0:
                place = next(i for i, end in enumerate(ends) if end >= asked + len(named[1]))
                shared[READ.index(named[0])] = int(own[named[0]] == named[1])
                rows.append([place, thing, -1, *told, *shared])
                alone = False
            about = told if alone else [_UNKNOWN] * len(READ)
            look = (thing, -1) if alone else (-1, place)
            rows.append([len(ends), *look, *about, *shared])
            if number == 1 and answer.startswith(f"{_SAME} "):
                same = tokenizer(_SAME, add_special_tokens=False)["input_ids"]
                rows.append([len(ends) + len(same), *look, *about, *shared])
    return np.array(rows, dtype=np.int16).reshape(-1, _LABELS + 2 * len(READ))


def compares(told: NDArray[np.int16]) -> bool:
    """Whether two objects, or an object and a word, are to be compared, by what `readings` tells of a turn."""
    return bool((told[:, _LABELS + len(READ) :] != _UNKNOWN).any())


def place(
    told: Sequence[Sequence[NDArray[np.int16]]],
    begins: Sequence[Sequence[int]],
    seen: Sequence[NDArray[np.bool_]],
) -> Placed:
    """Put the readings of every example's turns where the turns begin in its sequence, -1 for those left out.

    seen: of every example bool[objects, patches of all pictures], which patches show each marked object.
    """
    rows: list[NDArray[np.int64]] = []
    reads: list[NDArray[np.int64]] = []
    starts: list[NDArray[np.int64]] = []
    sees: list[NDArray[np.float32]] = []
    for row, (turns, places) in enumerate(zip(told, begins, strict=True)):
        patches = seen[row].astype(np.float32)
        nothing = np.zeros_like(patches[:1])
        for each, start in zip(turns, places, strict=True):
            if start < 0 or not len(each):
                continue
            rows.append(np.full(len(each), row, dtype=np.int64))
            reads.append(each.astype(np.int64))
            starts.append(np.full(len(each), start, dtype=np.int64))
            sees.append(np.concatenate([patches, nothing])[each[:, _THING]])
    none = np.zeros((0, _LABELS + 2 * len(READ)), dtype=np.int64)
    every = np.concatenate([none, *reads])
    begin = np.concatenate([none[:, 0], *starts])
    back = np.where(every[:, _BACK] >= 0, begin + every[:, _BACK], -1)
    return Placed(
        rows=torch.from_numpy(np.concatenate([none[:, 0], *rows])),
        columns=torch.from_numpy(begin + every[:, _AT]),
        labels=torch.from_numpy(every[:, _LABELS:]),
        sees=torch.from_numpy(np.concatenate([*sees, np.zeros((0, seen[0].shape[1]), np.float32)])),
        back=torch.from_numpy(back),
        answers=torch.from_numpy((every[:, _THING] < 0) & (back >= 0)),
    )


def looking(attention: Sequence[torch.Tensor], placed: Placed) -> tuple[Terms, dict[str, float]]:
    """The losses of where the first heads look and, for the log, the shares of their attention that are right.

    attention: float[B, heads, S, S] of every block; blocks that a smaller decoder lacks are its last.
    """
    terms: Terms = {}
    shares: dict[str, float] = {}
    stop = _FIRST + placed.sees.shape[1]
    there = placed.sees.sum(1) > 0
    if bool(there.any()):
        weights = _head(attention, _SEES_IN)[placed.rows[there], placed.columns[there]]
        right = (weights[:, _FIRST:stop].float() * placed.sees[there]).sum(1)
        terms["sees"] = -right.clamp_min(1e-6).log().mean(), len(right)
        shares["sees"] = float(right.detach().mean())
    for name, block, told in (
        ("compares", _COMPARES_IN, (placed.back >= 0) & ~placed.answers),
        ("answers", _ANSWERS_IN, placed.answers),
    ):
        if bool(told.any()):
            weights = _head(attention, block)[placed.rows[told], placed.columns[told]]
            right = weights.gather(1, placed.back[told, None]).float()
            terms[name] = -right.clamp_min(1e-6).log().mean(), len(right)
            shares[name] = float(right.detach().mean())
    return terms, shares


def _head(attention: Sequence[torch.Tensor], block: int) -> torch.Tensor:
    return attention[min(block, len(attention) - 1)][:, 0]


def _find(prompt: str, word: str, phrase: str) -> int:
    """Where the word begins in the prompt, but not in the phrase, -1 if nowhere."""
    around = re.escape(phrase)
    for found in re.finditer(rf"{around}|\b({re.escape(word)})\b", prompt, re.IGNORECASE):
        if found[1]:
            return found.start(1)
    return -1


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
    ) -> tuple[Terms, dict[str, float]]:
        """The losses and, for the log, the shares of right readings.

        states: float[B, S, width], the embeddings and what every block of the decoder returns, in order; a decoder with
        fewer blocks is read at its last.
        """
        terms: Terms = {}
        right: dict[str, float] = {}
        halves = (
            ("read", self.words, self.words_norm, _WORDS_AT, placed.labels[:, : len(READ)]),
            ("shared", self.shared, self.shared_norm, _SHARED_AT, placed.labels[:, len(READ) :]),
        )
        for name, heads, norm, layer, labels in halves:
            state = states[min(layer, len(states) - 1)][placed.rows, placed.columns]
            normed, hits = norm(state), []
            for attribute, head, target in zip(READ, heads, labels.unbind(1), strict=True):
                told = target != _UNKNOWN
                if not bool(told.any()):
                    continue
                logits = head(normed[told]).float()
                lost = nn.functional.cross_entropy(logits, target[told])
                terms[f"{name} {attribute}"] = lost, len(logits)
                with torch.no_grad():
                    hits.append((logits.argmax(-1) == target[told]).float().mean())
            if hits:
                right[name] = float(torch.stack(hits).mean())
        return terms, right
