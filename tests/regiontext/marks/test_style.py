from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regiontext.errors import MarkError
from regiontext.marks.kinds import COLOURS, KINDS, NOUNS, PREPOSITIONS, TRAINING_KINDS
from regiontext.marks.style import Style, inference_style, training_style, training_styles


def test_every_kind_has_words() -> None:
    assert set(PREPOSITIONS) == set(NOUNS) == set(KINDS)


def test_an_open_kind_is_trained_on_all_but_numbers() -> None:
    assert KINDS[:10] == TRAINING_KINDS and set(KINDS) - set(TRAINING_KINDS) == {"number"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_inference_style_lies_within_the_training_ranges(kind: str) -> None:
    rng = np.random.default_rng(0)
    drawn = [training_style(rng, (kind,)) for _ in range(400)]
    fixed = inference_style(kind, "lime")
    assert (fixed.colour, fixed.rgb) == ("lime", (0, 255, 0))
    for name in ("alpha", "width", "grow", "aspect"):
        values = [getattr(style, name) for style in drawn]
        assert min(values) <= getattr(fixed, name) <= max(values), name


def test_training_ranges_are_those_of_the_paper() -> None:
    rng = np.random.default_rng(1)

    def ends(kind: str, name: str) -> tuple[float, float]:
        values = [getattr(training_style(rng, (kind,)), name) for _ in range(3000)]
        return min(values), max(values)

    assert ends("rectangle", "alpha") == (96, 255)
    assert ends("mask", "alpha") == (48, 128)
    assert ends("rectangle", "width") == ends("triangle", "width") == (2, 8)
    assert ends("scribble", "width") == (2, 12)
    assert ends("arrow", "width") == (1, 6)
    assert ends("point", "width") == (5, 20)
    assert ends("contour", "width") == (1, 2)
    low, high = ends("ellipse", "grow")
    assert 1.0 <= low < 1.01 and 1.49 < high <= 1.5


def test_half_of_the_training_colours_have_no_name() -> None:
    rng = np.random.default_rng(2)
    styles = [training_style(rng) for _ in range(2000)]
    unnamed = [style for style in styles if style.colour is None]
    assert 0.45 < len(unnamed) / len(styles) < 0.55
    assert {style.colour for style in styles} == {None, *COLOURS}
    assert all(s.rgb == COLOURS[s.colour] for s in styles if s.colour is not None)


@given(
    st.integers(0, 2**32),
    st.integers(1, 9),
    st.lists(st.sampled_from(KINDS), min_size=1, max_size=4),
)
def test_marks_of_one_image_never_share_kind_and_colour(
    seed: int, count: int, kinds: list[str]
) -> None:
    styles = training_styles(np.random.default_rng(seed), count, kinds)
    assert len(styles) == count
    named = Counter((style.kind, style.colour) for style in styles)
    assert max(named.values()) == 1
    # An unnamed colour names a mark only if no other mark has its kind.
    often = Counter(style.kind for style in styles)
    assert all(often[style.kind] == 1 for style in styles if style.colour is None)


@given(st.integers(0, 2**32), st.integers(1, 60))
def test_numbers_of_one_image_differ_and_their_colours_as_long_as_there_are_any(
    seed: int, count: int
) -> None:
    styles = training_styles(np.random.default_rng(seed), count, ("number",))
    numbers = [style.number for style in styles]
    assert len(set(numbers)) == count
    assert set(numbers) <= set(range(1, max(20, count) + 1))
    named = [style.colour for style in styles if style.colour is not None]
    assert len(set(named)) == len(named)
    if count > 1:
        assert len(named) == min(9, count)


def test_numbers_mix_with_other_kinds() -> None:
    styles = training_styles(np.random.default_rng(4), 40, ("number", "point"))
    points = [style for style in styles if style.kind == "point"]
    assert 0 < len(points) <= 9
    assert all(style.number is None for style in points)
    assert len({(style.kind, style.colour, style.number) for style in styles}) == 40


def test_training_numbers_are_legible_and_of_both_shapes() -> None:
    styles = [training_style(np.random.default_rng(seed), ("number",)) for seed in range(600)]
    assert {style.width for style in styles} == {2, 3, 4}
    assert min(style.alpha for style in styles) >= 160
    assert {style.number for style in styles} == set(range(1, 21))
    assert 0.4 < np.mean([style.round_plate for style in styles]) < 0.6


def test_the_same_seed_gives_the_same_styles() -> None:
    def drawn() -> tuple[Style, ...]:
        return training_styles(np.random.default_rng(7), 3)

    assert drawn() == drawn()


def test_more_marks_than_names_are_refused_with_advice() -> None:
    with pytest.raises(MarkError, match=r"10 marks of 1 kind.*at most 9 regions.*kind 'number'"):
        training_styles(np.random.default_rng(0), 10, ("rectangle",))
    assert len(training_styles(np.random.default_rng(0), 18, ("point", "arrow"))) == 18
    with pytest.raises(MarkError, match="1000 marks"):
        training_styles(np.random.default_rng(0), 1000, ("number",))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "hexagon"}, "hexagon.*rectangle"),
        ({"alpha": 256}, "256"),
        ({"rgb": (0, 0, 300)}, "300"),
        ({"dots": 0}, "0 dots"),
        ({"number": 3}, "dots shows no number, so not 3"),
        ({"kind": "number"}, r"number is None.*1\.\.999"),
        ({"kind": "number", "number": 0}, r"number is 0"),
        ({"kind": "number", "number": 1000}, r"number is 1000"),
    ],
)
def test_impossible_styles_are_refused(change: dict[str, object], message: str) -> None:
    values: dict[str, object] = {
        "kind": "dots", "colour": "red", "rgb": (255, 0, 0), "alpha": 255, "width": 1.0,
    }  # fmt: skip
    with pytest.raises(MarkError, match=message):
        Style(**(values | change))  # type: ignore[arg-type]


def test_unknown_colours_are_refused() -> None:
    with pytest.raises(MarkError, match=r"mauve.*fuchsia"):
        inference_style("rectangle", "mauve")
