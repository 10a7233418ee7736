"""Marks that keep the region's true pixels, holes included: mask, patch, mask contour."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regiontext.marks.layouts.place import Place, Rng, scaled
from regiontext.marks.parts import Part, Raster, Rings
from regiontext.marks.sampling import shrink
from regiontext.marks.style import Style

__all__ = ["contour", "mask"]


def mask(place: Place, style: Style, rng: Rng) -> tuple[Part, ...]:
    """Exactly the region's pixels: of the kinds mask and patch, which differ in opacity."""
    return (Raster(place.pixels, place.origin),)


def contour(place: Place, style: Style, rng: Rng) -> tuple[Part, ...]:
    """Every outline of the region, those of its holes as well, about 2 * half-width + 1 px thick."""
    half = scaled(style.width, place.size)
    rings = place.region.polygons
    # A vertex far outside costs Pillow a walk to it, pixel by pixel; the raster has no such
    # trouble.
    reach = 2 * max(place.size)
    if rings and place.region.raster is None and all(np.abs(r).max() <= reach for r in rings):
        return (Rings(rings, half),)
    pixels = place.pixels
    edge = pixels & ~shrink(pixels)
    x, y = place.origin
    return (Raster(_thicken(np.pad(edge, half), half), (x - half, y - half)),)


def _thicken(mask: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """`mask` dilated by a square of side 2 * reach + 1."""
    for axis in (0, 1):
        grown = mask.copy()
        for shift in range(1, reach + 1):
            ahead = [slice(None), slice(None)]
            behind = [slice(None), slice(None)]
            ahead[axis], behind[axis] = slice(shift, None), slice(None, -shift)
            grown[tuple(ahead)] |= mask[tuple(behind)]
            grown[tuple(behind)] |= mask[tuple(ahead)]
        mask = grown
    return mask
