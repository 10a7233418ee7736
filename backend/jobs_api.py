"""The routes for bulk work: /jobs lists it, starts it, tells how far it is, pauses, resumes and cancels it.

Behind the basic auth where it is set, as /metrics is. Knows nothing of what a job does.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backend.errors import BackendError
from backend.jobs.durable import Jobs
from backend.jobs.errors import JobError, NoSuchJob
from backend.jobs.info import JobInfo
from backend.jobs.prelabel import Options

__all__ = ["router"]

router = APIRouter(prefix="/jobs")

_MOST_TASKS = 100_000


class _Prelabel(BaseModel):
    """The body of POST /jobs/prelabel."""

    model_config = ConfigDict(extra="forbid", strict=True)

    project: Annotated[int, Field(ge=1)]
    include_annotated: bool = False
    concurrency: Annotated[int, Field(ge=1, le=64)] = 4
    random_share: Annotated[float, Field(ge=0, le=1, strict=False)] = 0.2
    tasks: Annotated[list[int], Field(min_length=1, max_length=_MOST_TASKS)] | None = None


@router.get("")
async def listing(request: Request) -> JSONResponse:
    """The latest jobs, newest first."""
    try:
        return JSONResponse({"jobs": [job.to_dict() for job in await _jobs(request).listing()]})
    except BackendError as error:
        return _refused(error)


@router.post("/prelabel")
async def prelabel(request: Request) -> JSONResponse:
    """Start filling the regions of a project: 202 and the job, also if it was started before and has not ended."""
    # What is no JSON by its own word may come from a page of another site, without the browser asking first.
    if request.headers.get("Content-Type", "").partition(";")[0].strip() != "application/json":
        return JSONResponse({"detail": "send a JSON object as application/json"}, 415)
    try:
        asked = _Prelabel.model_validate_json(await request.body())
    except ValidationError as error:
        words = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        return JSONResponse({"detail": words}, 422)
    given = asked.model_dump()
    tasks = tuple(given.pop("tasks") or ()) or None
    try:
        job = await _jobs(request).prelabel(Options(**given, tasks=tasks))
    except BackendError as error:
        return _refused(error)
    return JSONResponse(job.to_dict(), 202)


@router.get("/{id}")
async def one(request: Request, id: str) -> JSONResponse:
    """How far a job is: state, done, total, failed, eta_s, …; 404 if there is none of this id."""
    return await _answered(_jobs(request).get(id))


@router.post("/{id}/pause")
async def pause(request: Request, id: str) -> JSONResponse:
    """Stop a job for a while; 409 if it has ended."""
    return await _answered(_jobs(request).pause(id))


@router.post("/{id}/resume")
async def resume(request: Request, id: str) -> JSONResponse:
    """Go on with a job that is paused or failed; 409 if it is neither."""
    return await _answered(_jobs(request).resume(id))


@router.post("/{id}/cancel")
async def cancel(request: Request, id: str) -> JSONResponse:
    """Stop a job for good; 409 if it has ended."""
    return await _answered(_jobs(request).cancel(id))


def _jobs(request: Request) -> Jobs:
    jobs: Jobs = request.app.state.jobs
    return jobs


async def _answered(job: Any) -> JSONResponse:
    try:
        found: JobInfo = await job
    except BackendError as error:
        return _refused(error)
    return JSONResponse(found.to_dict())


def _refused(error: BackendError) -> JSONResponse:
    status = 404 if isinstance(error, NoSuchJob) else 409 if isinstance(error, JobError) else 502
    return JSONResponse({"detail": str(error)}, status)
