"""How much of one text is in another, in the ways that papers report it; all between 0 and 1.

BLEU and chrF are sacrebleu's, with its own tokenizer and defaults, divided by 100. Knows nothing of models or
records.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from rapidfuzz.distance import LCSseq

from regiontext.metrics.meaning import meaning_of
from regiontext.metrics.text import word_iou, words

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

__all__ = [
    "bleu",
    "chrf",
    "corpus_bleu",
    "corpus_chrf",
    "rouge_l",
    "semantic_overlap",
    "word_iou",
]


@cache
def _bleu(sentence: bool) -> BLEU:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(lowercase=True, effective_order=sentence)


@cache
def _chrf() -> CHRF:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF(lowercase=True)


def bleu(prediction: str, references: Sequence[str]) -> float:
    """BLEU of one text (Papineni et al. 2002; smoothed, and of the orders that the text has), case ignored."""
    return float(_bleu(True).sentence_score(prediction, list(references)).score) / 100


def chrf(prediction: str, references: Sequence[str]) -> float:
    """chrF2 of one text: F score over character 1- to 6-grams (Popović 2015), case ignored."""
    return float(_chrf().sentence_score(prediction, list(references)).score) / 100


def corpus_bleu(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """BLEU of all texts together, which is no mean of single ones; references may differ in number."""
    return float(_bleu(False).corpus_score(list(predictions), _streams(references)).score) / 100


def corpus_chrf(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """chrF2 of all texts together."""
    return float(_chrf().corpus_score(list(predictions), _streams(references)).score) / 100


def _streams(references: Sequence[Sequence[str]]) -> Any:
    """sacrebleu's order: the first reference of every text, the second of every text, …"""
    most = max(len(texts) for texts in references)
    return [[texts[i] if i < len(texts) else None for texts in references] for i in range(most)]


def rouge_l(prediction: str, references: Sequence[str]) -> float:
    """ROUGE-L: F1 over the longest common subsequence of words (Lin 2004, section 3.1), the best reference counting.

    Words as rouge-score has them without stemming: lower case, of letters and digits; articles count. 0 if either has
    none.
    """
    said = _alphanumeric(prediction)
    return max(_lcs_f1(said, _alphanumeric(text)) for text in references)


def _alphanumeric(text: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in text.lower()).split()


def _lcs_f1(one: Sequence[str], other: Sequence[str]) -> float:
    if not one or not other:
        return 0.0
    return 2 * LCSseq.similarity(one, other) / (len(one) + len(other))


def semantic_overlap(one: str, other: str) -> float:
    """What both texts say over all that either says: stems of content words, numbers, negations and places.

    Like METEOR's stem stage (Banerjee and Lavie 2005) it sees through inflection, and like Osprey's semantic IoU
    (`word_iou`) it is intersection over union; symmetric. Function words are left out by the rule of
    `regiontext.metrics.meaning`. Texts without any such word are compared by `word_iou`.
    """
    mine, theirs = _said(one), _said(other)
    if not mine and not theirs:
        return word_iou(" ".join(words(one)), " ".join(words(other)))
    return len(mine & theirs) / len(mine | theirs)


def _said(text: str) -> frozenset[tuple[str, str]]:
    told = meaning_of(text)
    return frozenset(
        [
            *(("word", word) for word in told.words),
            *(("number", f"{number} {times}") for number, times in told.numbers),
            *(("place", place) for place in told.places),
            *([("not", str(told.negations))] if told.negations else []),
        ]
    )
