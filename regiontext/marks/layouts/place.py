"""A region as the layouts need it, and how pixel sizes follow the image's size.

Knows nothing of styles, kinds or randomness.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from regiontext.marks.parts import Points
from regiontext.marks.sampling import deepest_point
from regiontext.region import Region

__all__ = ["Place", "Rng", "scale_of", "scaled"]

_ANCHOR: Final = 336

Rng = np.random.Generator | None


def scale_of(size: tuple[int, int]) -> float:
    """The factor s of every pixel size on an image of `size` (W, H)."""
    return max(size) / _ANCHOR


def scaled(factor: float, size: tuple[int, int]) -> int:
    """`factor` in whole pixels of an image of `size` (W, H): truncated, at least 1."""
    return max(1, int(factor * scale_of(size)))


class Place:
    """A region as the layouts need it: its box, and its pixels only when asked for.

    region, size (W, H) in pixels, box (x0, y0, x1, y1, end exclusive) and s, the factor of every
    pixel size.
    """

    def __init__(self, region: Region) -> None:
        self.region = region
        self.size = region.size
        self.box = region.box
        self.s = scale_of(region.size)

    @property
    def origin(self) -> tuple[int, int]:
        """The (x, y) of the first of `pixels`."""
        return max(0, math.floor(self.box[0])), max(0, math.floor(self.box[1]))

    @property
    def pixels(self) -> NDArray[np.bool_]:
        """The region's mask within its box, bool[h, w]."""
        x, y = self.origin
        window: NDArray[np.bool_] = self.region.mask[
            y : math.ceil(self.box[3]), x : math.ceil(self.box[2])
        ]
        return window

    @property
    def extent(self) -> tuple[float, float]:
        """Width and height of the box in pixels."""
        x0, y0, x1, y1 = self.box
        return x1 - x0, y1 - y0

    def anchor(self) -> tuple[float, float]:
        """The centre of the box if it belongs to the region, else the point deepest inside."""
        x0, y0, x1, y1 = self.box
        centre = ((x0 + x1) / 2, (y0 + y1) / 2)
        if self.region.shape in ("rectangle", "ellipse"):
            return centre
        (left, top), pixels = self.origin, self.pixels
        column, row = int(centre[0]) - left, int(centre[1]) - top
        inside = 0 <= row < pixels.shape[0] and 0 <= column < pixels.shape[1]
        if inside and pixels[row, column]:
            return centre
        x, y = deepest_point(pixels)
        return left + x, top + y

    def shift(self, points: Points) -> Points:
        """From the coordinates of `pixels` to those of the image."""
        return points + np.asarray(self.origin, dtype=np.float64)

    def holds(self, x: float, y: float) -> bool:
        """Whether the pixel at (x, y) belongs to the region."""
        (left, top), pixels = self.origin, self.pixels
        row, column = math.floor(y) - top, math.floor(x) - left
        inside = 0 <= row < pixels.shape[0] and 0 <= column < pixels.shape[1]
        return inside and bool(pixels[row, column])
