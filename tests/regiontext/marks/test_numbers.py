from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from regiontext.marks.layout import Layout, lay_out, lay_out_all, scaled
from regiontext.marks.layouts.glyphs import digits
from regiontext.marks.parts import Raster
from regiontext.marks.style import Style, inference_style, training_styles
from regiontext.region import Region
from tests.regiontext.marks.regions import SIZE, box, disc, masks, ring

BIG = (800, 600)
CELL = scaled(2, BIG)
PLATE = (7 * CELL, 9 * CELL)  # one digit with its margin, width and height


def numbered(count: int) -> list[Style]:
    return [inference_style("number", number=rank) for rank in range(1, count + 1)]


def big(x0: float, y0: float, x1: float, y1: float) -> Region:
    return Region.from_box("r", (x0, y0, x1, y1), BIG)


def plate(layout: Layout) -> Raster:
    (part,) = layout.parts
    assert isinstance(part, Raster)
    return part


def pixels(part: Raster, size: tuple[int, int]) -> NDArray[np.bool_]:
    """`part` on a whole image of `size`; fails if it leaves the image."""
    whole = np.zeros((size[1], size[0]), dtype=bool)
    (x, y), (height, width) = part.origin, part.mask.shape
    assert 0 <= x <= size[0] - width and 0 <= y <= size[1] - height
    whole[y : y + height, x : x + width] = part.mask
    return whole


def placed(regions: Sequence[Region]) -> list[NDArray[np.bool_]]:
    layouts = lay_out_all(regions, numbered(len(regions)))
    return [pixels(plate(layout), regions[0].size) for layout in layouts]


def test_ten_digits_are_told_apart() -> None:
    shapes = [digits(number, 1) for number in range(10)]
    assert {shape.shape for shape in shapes} == {(7, 5)}
    gaps = [np.count_nonzero(a ^ b) for i, a in enumerate(shapes) for b in shapes[:i]]
    assert min(gaps) >= 5


def test_digits_are_written_side_by_side_in_whole_cells() -> None:
    both = digits(47, 3)
    assert both.shape == (21, 33)
    assert (both[:, :15] == digits(4, 3)).all() and (both[:, 18:] == digits(7, 3)).all()
    assert not both[:, 15:18].any()
    assert (both == digits(47, 1).repeat(3, axis=0).repeat(3, axis=1)).all()
    seven = ["#####", "....#", "...#.", "..#..", "..#..", ".#...", ".#..."]
    assert ["".join(".#"[cell] for cell in row) for row in digits(7, 1).astype(int)] == seven


def test_the_digits_lie_in_the_middle_of_the_plate() -> None:
    layout = lay_out(big(100, 100, 400, 400), inference_style("number", number=12))
    back, (text,) = plate(layout), layout.inset
    assert isinstance(text, Raster) and (text.mask == digits(12, CELL)).all()
    height, width = text.mask.shape
    assert back.mask.shape == (height + 2 * CELL, width + 2 * CELL)
    assert text.origin == (back.origin[0] + CELL, back.origin[1] + CELL)
    assert not back.mask[0, 0] and not back.mask[-1, -1] and back.mask[0, CELL:-CELL].all()


def test_round_plates_hold_their_digits() -> None:
    for number in (1, 88, 777):
        style = Style("number", "red", (255, 0, 0), 230, 2, number=number, round_plate=True)
        layout = lay_out(big(100, 100, 600, 500), style)
        back, (text,) = plate(layout), layout.inset
        assert isinstance(text, Raster)
        assert back.mask.shape[0] == back.mask.shape[1] and not back.mask[0, 0]
        assert (pixels(back, BIG) | ~pixels(text, BIG)).all()


def test_the_number_of_a_box_is_in_its_middle() -> None:
    (drawn,) = placed([big(200, 100, 500, 400)])
    rows, columns = np.nonzero(drawn)
    assert abs(columns.mean() + 0.5 - 350) <= 2 and abs(rows.mean() + 0.5 - 250) <= 2


def test_the_number_lies_where_the_region_is_deepest_not_in_its_hole() -> None:
    rows, columns = np.mgrid[: BIG[1], : BIG[0]]
    thick = np.hypot(columns - 300, rows - 300) < 250
    thick &= np.hypot(columns - 340, rows - 300) >= 150
    (drawn,) = placed([Region.from_mask("moon", thick)])
    assert not (drawn & ~thick).any()
    # The hole is off to the right, so the ring is thickest on the left.
    assert np.nonzero(drawn)[1].max() < 190


def test_a_region_that_a_plate_would_hide_has_it_beside() -> None:
    for region in (big(400, 300, 404, 304), big(300, 300, 340, 340), big(300, 300, 700, 312)):
        (drawn,) = placed([region])
        assert not (drawn & region.mask).any()
        x0, y0, x1, y1 = region.box
        near = np.zeros(BIG[::-1], dtype=bool)
        near[int(y0) - 1 : int(y1) + 1, int(x0) - 1 : int(x1) + 1] = True
        assert (drawn & near).any(), "it touches the region's box"


def test_a_plate_inside_hides_at_most_a_quarter() -> None:
    for side in range(20, 200, 6):
        region = big(100, 100, 100 + side, 100 + side)
        (drawn,) = placed([region])
        assert not (drawn & region.mask).any() or drawn.sum() <= 0.25 * region.area


def test_plates_shrink_a_little_before_they_move_out() -> None:
    full = lay_out(big(100, 100, 300, 300), inference_style("number"))
    less = lay_out(big(100, 100, 156, 156), inference_style("number"))
    assert plate(full).mask.shape == (PLATE[1], PLATE[0])
    height = plate(less).mask.shape[0]
    assert 2 / 3 * PLATE[1] <= height < PLATE[1]


@pytest.mark.parametrize("corner", [(0, 0), (796, 0), (796, 596), (0, 596)])
def test_plates_beside_a_region_in_the_corner_stay_in_the_image(corner: tuple[int, int]) -> None:
    x, y = corner
    region = big(x, y, x + 4, y + 4)
    (drawn,) = placed([region])
    assert drawn.any() and not (drawn & region.mask).any()


def test_the_smaller_region_keeps_its_number_and_the_larger_one_moves_aside() -> None:
    outer, inner = big(100, 100, 500, 500), big(200, 200, 400, 400)
    alone = placed([inner])[0]
    for regions in ([outer, inner], [inner, outer]):
        drawn = dict(zip(map(id, regions), placed(regions), strict=True))
        assert (drawn[id(inner)] == alone).all()
        assert not (drawn[id(outer)] & inner.mask).any()
        assert not (drawn[id(outer)] & ~outer.mask).any()


def test_equal_regions_get_plates_side_by_side() -> None:
    first, second = placed([big(200, 200, 500, 500), big(200, 200, 500, 500)])
    assert first.any() and second.any() and not (first & second).any()


def test_a_crowd_of_small_regions_has_no_overlapping_plates() -> None:
    rng = np.random.default_rng(0)
    corners = rng.integers((150, 100), (550, 400), size=(30, 2)).tolist()
    regions = [big(x, y, x + 18, y + 14) for x, y in corners]
    count = np.sum(placed(regions), axis=0)
    assert count.max() == 1


@settings(max_examples=50)
@given(st.lists(masks(), min_size=1, max_size=4), st.integers(0, 2**32))
def test_plates_never_leave_an_image_that_can_hold_them(
    several: list[NDArray[np.bool_]], seed: int
) -> None:
    size = 90, 90
    regions = []
    for mask in several:
        whole = np.zeros(size[::-1], dtype=bool)
        whole[: mask.shape[0], : mask.shape[1]] = mask
        regions.append(Region.from_mask("r", whole))
    fixed = numbered(len(regions))
    random = training_styles(np.random.default_rng(seed), len(regions), ("number",))
    for styles in (fixed, random):
        layouts = lay_out_all(regions, styles)
        for layout, style in zip(layouts, styles, strict=True):
            x0, y0, x1, y1 = layout.bounds
            assert 0 <= x0 <= x1 <= 89 and 0 <= y0 <= y1 <= 89
            (text,) = layout.inset
            assert isinstance(text, Raster)
            back = pixels(plate(layout), size)
            assert not (pixels(text, size) & ~back).any()
            assert text.mask.shape[1] // (text.mask.shape[0] // 7) == 6 * len(str(style.number)) - 1
        again = lay_out_all(regions, styles)
        assert [a.bounds for a in again] == [a.bounds for a in layouts]


def test_an_image_smaller_than_a_plate_is_no_error() -> None:
    region = Region.from_mask("dot", np.ones((3, 5), dtype=bool))
    assert lay_out(region, inference_style("number", number=123)).inset


def test_a_number_as_large_as_can_be_asked_for_stays_in_the_image() -> None:
    style = Style("number", "red", (255, 0, 0), 230, 112, number=999, round_plate=True)
    assert pixels(plate(lay_out(big(300, 200, 500, 400), style)), BIG).any()


def test_other_kinds_are_laid_out_as_if_numbers_were_not_there() -> None:
    regions = [ring("a"), box(10, 10, 60, 60, "b"), Region.from_mask("c", disc(150, 110, 25))]
    styles = [inference_style("number", number=4), inference_style("mask"), inference_style("dots")]
    together = lay_out_all(regions, styles)
    for region, style, layout in zip(regions, styles, together, strict=True):
        assert layout.bounds == lay_out(region, style).bounds
    assert together[0].bounds[2] < SIZE[0]
