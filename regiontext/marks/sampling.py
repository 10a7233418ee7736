"""Points inside a mask: the one deepest inside, well-spread ones, random ones; and how deep each is.

Knows nothing of marks. Every function takes `mask` bool[H, W]; those that return points need at
least one true pixel and give float64 x, y in pixels of that mask, pixel centres at integer + 0.5.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regiontext.marks.parts import Points

__all__ = ["deepest_point", "depths", "farthest_points", "random_points", "shrink"]

_WORKING_SIDE = 64
_WORKING_POINTS = 600


def shrink(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """`mask` without the pixels that touch its outside by an edge; what lies beyond the array is
    outside.
    """
    padded = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2), dtype=bool)
    padded[1:-1, 1:-1] = mask
    inner: NDArray[np.bool_] = mask & padded[:-2, 1:-1] & padded[2:, 1:-1]
    inner &= padded[1:-1, :-2] & padded[1:-1, 2:]
    return inner


def depths(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The squared Euclidean distance from every pixel to the nearest one that is not in `mask`,
    int64[H, W], exact; what lies beyond the array is outside.

    Takes time in proportion to the pixels times the greatest depth.
    """
    height, width = mask.shape
    inside = np.pad(mask, 1)
    rows = np.arange(height + 2)[:, None]
    above = np.maximum.accumulate(np.where(inside, 0, rows), axis=0)
    below = np.minimum.accumulate(np.where(inside, height + 1, rows)[::-1], axis=0)[::-1]
    # Along the column first, then the lower envelope along the row.
    straight = np.minimum(rows - above, below - rows).astype(np.int64) ** 2
    nearest = straight.copy()
    for shift in range(1, width + 2):
        if shift * shift >= nearest.max(initial=0):
            break
        there = straight + shift * shift
        np.minimum(nearest[:, shift:], there[:, :-shift], out=nearest[:, shift:])
        np.minimum(nearest[:, :-shift], there[:, shift:], out=nearest[:, :-shift])
    inner: NDArray[np.int64] = nearest[1:-1, 1:-1]
    return inner


def deepest_point(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """A pixel centre deep inside: the last to survive erosion, nearest to the centroid among those
    that tie.

    Masks with a side above 64 px are thinned to every n-th pixel first, so the point is inside but
    only about the deepest.
    """
    step = max(1, -(-max(mask.shape) // _WORKING_SIDE))
    small = mask[step // 2 :: step, step // 2 :: step]
    offset = step // 2
    if not small.any():
        small, step, offset = mask, 1, 0
    layer = small
    for _ in range(_WORKING_SIDE):
        inner = shrink(layer)
        if not inner.any():
            break
        layer = inner
    ys, xs = np.nonzero(layer)
    all_ys, all_xs = np.nonzero(small)
    nearest = int(np.argmin((xs - all_xs.mean()) ** 2 + (ys - all_ys.mean()) ** 2))
    return float(xs[nearest] * step + offset) + 0.5, float(ys[nearest] * step + offset) + 0.5


def farthest_points(
    mask: NDArray[np.bool_], count: int, *, rng: np.random.Generator | None = None
) -> Points:
    """`count` foreground pixel centres by farthest-point sampling, [count, 2]; fewer if the mask
    has fewer pixels.

    Starts from the pixel nearest to the centroid, or from a random one with `rng`. At most 600
    evenly strided pixels are candidates, so that the cost does not grow with the region.
    """
    flat = np.flatnonzero(mask)
    if flat.size > _WORKING_POINTS:
        stride = flat.size / _WORKING_POINTS
        flat = flat[(np.arange(_WORKING_POINTS) * stride + stride / 2).astype(np.intp)]
    ys, xs = np.divmod(flat, mask.shape[1])
    points = np.stack([xs, ys], axis=1).astype(np.float64) + 0.5
    if rng is None:
        first = int(np.argmin(((points - points.mean(axis=0)) ** 2).sum(axis=1)))
    else:
        first = int(rng.integers(len(points)))
    chosen = [first]
    distance = ((points - points[first]) ** 2).sum(axis=1)
    for _ in range(min(count, len(points)) - 1):
        farthest = int(np.argmax(distance))
        chosen.append(farthest)
        distance = np.minimum(distance, ((points - points[farthest]) ** 2).sum(axis=1))
    return points[chosen]


def random_points(mask: NDArray[np.bool_], count: int, rng: np.random.Generator) -> Points:
    """`count` points uniform over the foreground (with replacement), [count, 2]."""
    flat = np.flatnonzero(mask)
    ys, xs = np.divmod(flat[rng.integers(flat.size, size=count)], mask.shape[1])
    return np.stack([xs, ys], axis=1) + rng.random((count, 2))
