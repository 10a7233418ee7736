"""One Label Studio shape result to a `Region` in pixels.

Every number, list and picture in a result is taken as possibly wrong: whatever does not hold up
becomes a `RegionError` with the region's id, in bounded time and memory. `image_rotation` is how
the annotator turned the view; coordinates are those of the upright image all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontext.errors import RegionError
from regiontext.geometry import (
    Points,
    clip_box,
    cubic,
    ellipse_ring,
    from_percent,
    outer_box,
    paint_strokes,
    rectangle_ring,
)
from regiontext.labelstudio.masks import bitmask_mask, brush_mask, fit_mask
from regiontext.labelstudio.values import finite, is_texts, items, number, positive, short
from regiontext.region import SHAPES, Region

__all__ = ["MAX_PIXELS", "SHAPE_TYPES", "decode_region", "is_shape"]

MAX_PIXELS = 100_000_000
"""Images larger than this hold no region."""

SHAPE_TYPES: dict[str, str] = {
    f"{shape}{suffix}": shape for shape in SHAPES for suffix in ("", "labels")
} | {"magicwand": "brush"}
"""Result types that draw a region, and the shape of each."""

_Outline = tuple[tuple[Points, ...], NDArray[np.bool_] | None, tuple[float, float] | None]


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
    id = result.get("id")
    if not isinstance(id, str) or not id:
        raise RegionError(short(id), "its id is no text")
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
    outline: _Outline
    if shape == "brush":
        outline = (), fit_mask(brush_mask(value, original or size), size), None
    elif shape == "bitmask":
        outline = (), fit_mask(bitmask_mask(value, size), size), None
    else:
        outline = _OUTLINES[shape](value, size)
    rings, mask, point = outline
    _check_inside(rings, size)
    if mask is not None and not mask.any():
        raise ValueError("its mask is empty")
    return Region(id, shape, size, labels, rings, mask, point, item_index)


def _rectangle(value: Mapping[str, Any], size: tuple[int, int]) -> _Outline:
    x, y = _pixels(number(value, "x"), number(value, "y"), size)
    width, height = _pixels(positive(value, "width"), positive(value, "height"), size)
    return (rectangle_ring((x, y, x + width, y + height), _rotation(value)),), None, None


def _ellipse(value: Mapping[str, Any], size: tuple[int, int]) -> _Outline:
    centre = _pixels(number(value, "x"), number(value, "y"), size)
    radii = _pixels(positive(value, "radiusX"), positive(value, "radiusY"), size)
    return (ellipse_ring(centre, radii, _rotation(value)),), None, None


def _polygon(value: Mapping[str, Any], size: tuple[int, int]) -> _Outline:
    points = items(value, "points")
    if len(points) < 3:
        raise ValueError(f"has {len(points)} points; a polygon needs at least 3")
    pairs = []
    for point in points:
        if not isinstance(point, list | tuple) or len(point) != 2:
            raise ValueError(f"its point {short(point)} is no [x, y]")
        pairs.append((finite(point[0], "x of a point"), finite(point[1], "y of a point")))
    return (from_percent(np.array(pairs), size),), None, None


def _keypoint(value: Mapping[str, Any], size: tuple[int, int]) -> _Outline:
    x, y = _pixels(number(value, "x"), number(value, "y"), size)
    if not (0 <= x <= size[0] and 0 <= y <= size[1]):
        raise ValueError(f"its point ({x:.6g}, {y:.6g}) lies outside {size[0]} x {size[1]} px")
    width = number(value, "width") if value.get("width") is not None else 0.0
    if width < 0:
        raise ValueError(f"width is {width:g}, below 0")
    radius = max(2.0, width * size[0] / 100)
    return (ellipse_ring((x, y), (radius, radius)),), None, (x, y)


def _vector(value: Mapping[str, Any], size: tuple[int, int]) -> _Outline:
    """A closed path is filled; an open or branching one is stroked."""
    vertices = items(value, "vertices")
    closed = value.get("closed", False)
    if not isinstance(closed, bool):
        raise ValueError(f"closed is {short(closed)}, not true or false")
    if any(not isinstance(vertex, Mapping) for vertex in vertices):
        raise ValueError("one of its vertices is no object with x and y")
    points = [np.array([number(vertex, "x"), number(vertex, "y")]) for vertex in vertices]
    joints = _joints(vertices)
    chain = joints == [(index, index + 1) for index in range(len(vertices) - 1)]
    if closed and len(vertices) > 2:
        joints.append((len(vertices) - 1, 0))
    lines = [from_percent(_segment(vertices, points, joint), size) for joint in joints]
    if closed and chain and len(lines) > 2:
        return (np.concatenate([line[:-1] for line in lines]),), None, None
    lines = lines or [from_percent(points[0][None], size)]
    _check_inside(lines, size)
    pen = max(2.0, 0.005 * max(size))
    blank = np.zeros((size[1], size[0]), dtype=bool)
    return (), paint_strokes(blank, [(line, pen, True) for line in lines]), None


def _joints(vertices: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
    """Which vertices are joined, as (from, to): by prevPointId, or in order if none has it."""
    places = {
        vertex["id"]: index
        for index, vertex in enumerate(vertices)
        if isinstance(vertex.get("id"), str)
    }
    before = [vertex.get("prevPointId") for vertex in vertices]
    if not any(before):
        return [(index, index + 1) for index in range(len(vertices) - 1)]
    return [
        (places[id], index)
        for index, id in enumerate(before)
        if isinstance(id, str) and places.get(id, index) != index
    ]


def _segment(
    vertices: Sequence[Mapping[str, Any]], points: Sequence[Points], joint: tuple[int, int]
) -> Points:
    """One joint as float64[N, 2] percent: a line, or a Bézier curve as the editor draws it."""
    a, b = joint
    leaving, entering = _handle(vertices[a], 2), _handle(vertices[b], 1)
    if leaving is None and entering is None:
        return np.stack([points[a], points[b]])
    # The editor puts a missing handle 30 % of the way along the straight line.
    along = 0.3 * (points[b] - points[a])
    return cubic(
        points[a],
        points[a] + along if leaving is None else leaving,
        points[b] - along if entering is None else entering,
        points[b],
    )


def _handle(vertex: Mapping[str, Any], which: int) -> Points | None:
    handle = vertex.get(f"controlPoint{which}") if vertex.get("isBezier") is True else None
    if handle is None:
        return None
    if not isinstance(handle, Mapping):
        raise ValueError(f"controlPoint{which} is {short(handle)}, no object with x and y")
    return np.array([number(handle, "x"), number(handle, "y")])


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
    if sides == (None, None):
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


def _pixels(x: float, y: float, size: tuple[int, int]) -> tuple[float, float]:
    return x * size[0] / 100, y * size[1] / 100


def _rotation(value: Mapping[str, Any]) -> float:
    return number(value, "rotation") % 360 if value.get("rotation") is not None else 0.0
