"""EXIF orientation: pixels of the file as it is stored, and of the upright image people see.

Regions live on the upright image. Whoever hands a model or an exporter the file itself needs the
coordinates as stored. Points are (x, y) in pixels, x right, y down; pixel (i, j) covers
[i, i+1) x [j, j+1). The eight orientations are those of EXIF 2.3, tag 0x0112, and Pillow's
`ImageOps.exif_transpose`: 1 as it lies, 2 mirrored, 3 turned by half, 4 upside down, 5 transposed,
6 to be turned a quarter clockwise, 7 transposed across, 8 to be turned a quarter back. Knows
nothing of regions or of files.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regiontext.geometry import Box, Points

__all__ = [
    "stored_box",
    "stored_mask",
    "stored_points",
    "stored_size",
    "upright_box",
    "upright_mask",
    "upright_points",
    "upright_size",
]

# What takes a stored image upright, in order: swap x and y, then mirror x, then mirror y.
_STEPS: dict[int, tuple[bool, bool, bool]] = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}


def _steps(orientation: int) -> tuple[bool, bool, bool]:
    if orientation not in _STEPS:
        raise ValueError(f"EXIF orientation is {orientation!r}; it must be from 1 to 8")
    return _STEPS[orientation]


def upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """The size (W, H) of the upright image, from that of the stored one.

    This and every function here raises ValueError when the orientation is not from 1 to 8.
    """
    return (size[1], size[0]) if _steps(orientation)[0] else size


def stored_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """The size (W, H) of the stored image, from that of the upright one."""
    return upright_size(size, orientation)


def upright_points(points: Points, size: tuple[int, int], orientation: int) -> Points:
    """Points float[N, 2] of the stored image, on the upright image of size (W, H)."""
    swap, across, down = _steps(orientation)
    moved = np.array(points, dtype=np.float64)
    if swap:
        moved = moved[:, ::-1].copy()
    for axis, mirrored in enumerate((across, down)):
        if mirrored:
            moved[:, axis] = size[axis] - moved[:, axis]
    return moved


def stored_points(points: Points, size: tuple[int, int], orientation: int) -> Points:
    """Points float[N, 2] of the upright image of size (W, H), on the stored image."""
    swap, across, down = _steps(orientation)
    moved = np.array(points, dtype=np.float64)
    for axis, mirrored in enumerate((across, down)):
        if mirrored:
            moved[:, axis] = size[axis] - moved[:, axis]
    return moved[:, ::-1].copy() if swap else moved


def upright_box(box: Box, size: tuple[int, int], orientation: int) -> Box:
    """A box x0, y0, x1, y1 of the stored image, on the upright image of size (W, H)."""
    return _box(upright_points(np.array(box).reshape(2, 2), size, orientation))


def stored_box(box: Box, size: tuple[int, int], orientation: int) -> Box:
    """A box x0, y0, x1, y1 of the upright image of size (W, H), on the stored image."""
    return _box(stored_points(np.array(box).reshape(2, 2), size, orientation))


def upright_mask(mask: NDArray[np.bool_], orientation: int) -> NDArray[np.bool_]:
    """A mask bool[H, W] of the stored image, on the upright one."""
    swap, across, down = _steps(orientation)
    turned = mask.T if swap else mask
    return np.ascontiguousarray(turned[:: -1 if down else 1, :: -1 if across else 1])


def stored_mask(mask: NDArray[np.bool_], orientation: int) -> NDArray[np.bool_]:
    """A mask bool[H, W] of the upright image, on the stored one."""
    swap, across, down = _steps(orientation)
    turned = mask[:: -1 if down else 1, :: -1 if across else 1]
    return np.ascontiguousarray(turned.T if swap else turned)


def _box(corners: Points) -> Box:
    (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
    return float(x0), float(y0), float(x1), float(y1)
