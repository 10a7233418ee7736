"""The few primitives every mark is made of, with concrete coordinates.

A layout is a tuple of parts and drawing knows nothing else. Coordinates are pixels of the image
drawn on, x right, y down, floats allowed (truncated towards zero when drawn), box corners inclusive
on both sides. They may lie anywhere within 1e12 px, in the image or not; a part that could not be
drawn is refused with MarkError when it is made. Knows nothing of regions, kinds, colours or
randomness.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from regiontext.errors import MarkError
from regiontext.geometry import Points

__all__ = [
    "Bounds",
    "Oval",
    "Part",
    "Path",
    "Points",
    "Polygon",
    "Raster",
    "Rectangle",
    "Rings",
    "extent",
]

Bounds = tuple[float, float, float, float]  # x0, y0, x1, y1

_FARTHEST: Final = 1e12
_THICKEST: Final = 4096


@dataclass(frozen=True, eq=False)
class Rectangle:
    """An outline of `width` px that grows inward from `box` (inclusive corners).

    Where the box is thinner than that, the opposite sides cross and reach beyond it, as Pillow's
    and so ViP-LLaVA's do.
    """

    box: Bounds
    width: int

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        _check_box(self.box)
        _check_width(self.width)

    @property
    def bounds(self) -> Bounds:
        """The box that holds every pixel touched."""
        x0, y0, x1, y1 = _whole(self.box)
        reach = self.width - 1
        return (
            min(x0, x1 - reach),
            min(y0, y1 - reach),
            max(x1, x0 + reach),
            max(y1, y0 + reach + 1),
        )


@dataclass(frozen=True, eq=False)
class Oval:
    """The ellipse inscribed in `box`: an inward outline of `width` px, or filled if that is 0."""

    box: Bounds
    width: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        _check_box(self.box)
        _check_width(self.width)

    @property
    def bounds(self) -> Bounds:
        """The box that holds every pixel touched."""
        return _whole(self.box)


@dataclass(frozen=True, eq=False)
class Path:
    """Segments of `width` px through `points`; `curved` rounds the joints between them."""

    points: Points
    width: int
    curved: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        _check_points(self.points, "a path")
        _check_width(self.width)

    @property
    def bounds(self) -> Bounds:
        """The box that holds every pixel touched."""
        return _around(self.points, self.width // 2 + 1)


@dataclass(frozen=True, eq=False)
class Polygon:
    """A filled polygon."""

    points: Points

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        _check_points(self.points, "a polygon")

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

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        if not self.rings:
            raise MarkError("rings need at least one ring of points, and there is none")
        for ring in self.rings:
            _check_points(ring, "a ring")
        _check_width(self.half_width)

    @property
    def bounds(self) -> Bounds:
        """The box that holds every pixel touched."""
        x0, y0, x1, y1 = extent(np.concatenate(self.rings))
        reach = self.half_width
        # Shifted before they are truncated, as the outlines are: the sum of floats may round up.
        return _whole((x0 - reach, y0 - reach, x1 + reach, y1 + reach))


@dataclass(frozen=True, eq=False)
class Raster:
    """The true pixels of `mask` bool[h, w], its first pixel at `origin` (x, y)."""

    mask: NDArray[np.bool_]
    origin: tuple[int, int]

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        if self.mask.dtype != np.bool_ or self.mask.ndim != 2:
            raise MarkError(
                f"a raster of {self.mask.dtype}{list(self.mask.shape)} is no mask; give bool[h, w]"
            )

    @property
    def bounds(self) -> Bounds:
        """The box that holds every pixel touched."""
        x, y = self.origin
        height, width = self.mask.shape
        return x, y, x + width - 1, y + height - 1


Part = Rectangle | Oval | Path | Polygon | Rings | Raster


def extent(points: Points) -> Bounds:
    """x0, y0, x1, y1 around points [N, 2]."""
    # Column by column: numpy reduces long, two wide arrays along the first axis slowly.
    xs, ys = points[:, 0], points[:, 1]
    return float(xs.min()), float(ys.min()), float(xs.max()), float(ys.max())


def _around(points: Points, margin: int) -> Bounds:
    x0, y0, x1, y1 = _whole(extent(points))
    return x0 - margin, y0 - margin, x1 + margin, y1 + margin


def _whole(box: Bounds) -> Bounds:
    x0, y0, x1, y1 = box
    return int(x0), int(y0), int(x1), int(y1)


def _check_box(box: Bounds) -> None:
    x0, y0, x1, y1 = box
    if not (-_FARTHEST <= x0 <= x1 <= _FARTHEST and -_FARTHEST <= y0 <= y1 <= _FARTHEST):
        raise MarkError(
            f"cannot draw in the box {box}; its order is x0, y0, x1, y1 with x0 <= x1, y0 <= y1, "
            f"each within {_FARTHEST:.0e} px"
        )


def _check_points(points: Points, what: str) -> None:
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 2:
        raise MarkError(
            f"{what} through points of shape {list(points.shape)} cannot be drawn; "
            "give at least two, float64[N, 2]"
        )
    if not max(map(abs, extent(points))) <= _FARTHEST:
        raise MarkError(
            f"{what} has a coordinate that is not a number within {_FARTHEST:.0e} px of 0; "
            "leave out or move that point"
        )


def _check_width(width: int) -> None:
    if not 0 <= width <= _THICKEST:
        raise MarkError(f"a stroke cannot be {width} px wide; it must be 0 to {_THICKEST}")
