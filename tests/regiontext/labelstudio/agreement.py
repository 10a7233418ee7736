"""Whether a decoded region is what the editor showed of it, by the measure that its shape allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from regiontext.labelstudio.decode import decode_region
from regiontext.region import Region

__all__ = ["assert_as_seen", "overlap"]

Mask = NDArray[np.bool_]

_LEAST_OVERLAP = 0.975
_LEAST_OVERLAP_OF_STROKES = 0.85  # a row of half covered pixels is much of a pen a few pixels wide
_VERTEX = 3.0  # px: the white dots that the editor draws on a vector's vertices


def overlap(one: Mask, other: Mask) -> float:
    """Intersection over union of two masks bool[H, W]."""
    return float((one & other).sum() / max(1, (one | other).sum()))


def assert_as_seen(
    result: Mapping[str, Any], seen: Mask, mouse: Sequence[Sequence[float]]
) -> Region:
    """Decode a stored result and compare it with the pixels that the editor inked, bool[H, W].

    `mouse` holds the points (x, y) px at which the annotator clicked, or between which was dragged. Returns the region.
    """
    region = decode_region(result)
    assert region.size == seen.shape[::-1]
    if region.shape == "keypoint":
        # The editor's disc has the same size on the screen however far it is zoomed: only its place is the image's.
        assert region.point == (_near(mouse[0][0]), _near(mouse[0][1]))
        assert _centre(seen) == (_near(mouse[0][0]), _near(mouse[0][1]))
    elif region.shape == "vector" and not result["value"]["closed"]:
        # How thick a line is drawn is a matter of style: its middle has to be the same.
        seen = seen & ~_vertices(result, region)
        for x, y in mouse:
            assert region.mask[_square(x, y, region.size)].any(), f"not through ({x}, {y})"
        assert not (seen & ~_grown(region.mask, 1)).any()
        assert not (region.mask & ~_vertices(result, region) & ~_grown(seen, 2)).any()
    else:
        ours = region.mask
        if region.shape == "vector":
            hidden = _vertices(result, region)
            ours, seen = ours & ~hidden, seen & ~hidden
        least = _LEAST_OVERLAP_OF_STROKES if region.shape == "brush" else _LEAST_OVERLAP
        assert overlap(ours, seen) >= least
        assert not (ours & ~_grown(seen, 1)).any() and not (seen & ~_grown(ours, 1)).any()
    return region


def _near(value: float) -> Any:
    # The mouse stands on whole pixels of the screen, up to 0.8 px of the image apart.
    return pytest.approx(value, abs=1.0)


def _centre(mask: Mask) -> tuple[float, float]:
    rows, columns = np.nonzero(mask)
    return float(columns.mean()) + 0.5, float(rows.mean()) + 0.5


def _square(x: float, y: float, size: tuple[int, int]) -> tuple[slice, slice]:
    left, top = max(0, int(x) - 1), max(0, int(y) - 1)
    return slice(top, min(size[1], top + 3)), slice(left, min(size[0], left + 3))


def _vertices(result: Mapping[str, Any], region: Region) -> Mask:
    width, height = region.size
    y, x = np.mgrid[0:height, 0:width] + 0.5
    dots = np.zeros((height, width), dtype=bool)
    for vertex in result["value"]["vertices"]:
        dots |= np.hypot(x - vertex["x"] * width / 100, y - vertex["y"] * height / 100) <= _VERTEX
    return dots


def _grown(mask: Mask, by: int) -> Mask:
    image = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(image.filter(ImageFilter.MaxFilter(2 * by + 1))) > 0
