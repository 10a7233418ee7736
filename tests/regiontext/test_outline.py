"""Outlines traced along pixels: filling them gives the mask, and shapely finds them valid."""

from __future__ import annotations

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from regiontext.geometry import fill_rings, rectangle_ring
from regiontext.outline import join_rings, trace_outlines

masks = arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)))


@settings(max_examples=300, deadline=None)
@given(masks)
def test_filling_the_outlines_gives_the_mask(mask):
    size = mask.shape[::-1]
    outlines = trace_outlines(mask)
    rings = [ring for outline in outlines for ring in outline.rings]
    assert np.array_equal(fill_rings(rings, size), mask)
    apart = np.zeros(mask.shape, dtype=int)
    for outline in outlines:
        part = shapely.Polygon(outline.outer, outline.holes)
        assert part.is_valid and shapely.LinearRing(outline.outer).is_ccw  # y up: clockwise here
        filled = fill_rings(outline.rings, size)
        assert filled.sum() == part.area
        apart += filled
    assert np.array_equal(apart, mask.astype(int))
    if rings:
        assert np.array_equal(fill_rings([join_rings(rings)], size), mask)


def test_parts_that_share_a_side_are_one_and_parts_that_share_a_corner_are_two():
    mask = np.array([[1, 0, 0], [0, 1, 1]], dtype=bool)
    outlines = trace_outlines(mask)
    assert [outline.outer.tolist() for outline in outlines] == [
        [[0, 0], [1, 0], [1, 1], [0, 1]],
        [[1, 1], [3, 1], [3, 2], [1, 2]],
    ]


def test_a_hole_is_with_the_part_around_it_and_an_island_is_a_part():
    mask = np.zeros((20, 30), dtype=bool)
    mask[1:15, 1:15] = True
    mask[3:13, 3:13] = False
    mask[5:11, 5:11] = True
    mask[7:9, 7:9] = False
    mask[2:6, 20:28] = True
    mask[3, 22] = mask[4, 24] = False
    outlines = trace_outlines(mask)
    assert [len(outline.holes) for outline in outlines] == [1, 2, 1]
    hole = outlines[0].holes[0]
    assert hole.min() == 3 and hole.max() == 13
    assert not shapely.LinearRing(hole).is_ccw


def test_corners_only_and_nothing_of_an_empty_mask():
    mask = np.zeros((100, 100), dtype=bool)
    assert trace_outlines(mask) == ()
    mask[10:90, 20:70] = True
    assert trace_outlines(mask)[0].outer.tolist() == [[20, 10], [70, 10], [70, 90], [20, 90]]


@settings(max_examples=60, deadline=None)
@given(masks)
def test_a_joined_ring_is_the_same_by_the_non_zero_rule(mask):
    rings = [ring[::-1] for outline in trace_outlines(mask) for ring in outline.rings]
    if not rings:
        return
    ring = join_rings(rings)
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]] + 0.5
    winding = np.zeros(mask.shape, dtype=int)
    for (ax, ay), (bx, by) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        for down in (ay <= y) & (y < by), (by <= y) & (y < ay):
            at = ax + (y - ay) * (bx - ax) / (by - ay if by != ay else 1)
            winding += (down & (at < x)) * (1 if by > ay else -1)
    assert np.array_equal(winding != 0, mask)


def test_rings_are_joined_whichever_way_they_run():
    rings = [
        rectangle_ring((0, 0, 20, 20)),
        rectangle_ring((2, 2, 12, 12))[::-1],
        rectangle_ring((4, 4, 8, 8)),
        rectangle_ring((14, 2, 18, 6)),
    ]
    assert np.array_equal(fill_rings([join_rings(rings)], (25, 25)), fill_rings(rings, (25, 25)))
    assert np.array_equal(join_rings(rings[:1]), rings[0])
