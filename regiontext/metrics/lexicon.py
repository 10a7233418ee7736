"""English words that the rule of `regiontext.metrics.meaning` treats alike, or leaves out.

Only tables: what each is for stands beside it. Knows nothing of how texts are compared.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ARTICLES",
    "ATTRIBUTES",
    "COPULAS",
    "FILLERS",
    "FRAMES",
    "NEGATIONS",
    "NUMBERS",
    "ORDINALS",
    "PHRASES",
    "PLACES",
    "SCALES",
    "SPATIAL",
    "SPELLINGS",
]


def _each(text: str) -> frozenset[str]:
    return frozenset(text.split())


ARTICLES: Final = _each("a an the")
"""They count for nothing."""

COPULAS: Final = _each(
    "is are was were be been being am seem seems seemed appear appears appeared look looks"
)
"""After one of these an attribute speaks of what came before: "the car is red"."""

FILLERS: Final = COPULAS | _each(
    """some this that these those which who whose it its they them their there here of and with has
    have had having to for as do does did could may might would shall should must very quite rather
    really just also too so visible seen shown like"""
)
"""Words that can come and go without anything else being said."""

FRAMES: Final = (
    "can be seen",
    *(
        f"{start} {noun}"
        for start in ("in this", "in", "of this", "of", "within")
        for noun in ("image", "picture", "photo", "photograph")
    ),
)
"""Phrases that only say that a picture is spoken of; without articles, as in PHRASES."""

NEGATIONS: Final = _each(
    "no not never none nobody nothing nowhere neither nor without cannot lack lacks lacking lacked"
)
"""All of them count as one "not"."""

PHRASES: Final = {
    "in front of": "front",
    "at front of": "front",
    "in back of": "behind",
    "at back of": "behind",
    "on top of": "on",
    "next to": "beside",
    "close to": "near",
    "close by": "near",
    "far from": "far",
    "inside of": "in",
    "outside of": "outside",
    "left hand side": "left",
    "right hand side": "right",
    "left side": "left",
    "right side": "right",
    "can not": "not",
}
"""Several words that are one; no articles, which are gone by then."""

SPATIAL: Final = {
    "left": "left",
    "leftmost": "left",
    "right": "right",
    "rightmost": "right",
    "above": "above",
    "over": "above",
    "below": "below",
    "under": "below",
    "underneath": "below",
    "beneath": "below",
    "behind": "behind",
    "front": "front",
    "beside": "beside",
    "alongside": "beside",
    "by": "beside",
    "near": "near",
    "nearby": "near",
    "between": "between",
    "among": "between",
    "in": "in",
    "inside": "in",
    "within": "in",
    "into": "in",
    "outside": "outside",
    "out": "outside",
    "on": "on",
    "onto": "on",
    "upon": "on",
    "atop": "on",
    "off": "off",
    "at": "at",
    "from": "from",
    "through": "through",
    "across": "across",
    "along": "along",
    "around": "around",
    "towards": "towards",
    "toward": "towards",
    "against": "against",
    "far": "far",
    "top": "top",
    "upper": "top",
    "bottom": "bottom",
    "lower": "bottom",
    "middle": "middle",
    "center": "middle",
    "corner": "corner",
    "edge": "edge",
    "foreground": "foreground",
    "background": "background",
}
"""Words of place, each with the one that stands for all that mean the same."""

PLACES: Final = _each("left right top bottom middle corner edge foreground background front")
"""Words of place before which "in", "on" and "at" are grammar: "in the corner", "at the top"."""

ATTRIBUTES: Final = _each(
    """red orange yellow green blue purple violet pink brown black white gray gold golden silver
    beige tan cyan magenta lime aqua turquoise teal maroon navy olive fuchsia dark light bright pale
    big small large little tiny huge tall short long wide narrow thick thin young old new"""
)
"""Adjectives that belong to a noun: with another noun they say something else."""

SPELLINGS: Final = {
    "grey": "gray",
    "centre": "center",
    "colour": "color",
    "coloured": "color",
    "colored": "color",
    "meter": "metre",
    "aeroplane": "airplane",
    "tyre": "tire",
    "jewellery": "jewelry",
    "plough": "plow",
    "men": "man",
    "women": "woman",
    "children": "child",
    "people": "person",
    "feet": "foot",
    "teeth": "tooth",
    "mice": "mouse",
    "geese": "goose",
    "leaves": "leaf",
    "wore": "wear",
    "worn": "wear",
    "held": "hold",
    "sat": "sit",
    "stood": "stand",
    "lying": "lie",
    "lay": "lie",
}
"""Other spellings, and irregular forms, of one word."""

NUMBERS: Final = {
    word: number
    for number, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
        ]
    )
} | {
    word: 10 * number
    for number, word in enumerate(
        ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], start=2
    )
}
"""Numbers below one hundred, in words."""

SCALES: Final = {"hundred": 100, "dozen": 12, "thousand": 1000, "million": 1_000_000}
"""What the number before is multiplied by."""

ORDINALS: Final = {
    word: f"{number}th"
    for number, word in enumerate(
        [
            "first",
            "second",
            "third",
            "fourth",
            "fifth",
            "sixth",
            "seventh",
            "eighth",
            "ninth",
            "tenth",
        ],
        start=1,
    )
}
"""Ordinals in words, as the digits that mean the same; every ordinal in digits ends in th."""
