"""Pre-fills the regions that a project's tasks already have, by pushing predictions through Label Studio's API.

Label Studio itself is asked what is done, so the job can be killed at any moment and started again: it goes on where it
was, and makes nothing twice. Predictions of an older version of ours are replaced; those of others are never touched.
Knows nothing of how a prediction is made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from backend.assistant import Assistant, current_model, look_at
from backend.errors import BackendError
from backend.jobs.errors import JobError
from backend.jobs.lock import exclusive
from backend.jobs.opening import workplace
from backend.jobs.progress import Notify, Progress, quiet
from backend.jobs.sources import is_our_version, outdated, source_of
from backend.jobs.studio import Project, Studio
from backend.label_studio import image_url
from backend.predictions import build_prediction
from backend.serving import refresh
from backend.settings import Settings
from backend.store import Store
from regiontext.errors import RegiontextError
from regiontext.labelstudio.config import LabelingConfig, parse_config

__all__ = ["Prelabelled", "prelabel"]

_MAX_FAILURES_IN_A_ROW = 20

State = Literal["created", "renewed", "current", "unassisted", "complete", "without_regions"]


@dataclass
class Prelabelled:
    """What a run did, in tasks.

    created: got their first prediction. renewed: got one that replaces an older version of ours. current: had one of
    this version. unassisted: their image is in control or holdout, so nothing is filled. complete: there was nothing
    to add, because every field held text or the model has no usable answer. without_regions: there was nothing to
    caption. failed: see errors, one line each; the next run tries them again. removed: predictions of ours that were
    out of date. shown: whether Label Studio shows this version.
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


async def prelabel(
    settings: Settings,
    project: int,
    progress: Notify = quiet,
    *,
    include_annotated: bool = False,
    concurrency: int = 4,
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

    def waiting(words: str) -> None:
        progress(Progress(0, None, words))

    async with (
        exclusive(settings.data_dir / "locks", f"prelabel-{project}", waiting=waiting),
        workplace(settings, store) as (assistant, studio),
    ):
        await refresh(settings, assistant.store, assistant.model)
        found = await studio.project(project)
        config = parse_config(found.config)
        job = _Job(assistant, studio, found, config, include_annotated, progress)
        await job.run(concurrency)
        return job.summary


class _Job:
    """One run over one project."""

    def __init__(
        self,
        assistant: Assistant,
        studio: Studio,
        project: Project,
        config: LabelingConfig,
        include_annotated: bool,
        progress: Notify,
    ) -> None:
        self._assistant = assistant
        self._studio = studio
        self._project = project
        self._config = config
        self._include_annotated = include_annotated
        self._progress = progress
        self._total: int | None = None
        self._failures_in_a_row = 0
        self.summary = Prelabelled(project.id)

    async def run(self, concurrency: int) -> None:
        self._total = await self._studio.count_tasks(self._project.id)
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(maxsize=2 * concurrency)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(concurrency):
                    group.create_task(self._work(queue))
                async for task in self._studio.tasks(self._project.id):
                    await queue.put(task)
                for _ in range(concurrency):
                    await queue.put(None)
        except* (BackendError, RegiontextError) as errors:
            raise _first(errors) from None
        await self._show()

    async def _work(self, queue: asyncio.Queue[dict[str, Any] | None]) -> None:
        while (task := await queue.get()) is not None:
            problem = None
            try:
                state = await self._do(task)
            except (BackendError, RegiontextError) as fault:
                text = " ".join(str(fault).split()).removeprefix(f"task {task['id']}: ")
                problem = f"task {task['id']}: {text}"
            summary = self.summary
            summary.tasks += 1
            if problem is None:
                self._failures_in_a_row = 0
                setattr(summary, state, getattr(summary, state) + 1)
            else:
                summary.failed += 1
                summary.errors.append(problem)
                self._failures_in_a_row += 1
            self._progress(Progress(summary.tasks, self._total, "pre-labelling", problem))
            if self._failures_in_a_row >= _MAX_FAILURES_IN_A_ROW:
                raise JobError(
                    f"stopped after {self._failures_in_a_row} tasks in a row failed, the last with: "
                    f"{problem}. Run it again once that is put right; what is done stays done"
                )

    async def _do(self, task: Mapping[str, Any]) -> State:
        """Bring one task up to date."""
        id = int(task["id"])
        version = await self._version()
        predictions = task.get("predictions") or []
        if _has(predictions, version):
            self.summary.model_version = version
            await self._remove_outdated(id, predictions, version)
            return "current"
        found = await self._source(task)
        if found is None:
            return "without_regions"
        kind, source = found
        # As what it is: of our own predictions only the regions are taken, of people's work everything.
        alone = {**task, "annotations": [], "drafts": [], "predictions": [], kind: [source]}
        made = await build_prediction(
            self._assistant, project=self._project.id, task=alone, config=self._config
        )
        state: State = "created"
        if made is not None:
            result, score, version = made.result, made.score, made.model_version
        else:
            state = "complete" if await self._is_assisted(task) else "unassisted"
            if kind != "predictions" or is_our_version(source.get("model_version")):
                return state
            result, score = list(source["result"]), None
        # Another run, or Label Studio itself, may have been here while the model answered.
        now = await self._studio.predictions(id)
        if _has(now, version):
            self.summary.model_version = version
            return "current"
        await self._studio.create_prediction(
            project=self._project.id, task=id, result=result, score=score, model_version=version
        )
        self.summary.model_version = version
        replaced = any(is_our_version(p.get("model_version")) for p in now)
        await self._remove_outdated(id, await self._studio.predictions(id), version)
        return "renewed" if replaced and state == "created" else state

    async def _version(self) -> str:
        return (await current_model(self._assistant)).version(self._config)

    async def _source(self, task: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
        """Whose regions are to be filled: the key under which a task holds it, and the holder itself."""
        if found := source_of(task.get("predictions") or []):
            return "predictions", found
        if found := source_of([], await self._studio.drafts(int(task["id"]))):
            return "drafts", found
        submitted = task.get("annotations") or [] if self._include_annotated else []
        found = source_of([], [], submitted)
        return ("annotations", found) if found else None

    async def _is_assisted(self, task: Mapping[str, Any]) -> bool:
        """Whether the task's (first) image is in the assist arm."""
        url = image_url(task.get("data") or {}, self._config.image_key)
        data = await self._assistant.images.fetch(url, task=int(task["id"]))
        picture = await look_at(
            self._assistant, data, project=self._project.id, task=int(task["id"])
        )
        return picture.arm == "assist"

    async def _remove_outdated(
        self, task: int, predictions: list[dict[str, Any]], version: str
    ) -> None:
        """Remove what the current prediction replaces, unless somebody works with it.

        Label Studio refuses an annotation whose prediction is gone (400), and forgets the prediction of one that it
        has. An annotator who opened a task just before and changed nothing has no draft yet: they are told to reload.
        """
        if not outdated(predictions, version=version, in_use=()):
            return
        if await self._studio.drafts(task):
            return  # The draft may have begun as a copy of one of them; the next run looks again.
        used = [a.get("parent_prediction") for a in await self._studio.annotations(task)]
        for id in outdated(predictions, version=version, in_use=used):
            await self._studio.delete_prediction(id)
            self.summary.removed += 1

    async def _show(self) -> None:
        """Make Label Studio show annotators this version, where it shows predictions at all.

        With a backend's title in its place, the data manager would copy a task's oldest prediction, say imported boxes
        without a word of text.
        """
        summary, project = self.summary, self._project
        version = summary.model_version
        if not version:
            summary.model_version = await self._version()
        elif project.shows_predictions:
            if project.model_version != version:
                await self._studio.show_version(project.id, version)
            summary.shown = True


def _has(predictions: list[dict[str, Any]], version: str) -> bool:
    return any(prediction.get("model_version") == version for prediction in predictions)


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """One of the errors that workers stopped with: they all say the same."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
