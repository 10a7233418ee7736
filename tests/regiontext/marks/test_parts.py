"""Parts that cannot be drawn are refused when they are made."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from regiontext.errors import MarkError
from regiontext.marks.parts import Oval, Part, Path, Polygon, Raster, Rectangle, Rings

LINE = np.array([(1.0, 2.0), (3.0, 4.0)])
NOWHERE = np.array([(1.0, 2.0), (np.nan, 4.0)])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Rectangle((5, 0, 4, 9), 1), r"box \(5, 0, 4, 9\)"),
        (lambda: Oval((0, 5, 9, 4)), r"box \(0, 5, 9, 4\)"),
        (lambda: Oval((0, 0, float("inf"), 4)), "1e\\+12"),
        (lambda: Rectangle((0, 0, float("nan"), 4), 1), "nan"),
        (lambda: Rectangle((0, 0, 4, 4), -1), "-1 px wide"),
        (lambda: Oval((0, 0, 4, 4), 5000), "5000 px wide"),
        (lambda: Path(LINE, -2), "-2 px wide"),
        (lambda: Path(LINE[:1], 2), r"shape \[1, 2\]"),
        (lambda: Path(NOWHERE, 2), "not a number"),
        (lambda: Polygon(LINE * 1e12), "1e\\+12 px"),
        (lambda: Polygon(LINE.T.ravel()), r"shape \[4\]"),
        (lambda: Rings((), 1), "at least one ring"),
        (lambda: Rings((LINE, NOWHERE), 1), "not a number"),
        (lambda: Rings((LINE,), 10**6), "1000000 px wide"),
        (lambda: Raster(np.zeros((2, 2), np.uint8), (0, 0)), r"uint8\[2, 2\]"),
    ],
)
def test_what_cannot_be_drawn_is_refused(make: Callable[[], Part], said: str) -> None:
    with pytest.raises(MarkError, match=said):
        make()


def test_a_rectangle_thinner_than_its_stroke_reaches_beyond_its_box() -> None:
    assert Rectangle((10, 10, 60, 50), 4).bounds == (10, 10, 60, 50)
    assert Rectangle((10, 20, 60, 21), 4).bounds == (10, 18, 60, 24)
