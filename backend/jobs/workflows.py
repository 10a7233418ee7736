"""What is asked of DBOS for the jobs, one small function each; all but `step` block.

Names and what is kept are DBOS's; the job's words for them are `backend.jobs.durable`'s. Knows no work.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy import inspect, text

from backend.errors import ModelUnavailable
from backend.jobs.errors import JobError, LabelStudioAway
from backend.jobs.info import State
from backend.jobs.prelabel import Options
from backend.store import Store

if TYPE_CHECKING:
    from dbos import WorkflowStatus

__all__ = [
    "ASKED",
    "NAME",
    "RETRY",
    "cancel",
    "covering",
    "destroy",
    "enqueue",
    "from_steps",
    "given_to",
    "has_unfinished",
    "launch",
    "resume",
    "state_of",
    "step",
]

# DBOS takes up again only what the same version began. Raise it when the steps of the workflow change.
_VERSION = "regiontext-prelabel-1"
NAME, _QUEUE = "prelabel", "regiontext-prelabel"
ASKED = "asked"
"""Attribute of a workflow: the state that somebody asked for. DBOS itself does not cancel what has failed."""
_POLL_S = 0.5
# A model server or Label Studio that restarts is waited for: 5 s, 10 s, … 10 minutes in all.
_MAY_PASS = (LabelStudioAway, ModelUnavailable, JobError)
RETRY: Mapping[str, Any] = {
    "retries_allowed": True,
    "interval_seconds": 5.0,
    "backoff_rate": 2.0,
    "max_attempts": 8,
    "should_retry": lambda error: isinstance(error, _MAY_PASS),
    "preemptible": True,
}

# DBOS is one per process.
_alone = threading.Lock()


def launch(database_url: str, work: Callable[[dict[str, Any]], Coroutine[Any, Any, Any]]) -> Any:
    """Begin to work off the jobs of a database with `work`, those that were left unfinished first; the workflow.

    Raises JobError if this process does so for another database, or the database takes no jobs.
    """
    from dbos import DBOS

    if not _alone.acquire(blocking=False):
        raise JobError("this process works off the jobs of another database already")
    # Its handlers of an earlier time write to the standard error of that time, which may be closed; it makes new ones.
    logging.getLogger("dbos").handlers.clear()
    try:
        DBOS(
            config={
                "name": "regiontext",
                "application_version": _VERSION,
                "executor_id": "regiontext",
                "system_database_url": database_url,
                "use_listen_notify": False,
                "enable_otlp": False,
                # What goes wrong with a job is logged by the job, in one line.
                "log_level": "CRITICAL",
            }
        )
        workflow = DBOS.workflow(name=NAME, max_recovery_attempts=None)(work)
        DBOS.launch()
        DBOS.register_queue(_QUEUE, worker_concurrency=1, polling_interval_sec=_POLL_S)
    except Exception as error:
        destroy()
        raise JobError(f"jobs cannot be kept in the database: {error}") from error
    return workflow


async def step(
    name: str, work: Callable[..., Coroutine[Any, Any, dict[str, Any]]], *given: Any
) -> dict[str, Any]:
    """Do a step of the running workflow, or look up what it gave; what it raised in the end."""
    from dbos import DBOS
    from dbos import error as faults

    options: Any = {"name": name, **RETRY}
    try:
        found = await DBOS.run_step_async(options, work, *given)
    except faults.DBOSMaxStepRetriesExceeded as error:
        raise error.errors[-1] from None
    return found


def state_of(status: WorkflowStatus) -> State:
    """The state of a job, in its own words."""
    asked = (status.attributes or {}).get(ASKED)
    if status.status == "CANCELLED":
        return "paused" if asked == "paused" else "cancelled"
    if status.status in ("ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"):
        return "cancelled" if asked == "cancelled" else "failed"
    known: dict[str, State] = {"SUCCESS": "done", "PENDING": "running"}
    return known.get(status.status, "queued")


def from_steps(id: str) -> tuple[int | None, dict[str, int], list[str]]:
    """(total, tasks by how they ended, problems) of a job that does not run here, from what its steps left."""
    from dbos import DBOS

    total: int | None = None
    counts: Counter[str] = Counter()
    problems: list[str] = []
    for row in DBOS.list_workflow_steps(id):
        output = row["output"]
        if row["function_name"] == "plan" and output is not None:
            total = output["total"]
        if row["function_name"] == "page" and output is not None:
            counts.update(output["counts"])
            problems += output["problems"]
        if row["function_name"] == "again" and output is not None:
            counts["failed"] -= output["retried"]
            counts.update(output["counts"])
            problems = output["problems"]
    return total, {state: number for state, number in counts.items() if number}, problems


def covering(options: Options) -> str | None:
    """The job that is to do, or does, all these tasks anyway."""
    from dbos import DBOS

    for status in DBOS.list_workflows(name=NAME, status=["ENQUEUED", "PENDING"]):
        given = given_to(status)
        if given.get("project") != options.project:
            continue
        others = given.get("tasks")
        if others is None or (options.tasks is not None and set(options.tasks) <= set(others)):
            return str(status.workflow_id)
    return None


def enqueue(workflow: Any, id: str, options: Options) -> None:
    """Put a job into the queue."""
    from dbos import DBOS, SetWorkflowID

    with SetWorkflowID(id):
        DBOS.enqueue_workflow(_QUEUE, workflow, options.to_dict())


def given_to(status: WorkflowStatus) -> dict[str, Any]:
    """What was asked of a job."""
    return dict(status.input["args"][0]) if status.input and status.input["args"] else {}


def cancel(id: str, asked: State) -> None:
    """Stop a job; `asked` is what it is then: paused or cancelled."""
    from dbos import DBOS

    DBOS.update_workflow_attributes(id, {ASKED: asked})
    DBOS.cancel_workflow(id)


def resume(id: str, *, failed: bool) -> None:
    """Queue a job again, to go on after the last step that it did."""
    from dbos import DBOS

    DBOS.update_workflow_attributes(id, {ASKED: "running"})
    if not failed:
        DBOS.resume_workflow(id, queue_name=_QUEUE)
        return
    # The step that failed is on record with its error; it is forgotten, and done again.
    steps = DBOS.list_workflow_steps(id)
    broken = [row["function_id"] for row in steps if row["error"] is not None]
    DBOS.rewind_workflow(id, start_step=min(broken, default=len(steps) + 1), queue_name=_QUEUE)


def destroy() -> None:
    """Stop DBOS; what it works on stays unfinished, for the next process."""
    from dbos import DBOS

    with suppress(Exception):
        DBOS.destroy(destroy_registry=True)
    _alone.release()


def has_unfinished(store: Store) -> bool:
    """Whether a database holds jobs that are to be worked off; asks the database only."""
    schema = "dbos" if store.engine.dialect.name == "postgresql" else None
    if not inspect(store.engine).has_table("workflow_status", schema=schema):
        return False
    table = f"{schema}.workflow_status" if schema else "workflow_status"
    query = text(f"SELECT 1 FROM {table} WHERE status IN ('PENDING', 'ENQUEUED') LIMIT 1")
    with store.read() as session:
        return session.execute(query).first() is not None
