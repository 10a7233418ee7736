"""A project of a real Label Studio, connected to a real backend that has a stub for a model."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from backend.app import create_app
from backend.label_studio import whoami
from backend.settings import Settings
from tests.backend.stubs import StubModel, photo
from tests.backend.waiting import wait_for
from tests.label_studio_server import LabelStudioServer, free_port

SECRET = "the webhook's secret"


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
        self.http, self.app, self.url, self.stub = http, app, url, stub
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

    def jobs_done(self, count: int) -> None:
        """Wait until the backend has ended `count` jobs, all of them well."""

        def states() -> list[str]:
            answer = httpx.get(f"{self.url}/jobs", auth=("ls", "pw"), timeout=30)
            return [job["state"] for job in answer.raise_for_status().json()["jobs"]]

        wait_for(lambda: states().count("done") >= count, seconds=60)
        assert states() == ["done"] * count

    def draw(self, task: int, *context: dict[str, Any]) -> list[dict[str, Any]]:
        answer = self.call(
            "POST",
            f"/api/ml/{self.backend['id']}/interactive-annotating",
            json={"task": task, "context": {"result": list(context)}},
        )
        assert "errors" not in answer, answer
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found


@cache
def personal_token(server: LabelStudioServer) -> str:
    """A personal access token, made as the Account & Settings page does; a user has one, shown whole only once."""
    with httpx.Client(base_url=server.url, follow_redirects=True) as http:
        http.get("/user/login")
        form = {"email": server.email, "password": server.password}
        csrf = http.cookies["csrftoken"]
        http.post("/user/login", data=form | {"csrfmiddlewaretoken": csrf})
        headers = {"X-CSRFToken": http.cookies["csrftoken"]}
        kinds = {"api_tokens_enabled": True, "legacy_api_tokens_enabled": True}
        http.post("/api/jwt/settings", json=kinds, headers=headers)
        made = http.post("/api/token/", headers=headers)
        assert made.status_code == 201, made.text
        return str(made.json()["token"])


@contextmanager
def running_site(
    server: LabelStudioServer, xml: str, folder: Path, stub: StubModel, **given: Any
) -> Iterator[Site]:
    """The whole thing, with nothing held back; the key is a personal access token. given: other settings."""
    with (
        serving(stub.app(), free_port()) as model,
        site_with_model_at(f"{model}/v1", server, xml, folder, stub, **given) as site,
    ):
        yield site


@contextmanager
def site_with_model_at(
    model_url: str,
    server: LabelStudioServer,
    xml: str,
    folder: Path,
    stub: StubModel,
    **given: Any,
) -> Iterator[Site]:
    """The same with a model server that somebody else starts, or nobody."""
    values = {
        "label_studio_url": server.url,
        "label_studio_api_key": personal_token(server),
        "model_url": model_url,
        "data_dir": folder,
        "holdout": 0.0,
        "control": 0.0,
        "basic_auth_user": "ls",
        "basic_auth_password": "pw",
        "webhook_secret": SECRET,
        "_env_file": None,
    }
    settings = Settings(**(values | given))
    assert whoami(settings)["email"] == server.email
    app = create_app(settings, processor=lambda *_: None)
    with (
        serving(app, free_port()) as url,
        httpx.Client(base_url=server.url, headers=server.headers, timeout=60) as http,
    ):
        yield Site(http, app, url, stub, xml)
