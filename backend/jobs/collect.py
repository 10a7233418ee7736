"""Brings the store up to date with what people submitted in Label Studio.

Webhooks say what changed as it happens; `collect` asks Label Studio for everything and finds what a webhook missed.
Both go through the same `Keeper`. Knows nothing of the model.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import DataError

from backend.errors import BackendError, LabelStudioError
from backend.images import Images
from backend.jobs.keeper import Keeper
from backend.jobs.opening import using_store
from backend.jobs.outcomes import parse_time
from backend.jobs.progress import Notify, Progress, quiet
from backend.jobs.studio import Studio
from backend.origin import check_origin, created_of
from backend.settings import Settings
from backend.store import EventRow, OutcomeRow, Store
from regiontext.errors import RegiontextError
from regiontext.labelstudio.config import LabelingConfig, parse_config

__all__ = ["Collected", "collect", "process_event"]

_PAGE = 50
_AT_ONCE = 8
_OF_ANNOTATIONS = frozenset(
    {"ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_CREATED", "ANNOTATIONS_DELETED"}
)


@dataclass
class Collected:
    """What a run of `collect` found in a project.

    annotations: submitted ones there are now. created, updated, deleted: how many the store did not know, knew
    differently (or without figures about edits), or knew and are gone. outcomes: how many of each there are now.
    errors: one line per annotation that could not be read; the next run tries it again.
    """

    project: int
    annotations: int = 0
    created: int = 0
    updated: int = 0
    deleted: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


async def collect(
    settings: Settings, project: int, progress: Notify = quiet, *, store: Store | None = None
) -> Collected:
    """Read every annotation of a project and bring the store up to date.

    Raises LabelStudioError if Label Studio does not answer, ConfigError if its labeling config cannot be used.
    """
    async with (
        using_store(settings, store) as opened,
        Studio(settings) as studio,
        Images(settings) as images,
    ):
        return await _collect(Keeper(settings, opened, images), studio, project, progress)


def process_event(settings: Settings, store: Store, event: EventRow) -> None:
    """Bring the store up to date with one webhook; blocks, and leaves the event's own row alone.

    Events other than those of annotations are nothing to do. Raises LabelStudioError for a body that is not one of
    Label Studio's, and whatever fetching the image raises; the next `collect` makes it good.
    """
    try:
        asyncio.run(_process_alone(settings, store, event))
    except (KeyError, TypeError, ValueError) as error:
        raise LabelStudioError(
            f"webhook {event.id} ({event.action}) is not as Label Studio sends it: {error!r}"
        ) from error


async def _process_alone(settings: Settings, store: Store, event: EventRow) -> None:
    async with Images(settings) as images:
        await _process(Keeper(settings, store, images), event)


async def _process(keeper: Keeper, event: EventRow) -> None:
    payload = event.payload
    if event.action not in _OF_ANNOTATIONS:
        return
    project = payload["project"]
    created = created_of(project.get("created_at"))
    await asyncio.to_thread(check_origin, keeper.store, int(project["id"]), created)
    if event.action == "ANNOTATIONS_DELETED":
        gone = [int(item["id"]) for item in payload.get("annotations") or []]
        await asyncio.to_thread(keeper.forget, int(project["id"]), gone)
        return
    config = parse_config(str(project["label_config"]))
    tasks = {int(task["id"]): task for task in _listed(payload.get("task"))}
    for annotation in _listed(payload.get("annotation")):
        task = int(annotation["task"])
        await keeper.keep(
            annotation,
            project=int(project["id"]),
            task=task,
            data=tasks[task].get("data") or {},
            config=config,
            source="webhook",
        )


async def _collect(keeper: Keeper, studio: Studio, id: int, progress: Notify) -> Collected:
    project = await studio.project(id)
    await asyncio.to_thread(check_origin, keeper.store, id, project.created)
    config = parse_config(project.config)
    found = Collected(id)
    # Before the listing: an annotation that a webhook brings meanwhile is not gone because the list lacks it.
    known = await asyncio.to_thread(keeper.known, id)
    unmeasured = await asyncio.to_thread(_unmeasured, keeper.store, id)
    seen: set[int] = set()
    total = await studio.count_tasks(id)
    gate = asyncio.Semaphore(_AT_ONCE)
    done = 0

    async def read(task: Mapping[str, Any]) -> None:
        nonlocal done
        async with gate:
            for annotation in task.get("annotations") or []:
                number = int(annotation["id"])
                if annotation.get("was_cancelled"):
                    continue
                seen.add(number)
                found.annotations += 1
                same = known.get(number) == parse_time(annotation.get("updated_at"))
                if number in known and same and number not in unmeasured:
                    continue
                timed = _with_time(annotation, task.get("drafts"))
                problem = await _keep_listed(keeper, timed, task, id, config)
                if problem is not None:
                    found.errors.append(problem)
                    progress(Progress(done, total, "reading annotations", problem))
                elif number in known:
                    found.updated += 1
                else:
                    found.created += 1
        done += 1
        progress(Progress(done, total, "reading annotations"))

    page: list[Mapping[str, Any]] = []
    async for task in studio.tasks(id):
        page.append(task)
        if len(page) == _PAGE:
            await asyncio.gather(*(read(task) for task in page))
            page = []
    await asyncio.gather(*(read(task) for task in page))
    gone = [number for number in known if number not in seen]
    gone = [number for number in gone if await _is_gone(studio, number)]
    await asyncio.to_thread(keeper.forget, id, gone)
    found.deleted = len(gone)
    found.outcomes = await asyncio.to_thread(keeper.count_outcomes, id)
    return found


async def _keep_listed(
    keeper: Keeper,
    annotation: Mapping[str, Any],
    task: Mapping[str, Any],
    project: int,
    config: LabelingConfig,
) -> str | None:
    """Keep one annotation; the problem in one line if that cannot be."""
    try:
        await keeper.keep(
            annotation,
            project=project,
            task=int(task["id"]),
            data=task.get("data") or {},
            config=config,
            source="collect",
        )
    except (BackendError, RegiontextError) as fault:
        return f"annotation {annotation['id']} of task {task['id']}: {fault}"
    except (KeyError, TypeError, ValueError, DataError) as fault:
        # Imported annotations hold whatever somebody wrote into a file.
        return f"annotation {annotation['id']} of task {task['id']} makes no sense: {fault!r}"
    return None


def _unmeasured(store: Store, project: int) -> set[int]:
    """The annotations with outcomes of a version that did not yet measure edits."""
    query = select(OutcomeRow.annotation).where(
        OutcomeRow.project == project, OutcomeRow.edit_chars.is_(None)
    )
    with store.read() as session:
        return set(session.scalars(query.distinct()))


def _with_time(annotation: Mapping[str, Any], drafts: Any) -> Mapping[str, Any]:
    """The annotation with the time of its draft, where Label Studio counted only that."""
    if annotation.get("lead_time") is not None or not isinstance(drafts, list):
        return annotation
    times = [
        draft["lead_time"]
        for draft in drafts
        if isinstance(draft, Mapping)
        and draft.get("annotation") == annotation["id"]
        and draft.get("lead_time") is not None
    ]
    return {**annotation, "lead_time": times[-1]} if times else annotation


async def _is_gone(studio: Studio, annotation: int) -> bool:
    """Whether an annotation that the list lacks is deleted or skipped; asked of Label Studio itself."""
    found = await studio.annotation(annotation)
    return found is None or bool(found.get("was_cancelled"))


def _listed(value: Any) -> list[Mapping[str, Any]]:
    """Label Studio sends one object for one annotation, a list for several."""
    if isinstance(value, Mapping):
        return [value]
    return [item for item in value or [] if isinstance(item, Mapping)]
