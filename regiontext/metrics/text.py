"""How alike an answer and a human's text are, between 0 and 1.

Knows nothing of models or records: two strings in, one number out.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

__all__ = ["exact_match", "normalise", "word_f1", "word_iou", "words"]

_ARTICLES = frozenset({"a", "an", "the"})
# Scripts written without spaces are compared character by character.
_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f]"
    r"|[^\W_\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f]+"
)


def words(text: str) -> list[str]:
    """The words of a text: Unicode NFKC, case folded, without punctuation or English articles.

    The normalisation of SQuAD's evaluation (Rajpurkar et al. 2016, section 6.1), with CJK
    characters as words of their own. A text that is nothing but articles keeps them.
    """
    found = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    return [word for word in found if word not in _ARTICLES] or found


def normalise(text: str) -> str:
    """The text's words, separated by single spaces."""
    return " ".join(words(text))


def exact_match(answer: str, truth: str) -> float:
    """1.0 if both are the same words in the same order, else 0.0.

    Texts without any word (only signs, such as "+" or "?") are compared as they are.
    """
    left, right = normalise(answer), normalise(truth)
    if not left and not right:
        left, right = answer.strip(), truth.strip()
    return float(left == right)


def word_f1(answer: str, truth: str) -> float:
    """The harmonic mean of precision and recall over words, counted with repetition.

    SQuAD's F1 (Rajpurkar et al. 2016, section 6.1). 1.0 if both are empty.
    """
    left, right = Counter(words(answer)), Counter(words(truth))
    if not left or not right:
        return exact_match(answer, truth)
    shared = (left & right).total()
    return 2 * shared / (left.total() + right.total())


def word_iou(answer: str, truth: str) -> float:
    """Osprey's semantic IoU: shared distinct words over all distinct words (Yuan et al. 2024, 5.1).

    Lower-cased, split at whitespace after removing `.`, `:` and `,`; articles count. 1.0 if both
    are empty.
    """
    left, right = (set(re.sub(r"[.:,]", "", text.lower()).split()) for text in (answer, truth))
    if not left and not right:
        return 1.0
    return len(left & right) / len(left | right)
