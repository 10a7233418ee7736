"""Which regions an answer must hold beside its own: the cases that lose an annotator's region, or bring one back."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.known import Known, known_of, marked
from backend.ledger import GRACE_S, Ledger
from tests.backend.calls import rectangle, text

T0 = 1_800_000_000.0


def task(
    *results: dict[str, Any], saved: float | None = None, user: str = "a@b.c", number: int = 1
) -> Known:
    """A task whose draft holds these results; without `saved` it has no draft."""
    if saved is None:
        return known_of({"id": 1})
    when = datetime.fromtimestamp(saved, UTC).isoformat()
    draft = {"id": number, "user": user, "result": list(results), "updated_at": when}
    return known_of({"id": 1, "drafts": [draft]})


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def test_an_overtaken_region_is_carried() -> None:
    async def work() -> None:
        ledger = Ledger()
        first = ledger.open(1, 1, [rectangle("a", "Car")], task(), now=T0)
        second = ledger.open(1, 1, [rectangle("b", "Person")], task(), now=T0 + 1)
        assert set(first.own) == {"a"} and not first.carried
        assert set(second.own) == {"b"} and set(second.carried) == {"a"}
        assert not second.carried["a"].filled.done()
        ledger.close(first, now=T0 + 2)
        assert second.carried["a"].filled.result() == []

    run(work())


def test_an_overtaken_region_is_carried_on_until_an_answer_arrives_in_peace() -> None:
    async def work() -> None:
        ledger = Ledger()
        first = ledger.open(1, 1, [rectangle("a", "Car")], task(), now=T0)
        ledger.open(1, 1, [rectangle("b", "Person")], task(), now=T0 + 1)
        ledger.close(first, now=T0 + 2)
        third = ledger.open(1, 1, [rectangle("c", "Dog")], task(), now=T0 + 2.5)
        assert set(third.carried) == {"a", "b"}
        ledger.close(third, now=T0 + 3)
        fourth = ledger.open(1, 1, [rectangle("d", "Cat")], task(), now=T0 + 3 + GRACE_S)
        assert not fourth.carried

    run(work())


def test_an_answer_on_its_way_counts_as_not_arrived() -> None:
    async def work() -> None:
        ledger = Ledger()
        first = ledger.open(1, 1, [rectangle("a", "Car")], task(), now=T0)
        ledger.close(first, now=T0 + 1)
        second = ledger.open(1, 1, [rectangle("b", "Person")], task(), now=T0 + 1.1)
        assert set(second.carried) == {"a"}

    run(work())


def test_a_region_that_was_answered_in_peace_is_the_annotators() -> None:
    """They may have corrected or deleted it within the five seconds that the draft lags behind."""

    async def work() -> None:
        ledger = Ledger()
        ledger.close(ledger.open(1, 1, [rectangle("a", "Car")], task(), now=T0), now=T0 + 1)
        second = ledger.open(1, 1, [rectangle("b", "Person")], task(), now=T0 + 4)
        assert not second.carried

    run(work())


def test_an_answer_that_leaves_the_page_as_it_is_settles_nothing() -> None:
    async def work() -> None:
        ledger = Ledger()
        a, b = rectangle("a", "Car"), rectangle("b", "Person")
        ledger.close(ledger.open(1, 1, [a], task(), now=T0), now=None)
        second = ledger.open(1, 1, [b], task(), now=T0 + 4)
        assert set(second.carried) == {"a"} and second.carried["a"].filled.result() == []
        ledger.close(second, now=None)
        # Nobody works on it, so it is asked about anew.
        third = ledger.open(1, 1, [a], task(), now=T0 + 8)
        assert set(third.carried) == {"b"} and not third.reused

    run(work())


def test_a_region_missing_among_those_of_its_label_is_gone() -> None:
    async def work() -> None:
        ledger = Ledger()
        both = [rectangle("a", "Car"), rectangle("b", "Car")]
        ledger.open(1, 1, both, task(), now=T0)
        second = ledger.open(1, 1, [*both[1:], rectangle("c", "Car")], task(), now=T0 + 1)
        assert set(second.own) == {"b", "c"} and not second.carried
        third = ledger.open(1, 1, [rectangle("d", "Person")], task(), now=T0 + 1.2)
        assert set(third.carried) == {"b", "c"}

    run(work())


def test_a_region_that_another_page_asks_without_still_waits_on_its_own() -> None:
    """Two tabs of one annotator, or two annotators before their first drafts."""

    async def work() -> None:
        ledger = Ledger()
        ledger.open(1, 1, [rectangle("here", "Car")], task(), now=T0)
        there = ledger.open(1, 1, [rectangle("there", "Car")], task(), now=T0 + 1)
        assert set(there.own) == {"there"} and not there.carried
        here = ledger.open(1, 1, [rectangle("here 2", "Person")], task(), now=T0 + 1.2)
        assert "here" in here.carried

    run(work())


def test_a_draft_of_another_tab_does_not_tell_that_a_region_was_deleted() -> None:
    async def work() -> None:
        ledger = Ledger()
        ledger.open(1, 1, [rectangle("here", "Car")], task(saved=T0 - 9), now=T0)
        when = datetime.fromtimestamp(T0 + 4, UTC).isoformat()
        drafts = [
            {"id": number, "user": "a@b.c", "result": [], "updated_at": when} for number in (1, 2)
        ]
        known = known_of({"id": 1, "drafts": drafts})
        call = ledger.open(1, 1, [rectangle("here 2", "Person")], known, now=T0 + 5)
        assert set(call.carried) == {"here"}

    run(work())


def test_a_request_about_nothing_tells_that_the_waiting_region_was_deleted() -> None:
    async def work() -> None:
        ledger = Ledger()
        ledger.open(1, 1, [rectangle("a", "Car")], task(), now=T0)
        assert not ledger.open(1, 1, [], task(), now=T0 + 1).carried
        assert not ledger.open(1, 1, [rectangle("b", "Person")], task(), now=T0 + 2).carried

    run(work())


def test_a_request_about_nothing_with_two_labels_waiting_keeps_both() -> None:
    async def work() -> None:
        ledger = Ledger()
        ledger.open(1, 1, [rectangle("a", "Car")], task(), now=T0)
        ledger.open(1, 1, [rectangle("b", "Person")], task(), now=T0 + 1)
        assert set(ledger.open(1, 1, [], task(), now=T0 + 2).carried) == {"a", "b"}

    run(work())


def test_a_draft_saved_since_without_the_region_tells_that_it_was_deleted() -> None:
    async def work() -> None:
        ledger = Ledger()
        ledger.open(1, 1, [rectangle("a", "Car")], task(saved=T0 - 3), now=T0)
        stale = ledger.open(1, 1, [rectangle("b", "Person")], task(saved=T0 - 3), now=T0 + 1)
        assert set(stale.carried) == {"a"}
        newer = task(rectangle("b"), saved=T0 + 3)
        later = ledger.open(1, 1, [rectangle("c", "Dog")], newer, now=T0 + 4)
        assert set(later.carried) == {"b"}

    run(work())


def test_with_auto_accept_off_an_answered_region_still_waits_and_is_held() -> None:
    async def work() -> None:
        ledger = Ledger()
        a = rectangle("a", "Car")
        ledger.close(ledger.open(1, 1, [a], task(saved=T0 - 3), now=T0), now=T0 + 1)
        # Saved after the answer, there, and without our mark: nobody has accepted it.
        known = task(a, saved=T0 + 5)
        second = ledger.open(1, 1, [rectangle("b", "Person")], known, now=T0 + 6)
        assert set(second.carried) == {"a"}
        ledger.close(second, now=T0 + 7)
        # From now on this annotator is known to accept by hand, drafts or not.
        third = ledger.open(1, 1, [rectangle("c", "Dog")], known, now=T0 + 9)
        assert set(third.carried) == {"a", "b"}

    run(work())


def test_an_accepted_region_is_settled() -> None:
    async def work() -> None:
        ledger = Ledger()
        a = rectangle("a", "Car")
        ledger.close(ledger.open(1, 1, [a], task(saved=T0 - 3), now=T0), now=T0 + 1)
        known = task(marked(a), text(a, ["a red car"]), saved=T0 + 5)
        assert not ledger.open(1, 1, [rectangle("b", "Person")], known, now=T0 + 6).carried

    run(work())


def test_a_region_sent_again_long_after_its_answer_shows_that_answers_wait_for_a_click() -> None:
    async def work() -> None:
        ledger = Ledger()
        a, b = rectangle("a", "Car"), rectangle("b", "Car")
        ledger.close(ledger.open(1, 1, [a], task(), now=T0), now=T0 + 1)
        again = ledger.open(1, 1, [a, b], task(), now=T0 + 5)
        assert not again.reused
        ledger.close(again, now=T0 + 6)
        other = ledger.open(1, 1, [rectangle("c", "Person")], task(), now=T0 + 10)
        assert set(other.carried) == {"a", "b"}

    run(work())


def test_what_waits_too_long_is_forgotten() -> None:
    async def work() -> None:
        ledger = Ledger(pending_s=60)
        ledger.open(1, 1, [rectangle("a", "Car")], task(), now=T0)
        assert not ledger.open(1, 1, [rectangle("b", "Person")], task(), now=T0 + 61).carried

    run(work())


def test_tasks_projects_and_annotators_do_not_mix() -> None:
    async def work() -> None:
        ledger = Ledger()
        ledger.open(1, 1, [rectangle("a", "Car")], task(saved=T0 - 9, user="ann"), now=T0)
        for project, number, user in ((2, 1, "ann"), (1, 2, "ann"), (1, 1, "bob")):
            known = task(saved=T0 - 9, user=user)
            call = ledger.open(project, number, [rectangle("b", "Person")], known, now=T0 + 1)
            assert not call.carried

    run(work())


def test_the_first_draft_of_an_annotator_does_not_lose_what_waits() -> None:
    async def work() -> None:
        ledger = Ledger()
        ledger.open(1, 1, [rectangle("a", "Car")], task(), now=T0)
        known = task(rectangle("a", "Car"), saved=T0 + 0.5, user="ann")
        assert set(ledger.open(1, 1, [rectangle("b", "Person")], known, now=T0 + 1).carried) == {
            "a"
        }

    run(work())


def annotated(*by: int) -> Known:
    """A task without a draft that these people have annotated."""
    return known_of({"id": 1, "annotations": [{"id": n, "completed_by": n} for n in by]})


def test_before_the_first_draft_a_carried_region_may_be_anothers() -> None:
    """Nothing tells two annotators apart then; it is said only where there are two."""

    async def work() -> None:
        for known, doubtful in ((task(), set()), (annotated(1), set()), (annotated(1, 2), {"a"})):
            ledger = Ledger()
            ledger.open(1, 1, [rectangle("a", "Car")], known, now=T0)
            call = ledger.open(1, 1, [rectangle("b", "Person")], known, now=T0 + 1)
            assert set(call.carried) == {"a"} and call.doubtful == doubtful

    run(work())


def test_people_are_known_from_their_drafts_on_other_tasks() -> None:
    async def work() -> None:
        ledger = Ledger()
        for number, user in enumerate(("ann", "bob")):
            ledger.open(1, 5 + number, [], task(saved=T0, user=user), now=T0)
        ledger.open(1, 1, [rectangle("a", "Car")], task(), now=T0)
        call = ledger.open(1, 1, [rectangle("b", "Person")], task(), now=T0 + 1)
        assert call.doubtful == {"a"}
        # In another project they may be one.
        ledger.open(2, 1, [rectangle("a", "Car")], task(), now=T0)
        assert not ledger.open(2, 1, [rectangle("b", "Person")], task(), now=T0 + 1).doubtful

    run(work())


def test_pages_that_say_who_they_are_never_mix() -> None:
    async def work() -> None:
        ledger, both = Ledger(), annotated(1, 2)
        ledger.open(1, 1, [rectangle("a", "Car")], both, now=T0, on_page="p1")
        other = ledger.open(1, 1, [rectangle("b", "Person")], both, now=T0 + 1, on_page="p2")
        assert not other.carried
        mine = ledger.open(1, 1, [rectangle("c", "Person")], both, now=T0 + 1, on_page="p1")
        assert set(mine.carried) == {"a"} and not mine.doubtful

    run(work())


@pytest.mark.parametrize("before", [True, False])
def test_the_draft_of_one_does_not_take_the_page_from_another_without(before: bool) -> None:
    """Bob draws two labels quickly; Ann, who has a draft, asks in between."""

    async def work() -> None:
        ledger = Ledger()
        ann = task(saved=T0 - 60, user="ann", number=1)
        ledger.open(1, 9, [], task(saved=T0 - 60, user="bob"), now=T0 - 50)
        ledger.open(1, 9, [], task(saved=T0 - 60, user="ann"), now=T0 - 50)
        if before:
            ledger.close(ledger.open(1, 1, [], ann, now=T0 - 30), now=T0 - 30)
        ledger.open(1, 1, [rectangle("b1", "Car")], task(), now=T0)
        hers = ledger.open(1, 1, [rectangle("a1", "Person")], ann, now=T0 + 0.5)
        assert not hers.carried or hers.doubtful == set(hers.carried)
        his = ledger.open(1, 1, [rectangle("b2", "Person")], task(), now=T0 + 1)
        assert set(his.carried) == {"b1"}

    run(work())


def test_the_answer_of_a_region_that_changed_is_not_reused() -> None:
    async def work() -> None:
        ledger = Ledger()
        ledger.open(1, 1, [rectangle("a")], task(), now=T0)
        same = ledger.open(1, 1, [rectangle("a")], task(), now=T0 + 0.5)
        assert same.reused == {"a"}
        moved = ledger.open(1, 1, [rectangle("a", x=30.0)], task(), now=T0 + 1)
        assert not moved.reused

    run(work())


@given(
    st.lists(
        st.tuples(st.sampled_from(["Car", "Person", "Dog"]), st.floats(0.05, 1.4)),
        min_size=1,
        max_size=12,
    )
)
def test_no_region_is_lost_however_fast_they_are_drawn(
    steps: list[tuple[str, float]],
) -> None:
    """The page, in short: it sends all waiting regions of a label, and keeps only what the last answer holds."""

    async def work() -> None:
        ledger, now = Ledger(), T0
        waiting: dict[str, dict[str, Any]] = {}
        calls = []
        for number, (label, pause) in enumerate(steps):
            shape = rectangle(f"r{number}", label)
            waiting[shape["id"]] = shape
            same = [s for s in waiting.values() if s["value"]["rectanglelabels"] == [label]]
            calls.append(ledger.open(1, 1, same, task(), now=now))
            now += pause
        last = calls[-1]
        assert set(last.own) | set(last.carried) == set(waiting)

    run(work())


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["here", "there", "elsewhere"]),
            st.sampled_from(["Car", "Person", "Dog"]),
            st.floats(0.05, 1.4),
        ),
        min_size=1,
        max_size=14,
    )
)
def test_no_region_is_lost_on_any_of_several_pages_that_cannot_be_told_apart(
    steps: list[tuple[str, str, float]],
) -> None:
    async def work() -> None:
        ledger, now = Ledger(), T0
        waiting: dict[str, dict[str, dict[str, Any]]] = {}
        for number, (page, label, pause) in enumerate(steps):
            mine = waiting.setdefault(page, {})
            shape = rectangle(f"r{number}", label)
            mine[shape["id"]] = shape
            same = [s for s in mine.values() if s["value"]["rectanglelabels"] == [label]]
            call = ledger.open(1, 1, same, task(), now=now)
            assert set(mine) <= set(call.own) | set(call.carried)
            now += pause

    run(work())


@pytest.mark.parametrize("value", [None, 5, "x", [], {"rectanglelabels": 3}])
def test_odd_shapes_do_not_stop_it(value: object) -> None:
    async def work() -> None:
        ledger = Ledger()
        shape = rectangle("a") | {"value": value}
        assert set(ledger.open(1, 1, [shape, {"id": "a"}, {}], task(), now=T0).own) == {"a"}

    run(work())


def test_a_region_that_comes_again_with_our_mark_was_accepted() -> None:
    async def work() -> None:
        ledger = Ledger()
        first = ledger.open(1, 1, [rectangle("a", "Car")], task(), now=T0)
        ledger.close(first, now=T0 + 1)
        # The page sends accepted regions of the same label along.
        both = [marked(rectangle("a", "Car")), rectangle("b", "Car")]
        second = ledger.open(1, 1, both, task(), now=T0 + 10)
        ledger.close(second, now=T0 + 11)
        third = ledger.open(1, 1, [rectangle("c", "Person")], task(), now=T0 + 20)
        assert not third.carried

    run(work())


def test_an_accepted_region_that_was_sent_along_does_not_undo_a_later_correction() -> None:
    async def work() -> None:
        ledger = Ledger()
        first = ledger.open(1, 1, [rectangle("a", "Car")], task(), now=T0)
        ledger.close(first, now=T0 + 1)
        a = marked(rectangle("a", "Car"))
        second = ledger.open(1, 1, [a, rectangle("b", "Car")], task(), now=T0 + 4)
        ledger.close(second, now=T0 + 5)
        saved = task(a, marked(rectangle("b", "Car")), saved=T0 + 8)
        third = ledger.open(1, 1, [rectangle("c", "Person")], saved, now=T0 + 9)
        assert not third.carried
        ledger.close(third, now=T0 + 9.5)
        # Overtaken, it comes back with the answer that arrives, as any other.
        fourth = ledger.open(1, 1, [a, rectangle("d", "Car")], saved, now=T0 + 20)
        fifth = ledger.open(1, 1, [rectangle("e", "Person")], saved, now=T0 + 20.2)
        assert set(fourth.own) == {"a", "d"} and set(fifth.carried) == {"a", "d"}

    run(work())
