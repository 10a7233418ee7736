"""From regions and styles to concrete vertices and widths in pixels.

Without a generator every choice is fixed, so that the same region always carries the same mark;
with one, vertices are drawn as ViP-LLaVA's prompt generator draws them in training (arXiv
2312.00784). Every pixel size is a factor times s = max(W, H) / 336, truncated, at least 1. How each
kind runs is in `regiontext.marks.layouts`. Knows nothing of pixels' colours; it draws nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from regiontext.marks.kinds import NUMBER
from regiontext.marks.layouts import boxes, numbers, pixels, points, strokes
from regiontext.marks.layouts.place import Place, Rng, scale_of, scaled
from regiontext.marks.parts import Bounds, Part
from regiontext.marks.style import Style
from regiontext.region import Region

__all__ = ["Layout", "Mark", "lay_out", "lay_out_all", "scale_of", "scaled"]


@dataclass(frozen=True, eq=False)
class Layout:
    """The concrete geometry of one mark, in the pixels of the image that will be drawn on.

    parts: drawn in the style's colour. inset: drawn over the parts in black or white, whichever
    stands out from that colour; the digits on a number's plate.
    """

    parts: tuple[Part, ...]
    inset: tuple[Part, ...] = ()

    @property
    def bounds(self) -> Bounds:
        """x0, y0, x1, y1 that hold every pixel touched (inclusive); may leave the image."""
        boxes = [part.bounds for part in (*self.parts, *self.inset)]
        return (
            min(b[0] for b in boxes),
            min(b[1] for b in boxes),
            max(b[2] for b in boxes),
            max(b[3] for b in boxes),
        )


@dataclass(frozen=True, eq=False)
class Mark:
    """A visual prompt: how it looks and where it lies."""

    style: Style
    layout: Layout


def lay_out(region: Region, style: Style, *, rng: np.random.Generator | None = None) -> Layout:
    """Where the mark of `style` on `region` runs, in pixels of an image of `region.size`.

    Deterministic without `rng`. Point, triangle, scribble, arrow and dots aim at the region's own
    pixels, so they need no polygons and never miss a ring or a crescent; mask, contour and patch
    keep its holes; a number lies inside it where it fits.
    """
    return lay_out_all((region,), (style,), rng=rng)[0]


def lay_out_all(
    regions: Sequence[Region],
    styles: Sequence[Style],
    *,
    rng: np.random.Generator | None = None,
) -> tuple[Layout, ...]:
    """One layout per region of one image, in order, as `lay_out` gives it; only numbers look at
    the other numbered regions, so that their plates keep clear of each other.
    """
    numbered = [index for index, style in enumerate(styles) if style.kind == NUMBER]
    places = [Place(region) for region in regions]
    plates = numbers.numbers([places[i] for i in numbered], [styles[i] for i in numbered])
    settled = dict(zip(numbered, plates, strict=True))
    return tuple(
        Layout(*settled[index])
        if index in settled
        else Layout(_LAYOUTS[style.kind](place, style, rng))
        for index, (place, style) in enumerate(zip(places, styles, strict=True))
    )


_LAYOUTS: Final[dict[str, Callable[[Place, Style, Rng], tuple[Part, ...]]]] = {
    "rectangle": boxes.rectangle,
    "ellipse": boxes.ellipse,
    "point": points.point,
    "triangle": strokes.triangle,
    "scribble": strokes.scribble,
    "mask": pixels.mask,
    "contour": pixels.contour,
    "arrow": strokes.arrow,
    "patch": pixels.mask,
    "dots": points.dots,
}
