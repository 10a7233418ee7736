"""Cuts parts that reach far beyond a picture down to its neighbourhood.

Pillow walks a line pixel by pixel wherever it lies and computes with 32 bits; a vertex a billion
pixels away would keep it busy for minutes, or overflow. Parts that stay near are left as they are,
to the bit. Knows nothing of pixels or colours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from regiontext.marks.parts import Bounds, Part, Path, Points, Polygon, Rectangle, Rings, extent

__all__ = ["nearby"]

# Far enough that rounding the cut's end bends a line by less than a pixel on the picture.
_REACH: Final = 1 << 14


def nearby(part: Part, window: Bounds) -> tuple[Part, ...]:
    """Parts that together cover of `window` (x0, y0, x1, y1) what `part` covers of it.

    Their coordinates lie within 16384 px of the window (a rectangle's within its width). Ovals and
    rasters, which have no vertices to cut at, come back as they are.
    """
    match part:
        case Rectangle(box, width):
            x0, y0, x1, y1 = _grown(window, width + 2)
            # A side pushed to this border still lies, with its whole width, outside the window.
            clamped = (max(box[0], x0), max(box[1], y0), min(box[2], x1), min(box[3], y1))
            visible = clamped[0] <= clamped[2] and clamped[1] <= clamped[3]
            return (Rectangle(clamped, width),) if visible else ()
        case Path(points, width, curved):
            limits = _grown(window, _REACH)
            if _within(points, limits):
                return (part,)
            return tuple(Path(piece, width, curved) for piece in _pieces(points, limits))
        case Polygon(points):
            return tuple(Polygon(ring) for ring in _cut_rings((points,), window))
        case Rings(rings, half_width):
            near = tuple(_cut_rings(rings, window))
            return (Rings(near, half_width),) if near else ()
    return (part,)


def _grown(window: Bounds, margin: int) -> Bounds:
    x0, y0, x1, y1 = window
    return x0 - margin, y0 - margin, x1 + margin, y1 + margin


def _within(points: Points, limits: Bounds) -> bool:
    x0, y0, x1, y1 = extent(points)
    return limits[0] <= x0 and limits[1] <= y0 and x1 <= limits[2] and y1 <= limits[3]


def _pieces(points: Points, limits: Bounds) -> Iterator[Points]:
    """The stretches of a polyline within `limits`, by Liang and Barsky's cut of each segment.

    A vertex inside is kept exactly and joins its two segments; where the polyline leaves, a piece
    ends.
    """
    starts, ends, steps = points[:-1], points[1:], np.diff(points, axis=0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        one, other = (limits[:2] - starts) / steps, (limits[2:] - starts) / steps
        enter = np.clip(np.fmin(one, other).max(axis=1), 0, None)
        leave = np.clip(np.fmax(one, other).min(axis=1), None, 1)
        entries = np.where(enter[:, None] > 0, np.rint(starts + enter[:, None] * steps), starts)
        exits = np.where(leave[:, None] < 1, np.rint(starts + leave[:, None] * steps), ends)
    piece: list[Points] = []
    for i in np.flatnonzero(enter < leave):
        if piece and enter[i] > 0:
            yield np.array(piece)
            piece = []
        if not piece:
            piece = [entries[i]]
        piece.append(exits[i])
        if leave[i] < 1:
            yield np.array(piece)
            piece = []
    if piece:
        yield np.array(piece)


def _cut_rings(rings: tuple[Points, ...], window: Bounds) -> Iterator[Points]:
    """The rings within the neighbourhood of `window`; the border it adds lies far outside."""
    limits = _grown(window, _REACH)
    for ring in rings:
        if _within(ring, limits):
            yield ring
            continue
        for axis in (0, 1):
            for limit, outward in ((limits[axis], -1), (limits[axis + 2], 1)):
                ring = _cut(ring, axis, limit, outward)
        if len(ring) > 1:
            yield ring


def _cut(ring: Points, axis: int, limit: float, outward: int) -> Points:
    """`ring` without what lies beyond `limit` (after Sutherland and Hodgman)."""
    beyond = outward * (ring[:, axis] - limit)
    following, beyond_next = np.roll(ring, -1, axis=0), np.roll(beyond, -1)
    inside = beyond <= 0
    crosses = inside != (beyond_next <= 0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        share = beyond / (beyond - beyond_next)
        crossing = np.rint(ring + share[:, None] * (following - ring))
    crossing[:, axis] = limit
    kept: Points = np.stack([ring, crossing], axis=1)[np.stack([inside, crosses], axis=1)]
    return kept
