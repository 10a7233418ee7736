"""One Label Studio shape result to a `Region` in pixels.

Every number, list and picture in a result is taken as possibly wrong: whatever does not hold up
becomes a `RegionError` with the region's id, in bounded time and memory. `image_rotation` is how
the annotator turned the view; coordinates are those of the upright image all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontext.errors import RegionError
from regiontext.geometry import (
    MAX_PIXELS,
    Points,
    clip_box,
    ellipse_ring,
    from_percent,
    outer_box,
    rectangle_ring,
    snap,
)
from regiontext.labelstudio.masks import bitmask_mask, brush_mask, fit_mask
from regiontext.labelstudio.values import finite, is_texts, items, number, pairs, positive, short
from regiontext.labelstudio.vertices import read_path
from regiontext.path import Path
from regiontext.region import SHAPES, Region
from regiontext.strokes import paint_strokes

__all__ = ["SHAPE_TYPES", "decode_region", "is_shape"]

_MAX_ID = 1000

SHAPE_TYPES: dict[str, str] = {
    f"{shape}{suffix}": shape for shape in SHAPES for suffix in ("", "labels")
} | {"magicwand": "brush"}
"""Result types that draw a region, and the shape of each."""


@dataclass(frozen=True)
class _Outline:
    """What a shape's value draws, in pixels; as the parts of a Region of these names."""

    rings: tuple[Points, ...] = ()
    mask: NDArray[np.bool_] | None = None
    point: tuple[float, float] | None = None
    path: Path | None = None


def is_shape(result: Mapping[str, Any]) -> bool:
    """Whether a result draws a region (rather than filling a field or relating two)."""
    kind = result.get("type")
    return isinstance(kind, str) and kind in SHAPE_TYPES


def decode_region(result: Mapping[str, Any], *, size: tuple[int, int] | None = None) -> Region:
    """The region that a shape result draws.

    size: (W, H) in pixels of the actual upright image, which wins over the result's
    original_width and original_height (painted masks are scaled to it). Raises RegionError
    naming the region and its fault.
    """
    if not isinstance(result, Mapping):
        raise RegionError(short(result), "is no result object")
    id = result.get("id")
    if not isinstance(id, str) or not id:
        raise RegionError(short(id), "its id is no text")
    if len(id) > _MAX_ID:
        raise RegionError(short(id), f"its id has {len(id)} characters, more than {_MAX_ID}")
    try:
        return _decode(id, result, size)
    except ValueError as fault:
        raise RegionError(id, str(fault)) from fault


def _decode(id: str, result: Mapping[str, Any], size: tuple[int, int] | None) -> Region:
    if not is_shape(result):
        raise ValueError(f"type {short(result.get('type'))} is no shape")
    shape = SHAPE_TYPES[result["type"]]
    value = result.get("value")
    if not isinstance(value, Mapping):
        raise ValueError(f"its value is {short(value)}, no object")
    original = _original_size(result)
    size = size or original
    if size is None:
        raise ValueError("has no original_width and original_height, and no image to measure")
    labels, item_index = _labels(value), _item_index(result)
    if shape == "brush":
        outline = _Outline(mask=fit_mask(brush_mask(value, _painted(original, size)), size))
    elif shape == "bitmask":
        outline = _Outline(mask=fit_mask(bitmask_mask(value, size), size))
    else:
        outline = _OUTLINES[shape](value, size)
    _check_inside(outline.rings, size)
    return Region(
        id,
        shape,
        size,
        labels,
        outline.rings,
        outline.mask,
        outline.point,
        item_index,
        outline.path,
    )


def _rectangle(value: Mapping[str, Any], size: tuple[int, int]) -> _Outline:
    x, y = _pixels(number(value, "x"), number(value, "y"), size)
    width, height = _lengths(positive(value, "width"), positive(value, "height"), size)
    return _Outline(rings=(rectangle_ring((x, y, x + width, y + height), _rotation(value)),))


def _ellipse(value: Mapping[str, Any], size: tuple[int, int]) -> _Outline:
    centre = _pixels(number(value, "x"), number(value, "y"), size)
    radii = _lengths(positive(value, "radiusX"), positive(value, "radiusY"), size)
    return _Outline(rings=(ellipse_ring(centre, radii, _rotation(value)),))


def _polygon(value: Mapping[str, Any], size: tuple[int, int]) -> _Outline:
    """A polygon that was never closed is filled too; its path says that it is open."""
    points = items(value, "points")
    if len(points) < 3:
        raise ValueError(f"has {len(points)} points; a polygon needs at least 3")
    ring = snap(from_percent(pairs(points, "point"), size))
    path = Path.through(ring, closed=False) if value.get("closed") is False else None
    return _Outline(rings=(ring,), path=path)


def _keypoint(value: Mapping[str, Any], size: tuple[int, int]) -> _Outline:
    x, y = _pixels(number(value, "x"), number(value, "y"), size)
    if not (0 <= x <= size[0] and 0 <= y <= size[1]):
        raise ValueError(f"its point ({x:.6g}, {y:.6g}) lies outside {size[0]} x {size[1]} px")
    width = number(value, "width") if value.get("width") is not None else 0.0
    if width < 0:
        raise ValueError(f"width is {width:g}, below 0")
    radius = max(2.0, _lengths(width, width, size)[0])
    return _Outline(rings=(ellipse_ring((x, y), (radius, radius)),), point=(x, y))


def _vector(value: Mapping[str, Any], size: tuple[int, int]) -> _Outline:
    """A closed path is filled; an open or branching one is stroked."""
    path = read_path(value, size)
    ring = path.ring()
    if ring is not None:
        return _Outline(rings=(ring,), path=path)
    lines = path.lines()
    _check_inside(lines, size)
    pen = max(2.0, 0.005 * max(size))
    blank = np.zeros((size[1], size[0]), dtype=bool)
    return _Outline(mask=paint_strokes(blank, [(line, pen, True) for line in lines]), path=path)


_OUTLINES = {
    "rectangle": _rectangle,
    "ellipse": _ellipse,
    "polygon": _polygon,
    "keypoint": _keypoint,
    "vector": _vector,
}


def _check_inside(lines: Sequence[Points], size: tuple[int, int]) -> None:
    if not lines:
        return
    x0, y0, x1, y1 = outer_box(lines)
    # A straight line or a dot has no inside of its own: half a pixel lets it count.
    left, top, right, bottom = clip_box((x0 - 0.5, y0 - 0.5, x1 + 0.5, y1 + 0.5), size)
    if right <= left or bottom <= top:
        raise ValueError(f"lies outside the image of {size[0]} x {size[1]} pixels")


def _original_size(result: Mapping[str, Any]) -> tuple[int, int] | None:
    sides = result.get("original_width"), result.get("original_height")
    if None in sides:
        return None
    width, height = (finite(side, "original_width or original_height") for side in sides)
    if width < 1 or height < 1 or width != int(width) or height != int(height):
        raise ValueError(f"original size {width:g} x {height:g} is no size of an image")
    if width * height > MAX_PIXELS:
        raise ValueError(f"original size {width:g} x {height:g} is above {MAX_PIXELS} pixels")
    return int(width), int(height)


def _labels(value: Mapping[str, Any]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for key, labels in value.items():
        if isinstance(key, str) and key.endswith("labels"):
            if isinstance(labels, str):
                labels = [labels]
            if not is_texts(labels):
                raise ValueError(f"{short(key)} is {short(labels)}, no list of texts")
            found.update(dict.fromkeys(labels))
    return tuple(found)


def _item_index(result: Mapping[str, Any]) -> int:
    index = result.get("item_index", 0)
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < 2**31:
        raise ValueError(f"item_index is {short(index)}, no whole number from 0")
    return index


def _painted(original: tuple[int, int] | None, size: tuple[int, int]) -> tuple[int, int]:
    """The size that a mask was painted at, unless it is absurd for its image."""
    if original is None:
        return size
    width, height = original
    if width * height > max(16 * size[0] * size[1], 4_000_000):
        raise ValueError(
            f"was painted on {width} x {height} pixels, but its image has {size[0]} x {size[1]}"
        )
    return original


def _pixels(x: float, y: float, size: tuple[int, int]) -> tuple[float, float]:
    x, y = snap(from_percent(np.array([[x, y]]), size))[0].tolist()
    return x, y


def _lengths(across: float, down: float, size: tuple[int, int]) -> tuple[float, float]:
    """Two lengths in percent as pixels, never 0."""
    width, height = _pixels(across, down, size)
    return max(width, 2.0**-20), max(height, 2.0**-20)


def _rotation(value: Mapping[str, Any]) -> float:
    """Degrees in [0, 360), to a millionth: far below what moves a pixel."""
    if value.get("rotation") is None:
        return 0.0
    return round(number(value, "rotation") * 2.0**20) / 2.0**20 % 360
