from __future__ import annotations

import numpy as np
import pytest

from regiontext.errors import MarkError
from regiontext.marks.colours import contrasting_colours
from regiontext.marks.kinds import COLOURS
from regiontext.marks.layout import lay_out
from regiontext.marks.style import inference_style
from tests.regiontext.marks.regions import SIZE, box

PLAIN = inference_style("rectangle")
LAYOUT = lay_out(box(40, 30, 120, 110), PLAIN)


def flat(rgb: tuple[int, int, int]) -> np.ndarray:
    return np.full((SIZE[1], SIZE[0], 3), rgb, dtype=np.uint8)


def test_red_is_the_default() -> None:
    assert contrasting_colours([(flat((90, 100, 110)), LAYOUT)]) == ("red",)


@pytest.mark.parametrize("rgb", [*COLOURS.values(), (0, 0, 0), (255, 255, 255), (128, 128, 128)])
def test_the_colour_is_never_near_the_pixels_under_the_mark(rgb: tuple[int, int, int]) -> None:
    (colour,) = contrasting_colours([(flat(rgb), LAYOUT)])
    assert np.linalg.norm(np.subtract(COLOURS[colour], rgb)) >= 160


def test_only_the_pixels_under_the_mark_count() -> None:
    image = flat((200, 20, 20))
    image[25:115, 35:125] = (90, 100, 110)
    assert contrasting_colours([(image, LAYOUT)]) == ("red",)
    image = flat((90, 100, 110))
    image[30:33, 40:120] = image[107:110, 40:120] = (200, 20, 20)
    assert contrasting_colours([(image, LAYOUT)]) != ("red",)


def test_colours_are_all_different_and_the_first_ones_unlike() -> None:
    colours = contrasting_colours([(flat((90, 100, 110)), LAYOUT)] * 9)
    assert sorted(colours) == sorted(COLOURS)
    first = [COLOURS[c] for c in colours[:6]]
    gaps = [np.linalg.norm(np.subtract(a, b)) for a in first for b in first if a != b]
    assert min(gaps) >= 160


def test_a_mark_outside_the_image_gets_a_colour_too() -> None:
    small = flat((90, 100, 110))[:10, :10]
    assert contrasting_colours([(small, LAYOUT)]) == ("red",)


def test_marks_told_apart_otherwise_start_over_after_nine() -> None:
    colours = contrasting_colours([(flat((90, 100, 110)), LAYOUT)] * 20, repeat=True)
    nine = contrasting_colours([(flat((90, 100, 110)), LAYOUT)] * 9)
    assert colours == (*nine, *nine, *nine[:2])


def test_ten_marks_are_refused_with_advice() -> None:
    with pytest.raises(MarkError, match=r"10 marks.*at most 9 regions.*kind 'number'"):
        contrasting_colours([(flat((0, 0, 0)), LAYOUT)] * 10)
