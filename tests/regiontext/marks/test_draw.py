from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path as FilePath
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from regiontext.errors import MarkError
from regiontext.marks.coverage import coverage
from regiontext.marks.draw import draw, draw_over, ink_on
from regiontext.marks.kinds import COLOURS, KINDS
from regiontext.marks.layout import Layout, Mark, lay_out, lay_out_all
from regiontext.marks.parts import Oval, Part, Path, Raster, Rectangle
from regiontext.marks.style import Style, inference_style, training_style
from regiontext.region import Region
from tests.regiontext.marks.explicit import SIZE, channel, mark, marks
from tests.regiontext.marks.textbook import textbook

Pixels = NDArray[np.uint8]


def noise(seed: int = 0, size: tuple[int, int] = SIZE) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


@settings(deadline=None, max_examples=150)
@given(marks)
def test_any_layout_is_drawn_as_by_the_textbook(drawn: Mark) -> None:
    image = noise()
    theirs = np.asarray(textbook(Image.fromarray(image), drawn))
    assert np.array_equal(draw(image, [drawn]), theirs)


@settings(deadline=None)
@given(st.tuples(channel, channel, channel), channel)
def test_blending_rounds_to_nearest(rgb: tuple[int, int, int], alpha: int) -> None:
    image = np.arange(256, dtype=np.uint8).reshape(1, 256, 1).repeat(3, axis=2)
    drawn = draw(image, [mark(Raster(np.ones((1, 256), bool), (0, 0)), rgb=rgb, alpha=alpha)])
    exact = np.floor((np.array(rgb) * alpha + image.astype(int) * (255 - alpha)) / 255 + 0.5)
    assert (drawn == exact).all()


@settings(deadline=None, max_examples=60)
@given(marks)
def test_alpha_0_changes_nothing_and_alpha_255_paints_the_colour(drawn: Mark) -> None:
    image, rgb, layout = noise(), drawn.style.rgb, drawn.layout
    assert (draw(image, [mark(*layout.parts, rgb=rgb, alpha=0, inset=layout.inset)]) == image).all()
    covered, (x, y) = coverage(Layout(layout.parts), SIZE)
    opaque = draw(image, [mark(*layout.parts, rgb=rgb, alpha=255)])
    window = opaque[y : y + covered.shape[0], x : x + covered.shape[1]]
    assert (window[covered] == rgb).all()


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


@settings(deadline=None)
@given(st.permutations(range(4)))
def test_marks_that_do_not_overlap_may_come_in_any_order(order: list[int]) -> None:
    size = (80, 60)
    styles = [inference_style(kind, "lime") for kind in ("rectangle", "ellipse", "contour", "mask")]
    places = [(4, 4), (44, 4), (4, 34), (44, 34)]
    apart = [
        Mark(style, lay_out(Region.from_box("r", (x, y, x + 25, y + 18), size), style))
        for style, (x, y) in zip(styles, places, strict=True)
    ]
    assert (
        draw(noise(size=size), [apart[i] for i in order]) == draw(noise(size=size), apart)
    ).all()


@st.composite
def scattered(draw: st.DrawFn) -> list[tuple[Region, Style]]:
    """Regions of odd shapes, each in a field of its own of a large image, in fixed styles."""
    found = []
    for index in range(draw(st.integers(2, 4))):
        x, y = 100 + 400 * (index % 2), 100 + 400 * (index // 2)
        width, height = draw(st.integers(1, 90)), draw(st.integers(1, 90))
        mask = np.zeros((800, 800), dtype=bool)
        seed = draw(st.integers(0, 99))
        mask[y : y + height, x : x + width] = (
            np.random.default_rng(seed).random((height, width)) < 0.8
        )
        mask[y, x] = True
        kind = draw(st.sampled_from(KINDS))
        number = index + 1 if kind == "number" else None
        found.append((Region.from_mask(str(index), mask), inference_style(kind, "lime", number)))
    return found


@settings(deadline=None, max_examples=30)
@given(scattered(), st.randoms(use_true_random=False))
def test_unrelated_regions_may_be_laid_out_and_drawn_in_any_order(
    pairs: list[tuple[Region, Style]], random: Random
) -> None:
    image = np.full((800, 800, 3), 120, dtype=np.uint8)
    mixed = random.sample(pairs, len(pairs))
    pictures = []
    for order in (pairs, mixed):
        regions, styles = zip(*order, strict=True)
        pictures.append(draw(image, map(Mark, styles, lay_out_all(regions, styles))))
    assert (pictures[0] == pictures[1]).all()


def test_an_inset_is_blended_over_the_parts_in_black_or_white() -> None:
    image = np.full((20, 20, 3), 100, dtype=np.uint8)
    plate, digit = Rectangle((2, 2, 11, 11), 5), Raster(np.ones((2, 2), bool), (6, 6))
    drawn = draw(image, [mark(plate, rgb=(255, 255, 0), alpha=255, inset=(digit,))])
    assert drawn[6, 6].tolist() == [0, 0, 0] and drawn[5, 5].tolist() == [255, 255, 0]
    drawn = draw(image, [mark(plate, rgb=(0, 0, 255), alpha=51, inset=(digit,))])
    assert drawn[5, 5].tolist() == [80, 80, 131]
    assert drawn[6, 6].tolist() == [115, 115, 156]


def test_ink_is_black_on_light_colours_and_white_on_dark_ones() -> None:
    dark = {name for name, rgb in COLOURS.items() if ink_on(rgb) == (255, 255, 255)}
    assert dark == {"blue", "purple"}
    # Grey #767676 is known as the lightest that white text may have at 4.5 to 1; black has 4.6 there.
    assert ink_on((118, 118, 118)) == (0, 0, 0)
    assert ink_on((117, 117, 117)) == (255, 255, 255)


@pytest.mark.parametrize(
    "view",
    [
        lambda image: image[::-1, 3:-2],
        lambda image: image[:, ::2],
        lambda image: image[:, :, ::-1],
        lambda image: image.transpose(1, 0, 2),
        lambda image: np.asfortranarray(image),
    ],
    ids=["rows", "columns", "bgr", "transposed", "planes"],
)
def test_in_place_or_on_a_copy_is_the_same_whatever_the_memory_order(
    view: Callable[[Pixels], Pixels],
) -> None:
    image = view(noise())
    some = [
        mark(Oval((3, 5, 30, 28), 4), inset=(Rectangle((8, 8, 12, 15), 2),)),
        mark(Oval((20, 9, 90, 90))),
    ]
    expected = draw(np.ascontiguousarray(image), some)
    assert (draw(image, some) == expected).all() and not (image == expected).all()
    draw_over(image, some)
    assert (image == expected).all()


def test_marks_outside_the_image_leave_it_alone() -> None:
    away = [
        mark(Oval((200, 200, 220, 220))),
        mark(Rectangle((-30, -30, -5, -5), 2)),
        mark(Raster(np.ones((5, 5), bool), (-10, 3))),
        mark(),
    ]
    assert (draw(noise(), away) == noise()).all()
    assert draw(noise()[:0], away).shape == (0, SIZE[0], 3)


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


def digest_of_all_kinds() -> str:
    """sha256 hex of a picture with every kind on it, fixed and random."""
    image = noise(1, (200, 150))
    region = Region.from_mask("r", noise(2, (200, 150))[:, :, 0] > 250)
    rng = np.random.default_rng(11)
    for kind in KINDS:
        for style, source in ((inference_style(kind), None), (training_style(rng, (kind,)), rng)):
            draw_over(image, [Mark(style, lay_out(region, style, rng=source))])
    return hashlib.sha256(image.tobytes()).hexdigest()


def test_every_process_draws_the_same_bytes() -> None:
    code = f"from {__name__} import digest_of_all_kinds as digest; print(digest())"
    root = FilePath(__file__).resolve().parents[3]
    environment = os.environ | {"PYTHONHASHSEED": "4242"}
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=environment, check=True, capture_output=True
    )
    assert told.stdout.decode().strip() == digest_of_all_kinds()


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3))]
)
def test_other_arrays_are_refused(image: Pixels) -> None:
    with pytest.raises(MarkError, match=r"cannot draw on .*\[4, 4"):
        draw(image, [])
    with pytest.raises(MarkError, match=r"cannot draw on .*\[4, 4"):
        draw_over(image, [])


def test_a_read_only_image_is_drawn_on_only_as_a_copy() -> None:
    image = noise()
    image.flags.writeable = False
    with pytest.raises(MarkError, match="read-only"):
        draw_over(image, [])
    assert not (draw(image, [mark(Oval((3, 5, 30, 28)))]) == image).all()
