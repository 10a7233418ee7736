"""A pre-labelling as a row of steps that can each be done again: plan it, work off page after page, show the result.

What is between steps (the open pipeline, connections, the lock) is made again where it is missing. Knows no DBOS.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from backend.jobs.pipeline import Done, Page, Pipeline
from backend.jobs.prelabel import Bulk, Options, Prelabelled, open_bulk
from backend.jobs.preparing import Wanted
from backend.jobs.progress import seconds_left
from backend.settings import Settings
from backend.store import Store

__all__ = ["Running"]

_KEPT_PROBLEMS = 20


class Running:
    """One job while it runs here. counts: tasks by how they ended, those of the page in work included."""

    def __init__(self, settings: Settings, store: Store, options: Options) -> None:
        self._settings = settings
        self._store = store
        self._options = options
        self._stack = AsyncExitStack()
        self._bulk: Bulk | None = None
        self._pipeline: Pipeline[Wanted] | None = None
        self._removed = 0
        self._here = 0
        self._since = 0.0
        self.total: int | None = None
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self._before: Counter[str] = Counter()

    @property
    def eta_s(self) -> float | None:
        """Seconds left, by the pace of this process."""
        if self.total is None or not self._here:
            return None
        elapsed = time.monotonic() - self._since
        left = max(0, self.total - sum(self.counts.values()))
        return seconds_left(self._here, self._here + left, elapsed)

    async def plan(self) -> dict[str, Any]:
        """How many tasks there are to look at."""
        try:
            bulk = await self._open()
        except Exception as error:
            await self._failed(error)
            raise
        return {"total": bulk.total}

    async def page(self, after: int) -> dict[str, Any]:
        """Work off the tasks of the next page above `after`, and what else can be done meanwhile; what came of it.

        `last` is None if there is no such page.
        """
        try:
            bulk = await self._open()
            if self._pipeline is None:
                self.counts = Counter(self._before)
                self._here, self._since = 0, time.monotonic()
                self._pipeline = await self._stack.enter_async_context(
                    bulk.pipeline(after=after, told=self._told)
                )
            page = await self._pipeline.next_page()
        except Exception as error:
            await self._failed(error)
            raise
        pages = [page] if page is not None else []
        return self._said(bulk, pages) | {"last": page.last if page is not None else None}

    async def again(self, failed: Sequence[int]) -> dict[str, Any]:
        """Try the tasks that failed once more, now that all others are done; what came of it."""
        await self.close()
        try:
            bulk = await self._open()
            self.counts = Counter(self._before)
            self.counts["failed"] -= len(failed)
            self.problems = []
            pages = []
            async with bulk.pipeline(told=self._told, tasks=failed) as pipeline:
                while (page := await pipeline.next_page()) is not None:
                    pages.append(page)
        except Exception as error:
            await self._failed(error)
            raise
        return self._said(bulk, pages) | {"retried": len(failed)}

    def _said(self, bulk: Bulk, pages: Sequence[Page]) -> dict[str, Any]:
        removed, self._removed = bulk.storing.removed - self._removed, bulk.storing.removed
        counts: Counter[str] = Counter()
        for page in pages:
            counts.update(page.counts)
        problems = [problem for page in pages for problem in page.problems]
        return {
            "counts": dict(counts),
            "problems": problems[:_KEPT_PROBLEMS],
            "failed": [task for page in pages for task in page.failed],
            "stored": sum(page.stored for page in pages),
            "removed": removed,
        }

    async def show(self, summary: Prelabelled) -> dict[str, Any]:
        """Make Label Studio show what was made."""
        version, shown = await (await self._open()).show(summary)
        return {"model_version": version, "shown": shown}

    def passed(self, page: dict[str, Any]) -> None:
        """A page is done: by this process, or by one before it."""
        self._before.update(page["counts"])
        if self._pipeline is None:
            self.counts.update(page["counts"])
            self.problems += page["problems"]

    async def close(self) -> None:
        """Let go of everything; what is in work is finished first, if that takes no more than some seconds."""
        self._pipeline = self._bulk = None
        stack, self._stack = self._stack, AsyncExitStack()
        await stack.aclose()

    async def _failed(self, error: Exception) -> None:
        """Tell why nothing goes on for a while, and begin anew the next time."""
        self.problems = [*self.problems, " ".join(str(error).split())][-_KEPT_PROBLEMS:]
        await self.close()

    async def _open(self) -> Bulk:
        if self._bulk is None:
            self._removed = 0
            self._bulk = await self._stack.enter_async_context(
                open_bulk(self._settings, self._options, store=self._store)
            )
        return self._bulk

    def _told(self, done: Done) -> None:
        self.counts[done.state] += 1
        self._here += 1
        if done.problem is not None:
            self.problems = [*self.problems, done.problem][-_KEPT_PROBLEMS:]
