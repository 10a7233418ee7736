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

from regiontext.spans import paint_spans

__all__ = [
    "MAX_CROSSINGS",
    "MAX_PIXELS",
    "Box",
    "Points",
    "clip_box",
    "count_crossings",
    "cubic",
    "ellipse_ring",
    "fill_rings",
    "from_percent",
    "outer_box",
    "rectangle_ring",
    "rotate",
    "snap",
    "tight_box",
    "to_percent",
]

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of the upright image, x right, y down, the end exclusive."""

Points = NDArray[np.float64]
"""float64[N, 2], each row (x, y)."""

MAX_PIXELS = 100_000_000
"""Images of more pixels are neither read nor hold regions."""

MAX_CROSSINGS = 5_000_000
"""Outlines whose edges cross more pixel rows (half a second of filling) are too intricate."""

_CHUNK = 100_000
_GRID = float(1 << 20)


def from_percent(points: Points, size: tuple[int, int]) -> Points:
    """Percent of the image's width and height to pixels; points float[N, 2], size (W, H)."""
    return np.asarray(points, dtype=np.float64) * (np.asarray(size, dtype=np.float64) / 100.0)


def to_percent(points: Points, size: tuple[int, int]) -> Points:
    """Pixels to percent of the image's width and height; the inverse of `from_percent`."""
    return np.asarray(points, dtype=np.float64) * (100.0 / np.asarray(size, dtype=np.float64))


def snap(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pixels rounded to the nearest 2**-20 px, so that noise of arithmetic decides nothing.

    What is snapped, written in percent and read again is the same number, bit for bit.
    """
    snapped: NDArray[np.float64] = np.rint(np.asarray(values) * _GRID) / _GRID
    return snapped


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


def cubic(start: Points, first: Points, second: Points, end: Points, *, count: int = 24) -> Points:
    """A cubic Bézier curve at count + 1 equally spaced t in 0..1: float64[count + 1, 2].

    The four arguments are float64[2], or float64[C, 1, 2] for C curves at once.
    """
    t = np.linspace(0.0, 1.0, count + 1)[:, None]
    u = 1.0 - t
    # Products, not powers: a power's last bit differs between machines, and so would the pixels.
    ahead, behind = 3 * (u * u) * t, 3 * u * (t * t)
    curve: Points = u * u * u * start + ahead * first + behind * second + t * t * t * end
    return curve


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
    start, end, _ = _edges(rings)
    return int(_crossed_rows(start[:, 1], end[:, 1], size[1])[1].sum())


def _edges(rings: Sequence[Points]) -> tuple[Points, Points, NDArray[np.int64]]:
    """Where the edges of closed rings start and end, each float64[M, 2], and of which ring."""
    closed = [np.asarray(ring, dtype=np.float64) for ring in rings if len(ring) > 1]
    if not closed:
        return np.empty((0, 2)), np.empty((0, 2)), np.empty(0, dtype=np.int64)
    return (
        np.concatenate(closed),
        np.concatenate([np.roll(ring, -1, axis=0) for ring in closed]),
        np.repeat(np.arange(len(closed)), [len(ring) for ring in closed]),
    )


def _crossed_rows(
    start: NDArray[np.float64], end: NDArray[np.float64], height: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First row and number of rows of edges from y `start` to y `end`, `height` px in all."""
    # An edge crosses the centre line of row j when j + 0.5 lies in [top, bottom): half-open, so
    # that a vertex shared by two edges counts once.
    top, bottom = np.minimum(start, end), np.maximum(start, end)
    first = np.clip(np.ceil(top - 0.5), 0, height).astype(np.int64)
    return first, np.clip(np.ceil(bottom - 0.5), 0, height).astype(np.int64) - first


def fill_rings(rings: Sequence[Points], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Fill closed rings into bool[H, W], by pixel centres.

    Each ring is float[N, 2] pixels, its last point joined to its first. A ring that crosses itself
    is filled by the non-zero rule, as a canvas fills it; of several rings, one inside another is a
    hole (a pixel belongs where an odd number of them hold it). What lies outside the image is cut
    off. Time grows with `count_crossings` and the pixels filled, not with the image.
    """
    width, height = size
    mask = np.zeros((height, width), dtype=bool)
    start, end, ring = _edges(rings)
    first, count = _crossed_rows(start[:, 1], end[:, 1], height)
    crossed = np.flatnonzero(count)
    if not crossed.size:
        return mask
    start, end, ring = start[crossed], end[crossed], ring[crossed]
    first, count = first[crossed], count[crossed]
    # Every edge is walked downwards: two that lie upon each other cross at the very same x.
    falls = start[:, 1] <= end[:, 1]
    top, bottom = np.where(falls[:, None], start, end), np.where(falls[:, None], end, start)
    slope = (bottom[:, 0] - top[:, 0]) / (bottom[:, 1] - top[:, 1])
    across = width + 1
    ends = np.cumsum(count)
    found = []
    low = 0
    while low < len(count):
        done = int(ends[low - 1]) if low else 0
        high = max(low + 1, int(np.searchsorted(ends, done + _CHUNK, side="right")))
        edge = np.repeat(np.arange(low, high), count[low:high])
        row = first[edge] + np.arange(done, int(ends[high - 1])) - (ends - count)[edge]
        x = top[edge, 0] + (row + 0.5 - top[edge, 1]) * slope[edge]
        column = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
        # Ring, row and column, and at last which way: sorting brings a ring's rows in order.
        found.append((((ring[edge] * height + row) * across + column) << 1) | falls[edge])
        low = high
    cells = _borders(np.sort(np.concatenate(found)))
    if len(rings) > 1:
        cells = np.sort(cells % (height * across))
    cells -= cells // across
    entered, left = cells[0::2], cells[1::2]
    filled = left > entered
    paint_spans(mask, entered[filled], left[filled])
    return mask


def _borders(crossings: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the winding number becomes or ceases to be 0, of sorted crossings cell * 2 + way.

    Along every row of a closed ring it starts and ends at 0, so one sum serves all rows.
    """
    winding = np.cumsum(((crossings & 1) << 1) - 1)
    inside = winding != 0
    changed = inside != np.concatenate([[False], inside[:-1]])
    cells: NDArray[np.int64] = crossings[changed] >> 1
    return cells
