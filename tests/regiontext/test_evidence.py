from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regiontext.evidence import (
    FACTS,
    Facts,
    evidence_line,
    facts_line,
    facts_of,
    spatial,
)
from regiontext.region import Region
from regiontext.relations import SPATIAL

SIZE = (300, 300)


def box(x0: float, y0: float, x1: float, y1: float) -> Region:
    return Region.from_box("b", (x0, y0, x1, y1), SIZE)


@pytest.mark.parametrize(
    ("region", "line"),
    [
        (box(0, 0, 60, 60), "The region covers 4 % of the image, at the upper left."),
        (box(120, 120, 180, 180), "The region covers 4 % of the image, at the centre."),
        (box(130, 0, 150, 10), "The region covers 0.2 % of the image, at the top."),
        (box(290, 150, 292, 152), "The region covers less than 0.1 % of the image, at the right."),
        (box(240, 280, 300, 300), "The region covers 1 % of the image, at the lower right."),
        (box(0, 0, 300, 300), "The region covers 100 % of the image, at the centre."),
    ],
)
def test_one_region(region: Region, line: str) -> None:
    assert evidence_line([region], SIZE) == line


def test_the_share_is_of_pixels_not_of_the_box() -> None:
    mask = np.zeros((300, 300), dtype=bool)
    mask[::2] = True
    assert evidence_line([Region.from_mask("m", mask)], SIZE).startswith("The region covers 50 %")


def test_two_regions_get_their_relation() -> None:
    line = evidence_line([box(0, 0, 30, 30), box(100, 100, 160, 160)], SIZE)
    assert line == (
        "The first region covers 1 % of the image, at the upper left. "
        "The second region covers 4 % of the image, at the centre. "
        "The first is left of, above and smaller than the second."
    )


def test_regions_without_any_relation_get_no_sentence() -> None:
    line = evidence_line([box(0, 0, 60, 60), box(50, 0, 110, 60)], SIZE)
    assert line.endswith("The first is overlapping and left of the second.")
    # Corners that pass each other diagonally: no side is clear, nothing is shared.
    line = evidence_line([l_shape(False), l_shape(True)], SIZE)
    assert line.endswith("The second region covers 11 % of the image, at the centre.")
    assert evidence_line([], SIZE) == ""


def l_shape(upper: bool) -> Region:
    """Half of a square from its diagonal."""
    mask = np.zeros((300, 300), dtype=bool)
    square = np.tri(140, dtype=bool)
    mask[80:220, 80:220] = ~square if upper else square
    return Region.from_mask("half", mask)


@pytest.mark.parametrize(
    ("a", "b", "found"),
    [
        (box(0, 0, 50, 50), box(60, 0, 110, 50), ("left of",)),
        (box(60, 0, 110, 50), box(0, 0, 50, 50), ("right of",)),
        (box(0, 0, 50, 50), box(10, 80, 60, 130), ("above",)),
        (box(10, 80, 60, 130), box(0, 0, 50, 50), ("below",)),
        (box(40, 40, 60, 60), box(0, 0, 100, 100), ("inside", "smaller than")),
        (box(0, 0, 100, 100), box(40, 40, 60, 60), ("contains", "larger than")),
        (box(0, 0, 50, 50), box(0, 0, 50, 50), ("overlapping",)),
        # Boxes that touch in a corner region only by 2 %: still beside each other.
        (box(0, 0, 50, 50), box(49, 0, 99, 50), ("left of",)),
    ],
)
def test_predicates(a: Region, b: Region, found: tuple[str, ...]) -> None:
    assert spatial(a, b) == found


def test_what_lies_in_the_hole_of_a_ring_is_not_inside_it() -> None:
    mask = np.zeros((300, 300), dtype=bool)
    mask[50:250, 50:250] = True
    mask[100:200, 100:200] = False
    ring = Region.from_mask("ring", mask)
    assert "inside" not in spatial(box(120, 120, 180, 180), ring)


sides = st.tuples(st.integers(0, 290), st.integers(0, 290), st.integers(1, 80), st.integers(1, 80))
OPPOSITE = {
    "left of": "right of",
    "above": "below",
    "inside": "contains",
    "larger than": "smaller than",
    "overlapping": "overlapping",
}
OPPOSITE |= {value: key for key, value in OPPOSITE.items()}


@given(sides, sides)
def test_every_predicate_has_its_opposite_seen_from_the_other(
    a: tuple[int, int, int, int], b: tuple[int, int, int, int]
) -> None:
    first, second = (box(x, y, min(300, x + w), min(300, y + h)) for x, y, w, h in (a, b))
    forward, backward = spatial(first, second), spatial(second, first)
    assert {OPPOSITE[p] for p in forward} == set(backward)
    assert set(forward) <= set(SPATIAL)
    assert not {"left of", "right of"} <= set(forward)


def labelled(id: str, x: int, *labels: str) -> Region:
    return Region.from_box(id, (x, 0, x + 30, 60), SIZE, labels)


CARS = [labelled("a", 0, "Car"), labelled("b", 100, "Car"), labelled("c", 250, "Person")]
RED = np.full((300, 300, 3), (208, 34, 40), np.uint8)


def test_facts_of_one_region() -> None:
    pixels = RED.copy()
    pixels[45:60, :30] = (240, 240, 238)
    facts = facts_of(CARS[0], SIZE, image=pixels, among=CARS)
    assert facts.share == 0.02 and facts.place == "at the upper left" and facts.size == "small"
    assert [name for name, _ in facts.colours] == ["red", "white"]
    assert (facts.regions, facts.alike, facts.label) == (3, 2, "Car")
    # A region that is not among the others, and one that is there as another object.
    assert facts_of(labelled("d", 60, "Car"), SIZE, among=CARS).regions == 4
    assert facts_of(labelled("a", 0, "Car"), SIZE, among=CARS).regions == 3
    assert facts_of(CARS[0], SIZE).colours == ()


@pytest.mark.parametrize(
    ("side", "word"), [(47, "small"), (48, "medium"), (106, "medium"), (107, "large")]
)
def test_size_words_go_by_the_box(side: int, word: str) -> None:
    assert facts_of(box(0, 0, side, side), SIZE).size == word
    thin = np.zeros((300, 300), dtype=bool)
    thin[np.arange(side), np.arange(side)] = True
    assert facts_of(Region.from_mask("t", thin), SIZE).size == word


FULL = Facts(0.04, "medium", "at the top", (("red", 0.616), ("white", 0.2)), 5, 3, "Car")


@pytest.mark.parametrize(
    ("facts", "tell", "line"),
    [
        (FULL, ("size", "place"), "The region covers 4 % of the image, at the top."),
        (FULL, ("size",), "The region covers 4 % of the image."),
        (FULL, ("place",), "The region is at the top."),
        (FULL, ("size word",), "The region is of medium size in the image."),
        (FULL, ("colours",), "The region seems to be red (62 %) and white (20 %)."),
        (FULL, ("counts",), "The region is one of 3 labelled Car, of 5 regions in the image."),
        (
            FULL,
            ("counts", "colours", "place"),
            "The region is at the top. It seems to be red (62 %) and white (20 %). "
            "It is one of 3 labelled Car, of 5 regions in the image.",
        ),
        (
            Facts(0.3, "large", "at the top", (), 2, 1, "Car"),
            ("size word", "colours", "counts"),
            "The region is large in the image. "
            "It is the only one labelled Car, of 2 regions in the image.",
        ),
        (Facts(0.3, "large", "at the top", (), 2, 2), ("counts",), "The region is one of 2 regions in the image."),
        (Facts(0.3, "large", "at the top"), ("counts",), "The region is the only region in the image."),
        (FULL, (), ""),
        (FULL, ("relations",), ""),
    ],
)  # fmt: skip
def test_a_line_of_chosen_facts(facts: Facts, tell: tuple[str, ...], line: str) -> None:
    assert facts_line(facts, tell=tell) == line


def test_colours_and_counts_in_the_evidence_line() -> None:
    line = evidence_line(
        CARS[:1], SIZE, image=RED, among=CARS, facts=("place", "colours", "counts")
    )
    assert line == (
        "The region is at the upper left. It seems to be red (100 %). "
        "It is one of 2 labelled Car, of 3 regions in the image."
    )
    line = evidence_line(CARS[1:], SIZE, image=RED, facts=("colours", "relations"))
    assert line == (
        "The first region seems to be red (100 %). The second region seems to be red (100 %). "
        "The first is left of the second."
    )
    # Without `among` the counts are of the regions asked about.
    assert "of 2 regions" in evidence_line(CARS[1:], SIZE, facts=("counts",))


def test_relations_of_three_regions_only_when_asked_for_and_bounded() -> None:
    assert evidence_line(CARS, SIZE, facts=("relations",)) == ""
    assert evidence_line(CARS, SIZE, facts=("pairs",)) == (
        "The first is left of the second. The second is left of the third. "
        "The first is left of the third."
    )
    close = [box(0, 0, 40, 40), box(45, 0, 85, 40)]
    assert evidence_line(close, SIZE, facts=("pairs", "relations")) == (
        "The first is left of and near the second."
    )
    held = [box(0, 0, 100, 100), box(40, 40, 60, 60), box(0, 0, 100, 98)]
    assert evidence_line(held[:2], SIZE, facts=("pairs",)) == (
        "The first contains and is larger than the second."
    )
    assert evidence_line([held[0], held[2]], SIZE, facts=("pairs",)) == (
        "The first contains the second."
    )
    many = [box(20 * i, 0, 20 * i + 10, 10) for i in range(12)]
    line = evidence_line(many, SIZE, facts=("pairs",))
    assert line.count(".") == 6 and "The 11th is left of" not in line


def test_regions_are_counted_in_english() -> None:
    crowd = [box(10 * i, 0, 10 * i + 5, 10) for i in range(23)]
    line = evidence_line(crowd, SIZE, facts=("place",))
    for ordinal in ("first", "ninth", "10th", "11th", "13th", "20th", "21st", "22nd", "23rd"):
        assert f"The {ordinal} region is at" in line


def test_unknown_facts_and_missing_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\['hue'\].*colours"):
        evidence_line(CARS, SIZE, facts=("hue",))
    with pytest.raises(ValueError, match="pass image="):
        evidence_line(CARS, SIZE, facts=("colours",))
    assert evidence_line([], SIZE, facts=FACTS[:3]) == ""


@given(sides, sides, sides)
def test_by_default_the_text_is_the_one_of_training(
    a: tuple[int, int, int, int], b: tuple[int, int, int, int], c: tuple[int, int, int, int]
) -> None:
    regions = [box(x, y, min(300, x + w), min(300, y + h)) for x, y, w, h in (a, b, c)]
    for count in (1, 2, 3):
        chosen = regions[:count]
        line = evidence_line(chosen, SIZE)
        assert line == evidence_line(chosen, SIZE, image=RED, among=regions)
        assert line.count(" of the image, at the ") == line.count(" region covers ") == count
        relation = bool(count == 2 and spatial(a=regions[0], b=regions[1]))
        assert line.count(" the second.") == relation
        assert "near" not in line and "touching" not in line
