"""Parts far larger than the picture: the right pixels, in bounded time and memory."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from regiontext.marks import coverage as coverage_module
from regiontext.marks.coverage import coverage
from regiontext.marks.layout import Layout
from regiontext.marks.near import nearby
from regiontext.marks.parts import Oval, Part, Path, Points, Polygon, Rectangle, Rings
from tests.regiontext.marks.explicit import SIZE, parts

WIDTH, HEIGHT = SIZE
Mask = NDArray[np.bool_]


def covered(*parts: Part) -> Mask:
    window, (x, y) = coverage(Layout(parts), SIZE)
    whole = np.zeros((HEIGHT, WIDTH), dtype=bool)
    whole[y : y + window.shape[0], x : x + window.shape[1]] = window
    return whole


def points(*corners: tuple[float, float]) -> Points:
    return np.array(corners, dtype=np.float64)


def grown(mask: Mask, reach: int = 1) -> Mask:
    """`mask` spread by `reach` pixels every way; what it shows at the border goes on beyond."""
    padded, span = np.pad(mask, reach, mode="edge"), range(2 * reach + 1)
    return np.logical_or.reduce([padded[y : y + HEIGHT, x : x + WIDTH] for y in span for x in span])


def within_a_pixel(ours: Mask, theirs: Mask) -> bool:
    """Whether every pixel of one has one of the other among its eight neighbours or itself."""
    return not (ours & ~grown(theirs)).any() and not (theirs & ~grown(ours)).any()


@settings(deadline=None)
@given(parts)
def test_what_is_near_stays_as_it_is(part: Part) -> None:
    near = nearby(part, (0, 0, *SIZE))
    if not isinstance(part, Rectangle):
        assert [type(p) for p in near] == [type(part)]
    if isinstance(part, Path | Polygon):
        assert np.array_equal(near[0].points, part.points)  # type: ignore[union-attr]


long_way = st.floats(-70_000, 70_000)
vertex = st.one_of(
    st.tuples(long_way, long_way), st.tuples(st.floats(0, WIDTH), st.floats(0, HEIGHT))
)


@settings(deadline=None)
@given(st.lists(vertex, min_size=2, max_size=5), st.integers(1, 9), st.booleans())
def test_a_path_from_far_away_is_pillows_within_a_pixel(
    corners: list[tuple[float, float]], width: int, curved: bool
) -> None:
    whole = Image.new("L", SIZE)
    pen = ImageDraw.Draw(whole)
    pen.line(corners, fill=1, width=width, joint="curve" if curved else None)
    assert within_a_pixel(covered(Path(points(*corners), width, curved)), np.array(whole) != 0)


@settings(deadline=None, max_examples=60)
@given(st.lists(vertex, min_size=3, max_size=5), st.integers(0, 3))
def test_a_ring_from_far_away_is_pillows_within_a_pixel(
    corners: list[tuple[float, float]], half_width: int
) -> None:
    filled, outline = Image.new("L", SIZE), Image.new("L", SIZE)
    ImageDraw.Draw(filled).polygon(corners, fill=1)
    for dx in range(-half_width, half_width + 1):
        for dy in range(-half_width, half_width + 1):
            ImageDraw.Draw(outline).polygon([(x + dx, y + dy) for x, y in corners], outline=1)
    ring, edge = points(*corners), np.array(outline) != 0
    differing = covered(Polygon(ring)) != (np.array(filled) != 0)
    assert not (differing & ~grown(edge)).any()
    assert within_a_pixel(covered(Rings((ring,), half_width)), edge)


@pytest.mark.parametrize(
    ("box", "width"),
    [((3, 2, 50, 33), 0), ((3, 2, 50, 33), 4), ((-40, 5, 30, 300), 6), ((5, 5, 9, 7), 9)],
)
def test_an_oval_by_its_equation_is_pillows_within_a_pixel(
    box: tuple[float, float, float, float], width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_pillow = covered(Oval(box, width))
    monkeypatch.setattr(coverage_module, "_PILLOW_OVAL", 0)
    by_equation = covered(Oval(box, width))
    assert within_a_pixel(by_equation, by_pillow)
    assert np.count_nonzero(by_equation != by_pillow) <= 0.05 * by_pillow.size


rows, columns = np.mgrid[:HEIGHT, :WIDTH]


@pytest.mark.parametrize("far", [1e6, 1e9, 1e12])
def test_parts_that_cross_the_picture_from_afar_show_where_they_should(far: float) -> None:
    level = Path(points((-far, 20), (far, 20)), 5)
    assert (covered(level) == (abs(rows - 20) <= 2)).all()
    slanted = Path(points((-far, -far), (far, far)), 1)
    assert within_a_pixel(covered(slanted), rows == columns)
    half_plane = Polygon(points((10, -far), (far, -far), (far, far), (10, far)))
    assert (covered(half_plane) == (columns >= 10)).all()
    corner = Rings((points((10, 8), (far, 8), (far, far), (10, far)),), 2)
    expected = np.maximum(10 - columns, 8 - rows) == 0
    assert (covered(corner) == grown(expected, 2)).all()
    expected = (columns >= 10) & (rows >= 8) & ~((columns > 12) & (rows > 10))
    assert (covered(Rectangle((10, 8, far, far), 3)) == expected).all()
    disc = Oval((30, -far / 2, far, far / 2))
    assert within_a_pixel(covered(disc), columns >= 30)
    ring = Oval((30, -far / 2, far, far / 2), 6)
    assert within_a_pixel(covered(ring), (columns >= 30) & (columns < 36))


def test_nothing_huge_takes_long_or_much_memory() -> None:
    """Pillow alone would walk a billion pixels, or fail, for most of these."""
    rng = np.random.default_rng(4)
    start = time.perf_counter()
    tracemalloc.start()
    try:
        for far in (1e6, 1e9, 1e12):
            cloud = rng.uniform(-far, far, size=(50, 2))
            for part in (
                Path(cloud, 1),
                Path(cloud, 15, curved=True),
                Polygon(cloud),
                Rings((cloud, cloud / 2), 4),
                Rectangle((-far, -far, far, far), 9),
                Rectangle((-far, 5, far, 30), 9),
                Oval((-far, -far, far, far)),
                Oval((-far, 5, far, 30), 3),
                Oval((7, -far, 9, far)),
            ):
                covered(part)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000
    assert time.perf_counter() - start < 5
