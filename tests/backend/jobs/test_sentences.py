from __future__ import annotations

from backend.jobs.sentences import sentences
from backend.store import SuggestionRow

CAPTIONS = {
    "a": ["a red car"],
    "b": ["The tall tree."],
    "c": ["A car"],
    "d": ["a bush"],
    "e": ["a bush"],
}


def offered(subject: str, target: str, text: str) -> SuggestionRow:
    return SuggestionRow(id=f"{subject}{target}", region=subject, region_to=target, value=[text])


def test_the_words_of_a_suggestion_are_about_its_pair() -> None:
    row = offered("a", "b", "The red car is left of the tall tree.")
    (found,) = sentences(["  the red car is left of  the tall tree"], [row], {})
    assert (found.pair, found.outcome, found.suggestion) == (("a", "b"), "accepted", row)


def test_captions_tell_the_pair_and_the_order_tells_the_subject() -> None:
    (found,) = sentences(["The tall tree stands behind the red car."], [], CAPTIONS)
    assert (found.pair, found.outcome, found.suggestion) == (("b", "a"), "added", None)
    # The red car is not also a car, and a name that two regions have tells nothing.
    assert sentences(["The red car is old."], [], CAPTIONS) == []
    assert sentences(["The bush is next to the red car."], [], CAPTIONS) == []
    assert sentences(["The red car, the tall tree and the car are wet."], [], CAPTIONS) == []


def test_what_was_suggested_for_the_pair_was_edited() -> None:
    row = offered("a", "b", "The red car is left of the tall tree.")
    (found,) = sentences(["The red car hides the tall tree."], [row], CAPTIONS)
    assert (found.pair, found.outcome, found.suggestion) == (("a", "b"), "edited", row)


def test_a_line_like_one_suggestion_is_its_edit_and_like_two_is_nobodys() -> None:
    row = offered("a", "b", "The vehicle is left of the oak.")
    other = offered("c", "d", "The vehicle is right of the oak.")
    line = "The vehicle is far left of the oak."
    (found,) = sentences([line], [row], {})
    assert (found.pair, found.outcome) == (("a", "b"), "edited")
    assert sentences([line], [row, other], {}) == []
    assert sentences(["Something else entirely, about the weather."], [row], {}) == []


def test_each_pair_once_and_several_lines_in_one_entry() -> None:
    row = offered("a", "b", "The red car is left of the tall tree.")
    text = "The red car is left of the tall tree.\nThe red car touches the tall tree.\nThe car is by the red car."
    found = sentences([text], [row], CAPTIONS)
    assert [(one.pair, one.outcome) for one in found] == [
        (("a", "b"), "accepted"),
        (("c", "a"), "added"),
    ]
