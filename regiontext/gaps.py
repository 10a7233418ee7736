"""The shortest way between two regions, or two boxes, in pixels.

A region is the area that its pixels cover, [i, i+1) x [j, j+1) each. Knows nothing of predicates.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray

from regiontext.geometry import Box
from regiontext.region import Region

__all__ = ["box_gap", "disjoint_gap", "fills_box"]

_FEW: Final = 100_000

_Points = NDArray[np.float64]


def box_gap(a: Box, b: Box) -> float:
    """The shortest way between two boxes, px; 0 when they meet."""
    return math.hypot(max(a[0] - b[2], b[0] - a[2], 0.0), max(a[1] - b[3], b[1] - a[3], 0.0))


def disjoint_gap(a: Region, b: Region) -> float:
    """The shortest way between the areas of two regions of one image that share no pixel, px.

    Exact.
    """
    if fills_box(a) and fills_box(b):
        return box_gap(a.box, b.box)
    # Two cells of one grid are nearest at two of their corners.
    first, second = _outline(a), _outline(b)
    most = _some_way(first, second, b.box)
    # What is left of one outline bounds what can be nearest on the other.
    for _ in range(2):
        first = first[:, _to_box(first, second) <= most]
        second = second[:, _to_box(second, first) <= most]
    return math.sqrt(_least(first, second))


def fills_box(region: Region) -> bool:
    """Whether a region is all of its box, so that the box tells everything."""
    x0, y0, x1, y1 = region.box
    return region.area == (x1 - x0) * (y1 - y0)


def _outline(region: Region) -> _Points:
    """Every grid point float64[2, N] where a pixel of the region meets one that is not of it."""
    x0, y0, x1, y1 = (int(side) for side in region.box)
    across = x1 - x0 + 2
    padded = np.zeros((y1 - y0 + 2, across), dtype=np.uint8)
    padded[1:-1, 1:-1] = region.mask[y0:y1, x0:x1]
    # Row after row: past the end of one the next begins, and both are empty there.
    flat = padded.ravel()
    around = flat[: -across - 1] + flat[1:-across]
    around += flat[across:-1]
    around += flat[across + 1 :]
    around -= 1
    # 1..3 of the four pixels around the point; 0 has wrapped to 255.
    y, x = np.divmod(np.flatnonzero(around < 3), across)
    return np.stack([x + x0, y + y0]).astype(np.float64)


def _some_way(first: _Points, second: _Points, box: Box) -> float:
    """The square of a way that is at most a little longer than the shortest.

    Goes from the point nearest to the other's `box` to and fro between nearest points.
    """
    corners = np.array(box).reshape(2, 2).T
    start = first[:, int(_to_box(first, corners).argmin())]
    most = math.inf
    for _ in range(8):
        end = second[:, int(_squares(second, start).argmin())]
        ways = _squares(first, end)
        nearest = int(ways.argmin())
        if ways[nearest] >= most:
            break
        most, start = float(ways[nearest]), first[:, nearest]
    return most


def _squares(points: _Points, to: _Points) -> _Points:
    squares: _Points = (points[0] - to[0]) ** 2 + (points[1] - to[1]) ** 2
    return squares


def _to_box(points: _Points, others: _Points) -> _Points:
    """The squares of the ways from `points` to the tight box around `others`."""
    low, high = others.min(axis=1, keepdims=True), others.max(axis=1, keepdims=True)
    ways = np.maximum(np.maximum(low - points, points - high), 0.0)
    squares: _Points = (ways * ways).sum(axis=0)
    return squares


def _least(first: _Points, second: _Points) -> float:
    """The square of the shortest way between two sets of points."""
    if first.shape[1] * second.shape[1] <= _FEW:
        squares = first.T @ (-2 * second)
        squares += (first * first).sum(axis=0)[:, None]
        squares += (second * second).sum(axis=0)
        return float(squares.min())
    # One within a bay of the other: few points can be ruled out, and a tree is faster.
    tree = shapely.STRtree(shapely.points(second.T))
    found = tree.query_nearest(shapely.points(first.T), all_matches=False, return_distance=True)
    return float(found[1].min()) ** 2
