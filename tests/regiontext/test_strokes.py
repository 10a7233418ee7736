"""Strokes of a round pen against shapely's distances, and what they may cost."""

from __future__ import annotations

import time

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from regiontext import strokes
from regiontext.strokes import MAX_ROWS, paint_strokes

whole = st.integers(-10, 70).map(float)
lines = arrays(
    np.float64, st.tuples(st.integers(1, 6), st.just(2)), elements=st.floats(-10, 70) | whole
)


def blank() -> np.ndarray:
    return np.zeros((60, 50), dtype=bool)


@settings(max_examples=150, deadline=None)
@given(lines, st.floats(1, 30))
def test_a_stroke_is_what_lies_within_half_its_width(line, width):
    mask = paint_strokes(blank(), [(line, width, True)])
    y, x = np.mgrid[:60, :50] + 0.5
    moves = len(np.unique(line, axis=0)) > 1
    path = shapely.LineString(line) if moves else shapely.Point(line[0])
    distance = shapely.distance(path, shapely.points(x, y))
    clear = np.abs(distance - width / 2) > 1e-6
    assert np.array_equal(mask[clear], distance[clear] < width / 2)


def test_strokes_add_and_erase_in_order_and_leave_the_base_alone():
    base = np.zeros((20, 40), dtype=bool)
    line = np.array([[5.0, 10.0], [35.0, 10.0]])
    painted = paint_strokes(base, [(line, 8, True), (line[:1], 6, False)])
    assert not base.any()
    assert painted[10, 20] and not painted[10, 5]
    assert paint_strokes(painted, [(line, 30, False)]).sum() == 0


@given(st.lists(st.tuples(lines, st.floats(0.1, 20), st.booleans()), max_size=6))
@settings(max_examples=40, deadline=None)
def test_strokes_painted_together_are_strokes_painted_in_turn(drawn):
    one_by_one = blank()
    for stroke in drawn:
        one_by_one = paint_strokes(one_by_one, [stroke])
    assert np.array_equal(paint_strokes(blank(), drawn), one_by_one)


def test_chunks_give_the_same_mask(monkeypatch):
    line = np.random.default_rng(0).uniform(0, 50, (40, 2))
    mask = paint_strokes(blank(), [(line, 7, True)])
    monkeypatch.setattr(strokes, "_CHUNK", 50)
    assert np.array_equal(paint_strokes(blank(), [(line, 7, True)]), mask)


def test_a_pen_finer_than_a_pixel_leaves_no_gap():
    line = np.array([[0.3, 0.2], [49.1, 30.7], [2.0, 59.0]])
    mask = paint_strokes(blank(), [(line, 0.01, True)])
    assert mask[:, 1:49].any(axis=0).all() and mask[:58].any(axis=1).all()


def test_what_lies_far_outside_costs_nothing():
    line = np.array([[-1e9, 5.0], [1e9, 5.0]])
    assert paint_strokes(blank(), [(line, 2, True)]).sum() == 2 * 50
    assert paint_strokes(blank(), [(line[:1], 1e10, True)]).all()
    assert not paint_strokes(blank(), [(line + 1e6, 2, True)]).any()


def test_too_much_stroke_is_refused_before_it_is_drawn():
    wild = np.random.default_rng(0).uniform(0, 4000, (MAX_ROWS // 100, 2))
    page = np.zeros((4000, 4000), dtype=bool)
    dot = np.array([[2000.0, 2000.0]])
    start = time.thread_time()
    with pytest.raises(ValueError, match="too much"):
        paint_strokes(page, [(wild, 2, True)])
    with pytest.raises(ValueError, match="too much"):
        paint_strokes(page, [(dot, 8000, index % 2 == 0) for index in range(200)])
    assert time.thread_time() - start < 1
