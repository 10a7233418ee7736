"""Plane geometry in pixels: percent and pixels, rotation, outlines, and filling them into masks.

Coordinates are (x, y) in pixels of the upright image, x right, y down. Pixel (column i, row j)
covers [i, i+1) x [j, j+1) and belongs to a shape when its centre (i+0.5, j+0.5) does. Knows
nothing of Label Studio's JSON, of regions or of images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

__all__ = [
    "MAX_CROSSINGS",
    "MAX_STROKE",
    "Box",
    "Points",
    "clip_box",
    "count_crossings",
    "cubic",
    "ellipse_ring",
    "fill_rings",
    "from_percent",
    "outer_box",
    "paint_strokes",
    "rectangle_ring",
    "rotate",
    "tight_box",
    "to_percent",
]

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of the upright image, x right, y down, the end exclusive."""

Points = NDArray[np.float64]
"""float64[N, 2], each row (x, y)."""

MAX_CROSSINGS = 50_000_000
"""Outlines whose edges cross more pixel rows (a few seconds of filling) are too intricate."""

MAX_STROKE = 50_000_000
"""How many rows of pen `paint_strokes` paints at most, and 40 times as many pixels."""

_CHUNK = 1_000_000


def from_percent(points: Points, size: tuple[int, int]) -> Points:
    """Percent of the image's width and height to pixels; points float[N, 2], size (W, H)."""
    return np.asarray(points, dtype=np.float64) * (np.asarray(size, dtype=np.float64) / 100.0)


def to_percent(points: Points, size: tuple[int, int]) -> Points:
    """Pixels to percent of the image's width and height; the inverse of `from_percent`."""
    return np.asarray(points, dtype=np.float64) * (100.0 / np.asarray(size, dtype=np.float64))


def rotate(points: Points, degrees: float, about: tuple[float, float]) -> Points:
    """Turn float[N, 2] points by `degrees` clockwise (as seen, y down) about one point."""
    turn = math.radians(degrees)
    cos, sin = math.cos(turn), math.sin(turn)
    centre = np.asarray(about, dtype=np.float64)
    moved = np.asarray(points, dtype=np.float64) - centre
    turned: Points = moved @ np.array([[cos, sin], [-sin, cos]]) + centre
    return turned


def rectangle_ring(box: Box, degrees: float = 0.0) -> Points:
    """The four corners of a box, float64[4, 2], turned clockwise about its top-left corner."""
    x0, y0, x1, y1 = box
    corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=np.float64)
    return rotate(corners, degrees, (x0, y0)) if degrees else corners


def ellipse_ring(
    centre: tuple[float, float], radii: tuple[float, float], degrees: float = 0.0
) -> Points:
    """An ellipse as a ring float64[N, 2], starting at the end of its first radius.

    N grows with the larger radius so that the ring stays within 0.1 px of the curve, up to
    radii of about 10 000 px. Rotation is clockwise about the centre.
    """
    count = int(min(720, max(32, math.ceil(math.pi * math.sqrt(max(radii) / 0.2)))))
    angle = np.arange(count) * (2 * math.pi / count)
    ring = np.stack(
        [centre[0] + radii[0] * np.cos(angle), centre[1] + radii[1] * np.sin(angle)], axis=1
    )
    return rotate(ring, degrees, centre) if degrees else ring


def cubic(start: Points, first: Points, second: Points, end: Points, count: int = 24) -> Points:
    """A cubic Bézier curve as float64[count + 1, 2]; the four arguments are float64[2]."""
    t = np.linspace(0.0, 1.0, count + 1)[:, None]
    u = 1.0 - t
    return u**3 * start + 3 * u**2 * t * first + 3 * u * t**2 * second + t**3 * end


def outer_box(rings: Sequence[Points]) -> Box:
    """The tight box around all points of all rings, not clipped to any image."""
    points = np.concatenate([np.asarray(ring, dtype=np.float64) for ring in rings])
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    return float(x0), float(y0), float(x1), float(y1)


def clip_box(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The smallest whole-pixel box that holds `box` inside an image of size (W, H).

    It is empty (x1 <= x0 or y1 <= y0) when the box lies outside.
    """
    width, height = size
    x0, y0, x1, y1 = box
    return (
        int(min(max(math.floor(x0), 0), width)),
        int(min(max(math.floor(y0), 0), height)),
        int(min(max(math.ceil(x1), 0), width)),
        int(min(max(math.ceil(y1), 0), height)),
    )


def tight_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 (end exclusive) around the true pixels of bool[H, W]; all 0 if none."""
    rows = np.flatnonzero(mask.any(axis=1))
    if not rows.size:
        return 0, 0, 0, 0
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(mask[top:bottom].any(axis=0))
    return int(columns[0]), top, int(columns[-1]) + 1, bottom


def count_crossings(rings: Sequence[Points], size: tuple[int, int]) -> int:
    """How many pixel rows the edges of closed rings cross in all: what `fill_rings` has to do."""
    total = 0
    for ring in rings:
        points = np.asarray(ring, dtype=np.float64)
        total += int(_crossed_rows(points, np.roll(points, -1, axis=0), size[1])[1].sum())
    return total


def _crossed_rows(
    start: Points, end: Points, height: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each edge's first row and number of rows in an image `height` px high."""
    # An edge crosses the centre line of row j when j + 0.5 lies in [top, bottom): half-open, so
    # that a vertex shared by two edges counts once.
    top = np.minimum(start[:, 1], end[:, 1])
    bottom = np.maximum(start[:, 1], end[:, 1])
    first = np.clip(np.ceil(top - 0.5), 0, height).astype(np.int64)
    return first, np.clip(np.ceil(bottom - 0.5), 0, height).astype(np.int64) - first


def fill_rings(rings: Sequence[Points], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Fill closed rings by the even-odd rule into bool[H, W], by pixel centres.

    Each ring is float[N, 2] pixels, its last point joined to its first; a ring inside another is
    a hole. What lies outside the image is cut off. Time and memory grow with `count_crossings`.
    """
    width, height = size
    mask = np.zeros((height, width), dtype=bool)
    closed = [np.asarray(ring, dtype=np.float64) for ring in rings if len(ring) > 2]
    if not closed:
        return mask
    x0, y0, x1, y1 = clip_box(outer_box(closed), size)
    if x1 <= x0 or y1 <= y0:
        return mask
    start = np.concatenate(closed)
    end = np.concatenate([np.roll(ring, -1, axis=0) for ring in closed])
    first, count = _crossed_rows(start, end, height)
    crossed = np.flatnonzero(count)
    start, end, first, count = start[crossed], end[crossed], first[crossed], count[crossed]
    slope = (end[:, 0] - start[:, 0]) / (end[:, 1] - start[:, 1])
    across = x1 - x0 + 1
    flips = np.zeros((y1 - y0) * across, dtype=bool)
    ends = np.cumsum(count)
    low = 0
    while low < len(count):
        done = int(ends[low - 1]) if low else 0
        high = max(low + 1, int(np.searchsorted(ends, done + _CHUNK, side="right")))
        edge = np.repeat(np.arange(low, high), count[low:high])
        offset = np.arange(done, int(ends[high - 1])) - (ends - count)[edge]
        row = first[edge] + offset
        x = start[edge, 0] + (row + 0.5 - start[edge, 1]) * slope[edge]
        column = np.clip(np.ceil(x - 0.5), x0, x1).astype(np.int64)
        cells, times = np.unique((row - y0) * across + (column - x0), return_counts=True)
        flips[cells] ^= (times & 1).astype(bool)
        low = high
    inside = np.logical_xor.accumulate(flips.reshape(y1 - y0, across), axis=1)
    mask[y0:y1, x0:x1] = inside[:, :-1]
    return mask


def paint_strokes(
    mask: NDArray[np.bool_], strokes: Sequence[tuple[Points, float, bool]]
) -> NDArray[np.bool_]:
    """A copy of bool[H, W] with strokes of a round pen painted over it in order, to about a pixel.

    Each stroke is (polyline float[N, 2] pixels, pen width in pixels, whether it adds rather than
    erases); a polyline of one point is a dot. Raises ValueError when painting would take more
    than MAX_STROKE rows of pen.
    """
    rows = pixels = 0.0
    for line, width, _ in strokes:
        length = float(np.abs(np.diff(line, axis=0)).sum()) + len(line) * max(width, 1.0)
        rows += length
        pixels += length * max(width, 1.0)
    if rows > MAX_STROKE or pixels > 40 * MAX_STROKE:
        raise ValueError(f"its {len(strokes)} strokes cover {pixels:.3g} pixels: too much to draw")
    canvas = Image.fromarray(mask.astype(np.uint8))
    pen = ImageDraw.Draw(canvas)
    for line, width, adds in strokes:
        radius = max(width, 1.0) / 2
        path = [(x, y) for x, y in np.floor(line).tolist()]
        if len(path) > 1:
            pen.line(path, fill=int(adds), width=max(1, round(width)))
        for x, y in path if radius > 1 else path[:1]:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=int(adds))
    return np.asarray(canvas).astype(bool)
