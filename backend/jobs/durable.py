"""Jobs that outlive the process: started over HTTP, watched, paused, resumed, and taken up again after kill -9.

DBOS keeps, in the store's own database, that a job exists, what was asked of it, and one row per page of tasks that is
done; a job that was killed goes on at the page it was in. It decides nothing about a task: whether a task is done is
for Label Studio to say (docs/decisions/0006). Nothing of DBOS starts before there is a job. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import inspect, text
from sqlalchemy.exc import SQLAlchemyError

from backend.errors import BackendError, ModelUnavailable
from backend.jobs.errors import JobError, LabelStudioAway, NoSuchJob
from backend.jobs.prelabel import Options, Prelabelled
from backend.jobs.running import Running
from backend.settings import Settings
from backend.store import Store

if TYPE_CHECKING:
    from dbos import WorkflowStatus

__all__ = ["JobInfo", "Jobs", "State"]

_log = logging.getLogger(__name__)

State = Literal["queued", "running", "paused", "cancelled", "done", "failed"]

# DBOS takes up again only what the same version began. Raise it when the steps of `_work` change.
_VERSION = "regiontext-prelabel-1"
_NAME, _QUEUE = "prelabel", "regiontext-prelabel"
_ASKED = "asked"
_POLL_S = 0.5
# A model server or Label Studio that restarts is waited for: 5 s, 10 s, … 10 minutes in all.
_MAY_PASS = (LabelStudioAway, ModelUnavailable, JobError)
_RETRY: Mapping[str, Any] = {
    "retries_allowed": True,
    "interval_seconds": 5.0,
    "backoff_rate": 2.0,
    "max_attempts": 8,
    "should_retry": lambda error: isinstance(error, _MAY_PASS),
    "preemptible": True,
}
# DBOS is one per process.
_alone = threading.Lock()


@dataclass(frozen=True)
class JobInfo:
    """Where a job is, in tasks. total: None until it has started. eta_s: seconds left, None if unknown.

    counts: tasks by how they ended. problems: the last ones, one line each. error: why it failed. times: UNIX seconds.
    """

    id: str
    project: int
    state: State
    done: int
    total: int | None
    failed: int
    eta_s: float | None
    created: float
    started: float | None
    finished: float | None
    error: str | None
    counts: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    kind: str = _NAME

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self) | {"problems": list(self.problems)}


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
            if await asyncio.to_thread(_has_unfinished, self._store):
                await self._launch()
        except (BackendError, SQLAlchemyError) as error:
            _log.error("jobs that were left unfinished cannot be taken up: %s", error)

    async def close(self) -> None:
        """Stop working; what is unfinished is taken up by the next process."""
        if self._workflow is not None:
            self._workflow = None
            await asyncio.to_thread(_destroy)

    async def prelabel(self, options: Options) -> JobInfo:
        """Queue a pre-labelling; instead the one that is queued or running already, if that has all its tasks."""
        workflow = await self._launch()
        async with self._queueing:
            id = await asyncio.to_thread(_covering, options)
            if id is None:
                id = f"p{options.project}-{secrets.token_hex(4)}"
                await asyncio.to_thread(_enqueue, workflow, id, options)
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
        """Stop a job within a second or so, for `resume`. Raises NoSuchJob, or JobError if it has ended."""
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
        await asyncio.to_thread(_resume, id, failed=job.state == "failed")
        return await self.get(id)

    async def _stop(self, id: str, asked: State, allowed: tuple[State, ...]) -> JobInfo:
        job = await self.get(id)
        if job.state not in allowed:
            raise JobError(f"job {id} is {job.state} and cannot be {asked}")
        await asyncio.to_thread(_cancel, id, asked)
        return await self.get(id)

    async def _launch(self) -> Any:
        async with self._launching:
            if self._workflow is None:
                self._workflow = await asyncio.to_thread(self._launch_here)
            return self._workflow

    def _launch_here(self) -> Any:
        from dbos import DBOS

        if not _alone.acquire(blocking=False):
            raise JobError("this process works off the jobs of another database already")
        try:
            DBOS(
                config={
                    "name": "regiontext",
                    "application_version": _VERSION,
                    "executor_id": "regiontext",
                    "system_database_url": self._settings.database_url,
                    "use_listen_notify": False,
                    "enable_otlp": False,
                    # What goes wrong with a job is logged here, in one line.
                    "log_level": "CRITICAL",
                }
            )

            @DBOS.workflow(name=_NAME, max_recovery_attempts=None)
            async def work(given: dict[str, Any]) -> dict[str, Any]:
                return await self._work(given)

            DBOS.launch()
            DBOS.register_queue(_QUEUE, worker_concurrency=1, polling_interval_sec=_POLL_S)
        except Exception as error:
            _destroy()
            raise JobError(f"jobs cannot be kept in the database: {error}") from error
        return work

    async def _work(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The workflow: every `await step` is looked up instead of done if it was done before."""
        from dbos import DBOS

        options = Options.from_dict(given)
        summary = Prelabelled(options.project)
        running = Running(self._settings, self._store, options)
        id = str(DBOS.workflow_id)
        self._live[id] = running
        try:
            plan = await _step("plan", running.plan)
            running.total, after, failed = plan["total"], 0, []
            while True:
                page = await _step("page", running.page, after)
                if page["last"] is None:
                    break
                after = int(page["last"])
                running.passed(page)
                summary.add(page["counts"], page["problems"], page["stored"])
                summary.removed += page["removed"]
                failed += page["failed"]
            if failed:
                again = await _step("again", running.again, failed)
                summary.tasks -= again["retried"]
                summary.failed -= again["retried"]
                summary.errors.clear()
                summary.add(again["counts"], again["problems"], again["stored"])
            shown = await _step("show", running.show, summary)
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
        found = DBOS.list_workflows(name=_NAME, workflow_ids=chosen, sort_desc=True, limit=50)
        return [self._info(status) for status in found]

    def _info(self, status: WorkflowStatus) -> JobInfo:
        state = _state(status)
        given = _given(status)
        live = self._live.get(status.workflow_id) if state == "running" else None
        if live is not None:
            total, counts, problems = live.total, dict(live.counts), live.problems
        else:
            total, counts, problems = _from_steps(status.workflow_id)
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
        )


async def _step(
    name: str, work: Callable[..., Coroutine[Any, Any, dict[str, Any]]], *given: Any
) -> dict[str, Any]:
    """Do a step of the running workflow, or look up what it gave; what it raised in the end."""
    from dbos import DBOS
    from dbos import error as faults

    options: Any = {"name": name, **_RETRY}
    try:
        found = await DBOS.run_step_async(options, work, *given)
    except faults.DBOSMaxStepRetriesExceeded as error:
        raise error.errors[-1] from None
    return found


def _state(status: WorkflowStatus) -> State:
    asked = (status.attributes or {}).get(_ASKED)
    if status.status == "CANCELLED":
        return "paused" if asked == "paused" else "cancelled"
    if status.status in ("ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"):
        return "cancelled" if asked == "cancelled" else "failed"
    known: dict[str, State] = {"SUCCESS": "done", "PENDING": "running"}
    return known.get(status.status, "queued")


def _from_steps(id: str) -> tuple[int | None, dict[str, int], list[str]]:
    """(total, tasks by how they ended, problems) of a job that does not run here, from what its steps left."""
    from dbos import DBOS

    total: int | None = None
    counts: Counter[str] = Counter()
    problems: list[str] = []
    for step in DBOS.list_workflow_steps(id):
        output = step["output"]
        if step["function_name"] == "plan" and output is not None:
            total = output["total"]
        if step["function_name"] == "page" and output is not None:
            counts.update(output["counts"])
            problems += output["problems"]
        if step["function_name"] == "again" and output is not None:
            counts["failed"] -= output["retried"]
            counts.update(output["counts"])
            problems = output["problems"]
    return total, {state: number for state, number in counts.items() if number}, problems


def _covering(options: Options) -> str | None:
    """The job that is to do, or does, all these tasks anyway."""
    from dbos import DBOS

    for status in DBOS.list_workflows(name=_NAME, status=["ENQUEUED", "PENDING"]):
        given = _given(status)
        if given.get("project") != options.project:
            continue
        others = given.get("tasks")
        if others is None or (options.tasks is not None and set(options.tasks) <= set(others)):
            return str(status.workflow_id)
    return None


def _enqueue(workflow: Any, id: str, options: Options) -> None:
    from dbos import DBOS, SetWorkflowID

    with SetWorkflowID(id):
        DBOS.enqueue_workflow(_QUEUE, workflow, options.to_dict())


def _given(status: WorkflowStatus) -> dict[str, Any]:
    """What was asked of a job."""
    return dict(status.input["args"][0]) if status.input and status.input["args"] else {}


def _cancel(id: str, asked: State) -> None:
    from dbos import DBOS

    DBOS.update_workflow_attributes(id, {_ASKED: asked})
    DBOS.cancel_workflow(id)


def _resume(id: str, *, failed: bool) -> None:
    from dbos import DBOS

    DBOS.update_workflow_attributes(id, {_ASKED: "running"})
    if not failed:
        DBOS.resume_workflow(id, queue_name=_QUEUE)
        return
    # The step that failed is on record with its error; it is forgotten, and done again.
    steps = DBOS.list_workflow_steps(id)
    broken = [step["function_id"] for step in steps if step["error"] is not None]
    DBOS.rewind_workflow(id, start_step=min(broken, default=len(steps) + 1), queue_name=_QUEUE)


def _destroy() -> None:
    from dbos import DBOS

    with suppress(Exception):
        DBOS.destroy(destroy_registry=True)
    _alone.release()


def _has_unfinished(store: Store) -> bool:
    schema = "dbos" if store.engine.dialect.name == "postgresql" else None
    if not inspect(store.engine).has_table("workflow_status", schema=schema):
        return False
    table = f"{schema}.workflow_status" if schema else "workflow_status"
    query = text(f"SELECT 1 FROM {table} WHERE status IN ('PENDING', 'ENQUEUED') LIMIT 1")
    with store.read() as session:
        return session.execute(query).first() is not None
