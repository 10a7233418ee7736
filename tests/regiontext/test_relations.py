"""Measured relations against the rules written out, and against brute force over all pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from regiontext.errors import RegionError
from regiontext.evidence import spatial
from regiontext.gaps import box_gap
from regiontext.geometry import ellipse_ring
from regiontext.region import Region
from regiontext.relations import (
    PREDICATES,
    Relations,
    Thresholds,
    distance,
    gap,
    nearer,
    predicates,
    relate,
)

SIZE = (40, 30)


def box(x0: float, y0: float, x1: float, y1: float, size: tuple[int, int] = SIZE) -> Region:
    return Region.from_box("b", (x0, y0, x1, y1), size)


@st.composite
def regions(draw: st.DrawFn) -> Region:
    """Boxes, ellipses, and scattered pixels on one small image."""
    x, y = draw(st.integers(0, 38)), draw(st.integers(0, 28))
    width, height = draw(st.integers(1, 40 - x)), draw(st.integers(1, 30 - y))
    kind = draw(st.sampled_from(("box", "ellipse", "pixels")))
    if kind == "box":
        return box(x, y, x + width, y + height)
    if kind == "ellipse":
        ring = ellipse_ring((x, y), (width / 2, height / 2), draw(st.floats(0, 90)))
        return Region("e", "polygon", SIZE, polygons=(ring,))
    mask = np.zeros(SIZE[::-1], dtype=bool)
    bits = draw(st.lists(st.booleans(), min_size=width * height, max_size=width * height))
    mask[y : y + height, x : x + width] = np.reshape(bits, (height, width))
    mask[y, x] = True
    return Region.from_mask("m", mask)


def cells(mask: NDArray[np.bool_]) -> shapely.Geometry:
    rows, columns = np.nonzero(mask)
    return shapely.union_all(shapely.box(columns, rows, columns + 1, rows + 1))


@given(regions(), regions())
def test_the_gap_is_that_of_the_pixels_areas(a: Region, b: Region) -> None:
    exact = shapely.distance(cells(a.mask), cells(b.mask))
    assert gap(a, b) == pytest.approx(exact, abs=1e-9)
    assert gap(a, b) == gap(b, a) >= box_gap(a.box, b.box) - 1e-9


@given(regions(), regions())
def test_numbers_are_those_of_the_masks(a: Region, b: Region) -> None:
    found = relate(a, b)
    both, either = (a.mask & b.mask).sum(), (a.mask | b.mask).sum()
    assert found.shared == both
    assert found.iou == pytest.approx(both / either)
    assert found.shared_of_first == pytest.approx(both / a.mask.sum())
    assert found.shared_of_second == pytest.approx(both / b.mask.sum())
    assert found.area_ratio == pytest.approx(a.mask.sum() / b.mask.sum())
    assert found.relative_gap == pytest.approx(gap(a, b) / 50)
    assert relate(a, b, with_gap=False).relative_gap is None


def by_the_rules(a: Region, b: Region) -> tuple[str, ...]:
    """The nine predicates as the bundled model's training data had them, pixel by pixel."""
    shared, least = int((a.mask & b.mask).sum()), min(a.area, b.area)
    found = []
    if shared >= 0.9 * least:
        found.append(
            "inside" if a.area < b.area else "contains" if a.area > b.area else "overlapping"
        )
    elif shared > 0.02 * least:
        found.append("overlapping")
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = a.box, b.box
    if (ax0 + ax1) / 2 <= bx0 and ax1 <= (bx0 + bx1) / 2:
        found.append("left of")
    elif (bx0 + bx1) / 2 <= ax0 and bx1 <= (ax0 + ax1) / 2:
        found.append("right of")
    if (ay0 + ay1) / 2 <= by0 and ay1 <= (by0 + by1) / 2:
        found.append("above")
    elif (by0 + by1) / 2 <= ay0 and by1 <= (ay0 + ay1) / 2:
        found.append("below")
    if a.area >= 1.5 * b.area:
        found.append("larger than")
    elif b.area >= 1.5 * a.area:
        found.append("smaller than")
    return tuple(found)


@given(regions(), regions())
def test_the_predicates_that_the_bundled_model_knows_keep_their_rules(a: Region, b: Region) -> None:
    expected = by_the_rules(a, b)
    assert spatial(a, b) == expected
    assert tuple(p for p in predicates(relate(a, b)) if p not in ("touching", "near")) == expected


@given(st.integers(1, 10**7), st.data())
def test_shares_meet_their_limits_exactly(least: int, data: st.DataObject) -> None:
    """A quotient and a product round differently; for these limits the outcome is the same."""
    shared = data.draw(
        st.one_of(
            st.integers(0, least),
            st.sampled_from([9 * least // 10, -(-9 * least // 10), least // 50, -(-least // 50)]),
        )
    )
    boxes = ((0.0, 0.0, 9.0, 9.0), (0.0, 0.0, 9.0, 9.0))
    found = predicates(Relations(boxes, (least, least + 1), shared, 50.0))
    assert ("inside" in found) == (shared >= 0.9 * least)
    assert ("overlapping" in found) == (0.02 * least < shared < 0.9 * least)


@given(regions(), regions())
def test_seen_from_the_other_side(a: Region, b: Region) -> None:
    there, back = relate(a, b), relate(b, a)
    assert (there.iou, there.gap, there.shared_of_first) == (
        back.iou,
        back.gap,
        back.shared_of_second,
    )
    assert there.offset == tuple(-way for way in back.offset)
    assert ("near" in predicates(there)) == ("near" in predicates(back))
    assert ("touching" in predicates(there)) == ("touching" in predicates(back))


def test_touching_and_near_follow_the_gap() -> None:
    big = (300, 400)  # diagonal 500
    a = box(0, 0, 50, 50, big)
    for x, expected in ((50, "touching"), (51, "touching"), (52, "near"), (75, "near"), (76, "")):
        found = predicates(relate(a, box(x, 0, x + 50, 50, big)))
        assert {"touching", "near"} & set(found) == ({expected} if expected else set())
    # Meeting in a corner is touching; sharing pixels is overlapping instead.
    assert "touching" in predicates(relate(a, box(50, 50, 60, 60, big)))
    assert "touching" not in predicates(relate(a, box(40, 0, 90, 50, big)))
    far = relate(a, box(76, 0, 126, 50, big))
    assert "near" in predicates(far, thresholds=Thresholds(near=0.1))
    assert set(predicates(far)) <= set(PREDICATES)


def test_one_region_in_the_bay_of_another() -> None:
    mask = np.zeros((700, 800), dtype=bool)
    mask[50:650, 50:750] = True
    mask[150:550, 150:650] = False
    ring = Region.from_mask("ring", mask)
    inner = Region("e", "polygon", (800, 700), polygons=(ellipse_ring((400, 350), (180, 120)),))
    assert gap(ring, inner) == 70.0
    assert relate(ring, inner).shared == 0 and spatial(inner, ring) == ("smaller than",)
    dot = np.zeros((700, 800), dtype=bool)
    dot[300, 160] = True
    assert gap(Region.from_mask("dot", dot), ring) == 10.0


def test_margin_and_offset_in_pixels() -> None:
    found = relate(box(0, 0, 10, 10), box(20, 4, 30, 14))
    assert found.offset == (20, 4)
    assert found.margin(0) == 15 and found.margin(1) == -1
    assert found.gap == 10


def test_nearer_and_distance_order_pairs() -> None:
    a, b, c = box(0, 0, 5, 5), box(8, 0, 12, 5), box(30, 20, 35, 25)
    assert nearer(b, c, a) and not nearer(c, b, a)
    assert distance(a, b) == (3 / 50, 7.5 / 50)
    assert sorted((c, b), key=lambda other: distance(a, other)) == [b, c]
    # Boxes that meet are told apart by their centres.
    assert distance(a, box(0, 0, 5, 6)) < distance(a, box(0, 0, 9, 9))


def test_regions_of_other_images_are_refused() -> None:
    for measure in (relate, gap):
        with pytest.raises(RegionError, match="41 x 30 and 'b' on one of 40 x 30"):
            measure(box(0, 0, 5, 5), Region.from_box("o", (0, 0, 5, 5), (41, 30)))


def test_diagonal_way_between_round_shapes() -> None:
    size = (400, 400)
    a = Region("a", "ellipse", size, polygons=(ellipse_ring((100, 100), (60, 60)),))
    b = Region("b", "ellipse", size, polygons=(ellipse_ring((300, 300), (60, 60)),))
    assert gap(a, b) == pytest.approx(math.hypot(200, 200) - 120, abs=1.5)
