"""Jobs that outlive the process: started over HTTP, watched, paused, resumed, and taken up again after kill -9.

DBOS keeps, in the store's own database, that a job exists, what was asked of it, and one row per page of tasks that is
done; a job that was killed goes on at the page it was in. It decides nothing about a task: whether a task is done is
for Label Studio to say (docs/decisions/0006). Nothing of DBOS starts before there is a job. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from backend.errors import BackendError
from backend.jobs import finetune_durable, finetune_listing, workflows
from backend.jobs.errors import JobError, NoSuchJob
from backend.jobs.info import JobInfo, State
from backend.jobs.prelabel import Options, Prelabelled
from backend.jobs.running import Running
from backend.settings import Settings
from backend.store import Store

if TYPE_CHECKING:
    from dbos import WorkflowStatus

__all__ = ["JobInfo", "Jobs"]

_log = logging.getLogger(__name__)


class Jobs:
    """The jobs of one database, worked off in this process, one at a time. One per process."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._launching = asyncio.Lock()
        self._queueing = asyncio.Lock()
        self._workflow: Any = None
        self._live: dict[str, Running] = {}

    async def recover(self) -> None:
        """Take up the jobs that a process before this one left unfinished; cheap if there are none."""
        try:
            if await asyncio.to_thread(workflows.has_unfinished, self._store):
                await self._launch()
        except (BackendError, SQLAlchemyError) as error:
            _log.error("jobs that were left unfinished cannot be taken up: %s", error)

    async def close(self) -> None:
        """Stop working; what is unfinished is taken up by the next process."""
        if self._workflow is not None:
            self._workflow = None
            await asyncio.to_thread(workflows.destroy)

    async def prelabel(self, options: Options) -> JobInfo:
        """Queue a pre-labelling; instead the one that is queued or running already, if that has all its tasks."""
        workflow = await self._launch()
        async with self._queueing:
            id = await asyncio.to_thread(workflows.covering, options)
            if id is None:
                id = f"p{options.project}-{secrets.token_hex(4)}"
                await asyncio.to_thread(workflows.enqueue, workflow, id, options)
        return await self.get(id)

    async def hand_over(self, project: int, tasks: Sequence[int]) -> None:
        """Queue what Label Studio asked for in one call; what annotators submitted counts, as in that call."""
        job = await self.prelabel(Options(project, include_annotated=True, tasks=tuple(tasks)))
        _log.info("job %s", job.id, extra={"project": project})

    async def listing(self) -> list[JobInfo]:
        """The latest jobs, newest first."""
        await self._launch()
        return await asyncio.to_thread(self._infos, None)

    async def get(self, id: str) -> JobInfo:
        """One job. Raises NoSuchJob."""
        await self._launch()
        found = await asyncio.to_thread(self._infos, id)
        if not found:
            raise NoSuchJob(f"there is no job {id!r}; `regiontext jobs` lists them")
        return found[0]

    async def pause(self, id: str) -> JobInfo:
        """Stop a job within a second or so, for `resume`. Raises NoSuchJob, or JobError if it has ended or cannot."""
        _refuse_finetuning(await self.get(id), "end its command; the next one goes on with it")
        return await self._stop(id, "paused", ("queued", "running"))

    async def cancel(self, id: str) -> JobInfo:
        """Stop a job for good; what it made stays. Raises NoSuchJob, or JobError if it has ended."""
        return await self._stop(id, "cancelled", ("queued", "running", "paused", "failed"))

    async def resume(self, id: str) -> JobInfo:
        """Go on with a job that is paused, or that failed, where it was.

        Raises NoSuchJob, or JobError if it is neither.
        """
        job = await self.get(id)
        if job.state not in ("paused", "failed"):
            raise JobError(f"job {id} is {job.state}: only a paused or failed one can be resumed")
        _refuse_finetuning(job, "`regiontext finetune` goes on with it")
        await asyncio.to_thread(workflows.resume, id, failed=job.state == "failed")
        return await self.get(id)

    async def _stop(self, id: str, asked: State, allowed: tuple[State, ...]) -> JobInfo:
        job = await self.get(id)
        if job.state not in allowed:
            raise JobError(f"job {id} is {job.state} and cannot be {asked}")
        await asyncio.to_thread(workflows.cancel, id, asked)
        return await self.get(id)

    async def _launch(self) -> Any:
        async with self._launching:
            if self._workflow is None:
                self._workflow = await asyncio.to_thread(self._launch_here)
            return self._workflow

    def _launch_here(self) -> Any:
        async def work(given: dict[str, Any]) -> dict[str, Any]:
            return await self._work(given)

        return workflows.launch(self._settings.database_url, work)

    async def _work(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The workflow: every `await step` is looked up instead of done if it was done before."""
        from dbos import DBOS

        options = Options.from_dict(given)
        summary = Prelabelled(options.project)
        running = Running(self._settings, self._store, options)
        id = str(DBOS.workflow_id)
        self._live[id] = running
        try:
            plan = await workflows.step("plan", running.plan)
            running.total, after, failed = plan["total"], 0, []
            while True:
                page = await workflows.step("page", running.page, after)
                if page["last"] is None:
                    break
                after = int(page["last"])
                running.passed(page)
                summary.add(page["counts"], page["problems"], page["stored"])
                summary.removed += page["removed"]
                failed += page["failed"]
            if failed:
                again = await workflows.step("again", running.again, failed)
                summary.tasks -= again["retried"]
                summary.failed -= again["retried"]
                summary.errors.clear()
                summary.add(again["counts"], again["problems"], again["stored"])
            shown = await workflows.step("show", running.show, summary)
            return asdict(replace(summary, **shown, errors=summary.errors[-20:]))
        except BackendError as error:
            _log.error("job %s failed: %s", id, error, extra={"project": options.project})
            raise
        finally:
            await running.close()
            if self._live.get(id) is running:
                del self._live[id]

    def _infos(self, id: str | None) -> list[JobInfo]:
        from dbos import DBOS

        chosen = None if id is None else [id]
        found = DBOS.list_workflows(
            name=[workflows.NAME, finetune_durable.NAME],
            workflow_ids=chosen,
            sort_desc=True,
            limit=50,
        )
        return [
            finetune_listing.told(status, self._settings.data_dir)
            if finetune_listing.is_finetuning(status)
            else self._info(status)
            for status in found
        ]

    def _info(self, status: WorkflowStatus) -> JobInfo:
        state = workflows.state_of(status)
        given = workflows.given_to(status)
        live = self._live.get(status.workflow_id) if state == "running" else None
        if live is not None:
            total, counts, problems = live.total, dict(live.counts), live.problems
        else:
            total, counts, problems = workflows.from_steps(status.workflow_id)
        eta = live.eta_s if live is not None else None
        return JobInfo(
            id=status.workflow_id,
            project=int(given.get("project", 0)),
            state=state,
            done=sum(counts.values()),
            total=total,
            failed=counts.get("failed", 0),
            eta_s=0.0 if state == "done" else eta,
            created=(status.created_at or 0) / 1000,
            started=status.dequeued_at / 1000 if status.dequeued_at else None,
            finished=status.completed_at / 1000 if status.completed_at else None,
            error=" ".join(str(status.error).split()) if status.error is not None else None,
            counts=dict(counts),
            problems=tuple(problems)[-20:],
            kind=workflows.NAME,
        )


def _refuse_finetuning(job: JobInfo, instead: str) -> None:
    if job.kind == finetune_durable.NAME:
        raise JobError(f"job {job.id} is a fine-tuning run: {instead}")
