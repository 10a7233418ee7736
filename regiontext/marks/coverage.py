"""Which pixels of an image the parts of a layout cover.

Lines, ellipses and polygons are Pillow's, so that a mark has exactly the pixels of ViP-LLaVA's
prompt generator, which draws it with Pillow on a layer of the whole image. Here the pen only sees
the rows of the mark, a band at a time, and the result is read strip by strip, so that memory stays
small on large pictures. Knows nothing of colours or of how a layout came to be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from regiontext.marks.layout import Layout
from regiontext.marks.near import nearby
from regiontext.marks.parts import (
    Bounds,
    Oval,
    Part,
    Path,
    Points,
    Polygon,
    Raster,
    Rectangle,
    Rings,
)

__all__ = ["Coverage", "coverage", "strips"]

Mask = NDArray[np.bool_]
Coverage = tuple[Mask, tuple[int, int]]
Window = tuple[int, int, int, int]

# What is blended at a time fits a processor's cache; what is drawn at a time fits any memory.
_STRIP_PIXELS: Final = 1 << 18
_BAND_PIXELS: Final = 1 << 22

# Pillow squares the sides of an ellipse in 32 bits.
_PILLOW_OVAL: Final = math.isqrt(2**31 - 1)


def coverage(layout: Layout, size: tuple[int, int]) -> Coverage:
    """The pixels that `layout`, inset and all, covers on an image of `size` (W, H).

    Returns bool[h, w], cut to the layout's bounding box within the image, and the (x, y) of its
    first pixel. The array is empty (0 pixels) when the layout lies wholly outside.
    """
    parts = (*layout.parts, *layout.inset)
    x0, y0, x1, y1 = _visible(parts, size)
    covered = np.zeros((y1 - y0, x1 - x0), dtype=bool)
    for strip, (_, top) in strips(parts, size):
        covered[top - y0 : top - y0 + len(strip)] = strip
    return covered, (x0, y0)


def strips(parts: Sequence[Part], size: tuple[int, int]) -> Iterator[Coverage]:
    """The pixels that `parts` together cover on an image of `size` (W, H), from top to bottom.

    Each strip is bool[h, w] of about 262,000 pixels, as wide as the bounding box of the parts
    within the image, with the (x, y) of its first pixel.
    """
    x0, y0, x1, y1 = _visible(parts, size)
    if x0 == x1:
        return
    near = [piece for part in parts for piece in nearby(part, (x0, y0, x1, y1))]
    rows = max(1, _STRIP_PIXELS // (x1 - x0))
    # Pillow computes the joints of a curved path in fractions of the canvas, so it needs a whole.
    curved = any(isinstance(part, Path) and part.curved for part in near)
    band_rows = y1 - y0 if curved else max(1, _BAND_PIXELS // x1)
    for band in range(y0, y1, band_rows):
        bottom = min(band + band_rows, y1)
        layers = list(_layers(near, (x0, band, x1, bottom)))
        for top in range(band, bottom, rows):
            strip = np.zeros((min(rows, bottom - top), x1 - x0), dtype=bool)
            for layer in layers:
                layer(strip, x0, top)
            yield strip, (x0, top)


def _visible(parts: Sequence[Part], size: tuple[int, int]) -> Window:
    """The whole-pixel box x0, y0, x1, y1 (end exclusive) around `parts` within the image."""
    if not parts:
        return 0, 0, 0, 0
    lefts, tops, rights, bottoms = zip(*(part.bounds for part in parts), strict=True)
    x0, y0 = max(0, math.floor(min(lefts))), max(0, math.floor(min(tops)))
    x1, y1 = min(size[0], math.floor(max(rights)) + 1), min(size[1], math.floor(max(bottoms)) + 1)
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else (0, 0, 0, 0)


def _meets(bounds: Bounds, window: Window) -> bool:
    x0, y0, x1, y1 = bounds
    return x0 < window[2] and y0 < window[3] and x1 >= window[0] and y1 >= window[1]


# Sets, in bool[h, w] whose first pixel is the image's (x, y), the pixels that it covers.
_Layer = Callable[[Mask, int, int], None]


def _layers(parts: Sequence[Part], window: Window) -> Iterator[_Layer]:
    strokes: list[Part] = []
    for part in parts:
        if not _meets(part.bounds, window):
            continue
        match part:
            case Raster():
                yield _raster_layer(part)
            case Rings():
                yield from (_ring_layer(ring, part.half_width) for ring in part.rings)
            case Oval((x0, y0, x1, y1)) if max(x1 - x0, y1 - y0) >= _PILLOW_OVAL:
                yield _huge_oval_layer(part)
            case _:
                strokes.append(part)
    if strokes:
        yield _stroke_layer(strokes, window)


def _stroke_layer(strokes: Sequence[Part], window: Window) -> _Layer:
    # The canvas begins at the image's left border: Pillow fills polygons with 32-bit floats of x,
    # whose rounding, now and then, differs where x is counted from elsewhere.
    _, top, right, bottom = window
    canvas = Image.new("L", (right, bottom - top))
    pen = ImageDraw.Draw(canvas)
    for part in strokes:
        _stroke(pen, part, top)

    def layer(strip: Mask, x: int, y: int) -> None:
        height, width = strip.shape
        strip |= np.asarray(canvas.crop((x, y - top, x + width, y - top + height))).view(bool)

    return layer


def _stroke(pen: ImageDraw.ImageDraw, part: Part, top: int) -> None:
    # Pillow truncates coordinates towards zero; on the image, so before they move to the canvas.
    match part:
        case Rectangle(box, width):
            pen.rectangle(_moved(box, top), outline=1, width=width)
        case Oval(box, 0):
            pen.ellipse(_moved(box, top), fill=1)
        case Oval(box, width):
            pen.ellipse(_moved(box, top), outline=1, width=width)
        case Path(points, width, True):
            # The joints need the fractions. What shows of the path is above the canvas only where
            # it is above the image, and truncated alike.
            pen.line(_flat(points, 0, top), fill=1, width=width, joint="curve")
        case Path(points, width):
            pen.line(_flat(_steps(points), 0, top), fill=1, width=width)
        case Polygon(points):
            pen.polygon(_flat(np.trunc(points), 0, top), fill=1)


def _moved(box: Bounds, top: int) -> Bounds:
    x0, y0, x1, y1 = box
    return int(x0), int(y0) - top, int(x1), int(y1) - top


def _flat(points: Points, left: int, top: int) -> list[float]:
    moved: list[float] = (points - (left, top)).ravel().tolist()
    return moved


def _steps(points: Points) -> Points:
    """`points` on whole pixels, without the many repeats of a finely sampled curve.

    One repeat stays: a segment of no length covers its pixel, which a thin slanted one may miss.
    """
    whole = np.trunc(points)
    # As complex numbers, so that a point is compared in one go.
    pixels = whole.view(np.complex128)[:, 0]
    moves = pixels[1:] != pixels[:-1]
    kept = np.ones(len(whole), dtype=bool)
    kept[2:] = moves[1:] | moves[:-1]
    steps: Points = whole[kept]
    return steps


def _ring_layer(ring: Points, reach: int) -> _Layer:
    """The outline of `ring` at every shift up to `reach`: drawn once, then smeared over the shifts.

    Truncation makes a vertex near 0 take another whole pixel at some shifts; each run of shifts
    with the same whole pixels is an outline of its own.
    """
    across = _truncations(ring[:, 0], reach)
    along = _truncations(ring[:, 1], reach)
    outlines = [
        (np.stack([xs, ys], axis=1), shifts_x, shifts_y)
        for xs, shifts_x in across
        for ys, shifts_y in along
    ]

    def layer(strip: Mask, x: int, y: int) -> None:
        height, width = strip.shape
        for corners, (x_low, x_high), (y_low, y_high) in outlines:
            spread_x, spread_y = x_high - x_low, y_high - y_low
            thin = Image.new("L", (width + spread_x, height + spread_y))
            ImageDraw.Draw(thin).polygon(_flat(corners, x - x_high, y - y_high), outline=1)
            if thin.getbbox():
                smeared = _smeared(np.asarray(thin).view(bool), spread_y)
                strip |= _smeared(smeared.T, spread_x).T

    return layer


def _truncations(
    values: NDArray[np.float64], reach: int
) -> list[tuple[NDArray[np.float64], tuple[int, int]]]:
    """trunc(values + shift) - shift for shift in -reach..reach; equal ones once, as (first, last)
    shift.
    """
    runs: list[tuple[NDArray[np.float64], tuple[int, int]]] = []
    for shift in range(-reach, reach + 1):
        whole = np.trunc(values + shift) - shift
        first = shift
        if runs and np.array_equal(runs[-1][0], whole):
            first = runs.pop()[1][0]
        runs.append((whole, (first, shift)))
    return runs


def _smeared(mask: Mask, spread: int) -> Mask:
    """Row i is the union of `mask`'s rows i..i + spread; `spread` rows fewer."""
    joined = 1
    while joined <= spread:
        step = min(joined, spread + 1 - joined)
        mask = mask[:-step] | mask[step:]
        joined += step
    return mask


def _raster_layer(part: Raster) -> _Layer:
    def layer(strip: Mask, x: int, y: int) -> None:
        left, top = part.origin[0] - x, part.origin[1] - y
        height, width = part.mask.shape
        x0, y0 = max(0, left), max(0, top)
        x1, y1 = min(strip.shape[1], left + width), min(strip.shape[0], top + height)
        if x1 > x0 and y1 > y0:
            strip[y0:y1, x0:x1] |= part.mask[y0 - top : y1 - top, x0 - left : x1 - left]

    return layer


def _huge_oval_layer(oval: Oval) -> _Layer:
    """An oval too large for Pillow, from the equation of the ellipse."""
    x0, y0, x1, y1 = oval.bounds
    cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
    rx, ry = (x1 - x0 + 1) / 2, (y1 - y0 + 1) / 2

    def layer(strip: Mask, x: int, y: int) -> None:
        away_x = np.abs(np.arange(x, x + strip.shape[1]) - cx)
        away_y = np.abs(np.arange(y, y + strip.shape[0]) - cy)[:, None]
        disc = _disc(away_x, away_y, rx, ry)
        if oval.width:
            disc &= ~_disc(away_x, away_y, rx - oval.width, ry - oval.width)
        strip |= disc

    return layer


def _disc(away_x: NDArray[np.float64], away_y: NDArray[np.float64], rx: float, ry: float) -> Mask:
    if rx <= 0 or ry <= 0:
        return np.zeros((len(away_y), len(away_x)), dtype=bool)
    # A product of differences keeps its precision where a difference of squares loses it.
    half = rx / ry * np.sqrt(np.maximum(0, (ry - away_y) * (ry + away_y)))
    inside: Mask = (away_x <= half) & (away_y <= ry)
    return inside
