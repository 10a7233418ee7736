from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regiontext.evidence import PREDICATES, evidence_line, spatial
from regiontext.region import Region

SIZE = (300, 300)


def box(x0: float, y0: float, x1: float, y1: float) -> Region:
    return Region.from_box("b", (x0, y0, x1, y1), SIZE)


@pytest.mark.parametrize(
    ("region", "line"),
    [
        (box(0, 0, 60, 60), "The region covers 4 % of the image, at the upper left."),
        (box(120, 120, 180, 180), "The region covers 4 % of the image, at the centre."),
        (box(130, 0, 150, 10), "The region covers 0.2 % of the image, at the top."),
        (box(290, 150, 292, 152), "The region covers less than 0.1 % of the image, at the right."),
        (box(240, 280, 300, 300), "The region covers 1 % of the image, at the lower right."),
        (box(0, 0, 300, 300), "The region covers 100 % of the image, at the centre."),
    ],
)
def test_one_region(region: Region, line: str) -> None:
    assert evidence_line([region], SIZE) == line


def test_the_share_is_of_pixels_not_of_the_box() -> None:
    mask = np.zeros((300, 300), dtype=bool)
    mask[::2] = True
    assert evidence_line([Region.from_mask("m", mask)], SIZE).startswith("The region covers 50 %")


def test_two_regions_get_their_relation() -> None:
    line = evidence_line([box(0, 0, 30, 30), box(100, 100, 160, 160)], SIZE)
    assert line == (
        "The first region covers 1 % of the image, at the upper left. "
        "The second region covers 4 % of the image, at the centre. "
        "The first is left of, above and smaller than the second."
    )


def test_regions_without_any_relation_get_no_sentence() -> None:
    line = evidence_line([box(0, 0, 60, 60), box(50, 0, 110, 60)], SIZE)
    assert line.endswith("The first is overlapping and left of the second.")
    # Corners that pass each other diagonally: no side is clear, nothing is shared.
    line = evidence_line([l_shape(False), l_shape(True)], SIZE)
    assert line.endswith("The second region covers 11 % of the image, at the centre.")
    assert evidence_line([], SIZE) == ""


def l_shape(upper: bool) -> Region:
    """Half of a square from its diagonal."""
    mask = np.zeros((300, 300), dtype=bool)
    square = np.tri(140, dtype=bool)
    mask[80:220, 80:220] = ~square if upper else square
    return Region.from_mask("half", mask)


@pytest.mark.parametrize(
    ("a", "b", "found"),
    [
        (box(0, 0, 50, 50), box(60, 0, 110, 50), ("left of",)),
        (box(60, 0, 110, 50), box(0, 0, 50, 50), ("right of",)),
        (box(0, 0, 50, 50), box(10, 80, 60, 130), ("above",)),
        (box(10, 80, 60, 130), box(0, 0, 50, 50), ("below",)),
        (box(40, 40, 60, 60), box(0, 0, 100, 100), ("inside", "smaller than")),
        (box(0, 0, 100, 100), box(40, 40, 60, 60), ("contains", "larger than")),
        (box(0, 0, 50, 50), box(0, 0, 50, 50), ("overlapping",)),
        # Boxes that touch in a corner region only by 2 %: still beside each other.
        (box(0, 0, 50, 50), box(49, 0, 99, 50), ("left of",)),
    ],
)
def test_predicates(a: Region, b: Region, found: tuple[str, ...]) -> None:
    assert spatial(a, b) == found


def test_what_lies_in_the_hole_of_a_ring_is_not_inside_it() -> None:
    mask = np.zeros((300, 300), dtype=bool)
    mask[50:250, 50:250] = True
    mask[100:200, 100:200] = False
    ring = Region.from_mask("ring", mask)
    assert "inside" not in spatial(box(120, 120, 180, 180), ring)


sides = st.tuples(st.integers(0, 290), st.integers(0, 290), st.integers(1, 80), st.integers(1, 80))
OPPOSITE = {
    "left of": "right of",
    "above": "below",
    "inside": "contains",
    "larger than": "smaller than",
    "overlapping": "overlapping",
}
OPPOSITE |= {value: key for key, value in OPPOSITE.items()}


@given(sides, sides)
def test_every_predicate_has_its_opposite_seen_from_the_other(
    a: tuple[int, int, int, int], b: tuple[int, int, int, int]
) -> None:
    first, second = (box(x, y, min(300, x + w), min(300, y + h)) for x, y, w, h in (a, b))
    forward, backward = spatial(first, second), spatial(second, first)
    assert {OPPOSITE[p] for p in forward} == set(backward)
    assert set(forward) <= set(PREDICATES)
    assert not {"left of", "right of"} <= set(forward)
