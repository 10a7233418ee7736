from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from regiontext.errors import MarkError
from regiontext.marks.draw import coverage, draw
from regiontext.marks.layout import Layout, Mark
from regiontext.marks.parts import Oval, Part, Path, Polygon, Raster, Rectangle, Rings
from regiontext.marks.style import Style

SIZE = (60, 40)


def mark(*parts: Part, rgb: tuple[int, int, int] = (255, 0, 0), alpha: int = 128) -> Mark:
    return Mark(Style("rectangle", None, rgb, alpha, 1.0), Layout(parts))


def noise(seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)


@given(
    st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255)), st.integers(0, 255)
)
def test_blending_rounds_to_nearest(rgb: tuple[int, int, int], alpha: int) -> None:
    image = np.arange(256, dtype=np.uint8).reshape(1, 256, 1).repeat(3, axis=2)
    drawn = draw(image, [mark(Raster(np.ones((1, 256), bool), (0, 0)), rgb=rgb, alpha=alpha)])
    exact = np.floor((np.array(rgb) * alpha + image.astype(int) * (255 - alpha)) / 255 + 0.5)
    assert (drawn == exact).all()


def test_nothing_outside_the_covered_pixels_changes_and_the_input_stays() -> None:
    image = noise()
    before = image.copy()
    drawn = draw(image, [mark(Rectangle((10, 5, 30, 20), 3))])
    window, (x, y) = coverage(Layout((Rectangle((10, 5, 30, 20), 3),)), SIZE)
    touched = np.zeros(image.shape[:2], dtype=bool)
    touched[y : y + window.shape[0], x : x + window.shape[1]] = window
    assert (image == before).all()
    assert (drawn[~touched] == image[~touched]).all()
    assert touched.sum() == 21 * 16 - 15 * 10


def test_strokes_of_one_mark_do_not_accumulate_but_marks_do() -> None:
    image = np.zeros((SIZE[1], SIZE[0], 3), dtype=np.uint8)
    bar, post = Rectangle((5, 10, 40, 14), 5), Rectangle((20, 2, 24, 30), 5)
    once = draw(image, [mark(bar, post)])
    assert set(once[:, :, 0].ravel().tolist()) == {0, 128}
    twice = draw(image, [mark(bar), mark(post)])
    assert set(twice[:, :, 0].ravel().tolist()) == {0, 128, 192}


def test_a_later_mark_paints_over_an_earlier_one() -> None:
    image = noise()
    both = [
        mark(Rectangle((5, 5, 20, 20), 16), rgb=(255, 0, 0), alpha=255),
        mark(Rectangle((5, 5, 20, 20), 16), rgb=(0, 0, 255), alpha=255),
    ]
    assert draw(image, both)[10, 10].tolist() == [0, 0, 255]
    assert draw(image, both[::-1])[10, 10].tolist() == [255, 0, 0]


corner = st.tuples(st.floats(-80, 140), st.floats(-80, 120))


@given(st.lists(corner, min_size=3, max_size=6), st.integers(1, 9), st.booleans())
def test_the_bounding_box_changes_no_pixel(
    corners: list[tuple[float, float]], width: int, curved: bool
) -> None:
    """What is drawn on the small canvas is what Pillow draws on the whole image."""
    points = np.array(corners)
    for part in (Path(points, width, curved), Polygon(points), Rings((points,), width % 3)):
        whole = Image.new("L", SIZE)
        pen = ImageDraw.Draw(whole)
        match part:
            case Path():
                pen.line(corners, fill=255, width=width, joint="curve" if curved else None)
            case Polygon():
                pen.polygon(corners, fill=255)
            case Rings():
                for dx in range(-part.half_width, part.half_width + 1):
                    for dy in range(-part.half_width, part.half_width + 1):
                        pen.polygon([(x + dx, y + dy) for x, y in corners], outline=255)
        window, (x, y) = coverage(Layout((part,)), SIZE)
        ours = np.zeros((SIZE[1], SIZE[0]), dtype=bool)
        ours[y : y + window.shape[0], x : x + window.shape[1]] = window
        assert (ours == (np.array(whole) != 0)).all()


def test_marks_outside_the_image_leave_it_alone() -> None:
    image = noise()
    away = [
        mark(Oval((200, 200, 220, 220))),
        mark(Rectangle((-30, -30, -5, -5), 2)),
        mark(Raster(np.ones((5, 5), bool), (-10, 3))),
    ]
    assert (draw(image, away) == image).all()


def test_a_raster_is_cut_at_the_border() -> None:
    window, origin = coverage(Layout((Raster(np.ones((10, 10), bool), (-4, 35)),)), SIZE)
    x, y = origin
    rows, columns = np.nonzero(window)
    assert (columns.max() + x, rows.min() + y, rows.max() + y) == (5, 35, 39)
    assert window.sum() == 6 * 5


def test_drawing_is_deterministic_to_the_byte() -> None:
    """A fixed picture: the digest changes only if the rendering does, and then views differ too."""
    parts: tuple[Part, ...] = (
        Rectangle((4, 4, 30, 20), 2),
        Oval((20.5, 8.25, 50.75, 33.0), 3),
        Path(np.array([(2.0, 30.0), (30.0, 38.0), (55.0, 5.0)]), 3),
        Raster(np.eye(6, dtype=bool), (50, 30)),
    )
    ramp = np.arange(SIZE[0] * SIZE[1] * 3, dtype=np.int64) % 251
    image = ramp.astype(np.uint8).reshape(SIZE[1], SIZE[0], 3)
    drawn = draw(image, [mark(*parts, rgb=(255, 165, 0), alpha=200)])
    assert hashlib.sha256(drawn.tobytes()).hexdigest()[:16] == "0078a3869ee15bc8"


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3))]
)
def test_other_arrays_are_refused(image: NDArray[np.uint8]) -> None:
    with pytest.raises(MarkError, match=r"cannot draw on .*\[4, 4"):
        draw(image, [])
