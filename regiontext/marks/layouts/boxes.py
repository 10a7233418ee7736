"""Marks that follow the region's box alone: rectangle and ellipse."""

from __future__ import annotations

from regiontext.marks.layouts.place import Place, Rng, scaled
from regiontext.marks.parts import Oval, Part, Rectangle
from regiontext.marks.style import Style

__all__ = ["ellipse", "rectangle"]


def rectangle(place: Place, style: Style, rng: Rng) -> tuple[Part, ...]:
    """The outline of the region's box, on its outermost pixels."""
    x0, y0, x1, y1 = place.box
    box = (x0, y0, max(x0, x1 - 1), max(y0, y1 - 1))
    return (Rectangle(box, scaled(style.width, place.size)),)


def ellipse(place: Place, style: Style, rng: Rng) -> tuple[Part, ...]:
    """The ellipse inscribed in the region's box, both axes grown by `style.grow` about its centre."""
    x0, y0, x1, y1 = place.box
    cx, cy = (x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2
    # A region one pixel wide still needs an outline around it.
    rx = max((x1 - x0 - 1) * style.grow, 2.0) / 2
    ry = max((y1 - y0 - 1) * style.grow, 2.0) / 2
    return (Oval((cx - rx, cy - ry, cx + rx, cy + ry), scaled(style.width, place.size)),)
