"""Fine-tuning runs as the list of jobs tells them: what DBOS and the run's folder have of them.

A run belongs to the process that called for it. One that was killed waits for the next call, so it counts as paused.
Knows nothing of how a run goes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.jobs import workflows
from backend.jobs.finetune_durable import NAME
from backend.jobs.finetune_opening import opened_by
from backend.jobs.finetune_steps import PROGRESS_NAME
from backend.jobs.info import JobInfo, State
from backend.jobs.lock import is_held

if TYPE_CHECKING:
    from dbos import WorkflowStatus

__all__ = ["is_finetuning", "told"]


def is_finetuning(status: WorkflowStatus) -> bool:
    """Whether a workflow is a fine-tuning run."""
    return bool(status.name == NAME)


def told(status: WorkflowStatus, data_dir: Path) -> JobInfo:
    """The run of a workflow, whose folder is in `data_dir`; blocks."""
    state: State = workflows.state_of(status)
    going_on = state in ("queued", "running")
    if going_on:
        state = "running" if is_held(data_dir / "locks", NAME) else "paused"
    said = _progress(data_dir, status.workflow_id) if going_on else {}
    done, total = int(said.get("step", 0)), said.get("of")
    return JobInfo(
        id=status.workflow_id,
        project=workflows.given_to(status).get("project"),
        state=state,
        done=done,
        total=total,
        failed=0,
        eta_s=0.0 if state == "done" else said.get("eta_s") if state == "running" else None,
        created=(status.created_at or 0) / 1000,
        started=(status.created_at or 0) / 1000,
        finished=status.completed_at / 1000 if status.completed_at else None,
        error=" ".join(str(status.error).split()) if status.error is not None else None,
        kind=NAME,
        doing=f"training on {said['phase']}, loss {said['loss']:.3f}" if said else "",
    )


def _progress(data_dir: Path, id: str) -> dict[str, Any]:
    """What the trainer said last; empty before and after it."""
    run_dir = opened_by(id, data_dir)
    if run_dir is None:
        return {}
    try:
        found: dict[str, Any] = json.loads((run_dir / PROGRESS_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found
