"""Connecting a backend to a project: made once, repaired when something is off, explained when refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from backend.connect import EVENTS, connect, describe_config
from backend.errors import LabelStudioError
from backend.label_studio_call import Refused
from backend.security import WEBHOOK_SECRET_HEADER
from backend.up.demo import template
from regiontext.errors import ConfigError
from regiontext.labelstudio.config import parse_config
from tests.backend.up_fakes import FakeLabelStudio

BACKEND = "http://127.0.0.1:9090"


@pytest.fixture
def studio() -> FakeLabelStudio:
    return FakeLabelStudio()


def _connect(studio: FakeLabelStudio, project: int, url: str = BACKEND, **options: Any) -> Any:
    options.setdefault("secret", "s3cret")
    return connect(studio.client(), project, url, **options)


def test_a_new_connection_has_an_interactive_backend_and_a_webhook_with_the_secret(
    studio: FakeLabelStudio,
) -> None:
    project = studio.add_project()
    done = _connect(studio, project)
    (backend,) = studio.backends.values()
    (hook,) = studio.hooks.values()
    assert backend["url"] == BACKEND and backend["is_interactive"] is True
    assert hook["headers"] == {WEBHOOK_SECRET_HEADER: "s3cret"}
    assert hook["url"] == f"{BACKEND}/webhook"
    assert hook["send_for_all_actions"] is False and sorted(hook["actions"]) == sorted(EVENTS)
    assert done.backend == "created" and done.project == project
    assert studio.projects[project]["model_version"] == "regiontext"


def test_connecting_again_writes_nothing(studio: FakeLabelStudio) -> None:
    project = studio.add_project()
    _connect(studio, project)
    studio.calls.clear()
    done = _connect(studio, project, f"{BACKEND}/")
    assert studio.writes == []
    assert (done.backend, done.webhook, done.changes) == ("unchanged", "unchanged", ())


def test_a_backend_that_moved_is_moved_with_its_webhook(studio: FakeLabelStudio) -> None:
    project = studio.add_project()
    _connect(studio, project, "http://127.0.0.1:9999")
    done = _connect(studio, project)
    (backend,) = studio.backends.values()
    (hook,) = studio.hooks.values()
    assert (backend["url"], hook["url"]) == (BACKEND, f"{BACKEND}/webhook")
    assert any("9999" in change for change in done.changes)


@pytest.mark.parametrize(
    ("table", "damage"),
    [
        ("backends", {"is_interactive": False}),
        ("backends", {"state": "DI", "readable_state": "Disconnected"}),
        ("backends", {"title": "somebody's name"}),
        ("hooks", {"headers": {}}),
        ("hooks", {"headers": {WEBHOOK_SECRET_HEADER: "old"}}),
        ("hooks", {"is_active": False}),
        ("hooks", {"actions": ["TASKS_CREATED"]}),
        ("hooks", {"send_for_all_actions": True}),
    ],
)
def test_whatever_is_off_is_repaired(
    studio: FakeLabelStudio, table: str, damage: dict[str, Any]
) -> None:
    project = studio.add_project()
    _connect(studio, project)
    whole = {n: dict(entry) for n, entry in getattr(studio, table).items()}
    (entry,) = getattr(studio, table).values()
    entry.update(damage)
    done = _connect(studio, project)
    assert {n: {k: v for k, v in e.items() if k != "readable_state"}
            for n, e in getattr(studio, table).items()} == whole  # fmt: skip
    assert done.changes


def test_a_missing_webhook_is_made_again(studio: FakeLabelStudio) -> None:
    project = studio.add_project()
    _connect(studio, project)
    studio.hooks.clear()
    assert _connect(studio, project).webhook == "created"
    (hook,) = studio.hooks.values()
    assert hook["headers"] == {WEBHOOK_SECRET_HEADER: "s3cret"} and hook["project"] == project


def test_second_entries_go_and_foreign_ones_stay(studio: FakeLabelStudio) -> None:
    project = studio.add_project()
    client = studio.client()
    for url, title in ((BACKEND, "regiontext"), (BACKEND, "copy"), ("http://sam:9090", "SAM")):
        client.post("/api/ml", json={"project": project, "url": url, "title": title,
                                     "is_interactive": True, "auth_method": "NONE"})  # fmt: skip
    _connect(studio, project)
    assert sorted(b["title"] for b in studio.backends.values()) == ["SAM", "regiontext"]
    assert sorted(h["url"] for h in studio.hooks.values()) == [
        f"{BACKEND}/webhook", "http://sam:9090/webhook",
    ]  # fmt: skip


def test_other_headers_of_the_webhook_are_kept(studio: FakeLabelStudio) -> None:
    project = studio.add_project()
    _connect(studio, project)
    (hook,) = studio.hooks.values()
    hook["headers"] = {"X-Proxy": "1", WEBHOOK_SECRET_HEADER.lower(): "old"}
    _connect(studio, project)
    (hook,) = studio.hooks.values()
    assert hook["headers"] == {"X-Proxy": "1", WEBHOOK_SECRET_HEADER: "s3cret"}


def test_a_model_version_chosen_by_hand_is_kept(studio: FakeLabelStudio) -> None:
    project = studio.add_project()
    studio.projects[project]["model_version"] = "mine"
    _connect(studio, project)
    assert studio.projects[project]["model_version"] == "mine"


def test_basic_auth_is_told_to_label_studio(studio: FakeLabelStudio) -> None:
    project = studio.add_project()
    _connect(studio, project, basic_auth=("user", "password"))
    (backend,) = studio.backends.values()
    assert (backend["auth_method"], backend["basic_auth_user"]) == ("BASIC_AUTH", "user")


def test_a_config_that_cannot_be_filled_changes_nothing(studio: FakeLabelStudio) -> None:
    project = studio.add_project(config='<View><Text name="t" value="$text"/></View>')
    with pytest.raises(ConfigError):
        _connect(studio, project)
    assert studio.writes == []


def test_a_project_that_is_not_there_is_said(studio: FakeLabelStudio) -> None:
    with pytest.raises(LabelStudioError, match="no project 7"):
        _connect(studio, 7)


@pytest.mark.parametrize(
    ("status", "detail", "said"),
    [
        (403, "URL resolves to a reserved network address (block: 127.0.0.0/8)",
         ["USE_DEFAULT_BANNED_SUBNETS=false", "127.0.0.0/8", BACKEND]),
        (400, f"Can't connect to ML backend {BACKEND}, health check failed.",
         ["cannot reach the backend", "--backend-url", BACKEND]),
        (401, "Invalid token.", ["does not accept the API key", "personal access token"]),
        (500, "boom", ["500", "boom"]),
    ],
)  # fmt: skip
def test_a_refusal_says_why_and_what_to_do(
    studio: FakeLabelStudio, status: int, detail: str, said: list[str]
) -> None:
    project = studio.add_project()

    def refuse(request: httpx.Request) -> httpx.Response | None:
        if request.method == "POST":
            return httpx.Response(status, json={"detail": detail})
        return None

    studio.refuse = refuse
    with pytest.raises(Refused) as caught:
        _connect(studio, project)
    assert caught.value.status == status
    assert all(part in str(caught.value) for part in said)
    assert "\n" not in str(caught.value)


def test_nobody_there_and_not_label_studio_are_told_apart(studio: FakeLabelStudio) -> None:
    def down(request: httpx.Request) -> httpx.Response | None:
        raise httpx.ConnectError("refused")

    project = studio.add_project()
    studio.refuse = down
    with pytest.raises(LabelStudioError, match="does not answer"):
        _connect(studio, project)
    studio.refuse = lambda request: httpx.Response(200, text="<html>hello")
    with pytest.raises(LabelStudioError, match="not as Label Studio does"):
        _connect(studio, project)


def test_what_will_be_filled_is_said_in_words() -> None:
    lines = "\n".join(describe_config(parse_config(template())))
    assert "caption: text for each region" in lines
    assert "material: one of plastic, striped" in lines
    assert "left of" in lines and "prompt: asks for all regions" in lines


@pytest.fixture
def stub_backend() -> Iterator[str]:
    """Something that answers Label Studio's /health and /setup."""

    class Handler(BaseHTTPRequestHandler):
        def _ok(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            answer = b'{"status": "UP", "model_version": "stub"}'
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = _ok

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.label_studio
def test_a_real_label_studio_keeps_what_was_set(label_studio: Any, stub_backend: str) -> None:
    with httpx.Client(base_url=label_studio.url, headers=label_studio.headers, timeout=30) as http:
        project = http.post(
            "/api/projects/", json={"title": "connect", "label_config": template()}
        ).json()["id"]
        first = connect(http, project, stub_backend, secret="s3cret")
        again = connect(http, project, stub_backend, secret="s3cret")
        assert (first.backend, again.backend, again.webhook) == ("created",) + ("unchanged",) * 2
        (hook,) = http.get("/api/webhooks/", params={"project": project}).json()
        assert hook["headers"] == {WEBHOOK_SECRET_HEADER: "s3cret"}
        assert sorted(hook["actions"]) == sorted(EVENTS) and not hook["send_for_all_actions"]
        (backend,) = http.get("/api/ml", params={"project": project}).json()
        assert backend["is_interactive"] and backend["state"] == "CO"
        assert http.get(f"/api/projects/{project}/").json()["model_version"] == "regiontext"

        with pytest.raises(Refused, match="cannot reach the backend"):
            connect(http, project, "http://127.0.0.1:1", secret=None)
        with pytest.raises(LabelStudioError, match="no project"):
            connect(http, 10_000, stub_backend, secret=None)
