"""Evidence: facts computed from regions and pixels, as text for the model beside its picture.

After LION (arXiv 2311.11860), which gives its model image tags that it may use or leave: facts that
can be wrong, as the colours can, are worded as what seems. Knows nothing of marks or
questions. Sides are the viewer's: left is towards x = 0, above towards y = 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regiontext.colours import colour_shares
from regiontext.region import Region
from regiontext.relations import distance, predicates, relate

__all__ = [
    "DEFAULT_FACTS",
    "FACTS",
    "Facts",
    "evidence_line",
    "facts_line",
    "facts_of",
    "spatial",
]

FACTS: Final = ("size", "place", "size word", "colours", "counts", "relations", "pairs")
"""What an evidence line can tell. size, place: how much of the image a region covers, and where.
size word: small, of medium size or large. colours: the names of its pixels' colours. counts: how
many regions there are, and how many with the same label. relations: how the first of two regions
lies to the second. pairs: that for the six nearest pairs of two and more, with what touches or is
near, the nearest first."""

DEFAULT_FACTS: Final = ("size", "place", "relations")
"""The facts that the bundled model is trained with."""

_MAX_PAIRS: Final = 6
_ENDINGS: Final = {1: "st", 2: "nd", 3: "rd"}
# Shares of the image that a box covers, between those that the bundled model's world has.
_MEDIUM, _LARGE = 0.025, 0.125

_PLACES: Final = (
    ("at the upper left", "at the top", "at the upper right"),
    ("at the left", "at the centre", "at the right"),
    ("at the lower left", "at the bottom", "at the lower right"),
)

_Pixels = Image.Image | NDArray[np.uint8]


@dataclass(frozen=True)
class Facts:
    """What is known of one region without a model.

    share: of the image's pixels, 0..1. size: "small", "medium" or "large" by the share of its box
    (under 2.5 %, under 12.5 %, more). place: where its centre is, "at the upper left". colours:
    names with shares, the most frequent first, () when no pixels were given. regions: how many the
    image has. alike: how many of those have all of this region's labels, this one included. label:
    those labels, "" when it has none.
    """

    share: float
    size: str
    place: str
    colours: tuple[tuple[str, float], ...] = ()
    regions: int = 1
    alike: int = 1
    label: str = ""


def facts_of(
    region: Region,
    size: tuple[int, int],
    *,
    image: _Pixels | None = None,
    among: Sequence[Region] = (),
) -> Facts:
    """The facts of `region` on an image of `size` (W, H).

    image: its pixels without marks, RGB or uint8[H, W, 3], for the colours. among: all regions of
    the image, for the counts; `region` may be one of them.
    """
    x, y = region.centre
    column = min(2, int(3 * x / size[0]))
    row = min(2, int(3 * y / size[1]))
    pixels = size[0] * size[1]
    boxed = (region.box[2] - region.box[0]) * (region.box[3] - region.box[1]) / pixels
    others = [other for other in among if other is not region and other.id != region.id]
    return Facts(
        share=region.area / pixels,
        size="large" if boxed >= _LARGE else "medium" if boxed >= _MEDIUM else "small",
        place=_PLACES[row][column],
        colours=() if image is None else colour_shares(image, region),
        regions=1 + len(others),
        alike=1 + sum(set(region.labels) <= set(other.labels) for other in others),
        label=" ".join(" and ".join(region.labels).split()),
    )


def facts_line(
    facts: Facts, *, tell: Sequence[str] = DEFAULT_FACTS, subject: str = "The region"
) -> str:
    """One line about a region: those of `tell` (see FACTS) that concern one region; "" for none.

    "The region covers 4 % of the image, at the upper left. It seems to be red (62 %) and white (20
    %). It is one of 3 labelled Car, of 5 regions in the image."
    """
    said = []
    if "size" in tell:
        place = f", {facts.place}" if "place" in tell else ""
        said.append(f"covers {_percent(100 * facts.share)} of the image{place}")
    elif "place" in tell:
        said.append(f"is {facts.place}")
    if "size word" in tell:
        word = "of medium size" if facts.size == "medium" else facts.size
        said.append(f"is {word} in the image")
    if "colours" in tell and facts.colours:
        said.append(
            f"seems to be {_listed([f'{n} ({_percent(100 * s)})' for n, s in facts.colours])}"
        )
    if "counts" in tell:
        said.append(_counted(facts))
    return " ".join(f"{'It' if i else subject} {what}." for i, what in enumerate(said))


def evidence_line(
    regions: Sequence[Region],
    size: tuple[int, int],
    *,
    image: _Pixels | None = None,
    among: Sequence[Region] = (),
    facts: Sequence[str] = DEFAULT_FACTS,
) -> str:
    """What `facts` (see FACTS) tell of regions on an image of `size` (W, H); "" without regions.

    By default how much each covers, and where; for two also how they lie to each other, which is
    the text that the bundled model is trained on. One region: "The region covers 4 % of the image,
    at the upper left." More: one clause each, "The first region …"; exactly two also: "The first is
    left of and larger than the second." image, among: see `facts_of`; without `among` the counts
    are of `regions`. ValueError for a fact that is not known, and for colours without an image.
    """
    unknown = sorted(set(facts) - set(FACTS))
    if unknown:
        raise ValueError(f"unknown facts {unknown}; known are {', '.join(FACTS)}")
    if "colours" in facts and image is None:
        raise ValueError("the fact 'colours' needs the pixels; pass image=")
    pixels = image if "colours" in facts else None
    clauses = [
        facts_line(
            facts_of(region, size, image=pixels, among=among or regions),
            tell=facts,
            subject=f"The {_ordinal(i)} region" if len(regions) > 1 else "The region",
        )
        for i, region in enumerate(regions)
    ]
    if "pairs" in facts:
        clauses += _pairs(regions)
    elif "relations" in facts and len(regions) == 2:
        clauses.append(_related(0, 1, spatial(regions[0], regions[1])))
    return " ".join(clause for clause in clauses if clause)


def spatial(a: Region, b: Region) -> tuple[str, ...]:
    """What holds of `a` towards `b` (same image), in the order of `relations.SPATIAL`.

    The rules are those of `relations.predicates`, but for touching and near.
    """
    return predicates(relate(a, b, with_gap=False))


def _pairs(regions: Sequence[Region]) -> list[str]:
    nearest = sorted(
        combinations(range(len(regions)), 2),
        key=lambda ij: distance(regions[ij[0]], regions[ij[1]]),
    )[:_MAX_PAIRS]
    return [_told(i, j, predicates(relate(regions[i], regions[j]))) for i, j in nearest]


def _told(i: int, j: int, found: Sequence[str]) -> str:
    # Two regions' relations, as trained, read "is contains"; here the verb is right.
    rest = [word for word in found if word != "contains"]
    verbs = ["contains"] if "contains" in found else []
    if rest:
        verbs.append(f"is {_listed(rest)}")
    return f"The {_ordinal(i)} {' and '.join(verbs)} the {_ordinal(j)}." if verbs else ""


def _related(i: int, j: int, found: Sequence[str]) -> str:
    return f"The {_ordinal(i)} is {_listed(found)} the {_ordinal(j)}." if found else ""


def _counted(facts: Facts) -> str:
    if facts.regions == 1:
        return "is the only region in the image"
    if not facts.label:
        return f"is one of {facts.regions} regions in the image"
    alike = "the only one" if facts.alike == 1 else f"one of {facts.alike}"
    return f"is {alike} labelled {facts.label}, of {facts.regions} regions in the image"


def _percent(share: float) -> str:
    if share >= 1:
        return f"{round(share)} %"
    if share >= 0.1:
        return f"{share:.1f} %"
    return "less than 0.1 %"


def _ordinal(index: int) -> str:
    names = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
    if index < len(names):
        return names[index]
    number = index + 1
    teen = number % 100 in (11, 12, 13)
    return f"{number}{'th' if teen else _ENDINGS.get(number % 10, 'th')}"


def _listed(words: Sequence[Any]) -> str:
    return str(words[0]) if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
