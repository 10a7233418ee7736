"""A whole backend with stand-ins for its neighbours."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from backend.app import create_app
from backend.protocol import Backend
from backend.settings import Settings
from backend.store import Store
from tests.backend.database import empty_database
from tests.backend.stubs import StubHost, StubModel


@pytest.fixture
def database_url(tmp_path: Path) -> Iterator[str]:
    """An empty database: SQLite, or the PostgreSQL of REGIONTEXT_TEST_DATABASE_URL."""
    with empty_database(tmp_path) as url:
        yield url


@dataclass
class Stage:
    """A running backend and what stands around it."""

    http: TestClient
    model: StubModel
    host: StubHost
    settings: Settings

    @property
    def backend(self) -> Backend:
        backend: Backend = self.http.app.state.backend  # type: ignore[attr-defined]
        return backend

    @property
    def store(self) -> Store:
        return self.backend.store

    def predict(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        """The results of an interactive call; empty for null."""
        response = self.http.post("/predict", json=body)
        assert response.status_code == 200, response.text
        results = response.json()["results"]
        assert len(results) == 1
        assert results[0]["result"] != [], "at an empty list the page deletes whatever waits"
        found: list[dict[str, Any]] = results[0]["result"] or []
        return found


SetStage = Callable[..., Stage]


@pytest.fixture
def set_stage(tmp_path: Path, database_url: str) -> Iterator[SetStage]:
    """`set_stage(stub=…, host=…, **settings)` starts a backend; nothing is held back unless a test asks for it."""
    with ExitStack() as stack:

        def start(
            *,
            stub: StubModel | None = None,
            host: StubHost | None = None,
            processor: Any = None,
            **given: Any,
        ) -> Stage:
            model, host = stub or StubModel(), host or StubHost()
            values: dict[str, Any] = {
                "label_studio_url": "http://label-studio:8080",
                "label_studio_api_key": host.token,
                "model_url": "http://model:9200/v1",
                "data_dir": tmp_path / "data",
                "database_url": database_url,
                "holdout": 0.0,
                "control": 0.0,
                "_env_file": None,
            }
            settings = Settings(**(values | given))
            app = create_app(
                settings,
                model_transport=model.transport(),
                image_transport=host.transport(),
                processor=processor or (lambda *_: None),
            )
            http = stack.enter_context(TestClient(app, raise_server_exceptions=False))
            return Stage(http, model, host, settings)

        yield start


@pytest.fixture(autouse=True)
def no_own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the developer's shell says about Label Studio must not reach a test."""
    for name in ("LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"REGIONTEXT_{name}", raising=False)


@pytest.fixture
def drawn(payload: Callable[[str], Any]) -> dict[str, Any]:
    """A smart rectangle drawn away from everything else, on a task with a polygon and an ellipse in the draft."""
    body: dict[str, Any] = copy.deepcopy(payload("request_predict_interactive_with_draft")["body"])
    body["params"]["context"]["result"][0]["value"] |= {"x": 5, "y": 60, "width": 20, "height": 20}
    return body


@pytest.fixture
def open_click(payload: Callable[[str], Any]) -> dict[str, Any]:
    """The recorded smart keypoint, moved to where no region is."""
    body: dict[str, Any] = copy.deepcopy(payload("request_predict_interactive_keypoint")["body"])
    body["params"]["context"]["result"][0]["value"] |= {"x": 20.0, "y": 75.0}
    return body
