"""Suggestions that are wrong on purpose, to see whether people still look: which, and how they are wrong.

Off unless somebody asks for it. What is a trap follows from the image, the region and the field alone, so it is the
same each time. Knows nothing of models or of who shows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from regiontext.metrics.meaning import meaning_changed
from regiontext.records.arm import unit_interval

__all__ = ["is_trap", "wrong_answer"]

_COLOURS: Final = ("red", "green", "blue", "yellow", "black", "white", "brown", "grey", "orange")
_NUMBERS: Final = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_OTHERWISE: Final = {
    "left": "right",
    "right": "left",
    "above": "below",
    "below": "above",
    "top": "bottom",
    "bottom": "top",
    "upper": "lower",
    "lower": "upper",
    "big": "small",
    "large": "small",
    "small": "large",
    "young": "old",
    "old": "young",
    "man": "woman",
    "woman": "man",
    "dog": "cat",
    "cat": "dog",
    "car": "truck",
    "truck": "car",
}


def is_trap(image_hash: str, region: str, field: str, *, share: float, salt: str = "") -> bool:
    """Whether the suggestion for this field of this region is to be a trap; `share` of all are, in [0, 1]."""
    return unit_interval(f"{image_hash}\0{region}\0{field}", salt=f"trap{salt}") < share


def wrong_answer(
    answer: Sequence[str], options: Sequence[str] = (), *, seed: str = ""
) -> tuple[str, ...] | None:
    """An answer that is surely not `answer`, but could be meant; None if there is none to be had.

    Of a closed question another of `options`. Of an open one the same text with one word turned: a colour, number,
    side, size or one of a few things; what comes out has another meaning by `meaning_changed`. `seed` decides between
    several; the same arguments give the same answer.
    """
    pick = unit_interval("\0".join(answer), salt=f"wrong{seed}")
    if options:
        others = [option for option in options if option not in answer]
        return (others[int(pick * len(others))],) if others else None
    text = "\n".join(answer)
    turned = [other for other in _turned(text, pick) if meaning_changed(text, other)]
    return tuple(turned[int(pick * len(turned))].split("\n")) if turned else None


def _turned(text: str, pick: float) -> Iterator[str]:
    """The text with each of its words turned that can be."""
    for match in re.finditer(r"[^\W\d_]+|\d+", text):
        word = match[0]
        other = _other(word.lower(), pick)
        if other is not None:
            shaped = other.capitalize() if word[:1].isupper() else other
            yield text[: match.start()] + shaped + text[match.end() :]


def _other(word: str, pick: float) -> str | None:
    if word.isdigit():
        return str(int(word) + 1) if word.isascii() and len(word) < 10 else None
    for family in (_COLOURS, _NUMBERS):
        if word in family:
            rest = [other for other in family if other != word]
            return rest[int(pick * len(rest))]
    return _OTHERWISE.get(word)
