"""Strokes of a round pen to masks, exactly: a pixel is painted when its centre is under the pen.

Coordinates are (x, y) in pixels of the upright image. Knows nothing of Label Studio's JSON or of
regions.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from regiontext.geometry import Points
from regiontext.spans import Indices, join_spans, paint_spans

__all__ = ["MAX_ROWS", "MAX_STROKE_PIXELS", "Stroke", "paint_strokes"]

Stroke = tuple[Points, float, bool]
"""A polyline float64[N, 2] in pixels, the pen's width in pixels, and whether it adds or erases."""

MAX_ROWS = 3_000_000
"""`paint_strokes` refuses strokes whose pieces cross more pixel rows (about a second's work)."""

MAX_STROKE_PIXELS = 2_000_000_000
"""`paint_strokes` refuses strokes whose boxes hold more pixels of the image in all."""

_CHUNK = 100_000


def paint_strokes(mask: NDArray[np.bool_], strokes: Sequence[Stroke]) -> NDArray[np.bool_]:
    """A copy of bool[H, W] with strokes of a round pen painted over it in order.

    Painted is every pixel whose centre lies within half the pen's width (at least half a pixel)
    of the polyline, as a canvas paints lines with round caps and joints where it covers half a
    pixel or more; a polyline of one point is a dot. Raises ValueError when painting would take
    more than MAX_ROWS or MAX_STROKE_PIXELS.
    """
    height, width = mask.shape
    painted = np.array(mask, dtype=bool, order="C")
    if not strokes:
        return painted
    pieces = [_pieces(line) for line, _, _ in strokes]
    counts = [len(piece) for piece in pieces]
    ends = np.concatenate(pieces)
    radii = np.repeat([max(pen, 1.0) / 2 for _, pen, _ in strokes], counts)
    first = np.cumsum([0, *counts])
    rows, pixels = _cost(ends, radii, first[:-1], (width, height))
    if rows > MAX_ROWS or pixels > MAX_STROKE_PIXELS:
        raise ValueError(
            f"its {len(strokes)} strokes cross {rows} pixel rows and cover {pixels} pixels: "
            "too much to draw"
        )
    done = 0
    for adds, group in itertools.groupby(adds for _, _, adds in strokes):
        until = done + len(list(group))
        part = slice(first[done], first[until])
        for starts, stops in _spans(ends[part], radii[part], (width, height)):
            paint_spans(painted, starts, stops, adds)
        done = until
    return painted


def _pieces(line: Points) -> Points:
    """The pieces of a polyline, float64[M, 2 ends, 2]; a dot is one piece."""
    points = np.asarray(line, dtype=np.float64).reshape(-1, 2)
    if len(points) == 1:
        return np.stack([points, points], axis=1)
    pieces: Points = np.stack([points[:-1], points[1:]], axis=1)
    return pieces


def _rows(
    ends: Points, radii: NDArray[np.float64], height: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first pixel row under each piece and the one after the last, inside the image."""
    top, bottom = ends[:, :, 1].min(axis=1) - radii, ends[:, :, 1].max(axis=1) + radii
    first = np.clip(np.ceil(top - 0.5), 0, height).astype(np.int64)
    return first, np.clip(np.floor(bottom - 0.5) + 1, first, height).astype(np.int64)


def _cost(
    ends: Points, radii: NDArray[np.float64], starts: Indices, size: tuple[int, int]
) -> tuple[int, int]:
    """How many pixel rows the pieces cross, and how many pixels the boxes of the strokes hold.

    starts: int64[S], where in the pieces each stroke begins.
    """
    first, last = _rows(ends, radii, size[1])
    left = np.clip(ends[:, :, 0].min(axis=1) - radii, 0, size[0])
    right = np.clip(ends[:, :, 0].max(axis=1) + radii, 0, size[0])
    across = np.maximum.reduceat(right, starts) - np.minimum.reduceat(left, starts)
    down = np.maximum.reduceat(last, starts) - np.minimum.reduceat(first, starts)
    return int((last - first).sum()), int((across * down).sum())


def _spans(
    ends: Points, radii: NDArray[np.float64], size: tuple[int, int]
) -> Iterator[tuple[Indices, Indices]]:
    """The runs of pixels under the pieces, a bounded number at a time."""
    width, height = size
    first, last = _rows(ends, radii, height)
    count = last - first
    done = np.cumsum(count)
    shape = _shape(ends, radii)
    low = 0
    while low < len(count):
        before = int(done[low - 1]) if low else 0
        high = max(low + 1, int(np.searchsorted(done, before + _CHUNK, side="right")))
        piece = np.repeat(np.arange(low, high), count[low:high])
        row = first[piece] + np.arange(before, int(done[high - 1])) - (done - count)[piece]
        left, right = _reach(shape[:, piece], row + 0.5)
        start = np.clip(np.ceil(left - 0.5), 0, width).astype(np.int64)
        stop = np.clip(np.floor(right - 0.5) + 1, 0, width).astype(np.int64)
        yield join_spans(row * width + start, row * width + stop)
        low = high


def _shape(ends: Points, radii: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each piece as float64[7, M]: its upper and its lower end, its radius, its direction."""
    falls = (ends[:, 0, 1] <= ends[:, 1, 1])[:, None]
    upper, lower = np.where(falls, ends[:, 0], ends[:, 1]), np.where(falls, ends[:, 1], ends[:, 0])
    way = lower - upper
    length = np.hypot(way[:, 0], way[:, 1])
    dot = length == 0
    way[dot], length[dot] = (1.0, 0.0), 1.0
    return np.concatenate([upper.T, lower.T, radii[None], way.T / length])


def _reach(
    shape: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where each piece's outline meets its row y: the leftmost and the rightmost x.

    The outline of a pen drawn along a piece is convex: an arc around the upper end, a straight
    side, an arc around the lower end. A side touches the arcs at right angles to the piece.
    """
    ax, ay, bx, by, radius, dx, dy = shape
    found = []
    for side in (-1.0, 1.0):
        shift = side * radius * dx
        above, below = y <= ay - shift, y >= by - shift
        centre, down = np.where(above, ax, bx), y - np.where(above, ay, by)
        arc = centre + side * np.sqrt(np.maximum(radius**2 - down**2, 0.0))
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            straight = ax + side * radius * dy + (y - ay + shift) * (dx / dy)
        found.append(np.where(above | below, arc, straight))
    return found[0], found[1]
