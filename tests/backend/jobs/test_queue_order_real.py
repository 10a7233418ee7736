"""The queue of annotators and Label Studio's own Retrieve predictions, in a real Label Studio."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from backend.app import create_app
from backend.connect import connect
from backend.jobs.prelabel import prelabel
from backend.jobs.queue_order import VIEW_TITLE
from backend.settings import Settings
from tests.backend.jobs.fakes import FakeModelServer, serving
from tests.backend.jobs.test_prelabel_real import Real
from tests.label_studio_server import LabelStudioServer

pytestmark = pytest.mark.label_studio


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
        control=0.3,
        _env_file=None,
    )


def test_the_view_shows_the_unsure_ones_first(
    label_studio: LabelStudioServer, model_server: FakeModelServer, real_settings: Settings
) -> None:
    real = Real(label_studio, tasks=8)
    lengths = iter(range(1, 1000))
    model_server.say = lambda model, prompt, options: (
        options[0] if options else " ".join(["word"] * (next(lengths) % 7 + 1))
    )
    before = [real.get(f"/api/tasks/{task}/")["data"] for task in real.tasks]
    for _ in range(2):
        done = asyncio.run(prelabel(real_settings, real.project))
        assert (done.failed, done.shown) == (0, True)
    views = real.get("/api/dm/views/", project=real.project)
    (view,) = (v for v in views if v["data"]["title"] == VIEW_TITLE)
    shown = real.get("/api/tasks", view=view["id"], page=1, page_size=50)["tasks"]
    order = [task["id"] for task in shown]
    scores = {task: real.ours(task)[0]["score"] for task in real.tasks}
    assert sorted(order) == sorted(real.tasks)
    assert [scores[task] for task in order] == sorted(scores.values())
    assert len(set(scores.values())) > 2
    # What the page sends for "Label Tasks As Displayed".
    following = real.http.post(
        "/api/dm/actions",
        params={"id": "next_task", "project": real.project},
        json={"ordering": view["data"]["ordering"], "project": str(real.project)},
    )
    assert following.json()["id"] == order[0]
    assert [real.get(f"/api/tasks/{task}/")["data"] for task in real.tasks] == before


def test_retrieve_predictions_of_many_tasks_is_a_job(
    label_studio: LabelStudioServer, model_server: FakeModelServer, real_settings: Settings
) -> None:
    real = Real(label_studio, tasks=7)
    *chosen, left = real.tasks
    model_server.delay_s = 1.0
    with serving(create_app(real_settings.model_copy(update={"control": 0.0}))) as url:
        connect(real.http, real.project, url, secret=None)
        started = time.monotonic()
        answer = real.http.post(
            "/api/dm/actions",
            params={"id": "retrieve_tasks_predictions", "project": real.project},
            json={"selectedItems": {"all": False, "included": chosen}, "project": real.project},
        )
        answer.raise_for_status()
        # Six tasks of five questions, a second each, take longer than the answer.
        waited = time.monotonic() - started
        assert waited < 24
        deadline = time.monotonic() + 180
        while not all(real.ours(task) for task in chosen):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        time.sleep(1)
    for task in chosen:
        (prediction,) = real.ours(task)
        assert prediction["result"]
    assert real.ours(left) == []
