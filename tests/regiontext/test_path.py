"""Paths: the lines along their joints, and the outline of those that close."""

from __future__ import annotations

import numpy as np

from regiontext.geometry import cubic
from regiontext.path import Path

SQUARE = np.array([[0.0, 0], [10, 0], [10, 10], [0, 10]])


def path(previous, *, closed=False, leaving=None, entering=None) -> Path:
    none = np.full((4, 2), np.nan)
    return Path(
        SQUARE,
        np.array(previous),
        none if entering is None else entering,
        none if leaving is None else leaving,
        closed,
    )


def test_a_straight_path_is_one_line_through_its_vertices():
    (line,) = Path.through(SQUARE, closed=False).lines()
    assert np.array_equal(line, SQUARE)
    assert Path.through(SQUARE, closed=False).ring() is None


def test_a_closed_path_is_a_ring_however_its_vertices_lie():
    for closed in (Path.through(SQUARE, closed=True), path([-1, 0, 1, 2], closed=True)):
        ring = closed.ring()
        assert ring is not None and np.array_equal(ring, SQUARE)
    ring = path([2, 3, 1, 0], closed=True).ring()
    assert ring is not None and np.array_equal(ring, SQUARE[[0, 3, 1, 2]])


def test_branches_are_lines_and_no_ring():
    branched = path([-1, 0, 0, 0], closed=True)
    assert branched.ring() is None
    ends = {(tuple(line[0]), tuple(line[-1])) for line in path([-1, 0, 0, 0]).lines()}
    assert ends == {((0, 0), (10, 0)), ((0, 0), (10, 10)), ((0, 0), (0, 10))}
    apart = path([1, 0, 3, 2], closed=True)
    assert apart.ring() is None and len(apart.lines()) == 2


def test_a_lone_vertex_is_a_dot():
    alone = path([-1, -1, -1, -1])
    assert [line.tolist() for line in alone.lines()] == [[[0, 0]]]


def test_handles_bend_the_joints_they_belong_to():
    leaving = np.full((4, 2), np.nan)
    leaving[0] = (3.0, 7.0)
    bent = path([-1, 0, 1, 2], leaving=leaving)
    straight, curve = bent.lines()
    assert np.array_equal(straight, SQUARE[1:])
    assert np.allclose(curve, cubic(SQUARE[0], leaving[0], np.array([7.0, 0.0]), SQUARE[1]))
    ring = path([3, 0, 1, 2], closed=True, leaving=leaving).ring()
    assert ring is not None and len(ring) == 24 + 3


def test_the_line_that_closes_a_path_by_itself_is_straight():
    entering = np.full((4, 2), np.nan)
    entering[0] = (-5.0, 5.0)
    assert len(path([-1, 0, 1, 2], closed=True, entering=entering).ring()) == 4
    assert len(path([3, 0, 1, 2], closed=True, entering=entering).ring()) == 27


def test_moved_moves_everything():
    leaving = np.full((4, 2), np.nan)
    leaving[0] = (3.0, 7.0)
    moved = path([-1, 0, 1, 2], leaving=leaving).moved(np.array([1.0, -1.0]))
    assert moved.vertices[0].tolist() == [1, -1] and moved.leaving[0].tolist() == [4, 6]
    assert np.isnan(moved.leaving[1:]).all()
