"""CIDEr-D, against numbers of the reference implementation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regiontext.metrics.cider import caption_words, cider_d

PREDICTIONS = [
    "a red car parked on the street",
    "two dogs run on the beach",
    "man",
    "a small wooden boat on a blue lake near the mountains and a big old tree",
    "the cat",
    "a a a red red bus",
]
REFERENCES = [
    ["a red car on the street", "a parked red car"],
    ["two dogs are running along the beach", "dogs on a beach", "two brown dogs run on the sand"],
    ["a man"],
    ["a boat on a lake"],
    ["a dog sits on the grass", "the black dog"],
    ["a red bus on the road", "the red double-decker bus"],
]
# pycocoevalcap 1.2, CiderScorer().compute_score() on exactly these words.
GOLDEN = [3.5773319179, 2.926173918, 2.4655177919, 0.3623540416, 0.0715622614, 1.7241336339]


def test_the_numbers_of_the_reference_implementation() -> None:
    assert cider_d(PREDICTIONS, REFERENCES) == pytest.approx(GOLDEN, abs=1e-9)


def test_case_and_punctuation_say_nothing() -> None:
    shouted = [text.upper() + "!" for text in PREDICTIONS]
    assert cider_d(shouted, REFERENCES) == pytest.approx(GOLDEN, abs=1e-9)


def test_the_reference_itself_is_ten() -> None:
    truth = [["a red car parked here"], ["two brown dogs run"], ["one more thing to see"]]
    assert cider_d([texts[0] for texts in truth], truth) == pytest.approx([10.0] * 3)


def test_a_corpus_of_its_own_says_what_is_rare() -> None:
    corpus = [*REFERENCES, *([["a red thing"]] * 50)]
    common = cider_d(["a red boat"], [["a red lake"]], corpus=corpus)[0]
    rare = cider_d(["a red boat"], [["a blue boat"]], corpus=corpus)[0]
    assert rare > common > 0


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(ValueError, match="2 predictions but 1"):
        cider_d(["a", "b"], [["a"]])
    with pytest.raises(ValueError, match="prediction 1 has no reference"):
        cider_d(["a", "b"], [["a"], []])


def test_words() -> None:
    assert caption_words("A T-shirt, the dog's 3.5 m!") == [
        "a",
        "t-shirt",
        "the",
        "dog's",
        "3.5",
        "m",
    ]


_TEXTS = st.lists(st.sampled_from(["a", "red", "blue", "dog", "on"]), max_size=7).map(" ".join)


@given(
    st.lists(st.tuples(_TEXTS, st.lists(_TEXTS, min_size=1, max_size=3)), min_size=1, max_size=5)
)
def test_it_stays_between_nothing_and_ten(items: list[tuple[str, list[str]]]) -> None:
    for value in cider_d([said for said, _ in items], [texts for _, texts in items]):
        assert -1e-9 <= value <= 10 + 1e-9
