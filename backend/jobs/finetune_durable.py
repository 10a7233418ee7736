"""What is asked of DBOS for fine-tuning: one workflow at a time, which a later process goes on with after a kill.

It has an application version and an executor of its own, so that the bulk jobs of the backend's process and this one
never take up each other's work. Knows nothing of the steps.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from backend.errors import ModelUnavailable
from backend.jobs.errors import JobError, LabelStudioAway
from backend.jobs.workflows import ASKED

if TYPE_CHECKING:
    from dbos import DBOSClient, WorkflowStatus

__all__ = [
    "NAME",
    "Interrupted",
    "cancel_unfinished",
    "job_id",
    "step",
    "unfinished_runs",
    "working",
]

NAME = "finetune"
_VERSION = "regiontext-finetune-2"
_EXECUTOR = "regiontext-finetune"

# What may pass is worth going on from: what was trained is not trained again.
_MAY_PASS = (LabelStudioAway, ModelUnavailable)
_GOING_ON = ("PENDING", "ENQUEUED")

Work = Callable[[dict[str, Any]], Coroutine[Any, Any, Any]]


class Interrupted(JobError):
    """The run was cancelled by somebody else."""


@asynccontextmanager
async def working(database_url: str, work: Work) -> AsyncIterator[_Line]:
    """DBOS with the fine-tuning workflow, for the block. Raises JobError where the database takes no jobs."""
    from dbos import DBOS

    # Its handlers of an earlier time write to the standard error of that time, which may be closed; it makes new ones.
    logging.getLogger("dbos").handlers.clear()
    try:
        DBOS(
            config={
                "name": "regiontext",
                "application_version": _VERSION,
                "executor_id": _EXECUTOR,
                "system_database_url": database_url,
                "use_listen_notify": False,
                "enable_otlp": False,
                # What goes wrong is said by the command, in one line.
                "log_level": "CRITICAL",
            }
        )
        workflow = DBOS.workflow(name=NAME, max_recovery_attempts=None)(work)
        await asyncio.to_thread(DBOS.launch)
    except Exception as error:
        with suppress(Exception):
            DBOS.destroy(destroy_registry=True)
        raise JobError(f"the run cannot be kept in the database: {error}") from error
    try:
        yield _Line(workflow)
    finally:
        with suppress(Exception):
            await asyncio.to_thread(DBOS.destroy, destroy_registry=True)


class _Line:
    """The runs of one database, one after the other."""

    def __init__(self, workflow: Any) -> None:
        self._workflow = workflow

    def unfinished(self) -> str | None:
        """The run that was killed, or that failed of what may pass; None if there is none."""
        from dbos import DBOS

        found = DBOS.list_workflows(
            name=NAME, app_version=_VERSION, sort_desc=True, limit=1, load_input=False
        )
        for status in found:
            if status.status in _GOING_ON or _may_pass(status):
                return str(status.workflow_id)
        return None

    async def go_on(self, id: str) -> Any:
        """Wait for an unfinished run, which DBOS took up when it was launched; what it gives, or raises."""
        from dbos import DBOS

        status = await asyncio.to_thread(DBOS.get_workflow_status, id)
        if status is not None and status.status == "ERROR":
            # The step that failed is on record with its error; it is forgotten, and done again.
            steps = await asyncio.to_thread(DBOS.list_workflow_steps, id)
            broken = [row["function_id"] for row in steps if row["error"] is not None]
            first = min(broken, default=len(steps) + 1)
            await asyncio.to_thread(lambda: DBOS.rewind_workflow(id, start_step=first))
        handle: Any = await DBOS.retrieve_workflow_async(id)
        return await _result(handle)

    async def start(self, given: Mapping[str, Any]) -> Any:
        """A new run, to its end; what it gives, or raises."""
        from dbos import DBOS, SetWorkflowID

        with SetWorkflowID(f"f-{secrets.token_hex(4)}"):
            handle = await DBOS.start_workflow_async(self._workflow, dict(given))
        return await _result(handle)


async def _result(handle: Any) -> Any:
    from dbos import error as faults

    try:
        return await handle.get_result()
    except (faults.DBOSWorkflowCancelledError, faults.DBOSAwaitedWorkflowCancelledError) as error:
        raise Interrupted(
            "the run was cancelled; what it made so far stays in its folder"
        ) from error


def job_id() -> str:
    """The id of the run that is being worked on."""
    from dbos import DBOS

    return str(DBOS.workflow_id)


async def step(name: str, work: Callable[..., Coroutine[Any, Any, Any]], *given: Any) -> Any:
    """Do a step of the run, or look up what it gave; it ends when the run is cancelled."""
    from dbos import DBOS

    options: Any = {"name": name, "retries_allowed": False, "preemptible": True}
    return await DBOS.run_step_async(options, work, *given)


def unfinished_runs(database_url: str) -> list[str]:
    """The runs that are going on, were killed, or failed of what may pass; their ids. Starts nothing."""
    with _client(database_url) as client:
        return _unfinished(client)


def cancel_unfinished(database_url: str) -> list[str]:
    """Cancel every run that is not done, wherever it is worked on, which ends within seconds; their ids."""
    with _client(database_url) as client:
        ids = _unfinished(client)
        for id in ids:
            client.update_workflow_attributes(id, {ASKED: "cancelled"})
            client.cancel_workflow(id)
        return ids


@contextmanager
def _client(database_url: str) -> Iterator[DBOSClient]:
    from dbos import DBOSClient

    client = DBOSClient(system_database_url=database_url, lazy=True)
    try:
        yield client
    finally:
        client.destroy()


def _unfinished(client: DBOSClient) -> list[str]:
    try:
        # What failed counts only while nothing came after it.
        found = client.list_workflows(name=NAME, app_version=_VERSION, sort_desc=True, limit=20)
    except Exception:  # No table yet: nothing ever ran.
        return []
    return [
        str(status.workflow_id)
        for place, status in enumerate(found)
        if status.status in _GOING_ON or (place == 0 and _may_pass(status))
    ]


def _may_pass(status: WorkflowStatus) -> bool:
    cancelled = (status.attributes or {}).get(ASKED) == "cancelled"
    return status.status == "ERROR" and isinstance(status.error, _MAY_PASS) and not cancelled
