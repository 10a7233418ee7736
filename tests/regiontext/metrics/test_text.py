from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regiontext.metrics.text import exact_match, word_f1, word_iou, words


@pytest.mark.parametrize(
    ("answer", "truth", "expected"),
    [
        ("A large red star.", "a large red star", 1),
        ("the cat", "Cat!", 1),
        ("red", "blue", 0),
        ("red star", "star red", 0),
        ("", "", 1),
        ("", "red", 0),
        ("+", "+", 1),
        ("+", "-", 0),
        ("the", "a", 0),
        ("ＲＥＤ", "red", 1),
        ("straße", "STRASSE", 1),
    ],
)
def test_exact_match(answer: str, truth: str, expected: float) -> None:
    assert exact_match(answer, truth) == expected


def test_word_f1_counts_repetition() -> None:
    assert word_f1("red red star", "red star") == pytest.approx(2 * 2 / 5)
    assert word_f1("small red star", "large red star") == pytest.approx(2 / 3)
    assert word_f1("", "star") == 0


def test_characters_are_the_words_of_scripts_without_spaces() -> None:
    assert words("红色的车 car") == ["红", "色", "的", "车", "car"]
    assert word_f1("红车", "红色车") == pytest.approx(4 / 5)


def test_word_iou_is_ospreys() -> None:
    assert word_iou("a Red, car.", "a red truck") == pytest.approx(2 / 4)
    assert word_iou("", "") == 1
    assert word_iou("", "x") == 0


@given(st.text(), st.text())
def test_every_measure_is_symmetric_and_between_0_and_1(a: str, b: str) -> None:
    for measure in (exact_match, word_f1, word_iou):
        assert 0 <= measure(a, b) <= 1
        assert measure(a, b) == measure(b, a)
        assert measure(a, a) == 1


@given(st.text(), st.text())
def test_an_exact_match_has_full_f1(a: str, b: str) -> None:
    if exact_match(a, b):
        assert word_f1(a, b) == 1
