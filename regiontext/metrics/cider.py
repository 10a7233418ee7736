"""CIDEr-D: how much of what several people say about a picture a caption says, rare words counting more.

Vedantam, Zitnick and Parikh 2015 (arXiv 1411.5726, section 5 for the D), with the numbers of the reference
implementation (pycocoevalcap) for the same words. That one splits texts with Stanford's PTB tokenizer, which needs
Java; here `caption_words` does. Knows nothing of models or records.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence

__all__ = ["caption_words", "cider_d"]

_N = 4
_SIGMA = 6.0
_WORD = re.compile(r"\w+(?:['\u2019.,-]\w+)*")

_Grams = Mapping[tuple[str, ...], int]
_Weights = tuple[dict[tuple[str, ...], float], ...]


def caption_words(text: str) -> list[str]:
    """The words of a caption, in lower case and without punctuation around them; articles stay, "t-shirt" is one."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).lower())


def cider_d(
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    corpus: Sequence[Sequence[str]] | None = None,
) -> list[float]:
    """One number in 0..10 for each prediction, given at least one reference each; 0 for an empty prediction.

    `corpus` are the texts by which it is counted how rare an n-gram is, one sequence of texts per picture or region;
    by default the references. With one picture alone every n-gram is in all of them, and every score is 0. Raises
    ValueError for different lengths or a prediction without reference.
    """
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions but {len(references)} sets of references")
    if any(not texts for texts in references):
        place = next(i for i, texts in enumerate(references) if not texts)
        raise ValueError(f"prediction {place} has no reference")
    told = [[_grams(text) for text in texts] for texts in references]
    counted = told if corpus is None else [[_grams(text) for text in texts] for texts in corpus]
    frequency: Counter[tuple[str, ...]] = Counter()
    for texts in counted:
        frequency.update(set().union(*texts))
    rarity = math.log(len(counted)) if counted else 0.0
    scores = []
    for prediction, texts in zip(predictions, told, strict=True):
        said = _grams(prediction)
        sums = [_similarity(said, text, frequency, rarity) for text in texts]
        scores.append(10 * math.fsum(sums) / len(sums))
    return scores


def _grams(text: str) -> _Grams:
    words = caption_words(text)
    return Counter(
        tuple(words[start : start + n])
        for n in range(1, _N + 1)
        for start in range(len(words) - n + 1)
    )


def _similarity(said: _Grams, text: _Grams, frequency: _Grams, rarity: float) -> float:
    """The clipped cosine of both, averaged over the lengths of n-grams, less the longer one is than the other."""
    mine, theirs = _weights(said, frequency, rarity), _weights(text, frequency, rarity)
    # The reference implementation takes the number of bigrams for the length.
    gap = sum(n for gram, n in said.items() if len(gram) == 2) - sum(
        n for gram, n in text.items() if len(gram) == 2
    )
    total = 0.0
    for one, other in zip(mine, theirs, strict=True):
        norms = math.hypot(*one.values()) * math.hypot(*other.values())
        shared = math.fsum(min(one[gram], other[gram]) * other[gram] for gram in one.keys() & other)
        total += shared / norms if norms else 0.0
    return total / _N * math.exp(-(gap**2) / (2 * _SIGMA**2))


def _weights(grams: _Grams, frequency: _Grams, rarity: float) -> _Weights:
    found: _Weights = tuple({} for _ in range(_N))
    for gram, count in grams.items():
        found[len(gram) - 1][gram] = count * (rarity - math.log(max(1, frequency.get(gram, 0))))
    return found
