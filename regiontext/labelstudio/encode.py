"""A `Region` in pixels to the Label Studio result that draws it; the inverse of `decode`."""

from __future__ import annotations

import base64
import io
import math
from typing import Any

import numpy as np
from PIL import Image

from regiontext.errors import RegionError
from regiontext.geometry import Points, fill_rings, to_percent
from regiontext.labelstudio.brush import encode_rle
from regiontext.labelstudio.decode import SHAPE_TYPES
from regiontext.labelstudio.vertices import write_vertices
from regiontext.outline import join_rings
from regiontext.path import Path
from regiontext.region import Region

__all__ = ["encode_region"]


def encode_region(region: Region, *, from_name: str, to_name: str, type: str) -> dict[str, Any]:
    """The result that draws `region` with the control `from_name` on `to_name`.

    type is one of SHAPE_TYPES ("rectanglelabels", "brush", ...). A region may be written as
    another shape than its own where that loses no meaning: anything as brush or bitmask (its
    mask), anything as polygon or vector (its outline; several rings are joined into one by cuts,
    since a polygon of Label Studio has neither holes nor parts), anything as rectangle (its box,
    turned only if it is a rectangle itself), anything as keypoint (its anchor). Written as its
    own shape, it is read with the same mask. Raises RegionError for an unknown type or a shape
    that cannot be so.
    """
    if type not in SHAPE_TYPES:
        raise RegionError(region.id, f"type {type!r} is none of {', '.join(SHAPE_TYPES)}")
    value = _VALUES[SHAPE_TYPES[type]](region)
    if type.endswith("labels"):
        value[type] = list(region.labels)
    result = {
        "id": region.id,
        "from_name": from_name,
        "to_name": to_name,
        "type": type,
        "origin": "prediction",
        "original_width": region.size[0],
        "original_height": region.size[1],
        "image_rotation": 0,
        "value": value,
    }
    if region.item_index:
        result["item_index"] = region.item_index
    return result


def _rectangle(region: Region) -> dict[str, Any]:
    if region.shape == "rectangle" and region.polygons and len(region.polygons[0]) == 4:
        corner, right, _, down = region.polygons[0]
    else:
        x0, y0, x1, y1 = region.box
        corner, right, down = np.array([x0, y0]), np.array([x1, y0]), np.array([x0, y1])
    across, along = right - corner, down - corner
    sides = np.array([math.hypot(*across), math.hypot(*along)])
    # The longer side tells the turn more exactly.
    turn = across if sides[0] >= sides[1] else np.array([along[1], -along[0]])
    (x, y), (width, height) = to_percent(np.stack([corner, sides]), region.size)
    return {
        "x": float(x),
        "y": float(y),
        "width": float(width),
        "height": float(height),
        "rotation": _degrees(turn),
    }


def _ellipse(region: Region) -> dict[str, Any]:
    if region.shape != "ellipse" or not region.polygons:
        raise RegionError(region.id, f"a {region.shape} cannot be written as an ellipse")
    ring = region.polygons[0]
    centre = ring.mean(axis=0)
    # The ring starts at the end of the first radius; the point about a quarter on tells the
    # second. The longer of the two tells the turn more exactly.
    first = ring[0] - centre
    quarter = round(len(ring) / 4)
    angle = 2 * math.pi * quarter / len(ring)
    second = (ring[quarter] - centre - first * math.cos(angle)) / math.sin(angle)
    radii = math.hypot(*first), math.hypot(*second)
    turn = first if radii[0] >= radii[1] else np.array([second[1], -second[0]])
    x, y = to_percent(centre[None], region.size)[0]
    return {
        "x": float(x),
        "y": float(y),
        "radiusX": radii[0] / region.size[0] * 100,
        "radiusY": radii[1] / region.size[1] * 100,
        "rotation": _degrees(turn),
    }


def _polygon(region: Region) -> dict[str, Any]:
    closed = region.raster is not None or region.path is None or region.path.closed
    return {"points": to_percent(_ring(region), region.size).tolist(), "closed": closed}


def _vector(region: Region) -> dict[str, Any]:
    path = region.path or Path.through(_ring(region), closed=True)
    return {"vertices": write_vertices(path, region.size, region.id), "closed": path.closed}


def _ring(region: Region) -> Points:
    """The one ring that fills the region's mask."""
    if region.raster is None:
        ring = join_rings(region.polygons)
        # Rings that cross each other cannot be joined as they are.
        if len(region.polygons) == 1 or np.array_equal(
            fill_rings([ring], region.size), region.mask
        ):
            return ring
    return join_rings([ring for outline in region.outlines for ring in outline.rings])


def _keypoint(region: Region) -> dict[str, Any]:
    x, y = region.point or region.anchor
    radius = 2.0
    if region.shape == "keypoint" and region.polygons:
        radius = float(np.hypot(*(region.polygons[0][0] - (x, y))))
    width, height = region.size
    return {"x": x / width * 100, "y": y / height * 100, "width": radius / width * 100}


def _brush(region: Region) -> dict[str, Any]:
    return {"format": "rle", "rle": encode_rle(region.mask)}


def _bitmask(region: Region) -> dict[str, Any]:
    width, height = region.size
    pixels = np.zeros((height, width, 4), dtype=np.uint8)
    pixels[..., 3] = np.where(region.mask, 255, 0)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return {"imageDataURL": "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()}


_VALUES = {
    "rectangle": _rectangle,
    "ellipse": _ellipse,
    "polygon": _polygon,
    "vector": _vector,
    "keypoint": _keypoint,
    "brush": _brush,
    "bitmask": _bitmask,
}


def _degrees(direction: Points) -> float:
    turn = math.degrees(math.atan2(direction[1], direction[0]))
    return turn + 360 if turn < 0 else turn
