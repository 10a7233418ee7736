"""Set-of-mark numbers: where the plate of each region's number goes, and what is on it.

After Set-of-Mark (arXiv 2310.11441, mark allocation): regions in order of area, smallest first,
each without the pixels of those before it; the number goes to the deepest point of what is left by
the distance transform, and beside the region where it would hide too much of it. The sizes are this
project's. Nothing here is random.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from regiontext.marks.layouts.glyphs import GLYPH_HEIGHT, digits
from regiontext.marks.layouts.place import Place, scaled
from regiontext.marks.parts import Part, Raster
from regiontext.marks.sampling import depths
from regiontext.marks.style import Style

__all__ = ["Numbered", "numbers"]

Numbered = tuple[tuple[Part, ...], tuple[Part, ...]]
"""The plate, and the digits on it."""

_Mask = NDArray[np.bool_]
_Spot = tuple[int, int]
_Box = tuple[int, int, int, int]

# A plate hides at most this share of its region, and is tried in these sizes before it moves beside
# the region.
_MOST_HIDDEN: Final = 0.25
_SIZES: Final = (1, 5 / 6, 2 / 3)
# Large regions are looked at on grids of about these many lines, so that they take no longer.
_TRIED: Final = 128
_MEASURED: Final = 64


def numbers(places: Sequence[Place], styles: Sequence[Style]) -> tuple[Numbered, ...]:
    """The plates and digits of the numbers of several regions of one image, in their order.

    Plates stay within the image wherever it can hold them, and clear of each other wherever there
    is room.
    """
    order = sorted(range(len(places)), key=lambda index: places[index].region.area)
    taken: list[_Box] = []
    found: dict[int, Numbered] = {}
    for rank, index in enumerate(order):
        smaller = [places[other] for other in order[:rank]]
        larger = [places[other] for other in order[rank + 1 :]]
        plate, (x, y), cell = _settle(places[index], styles[index], smaller, larger, taken)
        height, width = plate.shape
        taken.append((x, y, x + width, y + height))
        text = digits(styles[index].number or 0, cell)
        inset = x + (width - text.shape[1]) // 2, y + (height - text.shape[0]) // 2
        found[index] = (Raster(plate, (x, y)),), (Raster(text, inset),)
    return tuple(found[index] for index in range(len(places)))


def _settle(
    place: Place,
    style: Style,
    smaller: Sequence[Place],
    larger: Sequence[Place],
    taken: Sequence[_Box],
) -> tuple[_Mask, _Spot, int]:
    """The plate of one number, its top left pixel, and the size of a cell."""
    # No plate is higher than the image, however wide a cell was asked for.
    cell = min(scaled(style.width, place.size), max(1, min(place.size) // (GLYPH_HEIGHT + 2)))
    left, top = place.origin
    free = place.pixels.copy()
    height, width = free.shape
    box = (left, top, left + width, top + height)
    for x0, y0, x1, y1 in _within(taken, box):
        free[y0:y1, x0:x1] = False
    for other in smaller:
        free &= ~other.region.mask[box[1] : box[3], box[0] : box[2]]
    depth = _Depth(free)
    for size in sorted({max(1, round(cell * share)) for share in _SIZES}, reverse=True):
        plate = _plate(style, size)
        if plate.sum() <= _MOST_HIDDEN * place.region.area and depth.may_hold(plate.shape):
            spot = _deepest(free, plate.shape, depth)
            if spot is not None:
                return plate, (left + spot[0], top + spot[1]), size
    plate = _plate(style, cell)
    while cell > 1 and (plate.shape[0] > place.size[1] or plate.shape[1] > place.size[0]):
        cell -= 1
        plate = _plate(style, cell)
    return plate, _beside(place, [*smaller, *larger], taken, plate.shape), cell


def _plate(style: Style, cell: int) -> _Mask:
    """A rectangle without its corners, or a disc, with a margin of one cell around the digits."""
    height, width = digits(style.number or 0, cell).shape
    if style.round_plate:
        # The diagonal rounded up, then twice the coordinates: all of it in whole numbers.
        across = math.isqrt(width * width + height * height - 1) + 1 + 2 * cell
        steps = 2 * np.arange(across) + 1 - across
        disc: _Mask = steps[:, None] ** 2 + steps[None, :] ** 2 <= across * across
        return disc
    plate = np.ones((height + 2 * cell, width + 2 * cell), dtype=bool)
    notch = (cell + 1) // 2
    for rows in (slice(None, notch), slice(-notch, None)):
        for columns in (slice(None, notch), slice(-notch, None)):
            plate[rows, columns] = False
    return plate


class _Depth:
    """How deep inside bool[h, w] each of its pixels lies, measured on every n-th pixel."""

    def __init__(self, pixels: _Mask) -> None:
        self.step = _step(pixels.shape, _MEASURED)
        first = self.step // 2
        self.grid = depths(pixels[first :: self.step, first :: self.step])

    def at(self, ys: NDArray[np.intp], xs: NDArray[np.intp]) -> NDArray[np.int64]:
        """The depths at the pixels with these rows and columns; only their order has a meaning."""
        rows = np.minimum(ys // self.step, self.grid.shape[0] - 1)
        columns = np.minimum(xs // self.step, self.grid.shape[1] - 1)
        found: NDArray[np.int64] = self.grid[rows, columns]
        return found

    def may_hold(self, shape: tuple[int, ...]) -> bool:
        """False if a plate of `shape` certainly fits nowhere."""
        deepest = (math.isqrt(int(self.grid.max(initial=0))) + 2) * self.step
        return 2 * deepest >= min(shape)


def _deepest(pixels: _Mask, shape: tuple[int, ...], depth: _Depth) -> _Spot | None:
    """Where in bool[h, w] a plate of `shape` lies wholly on true pixels, its centre as deep inside
    as can be; of equally deep ones the nearest to the middle. None if it fits nowhere.
    """
    height, width = shape
    columns, rows, held = _windows(pixels, shape, _step(pixels.shape, _TRIED))
    found = np.nonzero(held == height * width)
    if not len(found[0]):
        return None
    ys, xs = rows[found[0]], columns[found[1]]
    deep = depth.at(ys + height // 2, xs + width // 2)
    best = np.flatnonzero(deep == deep.max())
    away = (xs[best] + width / 2 - _mean(pixels.sum(axis=0))) ** 2
    away += (ys[best] + height / 2 - _mean(pixels.sum(axis=1))) ** 2
    chosen = best[int(np.argmin(away))]
    return int(xs[chosen]), int(ys[chosen])


def _beside(
    place: Place, others: Sequence[Place], taken: Sequence[_Box], shape: tuple[int, ...]
) -> _Spot:
    """Where a plate of `shape` goes that its region cannot hold: clear of the plates already there,
    off the region, off other regions, near to the region's anchor, in this order of weight.

    First within one plate of the region's box, then within three.
    """
    height, width = shape
    anchor = place.anchor()
    best, spot = None, (0, 0)
    for reach in (1, 3):
        window = _window(place, reach * width, reach * height)
        x0, y0, x1, y1 = window
        step = _step((y1 - y0, x1 - x0), _TRIED)
        columns, rows, own = _windows(place.region.mask[y0:y1, x0:x1], shape, step)
        hidden = _windows(_crowd(others, window), shape, step)[2]
        overlap = np.zeros_like(own)
        for box in taken:
            overlap += (
                _shared(rows + y0, height, box[1], box[3])[:, None]
                * _shared(columns + x0, width, box[0], box[2])[None, :]
            )
        away_y = (rows + y0 + height / 2 - anchor[1]) ** 2
        away_x = (columns + x0 + width / 2 - anchor[0]) ** 2
        away = away_y[:, None] + away_x[None, :]
        first = int(np.lexsort([cost.ravel() for cost in (away, hidden, own, overlap)])[0])
        row, column = divmod(first, len(columns))
        cost = int(overlap[row, column])
        if best is None or cost < best:
            best, spot = cost, (int(columns[column]) + x0, int(rows[row]) + y0)
        if best == 0:
            break
    return spot


def _step(shape: tuple[int, ...], lines: int) -> int:
    """Every how many pixels a line lies if at most `lines` cross the longer side of `shape`."""
    return max(1, -(-max(shape) // lines))


def _window(place: Place, dx: int, dy: int) -> _Box:
    """The region's box grown by dx, dy within the image."""
    left, top = place.origin
    height, width = place.pixels.shape
    x0, y0 = max(0, left - dx), max(0, top - dy)
    x1, y1 = min(place.size[0], left + width + dx), min(place.size[1], top + height + dy)
    return x0, y0, x1, y1


def _crowd(places: Sequence[Place], window: _Box) -> NDArray[np.int32]:
    """How many of `places` each pixel of `window` belongs to."""
    count = np.zeros((window[3] - window[1], window[2] - window[0]), dtype=np.int32)
    for place in places:
        left, top = place.origin
        height, width = place.pixels.shape
        for x0, y0, x1, y1 in _within([(left, top, left + width, top + height)], window):
            x, y = x0 + window[0], y0 + window[1]
            count[y0:y1, x0:x1] += place.region.mask[y : y + y1 - y0, x : x + x1 - x0]
    return count


def _windows(
    values: NDArray[Any], shape: tuple[int, ...], step: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int64]]:
    """The sums of [H, W] `values` over every `step`-th window of `shape` (one if none fits).

    Returns the windows' left columns [N], their top rows [M], and the sums [M, N].
    """
    height, width = (min(side) for side in zip(shape, values.shape, strict=True))
    rows = np.arange(0, values.shape[0] - height + 1, step)
    columns = np.arange(0, values.shape[1] - width + 1, step)
    down = np.zeros((values.shape[0] + 1, values.shape[1]), dtype=np.int32)
    np.cumsum(values, axis=0, out=down[1:])
    bands = down[rows + height] - down[rows]
    across = np.zeros((len(rows), values.shape[1] + 1), dtype=np.int64)
    np.cumsum(bands, axis=1, out=across[:, 1:])
    return columns, rows, across[:, columns + width] - across[:, columns]


def _mean(counts: NDArray[np.intp]) -> float:
    """The mean position along an axis on which each pixel counts `counts` times."""
    return float((counts * (np.arange(len(counts)) + 0.5)).sum() / counts.sum())


def _shared(starts: NDArray[np.intp], length: int, low: int, high: int) -> NDArray[np.intp]:
    """How much of low..high each span of `length` from `starts` covers."""
    shared: NDArray[np.intp] = np.minimum(starts + length, high) - np.maximum(starts, low)
    return np.maximum(shared, 0)


def _within(boxes: Sequence[_Box], window: _Box) -> list[_Box]:
    """Those parts of `boxes` that lie in `window`, in its coordinates."""
    x, y = window[:2]
    cut = [
        (max(a, x) - x, max(b, y) - y, min(c, window[2]) - x, min(d, window[3]) - y)
        for a, b, c, d in boxes
    ]
    return [box for box in cut if box[2] > box[0] and box[3] > box[1]]
