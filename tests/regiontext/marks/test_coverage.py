"""Which pixels a layout covers: Pillow's on the whole image, cut to the layout's bounds."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from regiontext.marks import coverage as module
from regiontext.marks.coverage import coverage, strips
from regiontext.marks.kinds import KINDS
from regiontext.marks.layout import Layout, lay_out
from regiontext.marks.parts import Oval, Part, Path, Points, Polygon, Raster, Rectangle, Rings
from regiontext.marks.style import inference_style, training_style
from regiontext.region import Region
from tests.regiontext.marks.explicit import SIZE, parts


def on_the_image(part: Part, size: tuple[int, int] = SIZE) -> NDArray[np.bool_]:
    window, (x, y) = coverage(Layout((part,)), size)
    whole = np.zeros((size[1], size[0]), dtype=bool)
    whole[y : y + window.shape[0], x : x + window.shape[1]] = window
    return whole


def on_a_canvas(part: Rectangle) -> NDArray[np.bool_]:
    """What Pillow draws, whatever the part says of its bounds."""
    canvas = Image.new("1", (50, 50))
    ImageDraw.Draw(canvas).rectangle(part.box, outline=1, width=part.width)
    return np.asarray(canvas)


@st.composite
def regions(draw: st.DrawFn) -> Region:
    """Boxes, turned rectangles and masks of odd sizes, inside, over the edge, or of one pixel."""
    width, height = draw(st.integers(1, 400)), draw(st.integers(1, 400))
    x, y = draw(st.floats(0, width - 1)), draw(st.floats(0, height - 1))
    shape = draw(st.sampled_from(("pixel", "edge", "turned", "mask")))
    if shape in ("pixel", "mask"):
        mask = np.zeros((height, width), dtype=bool)
        side = 1 if shape == "pixel" else draw(st.integers(1, 200))
        mask[int(y) : int(y) + side, int(x) : int(x) + 2 * side] = True
        return Region.from_mask(shape, mask)
    if shape == "edge":
        box = (0.0, y * draw(st.sampled_from((0.0, 1.0))), x + 1, float(height))
        return Region.from_box(shape, box, (width, height))
    angle, long, short = (
        draw(st.floats(0, 2 * math.pi)),
        draw(st.floats(0.5, 300)),
        draw(st.floats(0.5, 90)),
    )
    along = np.array([math.cos(angle), math.sin(angle)])
    across = np.array([-along[1], along[0]])
    corners = [(0, 0), (long, 0), (long, short), (0, short)]
    ring = np.array([(x, y) + a * along + b * across for a, b in corners])
    return Region(shape, "rectangle", (width, height), polygons=(ring,))


@settings(deadline=None, max_examples=150)
@given(regions(), st.sampled_from(KINDS), st.none() | st.integers(0, 2**32))
def test_a_mark_stays_within_its_bounds(region: Region, kind: str, seed: int | None) -> None:
    """A part drawn on a canvas with room around its bounds covers nothing of that room."""
    rng = None if seed is None else np.random.default_rng(seed)
    style = inference_style(kind) if rng is None else training_style(rng, (kind,))
    layout = lay_out(region, style, rng=rng)
    x0, y0, x1, y1 = layout.bounds
    room = Raster(np.zeros((region.size[1], region.size[0]), bool), (0, 0))
    window, origin = coverage(Layout((*layout.parts, room), layout.inset), region.size)
    assert origin == (0, 0) and window.shape == room.mask.shape
    touched_rows, touched_columns = np.nonzero(window)
    if len(touched_rows):
        assert x0 <= touched_columns.min() and touched_columns.max() <= x1
        assert y0 <= touched_rows.min() and touched_rows.max() <= y1
    alone, (left, top) = coverage(layout, region.size)
    window[top : top + alone.shape[0], left : left + alone.shape[1]] ^= alone
    assert not window.any()


def test_a_rectangle_thinner_than_its_outline_stays_within_its_bounds() -> None:
    for width, height, stroke in itertools.product(range(6), range(6), range(8)):
        part = Rectangle((20, 20, 20 + width, 20 + height), stroke)
        rows, columns = np.nonzero(on_a_canvas(part))
        x0, y0, x1, y1 = part.bounds
        assert x0 <= columns.min(initial=x1) and columns.max(initial=x0) <= x1, part
        assert y0 <= rows.min(initial=y1) and rows.max(initial=y0) <= y1, part


@settings(deadline=None, max_examples=60)
@given(st.lists(parts, min_size=1, max_size=3), st.integers(1, 400), st.integers(1, 1500))
def test_strips_are_the_whole_in_pieces(drawn: list[Part], pixels: int, band: int) -> None:
    covered, (x, y) = coverage(Layout(tuple(drawn)), SIZE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_STRIP_PIXELS", pixels)
        patch.setattr(module, "_BAND_PIXELS", band)
        pieces = list(strips(drawn, SIZE))
    next_row = y
    for strip, (left, top) in pieces:
        assert (left, top, strip.shape[1]) == (x, next_row, covered.shape[1])
        assert strip.size <= max(pixels, strip.shape[1])
        assert (strip == covered[top - y : top - y + len(strip)]).all()
        next_row += len(strip)
    assert next_row == y + len(covered)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.integers(2, 90), st.booleans())
def test_far_right_on_a_wide_image_pillow_is_followed_to_the_pixel(
    seed: int, width: int, curved: bool
) -> None:
    """Pillow's 32-bit floats round by where on the image a slanted edge is, not only by its slope."""
    size, start = (6000, 260), np.array([5400, 20])
    corners = np.random.default_rng(seed).uniform(0, (560, 220), size=(4, 2)) + start
    whole, filled = Image.new("L", size), Image.new("L", size)
    flat = corners.ravel().tolist()
    joint = "curve" if curved else None
    ImageDraw.Draw(whole).line(flat, fill=1, width=width, joint=joint)
    ImageDraw.Draw(filled).polygon(flat, fill=1)
    assert (on_the_image(Path(corners, width, curved), size) == (np.array(whole) != 0)).all()
    assert (on_the_image(Polygon(corners), size) == (np.array(filled) != 0)).all()


def test_a_triangle_whose_edge_32_bit_floats_decide() -> None:
    """One pixel of this one differs when Pillow counts x from the triangle's left end."""
    corners = [(1900.791342, 1612.470433), (1696.161848, 1678.271634), (2534.313577, 1916.70933)]
    closed, size = [*corners, corners[0]], (2600, 2000)
    whole = Image.new("L", size)
    ImageDraw.Draw(whole).line(closed, fill=1, width=47, joint="curve")
    ours = on_the_image(Path(np.array(closed), 47, curved=True), size)
    assert (ours == (np.array(whole) != 0)).all()


def test_a_picture_of_many_bands_is_drawn_as_one() -> None:
    size = (150, 40_000)
    corners = [(20.0, 60.0), (140.0, 39_000.0), (30.0, 21_000.0), (90.0, 5.0)]
    line, filled = Image.new("L", size), Image.new("L", size)
    ImageDraw.Draw(line).line(corners, fill=1, width=9)
    ImageDraw.Draw(filled).polygon(corners, fill=1)
    assert (on_the_image(Path(np.array(corners), 9), size) == (np.array(line) != 0)).all()
    assert (on_the_image(Polygon(np.array(corners)), size) == (np.array(filled) != 0)).all()


def test_marks_outside_the_image_cover_nothing() -> None:
    for part in (
        Oval((200, 200, 220, 220)),
        Rectangle((-30, -30, -5, -5), 2),
        Raster(np.ones((5, 5), bool), (-10, 3)),
        Raster(np.ones((5, 5), bool), (10**12, -(10**12))),
        Path(np.array([(-90.0, -50.0), (-20.0, 80.0)]), 9, curved=True),
    ):
        window, origin = coverage(Layout((part,)), SIZE)
        assert window.shape == (0, 0) and origin == (0, 0)


def test_parts_without_extent_cover_a_pixel_or_none() -> None:
    spot = np.array([(7.5, 3.2), (7.5, 3.2)])
    for dot in (Path(spot, 1), Path(spot, 9, curved=True), Oval((7, 3, 7, 3), 1)):
        assert np.argwhere(on_the_image(dot)).tolist() == [[3, 7]]
    # Pillow neither outlines a single point nor fills an ellipse of one.
    for nothing in (
        Rings((spot,), 2),
        Oval((7, 3, 7, 3)),
        Raster(np.zeros((0, 4), bool), (5, 5)),
        Path(spot, 0),
        Rectangle((1, 1, 9, 9), 0),
    ):
        assert not on_the_image(nothing).any()
    assert coverage(Layout((Path(spot, 3),)), (0, 0))[0].shape == (0, 0)


def test_a_raster_is_cut_at_the_border() -> None:
    window, (x, y) = coverage(Layout((Raster(np.ones((10, 10), bool), (-4, 35)),)), SIZE)
    rows, columns = np.nonzero(window)
    assert (columns.max() + x, rows.min() + y, rows.max() + y) == (5, 35, 39)
    assert window.sum() == 6 * 5


def test_an_inset_is_covered_too() -> None:
    inset = Raster(np.ones((2, 2), bool), (30, 30))
    window, (x, y) = coverage(Layout((Rectangle((10, 10, 12, 12), 1),), (inset,)), SIZE)
    assert window.sum() == 8 + 4 and window[30 - y, 30 - x]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=2, max_size=5),
    st.integers(0, 9),
)
@example([(0.0, 0.0), (0.0, 7.999999999999998)], 9)
def test_an_outline_near_the_corner_is_truncated_at_every_shift(
    corners: list[tuple[float, float]], half_width: int
) -> None:
    """Shifted vertices change sign here, and truncation towards 0 then takes another pixel."""
    whole = Image.new("L", SIZE)
    shifts = range(-half_width, half_width + 1)
    for dx in shifts:
        for dy in shifts:
            moved = [(x + dx, y + dy) for x, y in corners]
            ImageDraw.Draw(whole).polygon(moved, outline=1)
    ring: Points = np.array(corners)
    assert (on_the_image(Rings((ring,), half_width)) == (np.array(whole) != 0)).all()
