from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from regiontext.marks.sampling import (
    deepest_point,
    depths,
    farthest_points,
    random_points,
    shrink,
)
from tests.regiontext.marks.regions import disc, masks


def hits(mask: NDArray[np.bool_], points: NDArray[np.float64]) -> NDArray[np.bool_]:
    columns, rows = np.floor(points).astype(int).T
    return mask[rows, columns]


@given(masks(), st.integers(1, 12), st.integers(0, 2**32))
def test_points_are_always_inside(mask: NDArray[np.bool_], count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert hits(mask, np.array([deepest_point(mask)])).all()
    assert hits(mask, farthest_points(mask, count)).all()
    assert hits(mask, farthest_points(mask, count, rng=rng)).all()
    drawn = random_points(mask, count, rng)
    assert drawn.shape == (count, 2) and hits(mask, drawn).all()


def test_the_deepest_point_of_a_disc_is_its_centre() -> None:
    x, y = deepest_point(disc(80, 70, 40))
    assert abs(x - 80) <= 2 and abs(y - 70) <= 2


def test_the_deepest_point_prefers_the_thick_end() -> None:
    mask = np.zeros((60, 60), dtype=bool)
    mask[28:31, :40] = True
    mask[15:45, 40:60] = True
    x, y = deepest_point(mask)
    assert 43 < x < 57 and 18 < y < 42


def test_farthest_points_are_distinct_and_spread() -> None:
    mask = np.ones((50, 50), dtype=bool)
    points = farthest_points(mask, 5)
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)[~np.eye(5, dtype=bool)]
    assert apart.min() > 25


def test_a_mask_smaller_than_the_count_gives_every_pixel_once() -> None:
    mask = np.zeros((4, 4), dtype=bool)
    mask[1, 1:4] = True
    assert sorted(farthest_points(mask, 10).tolist()) == [[1.5, 1.5], [2.5, 1.5], [3.5, 1.5]]


def test_shrink_takes_one_pixel_off_every_side() -> None:
    mask = np.ones((5, 7), dtype=bool)
    inner = shrink(mask)
    assert inner.sum() == 3 * 5 and inner[1:-1, 1:-1].all()


@settings(max_examples=50)
@given(masks())
def test_the_distance_transform_is_exact(mask: NDArray[np.bool_]) -> None:
    mask = mask[:24, :24]
    outside = np.argwhere(~np.pad(mask, 1)) - 1
    rows, columns = np.indices(mask.shape)
    away = (rows[..., None] - outside[:, 0]) ** 2 + (columns[..., None] - outside[:, 1]) ** 2
    assert (depths(mask) == away.min(axis=2)).all()
