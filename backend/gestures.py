"""Which existing region an annotator points at with a smart keypoint or a smart rectangle.

Label Studio calls the backend only for regions drawn with these tools, so pointing at a region of any other shape is
how it is filled. A pointing shape vanishes from the answer; since that deletes what was drawn, a rectangle counts as
pointing only when it can hardly be a region of its own. Pure geometry, in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from regiontext.errors import RegionError
from regiontext.geometry import Box
from regiontext.region import Region

__all__ = ["pointed_at"]

_NEAR = 0.0125
_INSIDE = 0.95
_FILLS = 0.25
_SAME = 0.8


def pointed_at(
    prompt: Region, others: Iterable[Region], is_empty: Callable[[str], bool]
) -> str | None:
    """The id of the region that `prompt` points at, or None: then it is a region of its own.

    A keypoint points at the smallest region whose mask holds it, else at a keypoint with an empty field that it all but
    lies on (1.25 % of the image's longer side). A rectangle points at a region when they nearly
    coincide (IoU above 0.8), or when it is drawn around exactly one region that fills at least a quarter of it; and
    only if that region has an empty field: over a filled one it is a better box, drawn by hand, and must not vanish.
    is_empty: whether a region of that id has an empty field.
    """
    here = [
        other for other in others if other.id != prompt.id and other.item_index == prompt.item_index
    ]
    if not here:
        return None
    if prompt.shape == "keypoint":
        return _under(prompt, here) or _beside(prompt, here, is_empty)
    if prompt.shape == "rectangle":
        return _framed(prompt, here, is_empty)
    return None


def _under(prompt: Region, others: list[Region]) -> str | None:
    x, y = prompt.point or prompt.centre
    width, height = prompt.size
    column, row = min(max(int(x), 0), width - 1), min(max(int(y), 0), height - 1)
    hits: list[tuple[int, str]] = []
    for other in others:
        if other.shape == "keypoint" or other.size != prompt.size:
            continue
        try:
            if other.mask[row, column]:
                hits.append((other.area, other.id))
        except RegionError:
            continue
    return min(hits)[1] if hits else None


def _beside(prompt: Region, others: list[Region], is_empty: Callable[[str], bool]) -> str | None:
    here = prompt.point or prompt.centre
    near = _NEAR * max(prompt.size)
    points = [
        (math.dist(here, other.point), other.id)
        for other in others
        if other.shape == "keypoint" and other.size == prompt.size and other.point is not None
    ]
    hits = [(distance, id) for distance, id in points if distance <= near and is_empty(id)]
    return min(hits)[1] if hits else None


def _framed(prompt: Region, others: list[Region], is_empty: Callable[[str], bool]) -> str | None:
    box = prompt.box
    same: list[tuple[float, str]] = []
    around: list[str] = []
    for other in others:
        try:
            theirs = other.box
        except RegionError:
            continue
        common = _common(box, theirs)
        iou = common / (_area(box) + _area(theirs) - common)
        if iou > _SAME and is_empty(other.id):
            same.append((iou, other.id))
        elif common >= _INSIDE * _area(theirs):
            around.append(other.id if _area(theirs) >= _FILLS * _area(box) else "")
    if same:
        return max(same)[1]
    if len(around) == 1 and around[0] and is_empty(around[0]):
        return around[0]
    return None


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _common(a: Box, b: Box) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height)
