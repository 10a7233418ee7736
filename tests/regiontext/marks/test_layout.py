from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from regiontext.geometry import cubic
from regiontext.marks.coverage import coverage
from regiontext.marks.kinds import KINDS
from regiontext.marks.layout import lay_out, scaled
from regiontext.marks.parts import Oval, Path, Polygon, Raster, Rectangle, Rings
from regiontext.marks.style import Style, inference_style, training_style
from regiontext.region import Region
from tests.regiontext.marks.regions import SIZE, box, disc, masks, ring


def covered(region: Region, style: Style, rng: np.random.Generator | None = None) -> np.ndarray:
    """Which pixels the mark touches, bool[H, W] of the whole image."""
    window, (x, y) = coverage(lay_out(region, style, rng=rng), region.size)
    whole = np.zeros((region.size[1], region.size[0]), dtype=bool)
    whole[y : y + window.shape[0], x : x + window.shape[1]] = window
    return whole


@settings(deadline=None)
@given(masks(), st.sampled_from(KINDS), st.integers(0, 2**32))
def test_every_kind_fits_every_region(mask: NDArray[np.bool_], kind: str, seed: int) -> None:
    region = Region.from_mask("any", mask)
    fixed = covered(region, inference_style(kind))
    assert fixed.any()
    rng = np.random.default_rng(seed)
    covered(region, training_style(rng, (kind,)), rng)


@pytest.mark.parametrize("kind", KINDS)
def test_inference_is_deterministic_and_training_follows_the_seed(kind: str) -> None:
    style = inference_style(kind)
    assert (covered(ring(), style) == covered(ring(), style)).all()

    def drawn(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return covered(ring(), training_style(rng, (kind,)), rng)

    assert (drawn(3) == drawn(3)).all()


@pytest.mark.parametrize(
    ("size", "expected"), [((336, 252), 3), ((672, 100), 6), ((97, 61), 1), ((20, 20), 1)]
)
def test_sizes_scale_with_the_image_and_never_vanish(size: tuple[int, int], expected: int) -> None:
    assert scaled(3.9 if size[0] == 336 else 3, size) == expected


def test_the_rectangle_runs_along_the_outermost_pixels() -> None:
    pixels = covered(box(10, 20, 60, 90), inference_style("rectangle"))
    rows, columns = np.nonzero(pixels)
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == (10, 20, 59, 89)
    width = scaled(4, SIZE)
    assert not pixels[20 + width : 90 - width, 10 + width : 60 - width].any()


def test_the_ellipse_grows_about_the_box_centre() -> None:
    (part,) = lay_out(box(50, 40, 91, 61), inference_style("ellipse")).parts
    assert isinstance(part, Oval) and part.width == scaled(4, SIZE)
    assert part.box == pytest.approx((46, 38, 94, 62))


@pytest.mark.parametrize("kind", ["mask", "patch"])
def test_fills_respect_holes(kind: str) -> None:
    assert (covered(ring(), inference_style(kind)) == ring().mask).all()


def test_contours_follow_both_the_rim_and_the_hole() -> None:
    outer = np.array([(20, 20), (120, 20), (120, 120), (20, 120)], dtype=np.float64)
    inner = np.array([(50, 50), (90, 50), (90, 90), (50, 90)], dtype=np.float64)
    polygon = Region("p", "polygon", SIZE, polygons=(outer, inner))
    (part,) = lay_out(polygon, inference_style("contour")).parts
    assert isinstance(part, Rings)
    raster = Region.from_mask("r", polygon.mask)
    assert isinstance(lay_out(raster, inference_style("contour")).parts[0], Raster)
    for region in (polygon, raster):
        pixels = covered(region, inference_style("contour"))
        assert pixels[70, 19:22].any() and pixels[70, 48:52].any()
        assert not pixels[70, 30] and not pixels[70, 70]


def test_far_away_vertices_do_not_slow_the_contour() -> None:
    far = np.array([(10, 10), (1e9, 10), (1e9, 1e9), (10, 1e9)])
    region = Region("far", "polygon", SIZE, polygons=(far,))
    assert covered(region, inference_style("contour")).any()


@pytest.mark.parametrize("kind", ["point", "arrow", "dots"])
def test_marks_aim_at_the_pixels_of_a_ring_not_at_its_hole(kind: str) -> None:
    region = ring()
    parts = lay_out(region, inference_style(kind)).parts
    if kind == "arrow":
        assert isinstance(parts[0], Path)
        aims = parts[0].points[:1]
    else:
        ovals = [part.box for part in parts if isinstance(part, Oval)]
        aims = np.array([((x0 + x1) / 2, (y0 + y1) / 2) for x0, y0, x1, y1 in ovals])
    columns, rows = np.floor(aims).astype(int).T
    assert region.mask[rows, columns].all()


def test_dots_are_equal_and_lie_inside() -> None:
    style = inference_style("dots")
    parts = lay_out(ring(), style).parts
    assert len(parts) == style.dots
    widths = {round(p.box[2] - p.box[0], 6) for p in parts if isinstance(p, Oval)}
    assert widths == {2.0 * scaled(style.width, SIZE)}
    pixels = covered(ring(), style)
    assert (pixels & ~ring().mask).sum() < 0.1 * pixels.sum()


@given(st.integers(0, 2**32))
def test_training_triangles_lie_in_the_region_and_are_not_flat(seed: int) -> None:
    rng = np.random.default_rng(seed)
    region = ring()
    (part,) = lay_out(region, training_style(rng, ("triangle",)), rng=rng).parts
    assert isinstance(part, Path) and part.curved and len(part.points) == 4
    corners = part.points[:3]
    columns, rows = np.floor(corners).astype(int).T
    assert region.mask[rows, columns].all()
    sides = [math.dist(corners[i], corners[i - 1]) for i in range(3)]
    a, b, c = sorted(sides)
    assert math.acos((a * a + b * b - c * c) / (2 * a * b)) <= math.radians(150) + 1e-9


def test_a_one_pixel_line_still_gets_a_triangle() -> None:
    region = box(10, 20, 90, 21)
    for rng in (None, np.random.default_rng(0)):
        (part,) = lay_out(region, inference_style("triangle"), rng=rng).parts
        assert isinstance(part, Path) and np.isfinite(part.points).all()


def test_the_scribble_is_a_bezier_through_the_region() -> None:
    control = np.array([(0, 0), (10, 20), (30, 20), (40, 0)], dtype=np.float64)
    curve = cubic(*control, count=100)
    assert curve[0].tolist() == [0, 0] and curve[-1].tolist() == [40, 0]
    assert curve[50] == pytest.approx([20, 15])
    (part,) = lay_out(box(20, 30, 120, 100), inference_style("scribble")).parts
    assert isinstance(part, Path)
    assert len(part.points) == int(1000 * 200 / 336)
    assert (part.points >= (20, 30)).all() and (part.points <= (120, 100)).all()


def test_the_inference_arrow_stays_in_the_picture() -> None:
    for region in (box(0, 0, 20, 20), box(180, 0, 200, 20), box(180, 130, 200, 150)):
        for part in lay_out(region, inference_style("arrow")).parts:
            assert isinstance(part, Path | Polygon)
            assert (part.points >= 0).all() and (part.points <= SIZE).all()


def test_the_training_arrow_follows_the_paper() -> None:
    rng = np.random.default_rng(5)
    region = box(60, 40, 140, 100)
    for _ in range(200):
        style = training_style(rng, ("arrow",))
        shaft, head = lay_out(region, style, rng=rng).parts
        assert isinstance(shaft, Path) and isinstance(head, Path | Polygon)
        assert isinstance(head, Polygon) == style.solid_head
        tip = shaft.points[0]
        assert abs(tip[0] - 100) <= 0.25 * 80 and abs(tip[1] - 70) <= 0.25 * 60
        assert head.points[1].tolist() == tip.tolist()
        wings = [math.dist(head.points[i], tip) for i in (0, 2)]
        # Wings at 60 degrees either side of the shaft are as far apart as 2 sin 60.
        assert wings[0] == pytest.approx(wings[1])
        assert math.dist(head.points[0], head.points[2]) == pytest.approx(wings[0] * math.sqrt(3))
        assert len(shaft.points) == (3 if style.bend else 2)


def test_training_points_fall_near_the_centre() -> None:
    rng = np.random.default_rng(6)
    region = box(40, 30, 120, 110)
    centres = []
    for _ in range(300):
        (part,) = lay_out(region, training_style(rng, ("point",)), rng=rng).parts
        assert isinstance(part, Oval) and part.width == 0
        centres.append(((part.box[0] + part.box[2]) / 2, (part.box[1] + part.box[3]) / 2))
    deviation = np.std(np.array(centres) - (80, 70), axis=0)
    assert deviation == pytest.approx([math.sqrt(10), math.sqrt(10)], rel=0.2)


def test_bounds_hold_every_touched_pixel() -> None:
    rng = np.random.default_rng(8)
    region = Region.from_mask("d", disc(100, 75, 45))
    for kind in KINDS:
        for _ in range(20):
            style = training_style(rng, (kind,))
            layout = lay_out(region, style, rng=rng)
            x0, y0, x1, y1 = layout.bounds
            window, (x, y) = coverage(layout, SIZE)
            rows, columns = np.nonzero(window)
            if len(rows):
                assert columns.min() + x >= math.floor(x0) - 1 and rows.min() + y >= y0 - 1
                assert columns.max() + x <= math.ceil(x1) + 1 and rows.max() + y <= y1 + 1


def test_a_rectangle_mark_is_one_rectangle() -> None:
    (part,) = lay_out(ring(), inference_style("rectangle")).parts
    assert isinstance(part, Rectangle) and part.box == (40, 30, 119, 109)
