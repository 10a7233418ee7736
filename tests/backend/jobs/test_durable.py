"""Jobs that outlive their process, on stand-ins for Label Studio and the model."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import create_engine, text

from backend.app import create_app
from backend.jobs import workflows
from backend.jobs.durable import Jobs
from backend.jobs.errors import JobError
from backend.jobs.info import JobInfo
from backend.jobs.prelabel import Options
from backend.settings import Settings
from backend.store import Store
from tests.backend.jobs.fakes import KEY, FakeLabelStudio, FakeModelServer, picture, two_boxes

# One question for each of two boxes.
CONFIG = """<View>
  <Image name="img" value="$image"/>
  <RectangleLabels name="rect" toName="img"><Label value="Car"/><Label value="Tree"/></RectangleLabels>
  <TextArea name="caption" toName="img" perRegion="true"/>
</View>"""


def with_boxes(studio: FakeLabelStudio, number: int) -> tuple[int, list[int]]:
    project = studio.add_project(CONFIG)
    tasks = [studio.add_task(project, picture(n)) for n in range(number)]
    for task in tasks:
        studio.add_prediction(task, two_boxes())
    return project, tasks


def ours(studio: FakeLabelStudio, task: int) -> int:
    return sum(p["model_version"] != "detector" for p in studio.predictions_of(task))


@pytest.fixture(autouse=True)
def no_jobs_of_another_test(database_url: str) -> None:
    """On PostgreSQL, DBOS keeps its tables in a schema of its own, which the tests share."""
    if database_url.startswith("postgresql"):
        with create_engine(database_url).begin() as connection:
            connection.execute(text("DROP SCHEMA IF EXISTS dbos CASCADE"))


async def until(
    jobs: Jobs, id: str, true: Callable[[JobInfo], bool], seconds: float = 120
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
    model_server.delay_s = 0.2  # long enough that a busy machine pauses it before its end

    async def work(jobs: Jobs) -> None:
        started = await jobs.prelabel(Options(project))
        assert started.state in ("queued", "running")
        assert (await jobs.prelabel(Options(project))).id == started.id
        job = await until(jobs, started.id, lambda job: job.done >= 5)
        assert (job.state, job.total) == ("running", 60)
        assert job.eta_s is not None and job.eta_s > 0
        assert (await jobs.pause(started.id)).state == "paused"
        # At once, while what was in work is still being finished, and once more when it is.
        assert (await jobs.resume(started.id)).state in ("queued", "running")
        await until(jobs, started.id, lambda job: job.done >= 10)
        assert (await jobs.pause(started.id)).state == "paused"
        await asyncio.sleep(2)
        paused = await jobs.get(started.id)
        model_server.delay_s = 0
        assert (await jobs.resume(started.id)).state in ("queued", "running")
        job = await until(jobs, started.id, lambda job: job.state not in ("queued", "running"))
        assert (job.state, job.done, job.total, job.failed) == ("done", 60, 60, 0), job
        assert (paused.state, paused.eta_s) == ("paused", None)

    with_jobs(settings, store, work)
    assert [ours(studio, task) for task in tasks] == [1] * 60


WORKER = """
import asyncio, sys
from backend.jobs.durable import Jobs
from backend.jobs.prelabel import Options
from backend.settings import Settings
from backend.store import open_store

async def work():
    settings = Settings(_env_file=None)
    jobs = Jobs(settings, open_store(settings.database_url))
    if len(sys.argv) > 1:
        await jobs.prelabel(Options(int(sys.argv[1])))
    else:
        await jobs.recover()
    while True:
        for job in await jobs.listing():
            print(job.state, job.done, flush=True)
            if job.state not in ("queued", "running"):
                await jobs.close()
                return
        await asyncio.sleep(0.1)

asyncio.run(work())
"""


def worker(settings: Settings, *arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {
        "REGIONTEXT_LABEL_STUDIO_URL": settings.label_studio_url,
        "REGIONTEXT_LABEL_STUDIO_API_KEY": KEY,
        "REGIONTEXT_MODEL_URL": settings.model_url,
        "REGIONTEXT_DATA_DIR": str(settings.data_dir),
        "REGIONTEXT_DATABASE_URL": settings.database_url,
        "REGIONTEXT_HOLDOUT": "0",
        "REGIONTEXT_CONTROL": "0",
    }
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def settled(model_server: FakeModelServer) -> int:
    """How many questions have come, once those that a killed worker had sent have all been read."""
    count = -1
    while count != (count := len(model_server.asked)):
        time.sleep(0.5)
    return count


def test_killed_twice_and_taken_up_again(
    studio: FakeLabelStudio, model_server: FakeModelServer, settings: Settings
) -> None:
    project, tasks = with_boxes(studio, 80)
    # The kills must find the job going on.
    model_server.delay_s = 0.05

    def stored() -> int:
        return sum(ours(studio, task) for task in tasks)

    arguments = [str(project)]
    for least in (10, 55):
        process = worker(settings, *arguments)
        deadline = time.monotonic() + 180
        while stored() < least:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        arguments = []
    # On a busy machine the second kill may come when all is stored and only the job's end is not.
    assert 55 <= stored() <= 80
    asked = settled(model_server)
    last, _ = worker(settings).communicate(timeout=180)
    assert last.splitlines()[-1] == "done 80"
    assert [ours(studio, task) for task in tasks] == [1] * 80
    # What was stored is not asked about again.
    assert len(model_server.asked) - asked <= 2 * 25


def test_over_http(
    studio: FakeLabelStudio, model_server: FakeModelServer, settings: Settings
) -> None:
    project, tasks = with_boxes(studio, 6)
    guarded = settings.model_copy(
        update={"basic_auth_user": "ls", "basic_auth_password": SecretStr("pw")}
    )
    with TestClient(create_app(guarded, processor=lambda *_: None)) as http:
        assert http.get("/jobs").status_code == 401
        http.auth = ("ls", "pw")
        assert http.get("/jobs").json() == {"jobs": []}
        assert http.get("/jobs/p1-none").status_code == 404
        assert http.post("/jobs/prelabel", content=b"{}").status_code == 415
        assert http.post("/jobs/prelabel", json={"project": "1"}).status_code == 422
        assert http.post("/jobs/prelabel", json={"project": 1, "x": 1}).status_code == 422
        body = {"project": project, "tasks": tasks[1:4], "random_share": 1}
        answer = http.post("/jobs/prelabel", json=body)
        assert answer.status_code == 202, answer.text
        id = answer.json()["id"]
        deadline = time.monotonic() + 120
        while (job := http.get(f"/jobs/{id}").json())["state"] in ("queued", "running"):
            assert time.monotonic() < deadline, job
            time.sleep(0.05)
        assert (job["state"], job["done"], job["total"], job["failed"]) == ("done", 3, 3, 0)
        assert job["eta_s"] == 0 and job["started"] and job["finished"] >= job["started"]
        assert http.post(f"/jobs/{id}/pause").status_code == 409
        assert http.post(f"/jobs/{id}/resume").status_code == 409
        assert [job["id"] for job in http.get("/jobs").json()["jobs"]] == [id]
        assert [ours(studio, task) for task in tasks] == [0, 1, 1, 1, 0, 0]

        # Label Studio's own Retrieve predictions: nothing at once, everything by a job.
        asked = {
            "tasks": [studio.tasks[task] for task in tasks],
            "project": f"{project}.1795236743",
            "label_config": studio.projects[project]["label_config"],
            "params": {"login": None, "password": None, "context": None},
        }
        assert http.post("/predict", json=asked).json() == {"results": [[]] * 6}
        (job, _) = http.get("/jobs").json()["jobs"]
        deadline = time.monotonic() + 120
        while (job := http.get(f"/jobs/{job['id']}").json())["state"] in ("queued", "running"):
            assert time.monotonic() < deadline, job
            time.sleep(0.05)
        assert (job["done"], job["counts"]) == (6, {"created": 3, "current": 3})


def test_a_failed_job_goes_on_where_it_failed(
    studio: FakeLabelStudio,
    model_server: FakeModelServer,
    settings: Settings,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(workflows.RETRY, "max_attempts", 1)
    project, tasks = with_boxes(studio, 80)

    def fail_later(body: dict[str, Any]) -> None:
        model_server.down = len(studio.predictions) > 80 + 10

    studio.before_create = fail_later

    async def work(jobs: Jobs) -> None:
        started = await jobs.prelabel(Options(project))
        ended = ("done", "failed")
        job = await until(jobs, started.id, lambda job: job.state in ended)
        assert job.state == "failed" and "in a row" in (job.error or "")
        studio.before_create = lambda body: None
        model_server.down = False
        await jobs.resume(started.id)
        job = await until(jobs, started.id, lambda job: job.state in ended)
        assert (job.state, job.done, job.failed, job.problems) == ("done", 80, 0, ()), job
        again = await jobs.prelabel(Options(project))
        assert again.id != started.id
        await jobs.cancel(again.id)
        assert (await jobs.get(again.id)).state == "cancelled"
        with pytest.raises(JobError, match="only a paused or failed"):
            await jobs.resume(again.id)
        # What cannot pass is not waited for.
        monkeypatch.setitem(workflows.RETRY, "max_attempts", 8)
        nowhere = await jobs.prelabel(Options(999))
        job = await until(jobs, nowhere.id, lambda job: job.state in ended)
        assert job.state == "failed" and "no project 999" in (job.error or "")

    with_jobs(settings, store, work)
    assert [ours(studio, task) for task in tasks] == [1] * 80


def test_a_model_server_that_restarts_is_waited_for(
    studio: FakeLabelStudio,
    model_server: FakeModelServer,
    settings: Settings,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(workflows.RETRY, "interval_seconds", 0.5)
    project, tasks = with_boxes(studio, 40)
    model_server.down = True

    async def work(jobs: Jobs) -> None:
        started = await jobs.prelabel(Options(project))
        job = await until(jobs, started.id, lambda job: bool(job.problems))
        assert job.state == "running" and "out of memory" in job.problems[-1]
        model_server.down = False
        job = await until(jobs, started.id, lambda job: job.state not in ("queued", "running"))
        assert (job.state, job.done, job.failed) == ("done", 40, 0)

    with_jobs(settings, store, work)
    assert [ours(studio, task) for task in tasks] == [1] * 40
