"""Teaches the model what people corrected, and serves the result only if it has proved itself better.

One run is a durable workflow of five steps (`backend.jobs.finetune_steps`): killed at any moment, it goes on with the
next call as if nothing had been. Around it: one run at a time, and a schedule. Knows the order of things only.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import select

from backend.errors import BackendError, ModelUnavailable
from backend.jobs import finetune_durable as durable
from backend.jobs.collect import collect
from backend.jobs.errors import LabelStudioAway
from backend.jobs.finetune_choice import begun_at
from backend.jobs.finetune_report import FinetuneOptions, FinetuneReport
from backend.jobs.finetune_steps import Steps
from backend.jobs.lock import exclusive
from backend.jobs.opening import using_store, workplace
from backend.jobs.progress import Notify, Progress, quiet
from backend.jobs.records import LEARNT_FROM, project_numbers
from backend.jobs.trainer import MODULE
from backend.settings import Settings
from backend.store import ImageRow, OutcomeRow, Store
from regiontext.metrics.meaning import values_meaning_changed

__all__ = [
    "FinetuneOptions",
    "FinetuneReport",
    "cancel_finetune",
    "finetune",
    "keep_finetuning",
    "new_corrections",
    "next_round",
]

_POLL_S = 60.0


async def finetune(
    settings: Settings,
    project: int | None = None,
    progress: Notify = quiet,
    *,
    options: FinetuneOptions | None = None,
    store: Store | None = None,
    trainer: str = MODULE,
    afresh: bool = False,
) -> FinetuneReport:
    """Train on the corrections of a project (of all, if None), judge, and promote the result if it is better.

    A run that was killed, or that failed because a server was away, is gone on with instead, as it was begun; `afresh`
    cancels it. Everything about a run stays in `runs/NNNN` of the data folder: what it chose, the training set, the
    checkpoints or the adapter, the log, both models' answers and a manifest.

    Raises NotEnough if there are too few records, JobError if training fails or the run is cancelled,
    ModelUnavailable and LabelStudioError if either does not answer.
    """

    def waiting(words: str) -> None:
        progress(Progress(0, None, words))

    async def work(given: dict[str, Any]) -> FinetuneReport:
        # Opened here: what DBOS takes up runs in an event loop of its own.
        async with workplace(settings, store) as (assistant, studio):
            steps = Steps(
                assistant, studio, progress, FinetuneOptions(**given["options"]), given["trainer"]
            )
            begun = await durable.step("begin", steps.begin, given["project"], durable.job_id())
            run = begun["run"]
            rendered = await durable.step("render", steps.render, run)
            await durable.step("train", steps.train, run)
            report: FinetuneReport = await durable.step(
                "judge", steps.judge, run, rendered["counts"], rendered["problems"]
            )
            settled = await durable.step("settle", steps.settle, report)
            return replace(report, problems=[*report.problems, *settled["problems"]])

    async with exclusive(settings.data_dir / "locks", "finetune", waiting=waiting):
        if afresh:
            await asyncio.to_thread(durable.cancel_unfinished, settings.database_url)
        async with durable.working(settings.database_url, work) as line:
            left = await asyncio.to_thread(line.unfinished)
            if left is not None:
                waiting("going on with the run that was interrupted")
                found: FinetuneReport = await line.go_on(left)
                return found
            given = {"project": project, "options": asdict(options or FinetuneOptions())}
            done: FinetuneReport = await line.start(given | {"trainer": trainer})
            return done


def cancel_finetune(settings: Settings) -> int:
    """Cancel the run that is going on, here or in another process, or that was interrupted; how many there were."""
    return len(durable.cancel_unfinished(settings.database_url))


async def next_round(
    settings: Settings,
    project: int | None = None,
    progress: Notify = quiet,
    *,
    every_s: float | None,
    after: int | None,
    beyond: int = 0,
    store: Store | None = None,
    poll_s: float = _POLL_S,
) -> int:
    """Wait until the next run is due; how many new corrections there are then.

    Due: `every_s` seconds after the last run began (at once without one), and with at least `after` new corrections
    that change the meaning (1 if None), and more than `beyond`. All is read from the data folder and the store, so a
    schedule outlives its process. Label Studio being away is waited for.
    """
    least = max(1 if after is None else after, beyond + 1)
    async with using_store(settings, store) as opened:
        while True:
            begun = await asyncio.to_thread(begun_at, settings.data_dir)
            left = begun + (every_s or 0.0) - time.time()
            found, words = 0, ""
            if left <= 0:
                words = await _collected(settings, project, opened)
                found = await asyncio.to_thread(new_corrections, opened, begun, project)
                if found >= least:
                    return found
            shown = words or (
                f"next run in {left / 60:.0f} min at the earliest"
                if left > 0
                else f"{found} of {least} new corrections"
            )
            progress(Progress(found, least, shown))
            await asyncio.sleep(min(poll_s, left) if left > 0 else poll_s)


def new_corrections(store: Store, since: float, project: int | None = None) -> int:
    """How many corrections came after `since` (UNIX seconds) that a model can learn from and that change the meaning.

    Texts that were added where nothing was suggested count; holdout never does.
    """
    query = (
        select(OutcomeRow)
        .join(ImageRow, ImageRow.hash == OutcomeRow.image_hash)
        .where(ImageRow.arm.in_(list(LEARNT_FROM)), OutcomeRow.outcome.in_(("edited", "added")))
    )
    if project is not None:
        query = query.where(OutcomeRow.project == project)
    with store.read() as session:
        return sum(
            row.updated_at.timestamp() > since and _meant(row) for row in session.scalars(query)
        )


def _meant(row: OutcomeRow) -> bool:
    if row.outcome == "added":
        return True
    before, after = ([str(value) for value in part] for part in (row.suggested, row.final))
    return values_meaning_changed(before, after, closed=bool(row.options))


async def _collected(settings: Settings, project: int | None, store: Store) -> str:
    """Collect what is new; what went wrong, in one line."""
    words = ""
    for number in [project] if project is not None else project_numbers(store):
        try:
            await collect(settings, number, store=store)
        except BackendError as error:
            words = str(error)
    return words


async def keep_finetuning(
    settings: Settings,
    project: int | None,
    progress: Notify,
    *,
    options: FinetuneOptions,
    every_s: float | None,
    after: int | None,
    told: Callable[[FinetuneReport | BackendError], None],
) -> None:
    """Run after run, each when it is due, until the process is stopped; `told(report or error)` after each.

    A run that was interrupted, or that failed because a server was away, is gone on with at once; one that there was
    too little for, or that failed, is not begun again before there are more corrections.
    """
    beyond = 0
    while True:
        left = await asyncio.to_thread(durable.unfinished_runs, settings.database_url)
        count = 0
        if not left:
            count = await next_round(
                settings, project, progress, every_s=every_s, after=after, beyond=beyond
            )
        try:
            told(await finetune(settings, project, progress, options=options))
            beyond = 0
        except (ModelUnavailable, LabelStudioAway) as error:
            told(error)
            await asyncio.sleep(_POLL_S)
        except BackendError as error:
            told(error)
            beyond = count
