from __future__ import annotations

from backend.jobs.sanity import disagreements, strange_answers

TRUTH = ["a small red car"] * 20


def strange(champion: list[str], challenger: list[str], *, closed: bool = False) -> list[str]:
    return strange_answers(TRUTH, champion, challenger, closed=[closed] * 20)


def test_sane_answers_are_not_strange() -> None:
    assert strange(TRUTH, TRUTH) == []
    assert strange(TRUTH, ["a red car"] * 20) == []


def test_more_empty_answers_than_the_champion_gives() -> None:
    assert strange(TRUTH, ["", *TRUTH[1:]]) == []
    found = strange(TRUTH, [*[" "] * 3, *TRUTH[3:]])
    assert found[0].startswith("3 of 20 answers are empty (the champion's: 0)")
    assert strange([*[""] * 3, *TRUTH[3:]], [*[""] * 3, *TRUTH[3:]]) == []


def test_answers_that_do_not_end_or_hardly_begin() -> None:
    assert "8.0 words long" in strange(TRUTH, ["a small red car a small red car"] * 20)[0]
    assert "1.0 words long" in strange(TRUTH, ["car"] * 20)[0]
    # No farther off than what is served: a champion that talks too much must not block a better one.
    assert strange(["car " * 12] * 20, ["car " * 8] * 20) == []
    assert strange(TRUTH, ["car"] * 20, closed=True) == []


def test_ways_of_running_that_disagree() -> None:
    ways = {
        "alone": ["a"] * 10,
        "mixed": ["a "] * 10,
        "merged": [*["a"] * 9, "b"],
        "offline": ["b"] * 10,
    }
    assert disagreements(ways) == ["offline and alone answer only 0 of 10 questions alike"]
    assert disagreements({}) == []
