"""Spatial claims in words, checked against two regions: does the geometry bear out "left of"?

For dropping or flagging a model's relation that the drawn regions contradict. Only words that mean
one thing in the picture are read; those that depend on depth or on an object's own front ("on top
of", "behind", "under") are not. Knows nothing of questions or models.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from regiontext.region import Region
from regiontext.relations import Relations, Thresholds, predicates, relate

__all__ = ["Verdict", "check_claim", "claimed"]

Verdict = Literal["holds", "contradicted", "unknown"]

_FAR: Final = 0.25
_APART: Final = 0.1

_SIDE: Final = r"(?: hand)?(?: side)? of\b(?! the (?:image|picture|photo|photograph|frame|scene)\b)"

# Read wherever they stand in a sentence.
_PHRASES: Final = {
    "left of": rf"\bleft{_SIDE}",
    "right of": rf"\bright{_SIDE}",
    "above": r"\b(?:above|higher than)\b",
    "below": r"\b(?:below|lower than)\b",
    "inside": r"\b(?:inside|enclosed by|enclosed in|contained in|contained by)\b",
    "contains": r"\b(?:contains|containing|encloses|enclosing)\b",
    "overlapping": r"\boverlap(?:s|ping|ped)?\b",
    "touching": r"\b(?:touches|touching|in contact with)\b",
    "near": r"\b(?:near|next to|beside|close to|adjacent to|alongside)\b",
    "larger than": r"\b(?:larger|bigger) than\b",
    "smaller than": r"\bsmaller than\b",
}
# Read only when they are all there is: "in" may begin "in front of", "within the red rectangle"
# may name a mark.
_ALONE: Final = {
    "left": "left of",
    "right": "right of",
    "in": "inside",
    "within": "inside",
    "contain": "contains",
    "touch": "touching",
    "nearby": "near",
    "larger": "larger than",
    "bigger": "larger than",
    "smaller": "smaller than",
}
_NOT: Final = re.compile(r"\b(?:not|no|never|nor|neither|without|\w+n t)\b")
_FILLER: Final = re.compile(
    r"^(?:(?:is|are|was|were|be|being|lies|lying|located|situated|placed|positioned|directly|just)\s)+"
    r"|\s(?:the|a|an|than|of|to)$"
)


def check_claim(
    claim: str, a: Region, b: Region, *, thresholds: Thresholds | None = None
) -> Verdict:
    """Whether the geometry of `a` and `b`, on one image, bears out what `claim` says of `a` towards `b`.

    claim: a predicate or relation label ("left_of", "to the left of") or a sentence whose subject
    is `a`. "holds": everything it says, and that `regiontext.claims` reads, holds. "contradicted":
    some of it is clearly false, for which the limits are far wider than for holding: a side when
    neither the boxes' nor the masks' centres lie that way; inside and contains when at most a tenth
    of the inner box lies on the outer one and hardly a pixel is shared; overlapping and touching
    when the gap is more than `near`; near when it is over a quarter of the image's diagonal; a size
    when the opposite holds. "unknown": anything else, denials included. RegionError when the regions
    are on images of different sizes.
    """
    named = claimed(claim)
    if not named:
        return "unknown"
    limits = thresholds or Thresholds()
    relations = relate(a, b)
    holding = predicates(relations, thresholds=limits)
    verdicts = [_verdict(word, relations, holding, (a, b), limits) for word in named]
    if "contradicted" in verdicts:
        return "contradicted"
    return "holds" if set(verdicts) == {"holds"} else "unknown"


def claimed(claim: str) -> tuple[str, ...]:
    """Which of `relations.PREDICATES` the words of `claim` state; () when none, or when it denies."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", claim).casefold()
    words = " ".join(re.sub(r"[\W_]+", " ", words).split())
    if _NOT.search(words):
        return ()
    bare = _FILLER.sub("", _FILLER.sub("", words))
    if bare in _ALONE:
        return (_ALONE[bare],)
    return tuple(word for word, pattern in _PHRASES.items() if re.search(pattern, words))


def _verdict(
    word: str,
    relations: Relations,
    holding: tuple[str, ...],
    pair: tuple[Region, Region],
    limits: Thresholds,
) -> Verdict:
    if word in holding or any(stronger in holding for stronger in _IMPLIED_BY.get(word, ())):
        return "holds"
    return "contradicted" if _refuted(word, relations, holding, pair, limits) else "unknown"


_IMPLIED_BY: Final = {
    "overlapping": ("inside", "contains"),
    "near": ("touching", "overlapping", "inside", "contains"),
}
_OPPOSITE: Final = {"larger than": "smaller than", "smaller than": "larger than"}
_SIDES: Final = {"left of": (0, 1), "right of": (0, -1), "above": (1, 1), "below": (1, -1)}


def _refuted(
    word: str,
    relations: Relations,
    holding: tuple[str, ...],
    pair: tuple[Region, Region],
    limits: Thresholds,
) -> bool:
    if word in _SIDES:
        axis, sign = _SIDES[word]
        centres = pair[1].centre[axis] - pair[0].centre[axis]
        return sign * relations.offset[axis] <= 0 and sign * centres <= 0
    if word in _OPPOSITE:
        return _OPPOSITE[word] in holding
    relative_gap = relations.relative_gap or 0.0
    if word == "near":
        return relative_gap > _FAR
    if word in ("overlapping", "touching"):
        return relative_gap > limits.near
    inner, outer = relations.boxes if word == "inside" else relations.boxes[::-1]
    apart = _covered(inner, outer) <= _APART
    return apart and relations.shared_of_smaller <= limits.overlapping


def _covered(box: tuple[float, ...], by: tuple[float, ...]) -> float:
    """The share of one box that lies on another."""
    width = min(box[2], by[2]) - max(box[0], by[0])
    height = min(box[3], by[3]) - max(box[1], by[1])
    return max(width, 0.0) * max(height, 0.0) / ((box[2] - box[0]) * (box[3] - box[1]))
