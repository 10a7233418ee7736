from __future__ import annotations

from dataclasses import replace

import pytest

from regiontext.marks.layout import Layout, Mark
from regiontext.marks.phrase import phrase
from regiontext.marks.style import inference_style


@pytest.mark.parametrize(
    ("kind", "colour", "words"),
    [
        ("rectangle", "red", "within the red rectangle"),
        ("ellipse", "gold", "within the gold ellipse"),
        ("point", "lime", "at the lime point"),
        ("triangle", "orange", "with the orange triangle"),
        ("scribble", "purple", "with the purple scribble"),
        ("mask", "yellow", "with the yellow mask"),
        ("contour", "fuchsia", "with the fuchsia mask contour"),
        ("arrow", "blue", "pointed to by the blue arrow"),
        ("patch", "red", "covered by the red patch"),
        ("dots", "aqua", "marked by the aqua dots"),
        ("number", "aqua", "marked by the number 1"),
    ],
)
def test_a_mark_is_named_by_colour_and_kind(kind: str, colour: str, words: str) -> None:
    style = inference_style(kind, colour)
    assert phrase(style) == phrase(Mark(style, Layout(()))) == words


def test_a_number_is_named_by_what_it_says() -> None:
    assert phrase(inference_style("number", "gold", 12)) == "marked by the number 12"


def test_an_unnamed_colour_is_left_out() -> None:
    style = replace(inference_style("arrow"), colour=None, rgb=(1, 2, 3))
    assert phrase(style) == "pointed to by the arrow"
