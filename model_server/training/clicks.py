"""Where somebody clicks: on an object, and on what a mask got wrong. Pure numpy, in pixels, points (x, y)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["correction", "deepest_point", "scattered_point"]

Point = tuple[float, float]


def deepest_point(mask: NDArray[np.bool_]) -> Point:
    """The pixel of mask bool[H, W] that lies deepest inside, by rounds of taking away its border; its (column, row).

    Raises ValueError for an empty mask.
    """
    part, x0, y0 = _trimmed(mask)
    while (inner := _eroded(part)).any():
        part = inner
    rows, columns = np.nonzero(part)
    middle = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    return float(columns[middle] + x0), float(rows[middle] + y0)


def scattered_point(mask: NDArray[np.bool_], rng: np.random.Generator) -> Point:
    """A random pixel of the mask, mostly not on its border, as people click. Raises ValueError for an empty mask."""
    part, x0, y0 = _trimmed(mask)
    for _ in range(int(rng.integers(0, 4))):
        inner = _eroded(part)
        if not inner.any():
            break
        part = inner
    rows, columns = np.nonzero(part)
    at = int(rng.integers(len(rows)))
    return float(columns[at] + x0), float(rows[at] + y0)


def correction(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> tuple[Point, bool]:
    """Where to click next and whether positively: deepest in the larger of what is missing and what is too much.

    Where nothing is wrong, another positive click deep in the object. Raises ValueError for an empty truth.
    """
    missing, extra = truth & ~found, found & ~truth
    if not (missing.any() or extra.any()):
        return deepest_point(truth), True
    positive = int(missing.sum()) >= int(extra.sum())
    return deepest_point(missing if positive else extra), positive


def _trimmed(mask: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        raise ValueError("the mask is empty: there is nothing to click on")
    y0, x0 = int(rows[0]), int(columns[0])
    return mask[y0 : int(rows[-1]) + 1, x0 : int(columns[-1]) + 1], x0, y0


def _eroded(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Without the pixels that touch the outside, corners included; beyond the array is outside."""
    framed = np.pad(mask, 1)
    rows = framed[:-2] & framed[1:-1] & framed[2:]
    return rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:]
