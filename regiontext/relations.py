"""How two regions of one image lie to each other: numbers measured on their masks, and the
predicates that follow from the numbers.

Sides are the viewer's: left is towards x = 0, above towards y = 0; sizes are those in the picture.
Knows nothing of depth, labels or models; `regiontext.claims` reads predicates out of text.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from regiontext.errors import RegionError
from regiontext.gaps import box_gap, disjoint_gap, fills_box
from regiontext.geometry import Box
from regiontext.region import Region

__all__ = [
    "PREDICATES",
    "SPATIAL",
    "Relations",
    "Thresholds",
    "distance",
    "gap",
    "nearer",
    "predicates",
    "relate",
]

SPATIAL: Final = (
    "inside",
    "contains",
    "overlapping",
    "left of",
    "right of",
    "above",
    "below",
    "larger than",
    "smaller than",
)
"""The predicates that need no gap, in the order in which they are listed."""

PREDICATES: Final = (*SPATIAL, "touching", "near")
"""All predicates, in the order in which they are listed."""


@dataclass(frozen=True)
class Thresholds:
    """Where a number becomes a predicate.

    within: the share of the smaller region that the other must cover for inside and contains.
    overlapping: the share of the smaller one that must be exceeded. larger: the ratio of areas.
    touching, near: the largest gap, as a share of the image's diagonal.
    """

    within: float = 0.9
    overlapping: float = 0.02
    larger: float = 1.5
    touching: float = 0.002
    near: float = 0.05


@dataclass(frozen=True)
class Relations:
    """What is measured of a first region towards a second on the same image.

    boxes: both tight boxes. areas: both in pixels. shared: how many pixels belong to both.
    diagonal: the image's, px. gap: the shortest way from one's pixels to the other's, px, 0 when
    they meet; None when it was not measured.
    """

    boxes: tuple[Box, Box]
    areas: tuple[int, int]
    shared: int
    diagonal: float
    gap: float | None = None

    @property
    def iou(self) -> float:
        """Shared pixels over the pixels of either, 0..1."""
        return self.shared / (sum(self.areas) - self.shared)

    @property
    def shared_of_first(self) -> float:
        """The share of the first region that belongs to the second too, 0..1."""
        return self.shared / self.areas[0]

    @property
    def shared_of_second(self) -> float:
        """The share of the second region that belongs to the first too, 0..1."""
        return self.shared / self.areas[1]

    @property
    def shared_of_smaller(self) -> float:
        """The share of the smaller region that belongs to the other too, 0..1."""
        return self.shared / min(self.areas)

    @property
    def area_ratio(self) -> float:
        """How many times as large as the second region the first is."""
        return self.areas[0] / self.areas[1]

    @property
    def offset(self) -> tuple[float, float]:
        """From the centre of the first box to that of the second (x, y), px."""
        a, b = self.boxes
        return (b[0] + b[2] - a[0] - a[2]) / 2, (b[1] + b[3] - a[1] - a[3]) / 2

    @property
    def relative_gap(self) -> float | None:
        """The gap as a share of the image's diagonal; None when it was not measured."""
        return None if self.gap is None else self.gap / self.diagonal

    def margin(self, axis: int) -> float:
        """How clearly the first box comes before the second along x (0) or y (1), px.

        The smaller of two ways: from the first one's centre to the second's near edge, and from the
        first one's far edge to the second's centre. 0 and more: it comes before.
        """
        a, b = self.boxes
        return _margin(a, b, axis)


def relate(a: Region, b: Region, *, with_gap: bool = True) -> Relations:
    """Measure `a` towards `b`, exactly, on their masks.

    Without the gap, which takes most of the time, `predicates` says nothing of touching and near.
    RegionError when the regions are on images of different sizes.
    """
    shared = _shared(a, b)
    return Relations(
        boxes=(a.box, b.box),
        areas=(a.area, b.area),
        shared=shared,
        diagonal=math.hypot(*a.size),
        gap=(0.0 if shared else disjoint_gap(a, b)) if with_gap else None,
    )


def predicates(relations: Relations, *, thresholds: Thresholds | None = None) -> tuple[str, ...]:
    """What holds of the first region towards the second, in the order of PREDICATES.

    inside / contains: at least 90 % of the smaller one's pixels belong to the larger one.
    overlapping: neither, but more than 2 % of the smaller one is shared (or the two are of one size
    and lie on each other). left of, right of, above, below: each one's centre lies beyond the
    other's edge. larger / smaller than: at least 1.5 times the area, or at most that share of it.
    touching: they do not overlap, and the gap is at most 0.2 % of the image's diagonal; near: they
    do neither, and it is at most 5 %. `thresholds` sets other shares.
    """
    limits = thresholds or Thresholds()
    first, second = relations.areas
    found = set()
    if relations.shared_of_smaller >= limits.within:
        found.add("inside" if first < second else "contains" if first > second else "overlapping")
    elif relations.shared_of_smaller > limits.overlapping:
        found.add("overlapping")
    elif relations.relative_gap is not None:
        if relations.relative_gap <= limits.touching:
            found.add("touching")
        elif relations.relative_gap <= limits.near:
            found.add("near")
    a, b = relations.boxes
    for axis, (before, after) in enumerate((("left of", "right of"), ("above", "below"))):
        if _margin(a, b, axis) >= 0:
            found.add(before)
        elif _margin(b, a, axis) >= 0:
            found.add(after)
    if first >= limits.larger * second:
        found.add("larger than")
    elif second >= limits.larger * first:
        found.add("smaller than")
    return tuple(predicate for predicate in PREDICATES if predicate in found)


def nearer(a: Region, b: Region, to: Region) -> bool:
    """Whether the gap from `a` to `to` is smaller than that from `b`: in the picture, not in depth."""
    return gap(a, to) < gap(b, to)


def distance(a: Region, b: Region) -> tuple[float, float]:
    """How far apart two regions' boxes are: their gap, then the way between their centres.

    Both as shares of the image's diagonal; pairs sorted by it have the nearest first. Reads no
    pixels beyond those that the boxes need.
    """
    diagonal = math.hypot(*a.size)
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = a.box, b.box
    centres = math.hypot(ax0 + ax1 - bx0 - bx1, ay0 + ay1 - by0 - by1) / 2
    return box_gap(a.box, b.box) / diagonal, centres / diagonal


def gap(a: Region, b: Region) -> float:
    """The shortest way between the areas that two regions' pixels cover, px; 0 when they meet.

    Exact. RegionError when the regions are on images of different sizes.
    """
    return 0.0 if _shared(a, b) else disjoint_gap(a, b)


def _shared(a: Region, b: Region) -> int:
    if a.size != b.size:
        raise RegionError(
            b.id,
            f"is on an image of {b.size[0]} x {b.size[1]} and {a.id!r} on one of "
            f"{a.size[0]} x {a.size[1]}; relate regions of one image",
        )
    x0, y0 = int(max(a.box[0], b.box[0])), int(max(a.box[1], b.box[1]))
    x1, y1 = int(min(a.box[2], b.box[2])), int(min(a.box[3], b.box[3]))
    if x1 <= x0 or y1 <= y0:
        return 0
    if fills_box(a) and fills_box(b):
        return (x1 - x0) * (y1 - y0)
    return int(np.count_nonzero(a.mask[y0:y1, x0:x1] & b.mask[y0:y1, x0:x1]))


def _margin(a: Box, b: Box, axis: int) -> float:
    (a0, a1), (b0, b1) = (a[axis], a[axis + 2]), (b[axis], b[axis + 2])
    return min(b0 - (a0 + a1) / 2, (b0 + b1) / 2 - a1)
