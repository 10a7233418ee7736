"""Evidence: facts computed from the geometry of regions, as text for the model, and as predicates
between two regions.

Knows nothing of pixels' colours, marks or questions. Sides are the viewer's: left is towards x = 0,
above towards y = 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from regiontext.region import Region
from regiontext.relations import SPATIAL, predicates, relate

__all__ = ["PREDICATES", "evidence_line", "spatial"]

PREDICATES: Final = SPATIAL

_PLACES: Final = (
    ("at the upper left", "at the top", "at the upper right"),
    ("at the left", "at the centre", "at the right"),
    ("at the lower left", "at the bottom", "at the lower right"),
)


def evidence_line(regions: Sequence[Region], size: tuple[int, int]) -> str:
    """How much of the image of `size` (W, H) each region covers, and where; for two also how they
    lie to each other.

    One region: "The region covers 4 % of the image, at the upper left." More: one clause each, "The
    first region …"; exactly two also: "The first is left of and larger than the second." "" without
    regions.
    """
    if not regions:
        return ""
    if len(regions) == 1:
        return f"The region {_facts(regions[0], size)}."
    clauses = [
        f"The {_ordinal(i)} region {_facts(region, size)}." for i, region in enumerate(regions)
    ]
    if len(regions) == 2:
        predicates = spatial(regions[0], regions[1])
        if predicates:
            clauses.append(f"The first is {_listed(predicates)} the second.")
    return " ".join(clauses)


def spatial(a: Region, b: Region) -> tuple[str, ...]:
    """What holds of `a` towards `b` (same image), in the order of PREDICATES.

    inside / contains: at least 90 % of the smaller one's pixels belong to the larger one.
    overlapping: neither, but more than 2 % of the smaller one is shared. left of, right of, above,
    below: each one's centre lies beyond the other's edge. larger / smaller than: at least 1.5 times
    the area, or at most that share of it.
    """
    return predicates(relate(a, b, with_gap=False))


def _facts(region: Region, size: tuple[int, int]) -> str:
    x, y = region.centre
    column = min(2, int(3 * x / size[0]))
    row = min(2, int(3 * y / size[1]))
    share = 100 * region.area / (size[0] * size[1])
    return f"covers {_percent(share)} of the image, {_PLACES[row][column]}"


def _percent(share: float) -> str:
    if share >= 1:
        return f"{round(share)} %"
    if share >= 0.1:
        return f"{share:.1f} %"
    return "less than 0.1 %"


def _ordinal(index: int) -> str:
    names = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
    return names[index] if index < len(names) else f"{index + 1}th"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
