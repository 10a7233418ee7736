from __future__ import annotations

import statistics

from hypothesis import given
from hypothesis import strategies as st

from backend.jobs.queue_order import places

scores = st.lists(st.none() | st.floats(0, 1), max_size=40).map(lambda s: list(enumerate(s, 1)))


@given(scores)
def test_nothing_moves_without_a_share(given: list[tuple[int, float | None]]) -> None:
    assert places(given, share=0) == dict(given)


@given(scores, st.floats(0, 1))
def test_places_are_those_of_the_group(given: list[tuple[int, float | None]], share: float) -> None:
    found = places(given, share=share)
    known = {score for _, score in given if score is not None}
    assert found == places(given, share=share)
    assert found.keys() == dict(given).keys()
    for task, score in given:
        assert found[task] in known or (found[task] is None and score is None)


def test_the_share_is_moved_anywhere() -> None:
    given = [(task, task / 5000) for task in range(1, 5001)]
    moved = {
        task: place
        for task, place in places(given, share=0.2).items()
        if place is not None and place != task / 5000
    }
    assert 0.17 < len(moved) / 5000 < 0.23
    # Where they go has nothing to do with where they were, and is spread evenly.
    assert abs(statistics.correlation(list(moved), list(moved.values()))) < 0.1
    assert [0.2 < q < 0.3 for q in statistics.quantiles(moved.values())] == [True, False, False]
    assert 0.45 < statistics.median(moved.values()) < 0.55


def test_what_is_not_filled_gets_the_place_of_another() -> None:
    given = [(1, 0.2), (2, None), (3, 0.8), (4, None)]
    found = places(given, share=0, unfilled=[2])
    assert found[2] in (0.2, 0.8)
    assert (found[1], found[3], found[4]) == (0.2, 0.8, None)
    assert places([(1, None)], share=1, unfilled=[1]) == {1: None}
