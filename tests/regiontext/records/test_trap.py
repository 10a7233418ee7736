"""Suggestions that are wrong on purpose."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regiontext.metrics.meaning import meaning_changed
from regiontext.records.trap import is_trap, wrong_answer


def test_the_share_of_traps_is_kept_and_none_by_default() -> None:
    found = [is_trap("ab", f"r{i}", "caption", share=0.2) for i in range(2000)]
    assert 0.17 < sum(found) / 2000 < 0.23
    assert found == [is_trap("ab", f"r{i}", "caption", share=0.2) for i in range(2000)]
    assert found != [is_trap("ab", f"r{i}", "caption", share=0.2, salt="x") for i in range(2000)]
    assert not any(is_trap("ab", f"r{i}", "caption", share=0) for i in range(200))


def test_a_closed_answer_becomes_another_option() -> None:
    assert wrong_answer(["wet"], ["wet", "dry"]) == ("dry",)
    assert wrong_answer(["wet"], ["wet"]) is None
    many = {wrong_answer(["a"], ["a", "b", "c", "d"], seed=str(i)) for i in range(40)}
    assert many == {("b",), ("c",), ("d",)}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("A red thing", "red"),
        ("two things", "two"),
        ("12 things", "12"),
        ("left of it", "left"),
        ("Small thing", "Small"),
    ],
)
def test_an_open_answer_is_turned_in_one_word(text: str, word: str) -> None:
    (wrong,) = wrong_answer([text]) or ("",)
    before, after = text.split(), wrong.split()
    assert [a for a, b in zip(before, after, strict=True) if a != b] == [word]
    assert meaning_changed(text, wrong)
    assert wrong[0].isupper() == text[0].isupper()


def test_what_cannot_be_turned_is_no_trap() -> None:
    assert wrong_answer(["a thing"]) is None
    assert wrong_answer([]) is None
    assert wrong_answer(["a red thing", "on a table"]) is not None


@given(st.lists(st.sampled_from(["red", "dog", "left", "of", "2", "a", "not"]), max_size=6))
def test_a_trap_always_says_something_else(words: list[str]) -> None:
    wrong = wrong_answer([" ".join(words)])
    if wrong is not None:
        assert meaning_changed(" ".join(words), " ".join(wrong))
