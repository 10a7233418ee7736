"""One Label Studio shape result to a `Region` in pixels.

Every number, list and picture in a result is taken as possibly wrong: whatever does not hold up
becomes a `RegionError` with the region's id, in bounded time and memory.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regiontext.errors import RegionError
from regiontext.geometry import (
    Points,
    clip_box,
    cubic,
    ellipse_ring,
    from_percent,
    outer_box,
    rectangle_ring,
    stroke_rings,
)
from regiontext.labelstudio.brush import decode_rle
from regiontext.region import Region

__all__ = ["MAX_PIXELS", "MAX_POINTS", "SHAPE_TYPES", "decode_region", "is_shape"]

MAX_PIXELS = 100_000_000
"""Images larger than this hold no region."""

MAX_POINTS = 20_000
"""Outlines of more points are refused."""

_FAR = 10_000.0
_MAX_URL_CHARS = 64_000_000

SHAPE_TYPES: dict[str, str] = {
    f"{shape}{suffix}": shape
    for shape in ("rectangle", "ellipse", "polygon", "brush", "bitmask", "keypoint", "vector")
    for suffix in ("", "labels")
}
"""Result types that draw a region, and the shape of each."""


def is_shape(result: Mapping[str, Any]) -> bool:
    """Whether a result draws a region (rather than filling a field or relating two)."""
    kind = result.get("type")
    return isinstance(kind, str) and kind in SHAPE_TYPES


def decode_region(result: Mapping[str, Any], *, size: tuple[int, int] | None = None) -> Region:
    """The region that a shape result draws.

    size: (W, H) in pixels of the actual upright image, which wins over the result's
    original_width and original_height. Raises RegionError naming the region and its fault.
    """
    id = result.get("id")
    if not isinstance(id, str) or not id:
        raise RegionError(str(id)[:80], "its id is no text")
    try:
        return _decode(id, result, size)
    except ValueError as fault:
        raise RegionError(id, str(fault)) from fault


def _decode(id: str, result: Mapping[str, Any], size: tuple[int, int] | None) -> Region:
    if not is_shape(result):
        raise ValueError(f"type {_short(result.get('type'))} is no shape")
    shape = SHAPE_TYPES[result["type"]]
    value = result.get("value")
    if not isinstance(value, Mapping):
        raise ValueError(f"its value {_short(value)} is no object")
    original = _original_size(result)
    size = size or original
    if size is None:
        raise ValueError("has no original_width and original_height, and no image to measure")
    labels, item_index = _labels(value), _item_index(result)
    if shape in {"brush", "bitmask"}:
        mask = _brush(value, original or size) if shape == "brush" else _bitmask(value, size)
        return Region(id, shape, size, labels, raster=_fit(mask, size), item_index=item_index)
    point = None
    if shape == "keypoint":
        rings, point = _keypoint(value, size)
    else:
        rings = _OUTLINES[shape](value, size)
    x0, y0, x1, y1 = clip_box(outer_box(rings), size)
    if x1 <= x0 or y1 <= y0:
        raise ValueError(f"lies outside the image of {size[0]} x {size[1]} pixels")
    return Region(id, shape, size, labels, rings, point=point, item_index=item_index)


def _rectangle(value: Mapping[str, Any], size: tuple[int, int]) -> tuple[Points, ...]:
    x, y = _pixels(_number(value, "x"), _number(value, "y"), size)
    width, height = _pixels(_positive(value, "width"), _positive(value, "height"), size)
    return (rectangle_ring((x, y, x + width, y + height), _rotation(value)),)


def _ellipse(value: Mapping[str, Any], size: tuple[int, int]) -> tuple[Points, ...]:
    centre = _pixels(_number(value, "x"), _number(value, "y"), size)
    radii = _pixels(_positive(value, "radiusX"), _positive(value, "radiusY"), size)
    return (ellipse_ring(centre, radii, _rotation(value)),)


def _polygon(value: Mapping[str, Any], size: tuple[int, int]) -> tuple[Points, ...]:
    points = _list(value, "points")
    if len(points) < 3:
        raise ValueError(f"has {len(points)} points; a polygon needs at least 3")
    pairs = []
    for point in points:
        if not isinstance(point, Sequence) or isinstance(point, str) or len(point) != 2:
            raise ValueError(f"its point {_short(point)} is no [x, y]")
        pairs.append((_finite(point[0], "x of a point"), _finite(point[1], "y of a point")))
    return (from_percent(np.array(pairs), size),)


def _vector(value: Mapping[str, Any], size: tuple[int, int]) -> tuple[Points, ...]:
    vertices = _list(value, "vertices")
    closed = value.get("closed", False)
    if not isinstance(closed, bool):
        raise ValueError(f"closed is {_short(closed)}, not true or false")
    lines = [from_percent(line, size) for line in _segments(vertices, closed)]
    if closed and len(lines) > 2:
        return (np.concatenate([line[:-1] for line in lines]),)
    return stroke_rings(lines, max(2.0, 0.005 * max(size)))


def _segments(vertices: Sequence[Any], closed: bool) -> list[Points]:
    """Each line from a vertex to its predecessor's, float64[N, 2] percent; a lone one gets a dot."""
    if any(not isinstance(vertex, Mapping) for vertex in vertices):
        raise ValueError("one of its vertices is no object with x and y")
    places = {
        vertex["id"]: index
        for index, vertex in enumerate(vertices)
        if isinstance(vertex.get("id"), str)
    }
    points = [np.array([_number(vertex, "x"), _number(vertex, "y")]) for vertex in vertices]
    joints = []
    for index in range(1, len(vertices)):
        before = vertices[index].get("prevPointId")
        joints.append(
            (places.get(before, index - 1) if isinstance(before, str) else index - 1, index)
        )
    if closed and len(vertices) > 2:
        joints.append((len(vertices) - 1, 0))
    if not joints:
        return [np.stack([points[0], points[0] + 1e-6])]
    return [
        cubic(
            points[a],
            _control(vertices[a], 2, points[a]),
            _control(vertices[b], 1, points[b]),
            points[b],
        )
        if vertices[a].get("isBezier") or vertices[b].get("isBezier")
        else np.stack([points[a], points[b]])
        for a, b in joints
    ]


def _control(vertex: Mapping[str, Any], which: int, default: Points) -> Points:
    handle = vertex.get(f"controlPoint{which}") if vertex.get("isBezier") else None
    if handle is None:
        return default
    if not isinstance(handle, Mapping):
        raise ValueError(f"controlPoint{which} {_short(handle)} is no object with x and y")
    return np.array([_number(handle, "x"), _number(handle, "y")])


def _keypoint(
    value: Mapping[str, Any], size: tuple[int, int]
) -> tuple[tuple[Points, ...], tuple[float, float]]:
    x, y = _pixels(_number(value, "x"), _number(value, "y"), size)
    if not (0 <= x <= size[0] and 0 <= y <= size[1]):
        raise ValueError(f"the point ({x:.6g}, {y:.6g}) lies outside {size[0]} x {size[1]} pixels")
    width = _number(value, "width") if value.get("width") is not None else 0.0
    if width < 0:
        raise ValueError(f"width is {width}, below 0")
    radius = max(2.0, width * size[0] / 100)
    return (ellipse_ring((x, y), (radius, radius)),), (x, y)


def _brush(value: Mapping[str, Any], size: tuple[int, int]) -> NDArray[np.bool_]:
    form = value.get("format", "rle")
    if form != "rle":
        raise ValueError(f"its brush has the format {_short(form)}; known is 'rle'")
    return decode_rle(_list(value, "rle", limit=size[0] * size[1] * 8 + 64), size)


def _bitmask(value: Mapping[str, Any], size: tuple[int, int]) -> NDArray[np.bool_]:
    url = value.get("imageDataURL")
    head = "data:image/png;base64,"
    if not isinstance(url, str) or not url.startswith(head):
        raise ValueError(f"imageDataURL is {_short(url)}, no PNG data URL")
    if len(url) > _MAX_URL_CHARS:
        raise ValueError(f"imageDataURL has {len(url)} characters, more than {_MAX_URL_CHARS}")
    try:
        data = base64.b64decode(url[len(head) :], validate=True)
    except (binascii.Error, ValueError) as fault:
        raise ValueError(f"imageDataURL is no base64: {fault}") from fault
    limit = max(16_000_000, 4 * size[0] * size[1])
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            pixels = image.size[0] * image.size[1]
            if pixels <= limit:
                return _opaque(image)
    except Exception as fault:  # a decoder raises nearly anything on hostile bytes
        raise ValueError(f"its bitmask is no readable PNG: {fault}") from fault
    raise ValueError(f"its bitmask has {pixels} pixels, more than {limit}")


def _opaque(image: Image.Image) -> NDArray[np.bool_]:
    if "A" in image.getbands():
        return np.asarray(image.getchannel("A")) > 127
    if "transparency" in image.info:
        return np.asarray(image.convert("RGBA").getchannel("A")) > 127
    return np.asarray(image.convert("L")) > 127


def _fit(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask at the actual image's size, by nearest pixel centres."""
    width, height = size
    rows, columns = mask.shape
    if (columns, rows) != size:
        down = ((np.arange(height) + 0.5) * rows / height).astype(np.int64)
        across = ((np.arange(width) + 0.5) * columns / width).astype(np.int64)
        mask = mask[np.ix_(down, across)]
    if not mask.any():
        raise ValueError("its mask is empty")
    return mask


_OUTLINES = {
    "rectangle": _rectangle,
    "ellipse": _ellipse,
    "polygon": _polygon,
    "vector": _vector,
}


def _original_size(result: Mapping[str, Any]) -> tuple[int, int] | None:
    sides = result.get("original_width"), result.get("original_height")
    if sides == (None, None):
        return None
    width, height = (_finite(side, "original_width or original_height") for side in sides)
    if width < 1 or height < 1 or width != int(width) or height != int(height):
        raise ValueError(f"original size {width:g} x {height:g} is no size of an image")
    if width * height > MAX_PIXELS:
        raise ValueError(f"original size {width:g} x {height:g} is above {MAX_PIXELS} pixels")
    return int(width), int(height)


def _labels(value: Mapping[str, Any]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for key, labels in value.items():
        if not isinstance(key, str) or not key.endswith("labels"):
            continue
        if isinstance(labels, str):
            labels = [labels]
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise ValueError(f"{key} is {_short(labels)}, no list of texts")
        found.update(dict.fromkeys(labels))
    return tuple(found)


def _item_index(result: Mapping[str, Any]) -> int:
    index = result.get("item_index", 0)
    if not isinstance(index, int) or isinstance(index, bool) or index < 0:
        raise ValueError(f"item_index is {_short(index)}, no whole number from 0")
    return index


def _pixels(x: float, y: float, size: tuple[int, int]) -> tuple[float, float]:
    return x * size[0] / 100, y * size[1] / 100


def _rotation(value: Mapping[str, Any]) -> float:
    return _number(value, "rotation") % 360 if value.get("rotation") is not None else 0.0


def _positive(value: Mapping[str, Any], key: str) -> float:
    number = _number(value, key)
    if number <= 0:
        raise ValueError(f"{key} is {number:g}; it must be above 0")
    return number


def _number(value: Mapping[str, Any], key: str) -> float:
    if key not in value:
        raise ValueError(f"{key} is missing")
    return _finite(value[key], key)


def _finite(number: object, what: str) -> float:
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise ValueError(f"{what} is {_short(number)}, no number")
    if not -_FAR * 10**5 <= number <= _FAR * 10**5 or not math.isfinite(number):
        raise ValueError(f"{what} is {_short(number)}, no usable number")
    return float(number)


def _list(value: Mapping[str, Any], key: str, *, limit: int = MAX_POINTS) -> Sequence[Any]:
    found = value.get(key)
    if not isinstance(found, list | tuple):
        raise ValueError(f"{key} is {_short(found)}, no list")
    if not found:
        raise ValueError(f"{key} is empty")
    if len(found) > limit:
        raise ValueError(f"{key} has {len(found)} entries, more than {limit}")
    return found


def _short(value: object) -> str:
    # Cuts before printing: a hostile value may be huge.
    if isinstance(value, str | list | tuple) and len(value) > 20:
        value = value[:20]
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
