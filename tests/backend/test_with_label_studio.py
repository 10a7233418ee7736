"""The protocol against a real Label Studio: what it sends, what it makes of our answers, what it stores."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from backend.app import create_app
from backend.label_studio import whoami
from backend.security import WEBHOOK_SECRET_HEADER
from backend.settings import Settings
from backend.store import EventRow
from regiontext.labelstudio.results import read_results
from tests.backend.stubs import StubModel, photo
from tests.backend.test_interactive import captions, rectangle
from tests.backend.test_protocol import related, wait_for
from tests.label_studio_server import LabelStudioServer, free_port

pytestmark = pytest.mark.label_studio

Payload = Callable[[str], Any]


@contextmanager
def serving(app: FastAPI, port: int) -> Iterator[str]:
    """An app on a real port, in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)


class Site:
    """A project in a real Label Studio, connected to a real backend with a stub for a model."""

    def __init__(
        self, http: httpx.Client, app: FastAPI, url: str, stub: StubModel, xml: str
    ) -> None:
        self.http, self.app, self.stub = http, app, stub
        self.project = self.call(
            "POST", "/api/projects", json={"title": "protocol", "label_config": xml}
        )["id"]
        self.call(
            "PATCH",
            f"/api/projects/{self.project}",
            json={"evaluate_predictions_automatically": False},
        )
        body = {"project": self.project, "url": url, "title": "regiontext", "is_interactive": True}
        auth = {"auth_method": "BASIC_AUTH", "basic_auth_user": "ls", "basic_auth_pass": "pw"}
        self.backend = self.call("POST", "/api/ml", json=body | auth)

    def call(self, method: str, path: str, **given: Any) -> Any:
        response = self.http.request(method, path, **given)
        assert response.is_success, f"{method} {path}: {response.status_code} {response.text[:300]}"
        return response.json() if response.content else None

    def upload(self, count: int = 1) -> list[int]:
        before = {task["id"] for task in self.tasks()}
        for number in range(count):
            files = {"file": (f"p{number}.png", photo(seed=number + len(before)), "image/png")}
            self.call("POST", f"/api/projects/{self.project}/import", files=files)
        return [task["id"] for task in self.tasks() if task["id"] not in before]

    def tasks(self) -> list[dict[str, Any]]:
        query = {"project": self.project, "page_size": 100, "fields": "all"}
        found: list[dict[str, Any]] = self.call("GET", "/api/tasks", params=query)["tasks"]
        return sorted(found, key=lambda task: task["id"])

    def predictions(self, task: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("GET", "/api/predictions", params={"task": task})
        return found

    def retrieve(self) -> None:
        self.call(
            "POST",
            "/api/dm/actions",
            params={"id": "retrieve_tasks_predictions", "project": self.project},
            json={"selectedItems": {"all": True, "excluded": []}, "project": str(self.project)},
        )

    def draw(self, task: int, *context: dict[str, Any]) -> list[dict[str, Any]]:
        answer = self.call(
            "POST",
            f"/api/ml/{self.backend['id']}/interactive-annotating",
            json={"task": task, "context": {"result": list(context)}},
        )
        assert "errors" not in answer, answer
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found


def personal_token(server: LabelStudioServer) -> str:
    """A personal access token, made as the Account & Settings page does."""
    with httpx.Client(base_url=server.url, follow_redirects=True) as http:
        http.get("/user/login")
        form = {"email": server.email, "password": server.password}
        csrf = http.cookies["csrftoken"]
        http.post("/user/login", data=form | {"csrfmiddlewaretoken": csrf})
        headers = {"X-CSRFToken": http.cookies["csrftoken"]}
        kinds = {"api_tokens_enabled": True, "legacy_api_tokens_enabled": True}
        http.post("/api/jwt/settings", json=kinds, headers=headers)
        made = http.post("/api/token/", headers=headers)
        assert made.status_code in (201, 409), made.text
        # One per user: another test of the session may have made it.
        found = made.json() if made.status_code == 201 else http.get("/api/token/").json()[0]
        return str(found["token"])


@pytest.fixture(scope="module")
def site(
    label_studio: LabelStudioServer, payload: Payload, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("backend")
    settings = Settings(
        label_studio_url=label_studio.url,
        label_studio_api_key=personal_token(label_studio),
        model_url="http://model/v1",
        data_dir=folder,
        holdout=0.0,
        control=0.0,
        basic_auth_user="ls",
        basic_auth_password="pw",
        webhook_secret="the webhook's secret",
        _env_file=None,
    )
    assert whoami(settings)["email"] == label_studio.email
    stub = StubModel(say=related)
    app = create_app(settings, model_transport=stub.transport(), processor=lambda *_: None)
    xml = payload("request_predict_batch")["body"]["label_config"]
    with (
        serving(app, free_port()) as url,
        httpx.Client(base_url=label_studio.url, headers=label_studio.headers, timeout=60) as http,
    ):
        yield Site(http, app, url, stub, xml)


def test_it_is_connected_with_its_model_version(site: Site) -> None:
    found = site.call("GET", f"/api/ml/{site.backend['id']}")
    assert found["state"] == "CO" and found["model_version"].startswith("stub-model@base+r")


def test_a_drawn_region_is_filled_with_the_image_read_by_a_personal_token(site: Site) -> None:
    (task,) = site.upload()
    back = site.draw(task, rectangle("drawn"))
    assert captions(back) == {"drawn": ("a red car",)}


def test_pointing_reads_the_draft_that_label_studio_sends_along(site: Site) -> None:
    (task,) = site.upload()
    ellipse = {
        **{k: v for k, v in rectangle("old").items() if k != "value"},
        "value": {"x": 50, "y": 50, "radiusX": 20, "radiusY": 20, "ellipselabels": ["Tree"]},
        "from_name": "ell",
        "type": "ellipselabels",
    }
    site.call("POST", f"/api/tasks/{task}/drafts", json={"result": [ellipse], "lead_time": 1.0})
    point = rectangle("click") | {
        "value": {"x": 55.0, "y": 45.0, "width": 0.2, "keypointlabels": ["Point"]},
        "from_name": "kp",
        "type": "keypointlabels",
        "is_positive": True,
    }
    assert captions(site.draw(task, point)) == {"old": ("a red car",)}


def test_tasks_without_regions_get_no_prediction_and_are_asked_about_again(site: Site) -> None:
    tasks = site.upload(2)
    site.retrieve()
    assert [site.predictions(task) for task in tasks] == [[], []]


def test_more_tasks_than_fit_are_asked_one_by_one_and_all_stored(site: Site) -> None:
    tasks = site.upload(6)
    for task in tasks:
        boxes = [rectangle("a"), rectangle("b", "Person", x=60.0)]
        body = {"task": task, "model_version": "detector", "result": boxes}
        site.call("POST", "/api/predictions", json=body)
    site.retrieve()
    for task in tasks:
        ours = [p for p in site.predictions(task) if p["model_version"] != "detector"]
        assert len(ours) == 1, site.predictions(task)
        assert set(captions(ours[0]["result"])) == {"a", "b"}
        assert len(read_results(ours[0]["result"]).relations) == 1
    before = len(site.stub.asked)
    site.retrieve()
    assert len(site.stub.asked) == before


def events(site: Site) -> list[str]:
    with site.app.state.backend.store.read() as session:
        return [event.action for event in session.query(EventRow).order_by(EventRow.id)]


def test_webhooks_arrive_with_the_secret_and_start_training_with_basic_auth(site: Site) -> None:
    (task,) = site.upload()
    query = {"project": site.project}
    (hook,) = site.call("GET", "/api/webhooks/", params=query)
    annotation = {"result": [rectangle("x")]}
    site.call("POST", f"/api/tasks/{task}/annotations/", json=annotation)
    assert "ANNOTATION_CREATED" not in events(site)
    headers = {WEBHOOK_SECRET_HEADER: "the webhook's secret"}
    change = {"headers": headers, "send_for_all_actions": True}
    site.call("PATCH", f"/api/webhooks/{hook['id']}/", params=query, json=change)
    started = time.monotonic()
    site.call("POST", f"/api/tasks/{task}/annotations/", json=annotation)
    assert time.monotonic() - started < 1.0
    wait_for(lambda: "ANNOTATION_CREATED" in events(site))
    site.call("POST", f"/api/ml/{site.backend['id']}/train", json={})
    wait_for(lambda: "START_TRAINING" in events(site))
