"""Plane geometry against arithmetic done another way: analytic areas, shapely, brute force."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from shapely.geometry import Polygon

from regiontext import geometry
from regiontext.geometry import (
    MAX_CROSSINGS,
    clip_box,
    count_crossings,
    cubic,
    ellipse_ring,
    fill_rings,
    from_percent,
    outer_box,
    rectangle_ring,
    rotate,
    snap,
    tight_box,
    to_percent,
)

coordinate = st.floats(-50, 150, allow_nan=False, width=32)
sizes = st.tuples(st.integers(1, 60), st.integers(1, 60))
points = arrays(np.float64, st.tuples(st.integers(3, 12), st.just(2)), elements=coordinate)


@given(points, sizes)
def test_percent_and_pixels_there_and_back(ring, size):
    assert np.allclose(to_percent(from_percent(ring, size), size), ring, atol=1e-9)


def test_percent_is_of_width_and_of_height():
    assert from_percent(np.array([[50.0, 25.0]]), (800, 600)).tolist() == [[400.0, 150.0]]


def test_rotation_is_clockwise_as_seen():
    # A quarter turn clockwise takes "right" to "down", and down is larger y.
    assert np.allclose(rotate(np.array([[1.0, 0.0]]), 90, (0, 0)), [[0, 1]])
    assert np.allclose(rotate(np.array([[0.0, 1.0]]), 90, (0, 0)), [[-1, 0]])


@given(points, st.floats(-720, 720), st.tuples(coordinate, coordinate))
def test_rotation_there_and_back_keeps_distances(ring, degrees, about):
    turned = rotate(ring, degrees, about)
    assert np.allclose(rotate(turned, -degrees, about), ring, atol=1e-6)
    assert np.allclose(np.hypot(*(turned - about).T), np.hypot(*(ring - about).T), atol=1e-6)


def test_rectangle_turns_about_its_top_left_corner():
    ring = rectangle_ring((10, 20, 40, 30), 90)
    assert np.allclose(ring, [[10, 20], [10, 50], [0, 50], [0, 20]])
    assert rectangle_ring((1, 2, 3, 4)).tolist() == [[1, 2], [3, 2], [3, 4], [1, 4]]


@given(st.floats(0.5, 5000), st.floats(0.5, 5000), st.floats(0, 360))
def test_ellipse_ring_stays_near_the_curve(rx, ry, degrees):
    ring = rotate(ellipse_ring((7, 9), (rx, ry), degrees), -degrees, (7, 9)) - (7, 9)
    assert np.allclose((ring[:, 0] / rx) ** 2 + (ring[:, 1] / ry) ** 2, 1)
    # The largest distance from the curve is a chord's sagitta where the curve bends least.
    assert max(rx, ry) * (1 - math.cos(math.pi / len(ring))) < 0.11


def test_cubic_passes_through_its_ends_and_de_casteljau_middle():
    a, b, c, d = (np.array(p, dtype=float) for p in ([0, 0], [0, 3], [6, 3], [6, 0]))
    curve = cubic(a, b, c, d, count=8)
    assert curve.shape == (9, 2)
    assert curve[0].tolist() == [0, 0] and curve[-1].tolist() == [6, 0]
    assert np.allclose(curve[4], (a + 3 * b + 3 * c + d) / 8)


def test_outer_and_clipped_boxes():
    rings = [np.array([[1.5, 2.5], [3.0, 9.0]]), np.array([[-4.0, 5.0]])]
    assert outer_box(rings) == (-4.0, 2.5, 3.0, 9.0)
    assert clip_box((-4.0, 2.5, 3.2, 9.0), (100, 8)) == (0, 2, 4, 8)
    x0, _, x1, _ = clip_box((200, 2, 300, 4), (100, 8))
    assert x1 <= x0


@given(arrays(np.bool_, sizes))
def test_tight_box_holds_all_and_nothing_more(mask):
    x0, y0, x1, y1 = tight_box(mask)
    assert mask[y0:y1, x0:x1].sum() == mask.sum()
    if mask.any():
        inner = mask[y0:y1, x0:x1]
        assert inner[0].any() and inner[-1].any() and inner[:, 0].any() and inner[:, -1].any()
    else:
        assert (x0, y0, x1, y1) == (0, 0, 0, 0)


def by_winding(rings, size):
    """The rule itself: how often each ring goes round a pixel centre, by the edges left of it."""
    width, height = size
    mask = np.zeros((height, width), dtype=bool)
    for row in range(height):
        for column in range(width):
            x, y = column + 0.5, row + 0.5
            for ring in rings:
                winding = 0
                for edge in zip(ring, np.roll(ring, -1, axis=0), strict=True):
                    (ax, ay), (bx, by) = sorted(edge, key=lambda end: end[1])
                    if (ay <= y) != (by <= y) and ax + (y - ay) * ((bx - ax) / (by - ay)) <= x:
                        winding += 1 if edge[0][1] <= edge[1][1] else -1
                mask[row, column] ^= winding != 0
    return mask


@settings(max_examples=60, deadline=None)
@given(st.lists(points, min_size=1, max_size=3), st.tuples(st.integers(1, 25), st.integers(1, 25)))
def test_each_ring_is_filled_where_it_winds_and_rings_are_holes_in_each_other(rings, size):
    rings = [ring / 4 for ring in rings]
    assert np.array_equal(fill_rings(rings, size), by_winding(rings, size))


def test_a_star_drawn_in_one_go_has_no_hole():
    turn = np.arange(5) * 4 * np.pi / 5
    star = np.stack([50 + 40 * np.sin(turn), 50 - 40 * np.cos(turn)], axis=1)
    mask = fill_rings([star], (100, 100))
    assert mask[50, 50] and mask[15, 50] and not mask[15, 30]


@settings(max_examples=60, deadline=None)
@given(points)
def test_filling_agrees_with_shapely_away_from_edges(ring):
    ring = ring[np.argsort(np.arctan2(*(ring - ring.mean(axis=0)).T))]  # star-shaped, so simple
    shape = Polygon(ring)
    if not shape.is_valid or shape.area < 1:
        return
    mask = fill_rings([ring], (80, 70))
    y, x = np.mgrid[:70, :80] + 0.5
    clear = shapely.distance(shape.exterior, shapely.points(x, y)) > 1e-6
    assert np.array_equal(mask[clear], shapely.contains_xy(shape, x, y)[clear])


def test_a_whole_pixel_box_fills_exactly_its_pixels():
    mask = fill_rings([rectangle_ring((3, 5, 10, 9))], (20, 20))
    expected = np.zeros((20, 20), dtype=bool)
    expected[5:9, 3:10] = True
    assert np.array_equal(mask, expected)


def test_boxes_that_touch_neither_overlap_nor_leave_a_gap():
    left = fill_rings([rectangle_ring((0, 0, 7.5, 10))], (20, 10))
    right = fill_rings([rectangle_ring((7.5, 0, 20, 10))], (20, 10))
    assert not (left & right).any() and (left | right).all()


def test_a_ring_inside_another_is_a_hole():
    outer, inner = rectangle_ring((0, 0, 10, 10)), rectangle_ring((2, 2, 5, 6))
    mask = fill_rings([outer, inner], (12, 12))
    assert mask.sum() == 100 - 12
    assert not mask[2:6, 2:5].any()


def test_ellipse_area_is_pi_a_b():
    mask = fill_rings([ellipse_ring((400, 300), (200, 120), 33)], (800, 600))
    assert abs(mask.sum() / (math.pi * 200 * 120) - 1) < 0.002


def test_what_is_outside_is_cut_off_and_far_points_cost_nothing():
    huge = rectangle_ring((-1e9, -1e9, 1e9, 1e9))
    assert fill_rings([huge], (30, 20)).all()
    assert not fill_rings([rectangle_ring((100, 100, 200, 200))], (30, 20)).any()
    assert not fill_rings([], (30, 20)).any()


def test_chunks_give_the_same_mask(monkeypatch):
    rng = np.random.default_rng(1)
    rings = [rng.uniform(0, 90, (40, 2)) for _ in range(3)]
    whole = fill_rings(rings, (90, 80))
    monkeypatch.setattr(geometry, "_CHUNK", 100)
    assert np.array_equal(fill_rings(rings, (90, 80)), whole)


def test_crossings_are_counted_before_filling():
    zigzag = np.stack([np.linspace(0, 9000, 20_000), np.tile([0.0, 10_000.0], 10_000)], axis=1)
    assert count_crossings([zigzag], (10_000, 10_000)) == 20_000 * 10_000 > MAX_CROSSINGS
    assert count_crossings([zigzag], (10_000, 3)) == 60_000


@pytest.mark.parametrize("size", [(1, 1), (7, 13), (801, 599), (4001, 2999)])
@given(x=st.floats(-50, 150), y=st.floats(-50, 150), degrees=st.floats(-360, 720))
def test_percent_pixels_and_rotation_there_and_back_within_half_a_pixel(size, x, y, degrees):
    here = from_percent(np.array([[x, y]]), size)
    there = rotate(snap(rotate(here, degrees, (3.25, 4.5))), -degrees, (3.25, 4.5))
    back = from_percent(to_percent(there, size), size)
    assert np.abs(back - here).max() < 1e-5 < 0.5


@given(points, sizes)
def test_what_is_snapped_stays_itself_through_percent(ring, size):
    here = snap(from_percent(ring, size))
    assert np.abs(here - from_percent(ring, size)).max() <= 2**-21
    assert np.array_equal(snap(from_percent(to_percent(here, size), size)), here)


@settings(max_examples=60, deadline=None)
@given(points, sizes)
def test_an_outline_walked_backwards_fills_the_same(ring, size):
    assert np.array_equal(fill_rings([ring[::-1]], size), fill_rings([ring], size))
    assert not fill_rings([np.concatenate([ring, ring[::-1]])], size).any()
    assert not fill_rings([ring, ring], size).any()


def test_the_most_intricate_outline_fills_in_bounded_time():
    rows = MAX_CROSSINGS // 1000
    zigzag = np.stack([np.linspace(0, 1000, rows), np.tile([0.0, 1000.0], rows // 2)], axis=1)
    start = time.thread_time()
    assert fill_rings([zigzag], (1000, 1000)).any()
    assert time.thread_time() - start < 3
