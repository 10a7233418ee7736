"""What a fine-tuning run opens with: where the base model is, which records it takes, and a folder of its own.

Knows the store, the disk and what the model server announces; knows nothing of training or judging.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import select

from backend.jobs.agreement import one_per_thing, standing_in
from backend.jobs.errors import JobError
from backend.jobs.records import HELD_OUT, LEARNT_FROM, load_records
from backend.jobs.runs import begin_run
from backend.model_client import ModelClient
from backend.store import ModelVersionRow, Store
from regiontext.records.record import Record

__all__ = ["opened_by", "records_of", "root_of", "run_folder"]

_JOB_NAME = "job.json"


async def root_of(client: ModelClient, base: str) -> str:
    """The folder or hub id of the base model, as its server announces it. Raises JobError if it does not."""
    for model in await client.models():
        if model["id"] == base:
            root = str(model.get("root") or "")
            if root.startswith(("/", ".")) and not Path(root).is_dir():
                raise JobError(
                    f"the model server has its model in {root}, which is not a folder on this machine; "
                    "fine-tuning runs where the model's folder is"
                )
            if root:
                return root
    raise JobError(
        f"the model server does not say where the base model {base!r} is "
        "(no root in GET /v1/models)"
    )


def records_of(
    store: Store, project: int | None, projects: Sequence[int]
) -> tuple[list[Record], list[Record]]:
    """What may be learnt from, and what was held out, of `project` (all, if None) as far as it is among `projects`."""
    stands = standing_in(store, project)
    learnt_from, held_out = (
        [
            r
            for r in one_per_thing(load_records(store, project, arms=arms), stands)
            if r.project in projects
        ]
        for arms in (LEARNT_FROM, HELD_OUT)
    )
    return learnt_from, held_out


def run_folder(store: Store, data_dir: Path, job: str) -> Path:
    """The folder that the job of this id opened before it was killed, or else a new one."""
    found = opened_by(job, data_dir)
    if found is not None:
        return found
    with store.read() as session:
        taken = list(session.scalars(select(ModelVersionRow.name)))
    run_dir = begin_run(data_dir, taken)
    (run_dir / _JOB_NAME).write_text(json.dumps({"id": job}), encoding="utf-8")
    return run_dir


def opened_by(job: str, data_dir: Path) -> Path | None:
    """The folder of the run that the job of this id opened; None if there is none."""
    for path in (data_dir / "runs").glob(f"*/{_JOB_NAME}"):
        try:
            if json.loads(path.read_text(encoding="utf-8"))["id"] == job:
                return path.parent
        except (OSError, ValueError, KeyError):
            continue
    return None
