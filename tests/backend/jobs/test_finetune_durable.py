"""A run that is killed goes on with the next call; a schedule knows when the next one is due."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import create_engine, select, text

from backend.errors import BackendError, ModelUnavailable
from backend.jobs.collect import collect
from backend.jobs.durable import Jobs
from backend.jobs.errors import JobError, NotEnough
from backend.jobs.finetune import (
    cancel_finetune,
    finetune,
    keep_finetuning,
    new_corrections,
    next_round,
)
from backend.jobs.finetune_choice import begun_at, read_choice
from backend.jobs.finetune_report import FinetuneOptions, FinetuneReport
from backend.jobs.finetune_steps import PROGRESS_NAME
from backend.jobs.info import JobInfo
from backend.jobs.progress import Progress
from backend.settings import Settings
from backend.store import ModelVersionRow, OutcomeRow, Store
from tests.backend.jobs.fakes import (
    KEY,
    FakeLabelStudio,
    FakeModelServer,
    another_picture,
    caption,
    quality,
    two_boxes,
)
from tests.backend.jobs.test_finetune import TRAINER, learns, project, versions

__all__ = ["project"]

COMMAND = """
import asyncio, signal, sys
# A shell that started the tests in the background has Ctrl-C ignored by all of them.
signal.signal(signal.SIGINT, signal.default_int_handler)
from backend.jobs.finetune import FinetuneOptions, finetune
from backend.settings import Settings
url, model, data, database, project = sys.argv[1:]
settings = Settings(label_studio_url=url, label_studio_api_key={key!r}, model_url=model, data_dir=data,
                    database_url=database, holdout=0, control=0, _env_file=None)
told = lambda p: print(p.doing, flush=True)
asyncio.run(finetune(settings, int(project), told, options=FinetuneOptions(threads=1), trainer={trainer!r}))
"""


@pytest.fixture(autouse=True)
def no_runs_of_another_test(database_url: str) -> None:
    """On PostgreSQL, DBOS keeps its tables in a schema of its own, which the tests share."""
    if database_url.startswith("postgresql"):
        with create_engine(database_url).begin() as connection:
            connection.execute(text("DROP SCHEMA IF EXISTS dbos CASCADE"))


def start(settings: Settings, project: int, **environment: str) -> subprocess.Popen[str]:
    command = COMMAND.format(key=KEY, trainer=TRAINER)
    return subprocess.Popen(
        [
            *(sys.executable, "-c", command, settings.label_studio_url, settings.model_url),
            *(str(settings.data_dir), settings.database_url, str(project)),
        ],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )


def run(
    settings: Settings, project: int, progress: list[str] | None = None, *, min_eval: int = 8
) -> FinetuneReport:
    def told(p: Progress) -> None:
        if progress is not None:
            progress.append(p.doing)

    options = FinetuneOptions(threads=1, min_eval=min_eval)
    return asyncio.run(finetune(settings, project, told, options=options, trainer=TRAINER))


@pytest.mark.parametrize(
    ("moment", "how"),
    [
        ("rendering", signal.SIGKILL),
        ("training", signal.SIGKILL),
        ("training", signal.SIGINT),
        ("asking", signal.SIGKILL),
    ],
)
def test_killed_and_gone_on_with(
    model_server: FakeModelServer,
    settings: Settings,
    store: Store,
    project: int,
    moment: str,
    how: signal.Signals,
) -> None:
    # The kill must find the run going on, however late it comes.
    model_server.delay_s = 2.0 if moment == "asking" else 0.0
    process = start(settings, project, FAKE_TRAINER_LAST_S="0" if moment == "asking" else "300")
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(moment):
            os.kill(process.pid, how)
            break
    process.wait()
    model_server.delay_s = 0.0
    (run_dir,) = (settings.data_dir / "runs").iterdir()
    before = (run_dir / "choice.json").read_bytes()
    words: list[str] = []
    report = run(settings, project, words)
    assert "going on with the run that was interrupted" in words
    assert report.name == "tiny:0001" and report.promoted
    assert (run_dir / "choice.json").read_bytes() == before
    if moment == "asking":
        assert not any(line.startswith(("training", "rendering")) for line in words)
    assert versions(store) == {"tiny:0001": "champion"}
    assert list(model_server.adapters) == ["tiny:0001"]
    assert not (run_dir / PROGRESS_NAME).exists()
    # The next call is a run of its own.
    assert run(settings, project).name == "tiny:0002"


def test_cancelled_from_elsewhere(
    model_server: FakeModelServer, settings: Settings, store: Store, project: int
) -> None:
    process = start(settings, project, FAKE_TRAINER_S="300")
    deadline = time.monotonic() + 180
    while not (settings.data_dir / "runs" / "0001" / "train.log").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert cancel_finetune(settings) == 1
    assert process.wait(90) == 1
    assert cancel_finetune(settings) == 0
    assert versions(store) == {}
    assert run(settings, project).name == "tiny:0002"


def test_runs_are_listed_with_the_jobs(
    model_server: FakeModelServer, settings: Settings, store: Store, project: int
) -> None:
    async def listed() -> JobInfo:
        jobs = Jobs(settings, store)
        try:
            (found,) = await jobs.listing()
            with pytest.raises(JobError, match="fine-tuning"):
                await jobs.pause(found.id)
            return found
        finally:
            await jobs.close()

    async def resume(id: str) -> JobInfo:
        jobs = Jobs(settings, store)
        try:
            return await jobs.resume(id)
        finally:
            await jobs.close()

    process = start(settings, project, FAKE_TRAINER_LAST_S="120")
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("training") and "(loss" in line:
            break
    job = asyncio.run(listed())
    assert (job.kind, job.project, job.state) == ("finetune", project, "running")
    assert job.total is not None and 0 < job.done <= job.total
    assert job.doing == "training on corrections, loss 1.000"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert asyncio.run(listed()).state == "paused"
    with pytest.raises(JobError, match="regiontext finetune"):
        asyncio.run(resume(asyncio.run(listed()).id))
    run(settings, project)
    job = asyncio.run(listed())
    assert (job.state, job.eta_s, job.doing) == ("done", 0.0, "")


def test_a_run_is_cancelled_as_a_job(
    model_server: FakeModelServer, settings: Settings, store: Store, project: int
) -> None:
    async def cancel() -> JobInfo:
        jobs = Jobs(settings, store)
        try:
            (found,) = await jobs.listing()
            return await jobs.cancel(found.id)
        finally:
            await jobs.close()

    process = start(settings, project, FAKE_TRAINER_S="300")
    deadline = time.monotonic() + 180
    while not (settings.data_dir / "runs" / "0001" / "train.log").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert asyncio.run(cancel()).state == "cancelled"
    assert process.wait(90) == 1
    assert cancel_finetune(settings) == 0


@pytest.mark.parametrize("how", ["--cancel", "--new", "as a job"])
def test_a_run_that_failed_as_a_server_was_away_is_not_gone_on_with_once_it_is_cancelled(
    model_server: FakeModelServer, settings: Settings, store: Store, project: int, how: str
) -> None:
    async def cancel() -> JobInfo:
        jobs = Jobs(settings, store)
        try:
            (found,) = await jobs.listing()
            assert found.state == "failed"
            return await jobs.cancel(found.id)
        finally:
            await jobs.close()

    def die(model: str, prompt: str, options: list[str]) -> str:
        model_server.down = True
        return learns(model, prompt, options)

    model_server.say = die
    with pytest.raises(ModelUnavailable):
        run(settings, project)
    model_server.down, model_server.say = False, learns
    if how == "--cancel":
        assert cancel_finetune(settings) == 1
    elif how == "as a job":
        assert asyncio.run(cancel()).state == "cancelled"
    if how != "--new":
        assert cancel_finetune(settings) == 0
    options = FinetuneOptions(threads=1, min_eval=8)
    new = how == "--new"
    report = asyncio.run(finetune(settings, project, options=options, trainer=TRAINER, afresh=new))
    assert report.name == "tiny:0002"


def test_what_is_chosen_is_kept_as_it_was(settings: Settings, project: int) -> None:
    report = run(settings, project)
    choice = read_choice(report.run_dir)
    assert choice.name == "tiny:0001" and choice.projects == (project,)
    record = choice.chosen.training[0]
    assert isinstance(record.shapes, tuple) and isinstance(record.size, tuple)
    assert record.text in ("a zigzag car", "occluded")
    assert abs(choice.begun - time.time()) < 600
    assert begun_at(settings.data_dir) == choice.begun
    assert begun_at(settings.data_dir / "nowhere") == 0
    (report.run_dir / "choice.json").unlink()
    with pytest.raises(JobError, match="--new"):
        read_choice(report.run_dir)


def test_only_corrections_that_change_the_meaning_are_counted(
    studio: FakeLabelStudio, settings: Settings, store: Store
) -> None:
    id = studio.add_project()
    for seed in range(3):
        result = [*two_boxes(), caption("r1", "a red car"), quality("r2", "occluded")]
        studio.add_annotation(studio.add_task(id, another_picture(seed)), result)
    asyncio.run(collect(settings, id, store=store))
    assert new_corrections(store, 0.0) == 6  # All added: nothing had been suggested.
    with store.begin() as session:
        for row in session.scalars(select(OutcomeRow).where(OutcomeRow.field == "caption")):
            row.outcome, row.suggested = "edited", ["the red car"]
    assert new_corrections(store, 0.0, id) == 3
    assert new_corrections(store, time.time() + 60) == 0
    assert new_corrections(store, 0.0, id + 1) == 0


def test_the_next_run_is_due(
    studio: FakeLabelStudio, settings: Settings, store: Store, project: int
) -> None:
    told: list[str] = []

    async def due(every_s: float | None, after: int | None, seconds: float) -> int | None:
        going = next_round(
            settings, project, lambda p: told.append(p.doing),
            every_s=every_s, after=after, store=store, poll_s=0.05,
        )  # fmt: skip
        try:
            return await asyncio.wait_for(going, seconds)
        except TimeoutError:
            return None

    assert asyncio.run(due(3600, 5, 60)) == 60  # Never run before: due at once.
    assert asyncio.run(due(None, 61, 3)) is None
    assert "60 of 61 new corrections" in told
    run(settings, project)
    assert asyncio.run(due(None, None, 3)) is None  # Nothing new since.
    assert asyncio.run(due(3600, None, 1)) is None
    assert re.fullmatch(r"next run in \d\d min at the earliest", told[-1])
    task = studio.add_task(project, another_picture(99))
    later = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
    studio.add_annotation(task, [*two_boxes(), caption("r1", "a van")], updated_at=later)
    assert asyncio.run(due(None, 1, 30)) == 1


def test_a_schedule_runs_what_is_due_and_goes_on(
    model_server: FakeModelServer, settings: Settings, project: int
) -> None:
    told: list[FinetuneReport | BackendError] = []

    async def keep() -> None:
        await keep_finetuning(
            settings, project, lambda p: None, options=FinetuneOptions(min_records=9999),
            every_s=None, after=50, told=told.append,
        )  # fmt: skip

    async def work() -> None:
        going = asyncio.create_task(keep())
        while not told:
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        going.cancel()

    asyncio.run(work())
    # There is too little, and it is not tried again before there is more.
    assert len(told) == 1 and isinstance(told[0], NotEnough)


def test_pairs_to_prefer_are_written(
    studio: FakeLabelStudio, model_server: FakeModelServer, settings: Settings, store: Store
) -> None:
    model_server.say = learns
    (settings.data_dir / "model").mkdir(parents=True)
    model_server.root = str(settings.data_dir / "model")
    id = studio.add_project()
    for seed in range(30):
        task = studio.add_task(id, another_picture(seed))
        studio.add_annotation(task, [*two_boxes(), caption("r1", "a zigzag car")])
    asyncio.run(collect(settings, id, store=store))
    with store.begin() as session:
        for index, row in enumerate(session.scalars(select(OutcomeRow))):
            row.outcome, row.suggestion = "edited", "s"
            # An article is no other meaning.
            row.suggested = ["a plain car" if index % 2 else "the zigzag car"]
    report = run(settings, id, min_eval=2)
    data = report.run_dir / "data"
    pairs = [json.loads(line) for line in (data / "preferences.jsonl").read_text().splitlines()]
    assert pairs and all(pair["rejected"] == "a plain car" for pair in pairs)
    assert {pair["chosen"] for pair in pairs} == {"a zigzag car"}
    assert report.counts["training"]["preferences"] == len(pairs)
    lines = [json.loads(line) for line in (data / "train.jsonl").read_text().splitlines()]
    assert {"a plain car", "the zigzag car"} <= {line["suggested"] for line in lines}
    with store.read() as session:
        assert session.scalars(select(ModelVersionRow.name)).all() == [report.name]
