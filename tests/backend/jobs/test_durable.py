"""Jobs that outlive their process, on stand-ins for Label Studio and the model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from backend.jobs.durable import JobInfo, Jobs
from backend.jobs.prelabel import Options
from backend.settings import Settings
from backend.store import Store
from tests.backend.jobs.fakes import FakeLabelStudio, FakeModelServer, picture, two_boxes


def with_boxes(studio: FakeLabelStudio, number: int) -> tuple[int, list[int]]:
    project = studio.add_project()
    tasks = [studio.add_task(project, picture(n)) for n in range(number)]
    for task in tasks:
        studio.add_prediction(task, two_boxes())
    return project, tasks


def ours(studio: FakeLabelStudio, task: int) -> int:
    return sum(p["model_version"] != "detector" for p in studio.predictions_of(task))


async def until(
    jobs: Jobs, id: str, true: Callable[[JobInfo], bool], seconds: float = 30
) -> JobInfo:
    deadline = time.monotonic() + seconds
    while not true(job := await jobs.get(id)):
        assert time.monotonic() < deadline, job
        await asyncio.sleep(0.05)
    return job


def with_jobs(settings: Settings, store: Store, work: Callable[[Jobs], Awaitable[None]]) -> None:
    async def run() -> None:
        jobs = Jobs(settings, store)
        try:
            await work(jobs)
        finally:
            await jobs.close()

    asyncio.run(run())


def test_paused_resumed_and_done(
    studio: FakeLabelStudio, model_server: FakeModelServer, settings: Settings, store: Store
) -> None:
    project, tasks = with_boxes(studio, 60)
    model_server.delay_s = 0.02

    async def work(jobs: Jobs) -> None:
        started = await jobs.prelabel(Options(project))
        assert started.state in ("queued", "running")
        assert (await jobs.prelabel(Options(project))).id == started.id
        job = await until(jobs, started.id, lambda job: job.done >= 5)
        assert (job.state, job.total) == ("running", 60)
        assert job.eta_s is not None and job.eta_s > 0
        assert (await jobs.pause(started.id)).state == "paused"
        paused = await jobs.get(started.id)
        await asyncio.sleep(2)
        model_server.delay_s = 0
        assert (await jobs.resume(started.id)).state in ("queued", "running")
        job = await until(jobs, started.id, lambda job: job.state not in ("queued", "running"))
        assert (job.state, job.done, job.total, job.failed) == ("done", 60, 60, 0), job
        assert paused.state == "paused"

    with_jobs(settings, store, work)
    assert [ours(studio, task) for task in tasks] == [1] * 60
