"""A path as it was drawn: vertices joined one to another, some of them by Bézier curves.

A region's mask needs only the path's outline; the path keeps what the outline forgets, so that it
can be written and edited again. Knows nothing of Label Studio's JSON or of regions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from regiontext.geometry import Points, cubic

__all__ = ["Path"]


@dataclass(frozen=True, eq=False)
class Path:
    """Vertices and how they are joined.

    vertices: float64[N, 2] pixels. previous: int64[N], the index of the vertex that each is drawn
    from, -1 for none; a vertex may be drawn from by several. entering, leaving: float64[N, 2]
    pixels, the Bézier handles towards the vertex before and towards those after, NaN where there
    is none. closed: whether the path is filled; unless its first vertex is drawn from another, a
    straight line joins it to the last.
    """

    vertices: Points
    previous: NDArray[np.int64]
    entering: Points
    leaving: Points
    closed: bool

    @classmethod
    def through(cls, vertices: Points, *, closed: bool) -> Path:
        """The straight path through vertices float64[N, 2] pixels in their order."""
        points = np.asarray(vertices, dtype=np.float64)
        none = np.full_like(points, np.nan)
        previous = np.arange(-1, len(points) - 1)
        if closed:
            previous[0] = len(points) - 1
        return cls(points, previous, none, none, closed)

    def moved(self, by: Points) -> Path:
        """The same path moved by float64[2] pixels."""
        return replace(
            self,
            vertices=self.vertices + by,
            entering=self.entering + by,
            leaving=self.leaving + by,
        )

    def lines(self) -> tuple[Points, ...]:
        """Polylines float64[M, 2] along all joints; for a lone vertex, the vertex."""
        start, end = self._joints()
        if not start.size:
            return (self.vertices[:1],)
        curved, curves = self._curves(start, end)
        start, end = start[~curved], end[~curved]
        # Straight joints that follow one another in the list are one polyline.
        breaks = np.flatnonzero(start[1:] != end[:-1]) + 1
        chains = [
            self.vertices[[*begins[:1], *ends]]
            for begins, ends in zip(np.split(start, breaks), np.split(end, breaks), strict=True)
            if len(begins)
        ]
        return (*chains, *curves)

    def ring(self) -> Points | None:
        """The outline float64[M, 2] of a closed path without branches; None for any other."""
        order = self._cycle() if self.closed else None
        if order is None:
            return None
        start, end = order, np.roll(order, -1)
        curved, curves = self._curves(start, end)
        rest = iter(curves[:, :-1])
        pieces: list[Points] = [
            next(rest) if bent else self.vertices[index : index + 1]
            for bent, index in zip(curved.tolist(), start.tolist(), strict=True)
        ]
        ring: Points = np.concatenate(pieces)
        return ring

    def _joints(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        end = np.flatnonzero(self.previous >= 0)
        start = self.previous[end]
        last = len(self.vertices) - 1
        if self.closed and last > 1 and self.previous[0] < 0:
            start, end = np.append(start, last), np.append(end, 0)
        return start, end

    def _cycle(self) -> NDArray[np.int64] | None:
        """The vertices in the order of a closed path; None when it branches or falls apart."""
        start, end = self._joints()
        count = len(self.vertices)
        if count < 3 or len(start) != count or len(np.unique(start)) != count:
            return None
        after = np.empty(count, dtype=np.int64)
        after[start] = end
        following = after.tolist()
        order, at = [0], following[0]
        while at != 0 and len(order) < count:
            order.append(at)
            at = following[at]
        return np.array(order) if len(order) == count and at == 0 else None

    def _curves(
        self, start: NDArray[np.int64], end: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], Points]:
        """Which joints are curved, bool[M], and those as float64[C, points, 2]."""
        leaving, entering = self.leaving[start], self.entering[end]
        curved = ~(np.isnan(leaving[:, 0]) & np.isnan(entering[:, 0]))
        if self.previous[0] < 0:
            curved &= end != 0
        a, b = self.vertices[start[curved]], self.vertices[end[curved]]
        leaving, entering = leaving[curved], entering[curved]
        # The editor puts a missing handle 30 % of the way along the straight line.
        along = 0.3 * (b - a)
        first = np.where(np.isnan(leaving), a + along, leaving)
        second = np.where(np.isnan(entering), b - along, entering)
        return curved, cubic(a[:, None], first[:, None], second[:, None], b[:, None])
