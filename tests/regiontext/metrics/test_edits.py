"""How far an answer is from its suggestion."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from regiontext.metrics.edits import Edit, edit_of


def test_an_edited_text() -> None:
    found = edit_of(["a red car"], ["a blue car"], closed=False)
    assert found == Edit(chars=4, words=1, share=4 / 10, meaning_changed=True)
    assert edit_of(["A red  car"], ["A red car"], closed=False) == Edit(0, 0, 0.0, False)
    assert edit_of(["a red car"], ["The red car."], closed=False) == Edit(4, 2, 4 / 12, False)


def test_what_is_added_or_cleared_counts_whole() -> None:
    assert edit_of(None, ["a car"], closed=False) == Edit(5, 2, 1.0, True)
    assert edit_of(["a car"], [], closed=False) == Edit(5, 2, 1.0, True)
    assert edit_of(None, [], closed=False) == Edit(0, 0, 0.0, False)


def test_a_closed_field_counts_options_and_always_changes_meaning() -> None:
    assert edit_of(["clear"], ["occluded"], closed=True) == Edit(2, 2, 1.0, True)
    assert edit_of(["a", "b"], ["b", "a"], closed=True) == Edit(0, 0, 0.0, False)
    assert edit_of(["The dog"], ["the dog"], closed=True).meaning_changed


_ENTRIES = st.lists(st.text(alphabet="ab \n", max_size=5), max_size=3)


@given(_ENTRIES, _ENTRIES, st.booleans())
def test_no_distance_means_no_change_of_meaning(
    one: list[str], two: list[str], closed: bool
) -> None:
    found = edit_of(one, two, closed=closed)
    back = edit_of(two, one, closed=closed)
    assert found == back
    assert 0 <= found.share <= 1
    assert (found.chars == 0) == (found.share == 0)
    if found.chars == 0:
        assert not found.meaning_changed
