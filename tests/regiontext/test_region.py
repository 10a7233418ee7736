"""A region's mask, box, area, centre, anchor and crop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from regiontext.errors import RegionError, RegiontextError
from regiontext.geometry import fill_rings, rectangle_ring, tight_box
from regiontext.path import Path
from regiontext.region import Region

masks = arrays(np.bool_, st.tuples(st.integers(1, 30), st.integers(1, 30)))


def polygon(*rings, size=(100, 80)) -> Region:
    return Region(
        "r", "polygon", size, polygons=tuple(np.array(ring, dtype=float) for ring in rings)
    )


def test_a_box_region_has_that_box():
    region = Region.from_box("r", (10, 20, 30, 50), (100, 80), ["Car"])
    assert region.shape == "rectangle" and region.labels == ("Car",)
    assert region.box == (10, 20, 30, 50)
    assert region.area == 600
    assert region.centre == (20, 35)
    assert region.mask.shape == (80, 100) and region.mask.dtype == np.bool_


@given(masks)
def test_a_mask_region_measures_its_mask(mask):
    assume(mask.any())
    region = Region.from_mask("r", mask)
    assert np.array_equal(region.mask, mask)
    assert region.area == mask.sum()
    rows, columns = np.nonzero(mask)
    assert region.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert np.allclose(region.centre, (columns.mean() + 0.5, rows.mean() + 0.5))
    x, y = region.anchor
    assert mask[int(y), int(x)]
    best = np.hypot(columns + 0.5 - region.centre[0], rows + 0.5 - region.centre[1]).min()
    assert np.hypot(x - region.centre[0], y - region.centre[1]) <= max(best, 0.71) + 1e-9


def test_the_anchor_of_a_ring_lies_on_it():
    region = polygon(rectangle_ring((10, 10, 40, 40)), rectangle_ring((15, 15, 35, 35)))
    assert region.centre == (25, 25)
    x, y = region.anchor
    assert region.mask[int(y), int(x)] and not region.mask[25, 25]


def test_a_raster_wins_over_polygons():
    raster = np.zeros((80, 100), dtype=bool)
    raster[3, 4] = True
    region = Region(
        "r", "brush", (100, 80), polygons=(rectangle_ring((0, 0, 50, 50)),), raster=raster
    )
    assert region.area == 1 and region.box == (4, 3, 5, 4)


@pytest.mark.parametrize(
    "ring",
    [
        [[10.1, 20], [10.2, 20], [10.2, 60], [10.1, 60]],
        [[10, 20], [10, 20], [10, 20]],
        [[0, 0], [0.01, 0], [0, 0.01]],
        [[99.9, 79.9], [100, 79.9], [100, 80]],
    ],
)
def test_a_thin_region_has_at_least_one_pixel(ring):
    region = polygon(ring)
    assert region.area >= 1
    x0, y0, x1, y1 = region.box
    assert abs((x0 + x1) / 2 - np.mean([p[0] for p in ring])) <= 1
    assert y0 <= min(p[1] for p in ring) + 1 and y1 >= max(p[1] for p in ring) - 1


def test_a_region_beyond_the_image_falls_on_its_nearest_pixel():
    region = polygon([[300, 300], [301, 300], [300, 301]])
    assert region.box == (99, 79, 100, 80)


@settings(deadline=None)
@given(
    arrays(np.float64, st.tuples(st.integers(3, 8), st.just(2)), elements=st.floats(-20, 120)),
    st.data(),
)
def test_a_crop_shows_exactly_its_part(ring, data):
    region = polygon(ring)
    x0, y0, x1, y1 = (int(side) for side in region.box)
    left, top = data.draw(st.integers(0, x1 - 1)), data.draw(st.integers(0, y1 - 1))
    right = data.draw(st.integers(max(left, x0) + 1, 100))
    bottom = data.draw(st.integers(max(top, y0) + 1, 80))
    part = region.mask[top:bottom, left:right]
    if not part.any():
        with pytest.raises(RegionError, match="no pixel"):
            region.crop((left, top, right, bottom))
        return
    cropped = region.crop((left, top, right, bottom))
    assert cropped.size == (right - left, bottom - top)
    assert np.array_equal(cropped.mask, part)
    assert cropped.id == "r" and cropped.shape == "polygon"
    moved = fill_rings(cropped.polygons, cropped.size)
    filled = fill_rings(region.polygons, region.size)[top:bottom, left:right]
    assert (moved != filled).sum() <= len(ring)  # the outline moved too, but for rounding


def test_a_crop_moves_point_and_raster():
    raster = np.zeros((80, 100), dtype=bool)
    raster[30:40, 20:30] = True
    region = Region("r", "brush", (100, 80), ("a",), raster=raster, point=(25, 35), item_index=2)
    cropped = region.crop((15, 25, 35, 45))
    assert cropped.raster is not None and cropped.raster[5:15, 5:15].all()
    assert (cropped.point, cropped.labels, cropped.item_index) == ((10, 10), ("a",), 2)
    assert cropped.box == (5, 5, 15, 15)


@pytest.mark.parametrize(
    "box", [(0.5, 0, 5, 5), (-1, 0, 5, 5), (0, 0, 101, 5), (5, 5, 5, 9), (9, 9, 5, 20)]
)
def test_a_crop_is_whole_pixels_inside(box):
    with pytest.raises(RegionError, match="cannot crop"):
        Region.from_box("r", (0, 0, 9, 9), (100, 80)).crop(box)


def test_arrays_are_read_only():
    region = Region.from_box("r", (0, 0, 9, 9), (100, 80))
    for array in (region.mask, *region.polygons):
        with pytest.raises(ValueError):
            array[0] = 1
    mask = np.ones((4, 4), dtype=bool)
    copied = Region.from_mask("m", mask)
    mask[:] = False
    assert copied.area == 16


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Region("r", "circle", (9, 9)), "circle"),
        (lambda: Region("r", "polygon", (9, 9)), "neither"),
        (lambda: Region("r", "polygon", (0, 9), polygons=(np.zeros((3, 2)),)), "0 x 9"),
        (lambda: Region("r", "polygon", (9, 9), polygons=(np.zeros((3, 3)),)), "shape"),
        (lambda: Region("r", "polygon", (9, 9), polygons=(np.full((3, 2), np.nan),)), "finite"),
        (lambda: Region("r", "brush", (9, 9), raster=np.ones((8, 9), dtype=bool)), r"\[9, 9\]"),
        (lambda: Region("r", "brush", (9, 9), raster=np.ones((9, 9), dtype=np.uint8)), "uint8"),
        (lambda: Region.from_mask("r", np.zeros((9, 9), dtype=bool)), "empty"),
        (lambda: Region.from_mask("r", np.zeros(9, dtype=bool)), r"\[H, W\]"),
        (lambda: Region.from_box("r", (5, 5, 5, 9), (9, 9)), "no area"),
        (lambda: Region.from_box("r", (5, float("nan"), 8, 9), (9, 9)), "no area"),
    ],
)
def test_parts_that_do_not_fit_are_refused(make, said):
    with pytest.raises(RegionError, match=said) as caught:
        make()
    assert caught.value.region_id == "r"
    assert isinstance(caught.value, RegiontextError)


def test_an_intricate_outline_is_a_region_error():
    zigzag = np.stack([np.linspace(0, 9000, 20_000), np.tile([0.0, 9000.0], 10_000)], axis=1)
    with pytest.raises(RegionError, match="simplify"):
        Region("r", "polygon", (9000, 9000), polygons=(zigzag,))


@settings(deadline=None)
@given(
    arrays(np.float64, st.tuples(st.integers(3, 8), st.just(2)), elements=st.floats(-20, 120)),
)
def test_outlines_and_coco_code_hold_the_mask(ring):
    region = polygon(ring)
    rings = [each for outline in region.outlines for each in outline.rings]
    assert np.array_equal(fill_rings(rings, region.size), region.mask)
    again = Region.from_coco_rle("again", region.coco_rle)
    assert np.array_equal(again.mask, region.mask)
    assert (again.box, again.area, again.centre) == (region.box, region.area, region.centre)
    assert region.coco_rle["size"] == [80, 100]


def test_a_crop_moves_the_path():
    ring = np.array([[10.0, 10], [60, 10], [10, 60]])
    path = Path.through(ring, closed=False)
    region = Region("r", "polygon", (100, 80), polygons=(ring,), path=path)
    cropped = region.crop((5, 8, 70, 70))
    assert cropped.path is not None and not cropped.path.closed
    assert np.array_equal(cropped.path.vertices, cropped.polygons[0])


@settings(max_examples=200, deadline=None)
@given(
    arrays(
        np.float64,
        st.tuples(st.integers(1, 6), st.just(2)),
        elements=st.floats(-300, 300) | st.integers(-300, 300).map(float),
    ),
    st.tuples(st.integers(1, 50), st.integers(1, 50)),
)
def test_the_box_is_that_of_the_mask_wherever_the_outline_lies(ring, size):
    region = polygon(ring, size=size)
    assert region.box == tight_box(region.mask)
    assert region.area == region.mask.sum() > 0
