from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regiontext.claims import check_claim, claimed
from regiontext.region import Region
from regiontext.relations import SPATIAL, predicates, relate

SIZE = (400, 300)


def box(x0: float, y0: float, x1: float, y1: float) -> Region:
    return Region.from_box("b", (x0, y0, x1, y1), SIZE)


LEFT, RIGHT = box(20, 100, 80, 160), box(200, 110, 260, 170)
DISH, PEA = box(100, 100, 300, 250), box(150, 150, 170, 170)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("left_of", ("left of",)),
        ("leftOf", ("left of",)),
        ("is to the left of", ("left of",)),
        ("on the right-hand side of", ("right of",)),
        ("within", ("inside",)),
        ("is in", ("inside",)),
        ("bigger than the", ("larger than",)),
        ("overlaps", ("overlapping",)),
        ("next to", ("near",)),
        ("The red star is left of and above the blue cube.", ("left of", "above")),
        # A mark's phrase is no claim.
        ("The cup within the red rectangle is below the shelf.", ("below",)),
        # What depends on depth, on an object's own front, or on the image, says nothing here.
        ("on top of", ()),
        ("in front of", ()),
        ("under", ()),
        ("behind", ()),
        ("The cat is on the left of the image.", ()),
        ("no relation", ()),
        ("is not left of", ()),
        ("isn't near", ()),
        ("holds", ()),
        ("", ()),
    ],
)
def test_which_predicates_words_state(words: str, named: tuple[str, ...]) -> None:
    assert claimed(words) == named


@pytest.mark.parametrize(
    ("claim", "a", "b", "verdict"),
    [
        ("to the left of", LEFT, RIGHT, "holds"),
        ("to the left of", RIGHT, LEFT, "contradicted"),
        ("right of", LEFT, RIGHT, "contradicted"),
        # A little lower: neither clearly below nor refuted; but certainly not above.
        ("below", RIGHT, LEFT, "unknown"),
        ("above", RIGHT, LEFT, "contradicted"),
        ("inside", PEA, DISH, "holds"),
        ("contains", DISH, PEA, "holds"),
        ("inside", LEFT, RIGHT, "contradicted"),
        ("contains", LEFT, RIGHT, "contradicted"),
        # The box lies on the other's: perhaps seen through a window that was left out of the mask.
        ("inside", DISH, PEA, "unknown"),
        ("overlapping", PEA, DISH, "holds"),
        ("overlapping", LEFT, RIGHT, "contradicted"),
        ("overlapping", LEFT, box(85, 100, 120, 160), "unknown"),
        ("touching", LEFT, box(80, 100, 120, 160), "holds"),
        ("touching", LEFT, RIGHT, "contradicted"),
        ("near", LEFT, box(90, 100, 120, 160), "holds"),
        ("near", PEA, DISH, "holds"),
        ("near", LEFT, RIGHT, "unknown"),
        ("near", LEFT, box(300, 200, 360, 290), "contradicted"),
        ("larger than", DISH, PEA, "holds"),
        ("bigger than", PEA, DISH, "contradicted"),
        ("smaller than", LEFT, RIGHT, "unknown"),
        ("on top of", RIGHT, LEFT, "unknown"),
        ("left of and larger than", LEFT, RIGHT, "unknown"),
        ("left of and overlapping", LEFT, RIGHT, "contradicted"),
        ("The pea is inside the dish and smaller than it.", PEA, DISH, "holds"),
    ],
)
def test_verdicts(claim: str, a: Region, b: Region, verdict: str) -> None:
    assert check_claim(claim, a, b) == verdict


boxes = st.tuples(
    st.integers(0, 300), st.integers(0, 200), st.integers(1, 100), st.integers(1, 100)
).map(lambda v: box(v[0], v[1], v[0] + v[2], v[1] + v[3]))
OPPOSITE = {
    "left of": "right of",
    "above": "below",
    "inside": "contains",
    "larger than": "smaller than",
}


@given(boxes, boxes, st.sampled_from(SPATIAL))
def test_what_holds_is_said_to_hold_and_its_opposite_never(a: Region, b: Region, word: str) -> None:
    verdict = check_claim(word, a, b)
    assert (verdict == "holds") >= (word in predicates(relate(a, b)))
    if verdict == "holds" and word in OPPOSITE:
        assert check_claim(OPPOSITE[word], a, b) != "holds"
    if verdict == "contradicted":
        assert word not in predicates(relate(a, b))
