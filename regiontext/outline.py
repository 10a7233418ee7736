"""Masks to outlines: polygons with holes along the edges of the pixels, exactly.

Knows nothing of regions; `regiontext.geometry.fill_rings` of all rings gives the mask again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regiontext.geometry import Points, tight_box

__all__ = ["Outline", "join_rings", "trace_outlines"]

_Corner = tuple[int, int]
_Ring = list[_Corner]


@dataclass(frozen=True, eq=False)
class Outline:
    """One connected part of a mask: its outer ring and the rings of its holes.

    Rings are float64[N, 2] corners (x, y) in pixels, not repeating the first at the end; outer
    rings run clockwise as seen (y down), holes counter-clockwise. No ring touches itself; rings
    touch one another at corners only.
    """

    outer: Points
    holes: tuple[Points, ...] = ()

    @property
    def rings(self) -> tuple[Points, ...]:
        """The outer ring and the holes, as `fill_rings` takes them."""
        return (self.outer, *self.holes)


def trace_outlines(mask: NDArray[np.bool_]) -> tuple[Outline, ...]:
    """The outlines of a mask bool[H, W], one for each part whose pixels share sides.

    Ordered by their topmost, then leftmost corner. Filling all their rings together, or each
    outline by itself, gives the mask back pixel for pixel. Takes a few microseconds a corner.
    """
    if not mask.any():
        return ()
    x0, y0, x1, y1 = tight_box(mask)
    part = np.pad(np.asarray(mask[y0:y1, x0:x1], dtype=bool), 1)
    rings = sorted((ring for loop in _loops(part) for ring in _split(loop)), key=_top)
    outer = [ring for ring in rings if _turns_clockwise(ring)]
    holes = [ring for ring in rings if not _turns_clockwise(ring)]
    shift = np.array([x0 - 1, y0 - 1], dtype=np.float64)
    return tuple(
        Outline(_points(ring) + shift, tuple(_points(hole) + shift for hole in inside))
        for ring, inside in zip(outer, _held(outer, holes, part.shape), strict=True)
    )


def join_rings(rings: Sequence[Points]) -> Points:
    """Rings as a single one, float64[N, 2]: joined by cuts, each walked there and back.

    They are turned so that holes run against the ring around them: where no rings cross, filling
    the one is filling them all, by the even-odd as by the non-zero rule.
    """
    if len(rings) > 1:
        rings = [ring if _area(ring) >= 0 else ring[::-1] for ring in rings]
        rings = [ring[::-1] if _depth(ring, rings) % 2 else ring for ring in rings]
    home = rings[0][:1]
    pieces = [rings[0]]
    for ring in rings[1:]:
        pieces += [home, ring, ring[:1]]
    if len(rings) > 1:
        pieces.append(home)
    return np.concatenate(pieces)


def _area(ring: Points) -> float:
    """Twice the area float of a ring, above 0 when it runs clockwise as seen."""
    x, y = ring.T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))


def _depth(ring: Points, rings: Sequence[Points]) -> int:
    """How many of the other rings lie around a ring's first edge."""
    x, y = (ring[0] + ring[1 % len(ring)]) / 2
    depth = 0
    for other in rings:
        if other is ring:
            continue
        (ax, ay), (bx, by) = other.T, np.roll(other, -1, axis=0).T
        crossed = (ay <= y) != (by <= y)
        with np.errstate(divide="ignore", invalid="ignore"):
            left = ax + (y - ay) * (bx - ax) / (by - ay) < x
        depth += int(np.count_nonzero(crossed & left)) & 1
    return depth


def _loops(part: NDArray[np.bool_]) -> list[_Ring]:
    """Closed walks along the edges of a mask padded with false, its pixels on the right hand.

    Each begins at its topmost, then leftmost corner.
    """
    above, below = part[:-1], part[1:]
    a, b, c, d = above[:, :-1], above[:, 1:], below[:, :-1], below[:, 1:]
    # Of four pixels around a corner, one or three are true, or two that face each other.
    rows, columns = np.nonzero(a ^ b ^ c ^ d | (a & d & ~b & ~c) | (b & c & ~a & ~d))
    crossing = a[rows, columns] == d[rows, columns]
    crossing &= b[rows, columns] == c[rows, columns]
    # A corner where two pixels face each other is two corners, one beside each of the pixels:
    # the first has the edge to the left, the second that to the right.
    index = np.repeat(np.arange(len(rows)), np.where(crossing, 2, 1))
    second = np.concatenate([[False], index[1:] == index[:-1]])
    y, x = rows[index] + 1, columns[index] + 1
    falling = crossing[index] & a[rows[index], columns[index]]
    # Beside the pixel up left: the edges left and up. Otherwise, down left: left and down.
    lower = np.where(falling, second, crossing[index] & ~second)
    across = _pairs(np.lexsort((second, x, y)))
    along = _pairs(np.lexsort((lower, y, x)))
    corners = list(zip(x.tolist(), y.tolist(), strict=True))
    filled = part[y, x].tolist()
    loops = []
    seen = bytearray(len(corners))
    for start in range(len(corners)):
        if seen[start]:
            continue
        # The topmost, leftmost corner of its loop, so its edges go right and down.
        loop: _Ring = []
        at = start
        while not seen[at]:
            turn = across[at]
            seen[at] = seen[turn] = 1
            loop += (corners[at], corners[turn])
            at = along[turn]
        loops.append(loop if filled[start] else [loop[0], *loop[:0:-1]])
    return loops


def _pairs(order: NDArray[np.int64]) -> list[int]:
    """The partner of each corner, when they pair up two by two in this order."""
    partner = np.empty(len(order), dtype=np.int64)
    partner[order[0::2]], partner[order[1::2]] = order[1::2], order[0::2]
    found: list[int] = partner.tolist()
    return found


def _split(loop: _Ring) -> list[_Ring]:
    """A walk that comes by a corner twice, as rings that do not; they begin as `_loops` do."""
    if len(set(loop)) == len(loop):
        return [loop]
    rings: list[_Ring] = []
    walk: _Ring = []
    place: dict[_Corner, int] = {}
    for corner in loop:
        at = place.get(corner)
        if at is not None:
            rings.append(walk[at:])
            for left in walk[at:]:
                del place[left]
            del walk[at:]
        place[corner] = len(walk)
        walk.append(corner)
    begins = [min(range(len(ring)), key=lambda at: ring[at][::-1]) for ring in (*rings, walk)]
    return [ring[at:] + ring[:at] for ring, at in zip((*rings, walk), begins, strict=True)]


def _top(ring: _Ring) -> _Corner:
    x, y = ring[0]
    return y, x


def _turns_clockwise(ring: _Ring) -> bool:
    # From its topmost, leftmost corner a clockwise walk leaves to the right.
    return ring[1][1] == ring[0][1]


def _held(outer: list[_Ring], holes: list[_Ring], shape: tuple[int, ...]) -> list[list[_Ring]]:
    """The holes of each outer ring; all begin at their topmost corner and come in that order."""
    held: list[list[_Ring]] = [[] for _ in outer]
    if not holes:
        return held
    if len(outer) == 1:
        return [holes]
    # The pixel above a hole's top edge belongs to the part around it: the nearest upright edge to
    # its left is of that part's outer ring, or of a hole of the same part further up.
    rings = [*outer, *holes]
    owner = np.full(shape, -1, dtype=np.int32)
    for number, ring in enumerate(rings):
        for (x, y), (_, down) in zip(ring, [*ring[1:], ring[0]], strict=True):
            if y != down:
                owner[min(y, down) : max(y, down), x] = number
    part = list(range(len(outer))) + [-1] * len(holes)
    for number, hole in enumerate(holes, start=len(outer)):
        x, y = hole[0]
        left = owner[y - 1, : x + 1]
        part[number] = part[int(left[np.flatnonzero(left >= 0)[-1]])]
        held[part[number]].append(hole)
    return held


def _points(ring: _Ring) -> Points:
    return np.array(ring, dtype=np.float64)
