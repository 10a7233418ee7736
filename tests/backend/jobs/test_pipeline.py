"""The stream of pages, without Label Studio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest

from backend.errors import BackendError, LabelStudioError
from backend.jobs.errors import JobError
from backend.jobs.pipeline import Done, Page, Pipeline, Prepared
from backend.jobs.progress import seconds_left

Task = dict[str, Any]
Prepare = Callable[[Any], Awaitable[Prepared[int]]]


async def pages(number: int, size: int) -> AsyncIterator[Sequence[Task]]:
    for start in range(0, number, size):
        yield [{"id": id} for id in range(start + 1, min(start + size, number) + 1)]


class Stage:
    """What the pipeline works with: remembers who was stored, and how many were in work at once."""

    def __init__(self) -> None:
        self.stored: list[int] = []
        self.groups: list[int] = []
        self.at_once = self.most = 0
        self.failing: set[int] = set()
        self.told: list[Done] = []

    async def prepare(self, task: Any) -> Prepared[int]:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0.001 * (task["id"] % 5))
        self.at_once -= 1
        if task["id"] in self.failing:
            raise BackendError(f"task {task['id']}: no\nluck")
        return Prepared(task["id"], "created", None if task["id"] % 7 == 0 else task["id"])

    async def store(self, group: Sequence[Prepared[int]]) -> list[Done]:
        await asyncio.sleep(0.01)
        self.groups.append(len(group))
        self.stored += [prepared.task for prepared in group]
        return [Done(prepared.task, prepared.state, stored=True) for prepared in group]

    def pipeline(self, number: int, *, size: int = 10, concurrency: int = 4) -> Pipeline[int]:
        return Pipeline(
            pages(number, size), self.prepare, self.store, self.told.append, concurrency=concurrency
        )


async def all_pages(pipeline: Pipeline[int]) -> list[Page]:
    found = []
    async with pipeline:
        while (page := await pipeline.next_page()) is not None:
            found.append(page)
    return found


def test_every_task_once_pages_in_order_and_several_at_once() -> None:
    stage = Stage()
    found = asyncio.run(all_pages(stage.pipeline(95)))
    assert [page.last for page in found] == [*range(10, 100, 10), 95]
    assert sum(sum(page.counts.values()) for page in found) == 95
    assert sorted(stage.stored) == [id for id in range(1, 96) if id % 7]
    assert sum(page.stored for page in found) == len(stage.stored)
    assert stage.most == 4
    # What comes while a group is stored makes the next one.
    assert len(stage.groups) < 10
    assert {done.task for done in stage.told} == set(range(1, 96))


def test_what_fails_is_told_and_the_rest_goes_on() -> None:
    stage = Stage()
    stage.failing = {3, 14}
    first, second = asyncio.run(all_pages(stage.pipeline(20)))
    assert (first.failed, second.failed) == ([3], [14])
    assert first.problems == ["task 3: no luck"]
    assert (first.counts["failed"], first.counts["created"]) == (1, 9)


def test_many_failures_in_a_row_end_it_after_the_pages_before() -> None:
    stage = Stage()
    stage.failing = set(range(31, 200))

    async def run() -> list[Page]:
        found = []
        async with stage.pipeline(200) as pipeline:
            try:
                while (page := await pipeline.next_page()) is not None:
                    found.append(page)
            except JobError as error:
                assert "20 tasks in a row" in str(error)
                return found
        raise AssertionError("it went on")

    assert len(asyncio.run(run())) <= 5


def test_a_store_that_is_away_fails_its_group_only() -> None:
    stage = Stage()
    calls = 0

    async def store(group: Sequence[Prepared[int]]) -> list[Done]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise LabelStudioError("away")
        return await Stage.store(stage, group)

    stage.store = store  # type: ignore[method-assign]
    (page,) = asyncio.run(all_pages(stage.pipeline(3)))
    assert page.counts == {"failed": 3}
    assert calls == 1


def test_reading_errors_and_faults_of_the_program_are_raised() -> None:
    async def broken() -> AsyncIterator[Sequence[Task]]:
        yield [{"id": 1}]
        raise LabelStudioError("the list is gone")

    stage = Stage()
    with pytest.raises(LabelStudioError, match="the list is gone"):
        asyncio.run(
            all_pages(
                Pipeline(broken(), stage.prepare, stage.store, stage.told.append, concurrency=2)
            )
        )

    async def fault(task: Any) -> Prepared[int]:
        raise ZeroDivisionError

    stage.prepare = fault  # type: ignore[method-assign]
    with pytest.raises(ExceptionGroup):
        asyncio.run(all_pages(stage.pipeline(3)))


def test_stopping_stores_what_is_in_work_and_begins_nothing_new() -> None:
    stage = Stage()

    async def run() -> None:
        async with stage.pipeline(10_000) as pipeline:
            await pipeline.next_page()
        told = len(stage.told)
        await asyncio.sleep(0.05)
        assert len(stage.told) == told < 1000
        # All that was prepared is stored.
        assert {done.task for done in stage.told if done.stored} == set(stage.stored)
        assert stage.at_once == 0

    asyncio.run(run())


def test_seconds_left_follow_the_pace_so_far() -> None:
    assert seconds_left(25, 100, 5.0) == 15.0
    assert seconds_left(100, 100, 5.0) == 0.0
    assert seconds_left(120, 100, 5.0) == 0.0
    assert seconds_left(0, 100, 5.0) is None
    assert seconds_left(5, None, 5.0) is None
