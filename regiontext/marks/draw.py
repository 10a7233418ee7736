"""Drawing marks: which pixels a layout covers, and blending a colour over exactly those.

Reproduces ViP-LLaVA's blender (a transparent layer per mark, drawn with Pillow, composited): the
layer never accumulates, so strokes of one mark that overlap keep one opacity, while a later mark
does paint over an earlier one. Only the mark's bounding box is touched. Knows nothing of regions or
of how a layout came to be.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from regiontext.errors import MarkError
from regiontext.marks.layout import Layout, Mark
from regiontext.marks.parts import Oval, Part, Path, Points, Polygon, Raster, Rectangle, Rings

__all__ = ["Coverage", "coverage", "draw"]

Pixels = NDArray[np.uint8]
Coverage = tuple[NDArray[np.bool_], tuple[int, int]]


def draw(image: Pixels, marks: Iterable[Mark]) -> Pixels:
    """A new uint8[H, W, 3] image with `marks` blended over `image` in their order.

    Every covered channel becomes floor((colour * alpha + pixel * (255 - alpha)) / 255 + 1/2). The
    same input gives the same bytes. MarkError if `image` is not uint8[H, W, 3].
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise MarkError(
            f"cannot draw on {image.dtype}{list(image.shape)}; give uint8[H, W, 3] (RGB)"
        )
    drawn = image.copy()
    size = (image.shape[1], image.shape[0])
    for mark in marks:
        covered, (x, y) = coverage(mark.layout, size)
        height, width = covered.shape
        _blend(drawn[y : y + height, x : x + width], covered, mark)
    return drawn


def coverage(layout: Layout, size: tuple[int, int]) -> Coverage:
    """The pixels that `layout` covers on an image of `size` (W, H).

    Returns bool[h, w], cut to the layout's bounding box within the image, and the (x, y) of its
    first pixel. The array is empty (0 pixels) when the layout lies wholly outside.
    """
    x0, y0, x1, y1 = layout.bounds
    left, top = max(0, math.floor(x0) - 1), max(0, math.floor(y0) - 1)
    right, bottom = min(size[0], math.ceil(x1) + 2), min(size[1], math.ceil(y1) + 2)
    if right <= left or bottom <= top:
        return np.zeros((0, 0), dtype=bool), (0, 0)
    # A canvas that starts at an integer keeps Pillow's truncation of coordinates what it is on the
    # whole image.
    canvas = Image.new("L", (right - left, bottom - top))
    pen = ImageDraw.Draw(canvas)
    for part in layout.parts:
        if not isinstance(part, Raster):
            _stroke(pen, part, left, top)
    covered = np.array(canvas) != 0
    for part in layout.parts:
        if isinstance(part, Raster):
            _stamp(covered, part, left, top)
    return covered, (left, top)


def _blend(target: Pixels, covered: NDArray[np.bool_], mark: Mark) -> None:
    alpha = mark.style.alpha
    levels = np.arange(256) * (255 - alpha) + 127
    pixels = target[covered]
    for channel, value in enumerate(mark.style.rgb):
        table = ((value * alpha + levels) // 255).astype(np.uint8)
        pixels[:, channel] = table[pixels[:, channel]]
    target[covered] = pixels


def _stroke(pen: ImageDraw.ImageDraw, part: Part, left: int, top: int) -> None:
    match part:
        case Rectangle(box, width):
            pen.rectangle(_moved(box, left, top), outline=255, width=width)
        case Oval(box, 0):
            pen.ellipse(_moved(box, left, top), fill=255)
        case Oval(box, width):
            pen.ellipse(_moved(box, left, top), outline=255, width=width)
        case Path(points, width, True):
            pen.line(_flat(points, left, top), fill=255, width=width, joint="curve")
        case Path(points, width):
            pen.line(_flat(_steps(points), left, top), fill=255, width=width)
        case Polygon(points):
            pen.polygon(_flat(points, left, top), fill=255)
        case Rings(rings, half_width):
            for ring in rings:
                _ring(pen, ring, half_width, left, top)


def _moved(box: tuple[float, float, float, float], left: int, top: int) -> tuple[float, ...]:
    return box[0] - left, box[1] - top, box[2] - left, box[3] - top


def _flat(points: Points, left: int, top: int) -> list[tuple[float, float]]:
    return [(x - left, y - top) for x, y in points.tolist()]


def _steps(points: Points) -> Points:
    """`points` on whole pixels, without the repeats that a finely sampled curve is full of."""
    whole = np.trunc(points)
    moves = np.any(whole[1:] != whole[:-1], axis=1)
    kept = whole[np.concatenate([[True], moves])]
    return kept if len(kept) > 1 else whole[:2]


def _ring(pen: ImageDraw.ImageDraw, ring: Points, reach: int, left: int, top: int) -> None:
    for dx in range(-reach, reach + 1):
        for dy in range(-reach, reach + 1):
            pen.polygon(_flat(ring, left - dx, top - dy), outline=255)


def _stamp(covered: NDArray[np.bool_], part: Raster, left: int, top: int) -> None:
    x, y = part.origin[0] - left, part.origin[1] - top
    height, width = part.mask.shape
    x0, y0 = max(0, x), max(0, y)
    x1, y1 = min(covered.shape[1], x + width), min(covered.shape[0], y + height)
    if x1 > x0 and y1 > y0:
        covered[y0:y1, x0:x1] |= part.mask[y0 - y : y1 - y, x0 - x : x1 - x]
