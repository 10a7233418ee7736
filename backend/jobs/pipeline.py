"""Keeps a model busy with the tasks of a project: reads pages ahead, prepares several tasks at once, stores in bulk.

A page is told as done, in order, once every task in it is; that is where a job may be resumed. Knows neither Label
Studio nor predictions: what to read, prepare and store is given.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from backend.errors import BackendError
from backend.jobs.errors import JobError
from regiontext.errors import RegiontextError

__all__ = ["Done", "Page", "Pipeline", "Prepared"]

_MAX_FAILURES_IN_A_ROW = 20
_MAX_TOGETHER = 200
_LINGER_S = 0.5
_DRAIN_S = 15.0

Task = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Prepared(Generic[T]):
    """What came of preparing a task: `state`, and what is still to be stored for it, if anything."""

    task: int
    state: str
    store: T | None = None


@dataclass(frozen=True)
class Done:
    """A task that is done with: how it ended, or in one line why it failed (`state` is then "failed").

    stored: whether something was stored for it just now.
    """

    task: int
    state: str
    problem: str | None = None
    stored: bool = False


@dataclass
class Page:
    """Tasks that were read together. last: the number of its last task. counts: how many ended in each state.

    waiting: how many are not done. stored: for how many something was stored. failed: which ones failed.
    """

    last: int
    waiting: int
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    stored: int = 0
    failed: list[int] = field(default_factory=list)


class Pipeline(Generic[T]):
    """An async context manager; `next_page` until it gives None.

    prepare: makes what is to be stored for one task, many at once. store: stores what has been prepared since it last
    returned (at most 200 tasks), one call at a time, and tells how each ended; slow stores thus get larger groups.
    told: called for every task that is done.

    An error of ours while a task is prepared or stored makes this task fail. Reading errors, twenty failures in a row
    (JobError) and faults of the program end the pipeline: `next_page` raises them.
    """

    def __init__(
        self,
        pages: AsyncIterator[Sequence[Task]],
        prepare: Callable[[Task], Awaitable[Prepared[T]]],
        store: Callable[[Sequence[Prepared[T]]], Awaitable[Sequence[Done]]],
        told: Callable[[Done], None],
        *,
        concurrency: int,
    ) -> None:
        self._pages = pages
        self._prepare = prepare
        self._store = store
        self._told = told
        self._concurrency = concurrency
        # A page of tasks ahead: reading a page may take as long as the model needs for many tasks.
        self._queue: asyncio.Queue[tuple[Task, Page] | None] = asyncio.Queue(maxsize=64)
        self._unstored: asyncio.Queue[tuple[Prepared[T], Page] | None] = asyncio.Queue(
            maxsize=_MAX_TOGETHER
        )
        self._open: deque[Page] = deque()
        self._ready: asyncio.Queue[Page | None] = asyncio.Queue()
        self._stopping = asyncio.Event()
        self._all_prepared = asyncio.Event()
        self._failures_in_a_row = 0
        self._main: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._main = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def next_page(self) -> Page | None:
        """The next page of which every task is done; None after the last."""
        assert self._main is not None
        waiting = asyncio.create_task(self._ready.get())
        try:
            await asyncio.wait({waiting, self._main}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                # Ended; what it had ready came first.
                if not self._ready.empty():
                    return await waiting
                await self._main
                return None
            return waiting.result()
        finally:
            waiting.cancel()

    async def stop(self) -> None:
        """End early: what is being prepared is finished and stored, if that takes no more than some seconds."""
        if self._main is None:
            return
        self._stopping.set()
        await asyncio.wait({self._main}, timeout=_DRAIN_S)
        self._main.cancel()
        await asyncio.gather(self._main, return_exceptions=True)

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_storing())
                workers = [group.create_task(self._work()) for _ in range(self._concurrency)]
                await self._read()
                for _ in workers:
                    await self._queue.put(None)
                await asyncio.gather(*workers)
                self._all_prepared.set()
                await self._unstored.put(None)
        except* (BackendError, RegiontextError) as errors:
            raise _first(errors) from None
        if not self._stopping.is_set():
            self._ready.put_nowait(None)

    async def _read(self) -> None:
        stopped = asyncio.create_task(self._stopping.wait())
        pages = aiter(self._pages)
        try:
            while True:
                following = asyncio.ensure_future(anext(pages, None))
                await asyncio.wait({following, stopped}, return_when=asyncio.FIRST_COMPLETED)
                if self._stopping.is_set():
                    following.cancel()
                    await asyncio.gather(following, return_exceptions=True)
                    return
                tasks = following.result()
                if tasks is None:
                    return
                page = Page(last=max(int(task["id"]) for task in tasks), waiting=len(tasks))
                self._open.append(page)
                for task in tasks:
                    await self._queue.put((task, page))
        finally:
            stopped.cancel()

    async def _work(self) -> None:
        while (item := await self._queue.get()) is not None:
            task, page = item
            if self._stopping.is_set():
                continue
            id = int(task["id"])
            try:
                prepared = await self._prepare(task)
            except (BackendError, RegiontextError) as fault:
                self._finish(Done(id, "failed", _line(id, fault)), page)
                continue
            if prepared.store is None:
                self._finish(Done(id, prepared.state), page)
            else:
                await self._unstored.put((prepared, page))

    async def _keep_storing(self) -> None:
        last = False
        while not last:
            first = await self._unstored.get()
            if first is None:
                return
            group = [first]
            # What else comes within a moment goes along; all that waits does anyway.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_prepared.wait(), _LINGER_S)
            while len(group) < _MAX_TOGETHER and not self._unstored.empty():
                item = self._unstored.get_nowait()
                if item is None:
                    last = True
                    break
                group.append(item)
            pages = {prepared.task: page for prepared, page in group}
            try:
                ended = await self._store([prepared for prepared, _ in group])
            except (BackendError, RegiontextError) as fault:
                ended = [Done(task, "failed", _line(task, fault)) for task in pages]
            for done in ended:
                self._finish(done, pages[done.task])

    def _finish(self, done: Done, page: Page) -> None:
        page.waiting -= 1
        page.counts[done.state] += 1
        page.stored += done.stored
        if done.problem is None:
            self._failures_in_a_row = 0
        else:
            page.problems.append(done.problem)
            page.failed.append(done.task)
            self._failures_in_a_row += 1
        while self._open and self._open[0].waiting == 0:
            self._ready.put_nowait(self._open.popleft())
        self._told(done)
        if self._failures_in_a_row >= _MAX_FAILURES_IN_A_ROW:
            raise JobError(
                f"stopped after {self._failures_in_a_row} tasks in a row failed, the last with: "
                f"{done.problem}. Run it again once that is put right; what is done stays done"
            )


def _line(task: int, fault: Exception) -> str:
    text = " ".join(str(fault).split()).removeprefix(f"task {task}: ")
    return f"task {task}: {text}"


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """One of the errors that workers stopped with: they all say the same."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
