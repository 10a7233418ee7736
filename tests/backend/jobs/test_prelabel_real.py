"""The jobs against a real Label Studio, with kill -9 half-way."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from backend.app import create_app
from backend.connect import connect
from backend.jobs.collect import collect
from backend.jobs.prelabel import Prelabelled, prelabel
from backend.jobs.records import load_records
from backend.jobs.runs import record_result, register
from backend.settings import Settings
from backend.store import OutcomeRow, Store, open_store
from regiontext.labelstudio.results import read_results, text_of
from tests.backend.jobs.fakes import CONFIG, FakeModelServer, picture, serving, two_boxes
from tests.label_studio_server import LabelStudioServer

pytestmark = pytest.mark.label_studio

PRELABEL = """
import asyncio, sys
from backend.jobs.prelabel import prelabel
from backend.jobs.runs import record_result, register
from backend.settings import Settings
found = asyncio.run(prelabel(Settings(_env_file=None), int(sys.argv[1])))
print(found)
"""


class Real:
    """A project of the real Label Studio, through its API."""

    def __init__(self, server: LabelStudioServer, tasks: int) -> None:
        self.http = httpx.Client(base_url=server.url, headers=server.headers, timeout=60)
        made = self.post("/api/projects/", title="jobs", label_config=CONFIG)
        self.project = int(made["id"])
        files = {f"{n}.png": (f"{n}.png", picture(n), "image/png") for n in range(tasks)}
        answer = self.http.post(f"/api/projects/{self.project}/import", files=files)
        answer.raise_for_status()
        self.tasks = [task["id"] for task in self.get("/api/tasks", project=self.project)["tasks"]]
        assert len(self.tasks) == tasks
        for task in self.tasks:
            self.predict(task, two_boxes(), "detector")

    def get(self, path: str, **params: Any) -> Any:
        answer = self.http.get(path, params=params)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, **body: Any) -> Any:
        answer = self.http.post(path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def predict(self, task: int, result: list[dict[str, Any]], version: str) -> int:
        body = {"project": self.project, "result": result, "model_version": version}
        return int(self.post("/api/predictions/", task=task, **body)["id"])

    def predictions(self, task: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("/api/predictions/", task=task)
        return found

    def ours(self, task: int) -> list[dict[str, Any]]:
        return [p for p in self.predictions(task) if p["model_version"] != "detector"]

    def annotate(self, task: int, prediction: dict[str, Any], **change: str) -> dict[str, Any]:
        """Submit a prediction as the editor does, with some captions changed."""
        result = [dict(item) for item in prediction["result"]]
        for item in result:
            if item.get("from_name") == "caption" and item["id"] in change:
                item["value"] = item["value"] | {"text": [change[item["id"]]]}
        body = {"result": result, "lead_time": 2.0, "parent_prediction": prediction["id"]}
        made: dict[str, Any] = self.post(f"/api/tasks/{task}/annotations/", **body)
        return made


@pytest.fixture
def real_settings(
    tmp_path: Path, label_studio: LabelStudioServer, model_server: FakeModelServer
) -> Settings:
    return Settings(
        label_studio_url=label_studio.url,
        label_studio_api_key=label_studio.token,
        model_url=model_server.url,
        data_dir=tmp_path / "regiontext-data",
        holdout=0,
        control=0,
        _env_file=None,
    )


def run(settings: Settings, project: int) -> Prelabelled:
    return asyncio.run(prelabel(settings, project))


def start(settings: Settings, project: int) -> subprocess.Popen[str]:
    assert settings.label_studio_api_key is not None
    environment = os.environ | {
        "REGIONTEXT_LABEL_STUDIO_URL": settings.label_studio_url,
        "REGIONTEXT_LABEL_STUDIO_API_KEY": settings.label_studio_api_key.get_secret_value(),
        "REGIONTEXT_MODEL_URL": settings.model_url,
        "REGIONTEXT_DATA_DIR": str(settings.data_dir),
        "REGIONTEXT_HOLDOUT": "0",
        "REGIONTEXT_CONTROL": "0",
    }
    return subprocess.Popen(
        [sys.executable, "-c", PRELABEL, str(project)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_killed_half_way_and_run_again(
    label_studio: LabelStudioServer, model_server: FakeModelServer, real_settings: Settings
) -> None:
    real = Real(label_studio, tasks=12)
    model_server.delay_s = 1.5

    def made() -> int:
        listed = real.get("/api/tasks", project=real.project, fields="all")["tasks"]
        return sum(len(task["predictions"]) > 1 for task in listed)

    for least in (2, 5):
        process = start(real_settings, real.project)
        while made() < least:
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    assert 5 <= made() < 12

    # Two at once, after two that were killed.
    model_server.delay_s = 0.05
    both = [start(real_settings, real.project) for _ in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
    for task in real.tasks:
        (prediction,) = real.ours(task)
        read = read_results(prediction["result"])
        assert list(read.shapes) == ["r1", "r2"]
        assert all(text_of(read.fields[region]["caption"]) for region in read.shapes)
        assert len(read.relations) == 1
    versions = {prediction["model_version"] for t in real.tasks for prediction in real.ours(t)}
    assert len(versions) == 1
    assert real.get(f"/api/projects/{real.project}/")["model_version"] in versions

    last = run(real_settings, real.project)
    assert (last.created, last.current, last.failed) == (0, 12, 0)


def test_renewing_and_collecting(
    label_studio: LabelStudioServer, model_server: FakeModelServer, real_settings: Settings
) -> None:
    real = Real(label_studio, tasks=4)
    edited, accepted, drafted, free = real.tasks
    first = run(real_settings, real.project)
    assert (first.created, first.failed, first.errors) == (4, 0, [])
    old = {task: real.ours(task)[0] for task in real.tasks}

    real.annotate(edited, old[edited], r1="what it really is")
    kept = real.annotate(accepted, old[accepted])
    real.post(f"/api/tasks/{drafted}/drafts", result=old[drafted]["result"], lead_time=1)
    found = asyncio.run(collect(real_settings, real.project))
    assert (found.annotations, found.created, found.errors) == (2, 2, [])
    # Two captions, two choices and an arrow each; one caption is edited.
    assert found.outcomes == {"accepted": 9, "edited": 1}
    assert asyncio.run(collect(real_settings, real.project)).updated == 0

    model_server.view = {"scope": "crop"}
    second = run(real_settings, real.project)
    assert (second.renewed, second.removed, second.failed) == (4, 1, 0)
    assert second.model_version != first.model_version
    for task in (edited, accepted, drafted):
        assert {p["id"] for p in real.ours(task)} > {old[task]["id"]}
    assert old[free]["id"] not in {p["id"] for p in real.predictions(free)}
    assert len(real.predictions(free)) == 2
    shown = real.get(f"/api/annotations/{kept['id']}/")
    assert shown["parent_prediction"] == old[accepted]["id"]
    assert real.get(f"/api/projects/{real.project}/")["model_version"] == second.model_version

    # What was compared with the first suggestions stays so; a deletion is noticed.
    asyncio.run(collect(real_settings, real.project))
    store: Store = open_store(real_settings.database_url)
    texts = {record.text for record in load_records(store, real.project)}
    assert "what it really is" in texts
    real.http.delete(f"/api/annotations/{kept['id']}/").raise_for_status()
    found = asyncio.run(collect(real_settings, real.project))
    assert (found.annotations, found.deleted) == (1, 1)
    assert found.outcomes == {"accepted": 4, "edited": 1}
    store.close()


def test_skipping_is_no_outcome(
    label_studio: LabelStudioServer, model_server: FakeModelServer, real_settings: Settings
) -> None:
    real = Real(label_studio, tasks=1)
    (task,) = real.tasks
    run(real_settings, real.project)
    body = {"result": real.ours(task)[0]["result"], "lead_time": 1.0}
    answer = real.http.post(f"/api/tasks/{task}/annotations/?was_cancelled=1", json=body)
    answer.raise_for_status()
    assert answer.json()["was_cancelled"]
    found = asyncio.run(collect(real_settings, real.project))
    assert (found.annotations, found.outcomes) == (0, {})


def test_webhooks_and_the_version_after_a_promotion(
    label_studio: LabelStudioServer, model_server: FakeModelServer, real_settings: Settings
) -> None:
    real = Real(label_studio, tasks=1)
    (task,) = real.tasks
    store = open_store(real_settings.database_url)
    with serving(create_app(real_settings)) as url:
        connect(real.http, real.project, url, secret=None)
        first = run(real_settings, real.project)

        def version() -> str:
            (backend,) = real.get("/api/ml", project=real.project)
            return str(backend["model_version"])

        assert version() == first.model_version
        made = real.annotate(task, real.ours(task)[0], r1="what it really is")

        def outcomes() -> dict[tuple[str, str], str]:
            with store.read() as session:
                rows = session.scalars(
                    select(OutcomeRow).where(OutcomeRow.annotation == made["id"])
                )
                return {(row.region, row.field): row.outcome for row in rows}

        wait_until(lambda: len(outcomes()) == 5)
        assert outcomes()["r1", "caption"] == "edited"
        assert outcomes()["r2", "caption"] == "accepted"
        real.http.delete(f"/api/annotations/{made['id']}/").raise_for_status()
        wait_until(lambda: not outcomes())

        model_server.adapters["tiny:0001"] = "/adapters/0001"
        register(
            store, "tiny:0001", base="tiny", adapter=Path("/adapters/0001"), run_dir=Path("/runs")
        )
        record_result(store, "tiny:0001", {}, promote=True)
        assert version() == first.model_version.replace("@base+", "@0001+")
        second = run(real_settings, real.project)
        assert (second.renewed, second.model_version) == (1, version())
    store.close()


def wait_until(true: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)
