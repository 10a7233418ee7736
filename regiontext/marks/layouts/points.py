"""Marks made of discs on the region's own pixels: one point, or dots spread over it."""

from __future__ import annotations

import numpy as np

from regiontext.marks.layouts.place import Place, Rng, scaled
from regiontext.marks.parts import Oval, Part
from regiontext.marks.sampling import farthest_points, shrink
from regiontext.marks.style import Style

__all__ = ["dots", "point"]


def point(place: Place, style: Style, rng: Rng) -> tuple[Part, ...]:
    """One filled disc at the region's anchor; with `rng` near the middle of its box (ViP-LLaVA:
    normal, variance w/8 and h/8 px, at most ten tries to hit the region).
    """
    x, y = place.anchor() if rng is None else _point_near_centre(place, rng)
    radius = scaled(style.width, place.size)
    rx, ry = radius * style.aspect, radius / style.aspect
    return (Oval((x - rx, y - ry, x + rx, y + ry)),)


def _point_near_centre(place: Place, rng: np.random.Generator) -> tuple[float, float]:
    x0, y0, x1, y1 = place.box
    spread = np.sqrt(np.array(place.extent) / 8)
    for x, y in rng.normal(((x0 + x1) / 2, (y0 + y1) / 2), spread, size=(10, 2)):
        if place.holds(x, y):
            return float(x), float(y)
    return place.anchor()


def dots(place: Place, style: Style, rng: Rng) -> tuple[Part, ...]:
    """Geometry-agnostic points: equal discs spread over the foreground, whatever the region's shape
    was.

    Our reading of EAGLE (arXiv 2409.16723, section on geometry-agnostic learning), which says that
    points, boxes and masks all become reference points, not how many, how large or where: at most
    `style.dots` points by farthest-point sampling, a radius off the region's border. A point that
    an annotator set is a small disc of pixels, and gets as many dots as lie apart in it.
    """
    radius = scaled(style.width, place.size)
    pixels = place.pixels
    path = place.region.path
    # Dots keep clear of the border while there is anything left to put them on; a stroke is all
    # border, and has them along its whole length.
    for _ in range(0 if path is not None and not path.closed else radius):
        inner = shrink(pixels)
        if not inner.any():
            break
        pixels = inner
    centres = place.shift(farthest_points(pixels, style.dots, rng=rng))
    return tuple(Oval((x - radius, y - radius, x + radius, y + radius)) for x, y in centres)
