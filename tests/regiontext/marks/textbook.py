"""The textbook way to draw a mark with Pillow: a transparent layer as large as the image.

What ViP-LLaVA's prompt generator does (arXiv 2312.00784), written from its description; the yard
stick for our pixels and for our speed.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from regiontext.marks.draw import ink_on
from regiontext.marks.layout import Mark
from regiontext.marks.parts import Oval, Part, Path, Points, Polygon, Raster, Rectangle, Rings

__all__ = ["textbook"]

_Ink = tuple[int, int, int, int]


def textbook(image: Image.Image, mark: Mark) -> Image.Image:
    """`mark` composited over an RGB `image`: a new RGB image."""
    style = mark.style
    drawn = image.convert("RGBA")
    for parts, rgb in ((mark.layout.parts, style.rgb), (mark.layout.inset, ink_on(style.rgb))):
        if parts:
            layer = Image.new("RGBA", image.size)
            pen = ImageDraw.Draw(layer)
            for part in parts:
                _draw(pen, part, (*rgb, style.alpha))
            drawn = Image.alpha_composite(drawn, layer)
    return drawn.convert("RGB")


def _draw(pen: ImageDraw.ImageDraw, part: Part, ink: _Ink) -> None:
    match part:
        case Rectangle():
            pen.rectangle(part.box, outline=ink, width=part.width)
        case Oval(width=0):
            pen.ellipse(part.box, fill=ink)
        case Oval():
            pen.ellipse(part.box, outline=ink, width=part.width)
        case Path():
            joint = "curve" if part.curved else None
            pen.line(_flat(part.points), fill=ink, width=part.width, joint=joint)
        case Polygon():
            pen.polygon(_flat(part.points), fill=ink)
        case Rings():
            shifts = range(-part.half_width, part.half_width + 1)
            for ring in part.rings:
                for dx in shifts:
                    for dy in shifts:
                        pen.polygon(_flat(np.add(ring, (dx, dy))), outline=ink)
        case Raster():
            pen.bitmap(part.origin, Image.fromarray(part.mask), fill=ink)


def _flat(points: Points) -> list[float]:
    flat: list[float] = points.ravel().tolist()
    return flat
