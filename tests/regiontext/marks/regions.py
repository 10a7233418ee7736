"""Regions that the tests of marks share."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from regiontext.region import Region

SIZE = (200, 150)


def disc(x: float, y: float, radius: float, hole: float = 0.0) -> NDArray[np.bool_]:
    """A disc, or a ring, on an image of SIZE."""
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    away = np.hypot(columns + 0.5 - x, rows + 0.5 - y)
    return (away < radius) & (away >= hole)


def ring(id: str = "ring") -> Region:
    return Region.from_mask(id, disc(80, 70, 40, hole=25))


def box(x0: float, y0: float, x1: float, y1: float, id: str = "box", *labels: str) -> Region:
    return Region.from_box(id, (x0, y0, x1, y1), SIZE, labels)


@st.composite
def masks(draw: st.DrawFn) -> NDArray[np.bool_]:
    """A few rectangles and single pixels anywhere on a small image: holes, pieces, thin lines."""
    width, height = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    mask = np.zeros((height, width), dtype=bool)
    for value in draw(st.lists(st.booleans(), min_size=1, max_size=4)):
        x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        x1, y1 = draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height))
        mask[y0:y1, x0:x1] = value
    mask[draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))] = True
    return mask
