"""Which parts of an image a model is shown, and which regions are marked in each of them.

Knows boxes only; nothing of pixels, marks or styles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from regiontext.errors import MarkError
from regiontext.region import Region

__all__ = ["SCOPES", "Frame", "crop_box", "frames"]

SCOPES: Final = ("whole", "crop", "both", "each")


@dataclass(frozen=True)
class Frame:
    """A part of an image. box: whole px (x0, y0, x1, y1). members: the places of the regions that are marked in it."""

    box: tuple[int, int, int, int]
    members: tuple[int, ...]


def frames(
    regions: Sequence[Region],
    size: tuple[int, int],
    scope: str,
    *,
    context: float = 1.0,
    min_side: int = 48,
) -> tuple[Frame, ...]:
    """The pictures that `scope` shows of `regions` on an image of `size` (W, H), in order.

    "whole" is the image, "crop" one `crop_box` around all regions, "both" the two; "each" is a crop for every region,
    in which it alone is marked, so that a far neighbour does not make it small. context: in sides of the region's box.
    min_side: px. MarkError for another scope or without a region.
    """
    if scope not in SCOPES:
        raise MarkError(f"unknown scope {scope!r}; use one of {', '.join(SCOPES)}")
    if not regions:
        raise MarkError("no region to show; give at least one")
    everyone = tuple(range(len(regions)))
    if scope == "each":
        return tuple(
            Frame(crop_box([region], size, context=context, min_side=min_side), (place,))
            for place, region in enumerate(regions)
        )
    shown: list[Frame] = []
    if scope in ("whole", "both"):
        shown.append(Frame((0, 0, *size), everyone))
    if scope in ("crop", "both"):
        box = crop_box(regions, size, context=context, min_side=min_side)
        shown.append(Frame(box, everyone))
    return tuple(shown)


def crop_box(
    regions: Sequence[Region], size: tuple[int, int], *, context: float = 1.0, min_side: int = 48
) -> tuple[int, int, int, int]:
    """The whole-pixel crop (x0, y0, x1, y1) around `regions` on an image of `size` (W, H).

    The union of their boxes, its sides raised to `min_side` about the centre, then grown by
    `context` times the side each way and cut at the image (after the focal crop of Describe
    Anything, arXiv 2504.16072, whose values are 48 and 1). MarkError without a region.
    """
    if not regions:
        raise MarkError("no region to crop to; give at least one")
    boxes = [region.box for region in regions]
    x0, x1 = _grown(min(b[0] for b in boxes), max(b[2] for b in boxes), context, min_side, size[0])
    y0, y1 = _grown(min(b[1] for b in boxes), max(b[3] for b in boxes), context, min_side, size[1])
    return x0, y0, x1, y1


def _grown(low: float, high: float, context: float, least: int, limit: int) -> tuple[int, int]:
    side = max(high - low, float(least))
    centre = (low + high) / 2
    reach = side * (0.5 + context)
    return max(0, math.floor(centre - reach)), min(limit, math.ceil(centre + reach))
