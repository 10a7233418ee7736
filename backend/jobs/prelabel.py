"""Pre-fills the regions that a project's tasks already have, by pushing predictions through Label Studio's API.

Label Studio itself is asked what is done, so the job can be killed at any moment and started again: it goes on where it
was, and makes nothing twice. Predictions of an older version of ours are replaced; those of others are never touched.
Knows nothing of how a prediction is made or stored, nor of who starts it (the command, or `backend.jobs.durable`).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from backend.assistant import Assistant
from backend.jobs.lock import exclusive
from backend.jobs.opening import workplace
from backend.jobs.pipeline import Done, Pipeline
from backend.jobs.preparing import Preparing, Wanted
from backend.jobs.progress import Notify, Progress, quiet
from backend.jobs.queue_order import ensure_view
from backend.jobs.storing import Storing
from backend.jobs.studio import Project, Studio
from backend.origin import check_origin
from backend.serving import refresh
from backend.settings import Settings
from backend.store import Store
from regiontext.labelstudio.config import LabelingConfig, parse_config

__all__ = ["Bulk", "Options", "Prelabelled", "open_bulk", "prelabel"]

PAGE = 50
_TURN_S = 0.0005


@dataclass(frozen=True)
class Options:
    """What to pre-label, and how.

    tasks: only these; None for all. include_annotated: also take regions from submitted annotations. concurrency: tasks
    at once. random_share: of the tasks, placed at random in the queue of annotators, in [0, 1].
    """

    project: int
    include_annotated: bool = False
    concurrency: int = 4
    random_share: float = 0.2
    tasks: tuple[int, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self) | {"tasks": list(self.tasks) if self.tasks is not None else None}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        tasks = given.get("tasks")
        return cls(**{**given, "tasks": tuple(tasks) if tasks is not None else None})


@dataclass
class Prelabelled:
    """What a run did, in tasks.

    created: got their first prediction. renewed: got one that replaces an older version of ours. current: had one of
    this version. unassisted: their image is in control or holdout, so nothing is filled. complete: there was nothing
    to add, because every field held text or the model has no usable answer. without_regions: there was nothing to
    caption. failed: see errors, one line each; the next run tries them again. removed: predictions of ours that were
    out of date. shown: whether Label Studio shows this version. stored: predictions that were made.
    """

    project: int
    model_version: str = ""
    tasks: int = 0
    created: int = 0
    renewed: int = 0
    current: int = 0
    unassisted: int = 0
    complete: int = 0
    without_regions: int = 0
    failed: int = 0
    removed: int = 0
    shown: bool = False
    errors: list[str] = field(default_factory=list)
    stored: int = 0

    def add(self, counts: Mapping[str, int], problems: Sequence[str], stored: int) -> None:
        """Count the tasks of a page, of which `stored` got a prediction."""
        for state, number in counts.items():
            self.tasks += number
            setattr(self, state, getattr(self, state) + number)
        self.errors += problems
        self.stored += stored

    @property
    def showable(self) -> bool:
        """Whether any task has a prediction of this version."""
        return bool(self.stored or self.current)


async def prelabel(
    settings: Settings,
    project: int,
    progress: Notify = quiet,
    *,
    include_annotated: bool = False,
    concurrency: int = 4,
    random_share: float = 0.2,
    store: Store | None = None,
) -> Prelabelled:
    """Give every task of a project that has regions a prediction of the current model version.

    The regions come from the newest prediction that has any (others' before ours), else the newest draft, else, only
    with `include_annotated`, the newest submitted annotation. Only images in the assist arm are filled. Regions that
    others predicted for the rest, and regions that need no text, are repeated as they are under our version, because
    Label Studio shows annotators the predictions of one version only and would hide them.

    Raises LabelStudioError or ModelUnavailable if either does not answer, ConfigError if the labeling config has
    nothing to fill, JobError if task after task fails.
    """
    options = Options(project, include_annotated, concurrency, random_share)
    done = 0
    total: int | None = None

    def waiting(words: str) -> None:
        progress(Progress(0, None, words))

    def told(task: Done) -> None:
        nonlocal done
        done += 1
        progress(Progress(done, total, "pre-labelling", task.problem))

    async with open_bulk(settings, options, store=store, waiting=waiting) as bulk:
        total = bulk.total
        summary = Prelabelled(project)
        async with bulk.pipeline(after=0, told=told) as pipeline:
            while (page := await pipeline.next_page()) is not None:
                summary.add(page.counts, page.problems, page.stored)
        summary.model_version, summary.shown = await bulk.show(summary)
        summary.removed = bulk.storing.removed
        return summary


@dataclass(eq=False)
class Bulk:
    """An opened pre-labelling. total: how many tasks there are to look at."""

    options: Options
    assistant: Assistant
    studio: Studio
    project: Project
    config: LabelingConfig
    total: int
    preparing: Preparing
    storing: Storing

    def pipeline(
        self, *, told: Callable[[Done], None], after: int = 0, tasks: Sequence[int] | None = None
    ) -> Pipeline[Wanted]:
        """The tasks with numbers above `after`, worked off; or only these `tasks`."""
        return Pipeline(
            self._pages(after, self.options.tasks if tasks is None else tasks),
            self.preparing.task,
            self.storing.store,
            told,
            concurrency=self.options.concurrency,
        )

    async def _pages(
        self, after: int, tasks: Sequence[int] | None
    ) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
        if tasks is not None:
            wanted = sorted(task for task in set(tasks) if task > after)
            for start in range(0, len(wanted), PAGE):
                part = wanted[start : start + PAGE]
                if found := await self.studio.tasks_among(self.project.id, part):
                    yield found
            return
        while found := await self.studio.tasks_after(self.project.id, after, limit=PAGE):
            after = max(int(task["id"]) for task in found)
            yield found

    async def show(self, summary: Prelabelled) -> tuple[str, bool]:
        """Make Label Studio show annotators this version, most useful first, where it shows predictions at all.

        With a backend's title in its place, the data manager would copy a task's oldest prediction, say imported boxes
        without a word of text. Gives the version, and whether it is shown: not if no task has it.
        """
        version, project = await self.preparing.version(), self.project
        if not summary.showable or not project.shows_predictions:
            return version, False
        if project.model_version != version:
            await self.studio.show_version(project.id, version)
        await ensure_view(self.studio, project.id)
        return version, True


@contextmanager
def _quick_turns() -> Iterator[None]:
    """Let the event loop have its turn soon while threads draw.

    After every call into the system it waits for whichever thread computes, 5 ms by default: five for each question.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, _TURN_S))
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@asynccontextmanager
async def open_bulk(
    settings: Settings,
    options: Options,
    *,
    store: Store | None = None,
    waiting: Callable[[str], None] = lambda words: None,
) -> AsyncIterator[Bulk]:
    """Everything a pre-labelling works with, for the block; waits while another one has the project.

    Raises what `prelabel` raises.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(_quick_turns())
        name = f"prelabel-{options.project}"
        await stack.enter_async_context(
            exclusive(settings.data_dir / "locks", name, waiting=waiting)
        )
        assistant, studio = await stack.enter_async_context(workplace(settings, store))
        await refresh(settings, assistant.store, assistant.model)
        project = await studio.project(options.project)
        await asyncio.to_thread(check_origin, assistant.store, project.id, project.created)
        config = parse_config(project.config)
        if options.tasks is None:
            total = await studio.count_tasks(project.id)
        else:
            total = len(set(options.tasks))
        yield Bulk(
            options,
            assistant,
            studio,
            project,
            config,
            total,
            Preparing(assistant, studio, project, config, options.include_annotated),
            Storing(studio, project.id, options.random_share),
        )
