"""The few primitives every mark is made of, with concrete coordinates.

A layout is a tuple of parts and drawing knows nothing else. Coordinates are pixels of the image
drawn on, x right, y down, floats allowed (truncated towards zero when drawn), box corners inclusive
on both sides. Knows nothing of regions, kinds, colours or randomness.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bounds", "Oval", "Part", "Path", "Points", "Polygon", "Raster", "Rectangle", "Rings"]

Points = NDArray[np.float64]  # [N, 2], x then y
Bounds = tuple[float, float, float, float]  # x0, y0, x1, y1


def _around(points: Points, margin: float) -> Bounds:
    x0, y0 = points.min(axis=0)
    x1, y1 = points.max(axis=0)
    return float(x0) - margin, float(y0) - margin, float(x1) + margin, float(y1) + margin


@dataclass(frozen=True, eq=False)
class Rectangle:
    """An outline of `width` px that grows inward from `box` (inclusive corners)."""

    box: Bounds
    width: int

    @property
    def bounds(self) -> Bounds:
        """The box that holds every pixel touched."""
        return self.box


@dataclass(frozen=True, eq=False)
class Oval:
    """The ellipse inscribed in `box`: an inward outline of `width` px, or filled if that is 0."""

    box: Bounds
    width: int = 0

    @property
    def bounds(self) -> Bounds:
        """The box that holds every pixel touched."""
        return self.box


@dataclass(frozen=True, eq=False)
class Path:
    """Segments of `width` px through `points`; `curved` rounds the joints between them."""

    points: Points
    width: int
    curved: bool = False

    @property
    def bounds(self) -> Bounds:
        """The box that holds every pixel touched."""
        return _around(self.points, self.width + 1)


@dataclass(frozen=True, eq=False)
class Polygon:
    """A filled polygon."""

    points: Points

    @property
    def bounds(self) -> Bounds:
        """The box that holds every pixel touched."""
        return _around(self.points, 1)


@dataclass(frozen=True, eq=False)
class Rings:
    """Closed outlines about `2 * half_width + 1` px thick: a 1 px outline at every integer shift up
    to half_width.
    """

    rings: tuple[Points, ...]
    half_width: int

    @property
    def bounds(self) -> Bounds:
        """The box that holds every pixel touched."""
        return _around(np.concatenate(self.rings), self.half_width + 1)


@dataclass(frozen=True, eq=False)
class Raster:
    """The true pixels of `mask` bool[h, w], its first pixel at `origin` (x, y)."""

    mask: NDArray[np.bool_]
    origin: tuple[int, int]

    @property
    def bounds(self) -> Bounds:
        """The box that holds every pixel touched."""
        x, y = self.origin
        height, width = self.mask.shape
        return x, y, x + width - 1, y + height - 1


Part = Rectangle | Oval | Path | Polygon | Rings | Raster
