"""Agreement of several people, and the answer that stands for all."""

from __future__ import annotations

import pytest

from regiontext.metrics.agreement import consensus, krippendorff_alpha, text_agreement

# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", section C: four observers, twelve units.
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]


def test_alpha_of_the_published_example() -> None:
    units = [list(unit) for unit in zip(*OBSERVERS, strict=True)]
    assert krippendorff_alpha(units) == pytest.approx(0.743, abs=5e-4)


def test_alpha_at_its_ends() -> None:
    assert krippendorff_alpha([["a", "a"], ["b", "b"]]) == 1
    assert krippendorff_alpha([["a", "b"], ["b", "a"]]) < 0  # type: ignore[operator]
    assert krippendorff_alpha([["a"], ["b", None]]) is None
    assert krippendorff_alpha([["a", "a"], ["a", "a"]]) is None
    assert krippendorff_alpha([]) is None


def test_agreement_of_texts() -> None:
    units = [["a red car", "the red car"], ["two dogs", "a cat"], ["alone"]]
    found = text_agreement(units)
    assert found is not None
    assert found.things == 2
    assert found.overlap == pytest.approx(0.5)
    assert 0 < found.cider_d < 10
    same = text_agreement(
        [["a red car here", "a red car here"], ["two big old dogs", "two big old dogs"]]
    )
    assert same is not None
    assert (same.overlap, same.cider_d) == (1, pytest.approx(10))
    assert text_agreement([["alone"], []]) is None


@pytest.mark.parametrize(
    ("answers", "closed", "expected"),
    [
        ([["a"], ["b"], ["a"]], True, 2),
        ([["a", "b"], ["b", "a"], ["c"]], True, 1),
        ([["a"], ["b"]], True, 1),
        ([["a"], [], []], True, None),
        ([["a"], ["b"], [], []], True, None),
        ([["a"], []], True, 0),
        ([[]], True, None),
        ([["a red car"], ["a blue van on a road"], ["the red car"]], False, 2),
        ([["a red car"], ["a big red car"], ["a big red thing"], ["a sheep"]], False, 1),
        ([["a red car"], ["two dogs"]], False, 1),
        ([["x"], [], [" "]], False, None),
    ],
)
def test_consensus(answers: list[list[str]], closed: bool, expected: int | None) -> None:
    assert consensus(answers, closed=closed) == expected


def test_consensus_needs_an_answer() -> None:
    with pytest.raises(ValueError, match="no answer"):
        consensus([], closed=True)
