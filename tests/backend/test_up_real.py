"""`regiontext up` as a user runs it, on a real Label Studio; the model is a stand-in that answers at once."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from backend.up.ports import holder
from tests.label_studio_server import free_port

pytestmark = [pytest.mark.label_studio, pytest.mark.timeout(900)]

READY = "Ctrl-C stops everything"


@pytest.fixture(scope="module")
def model_url() -> Iterator[str]:
    """An OpenAI-compatible server with one model."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"object": "list", "data": [{"id": "stand-in", "object": "model"}]})
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


@pytest.fixture
def start() -> Iterator[Callable[..., Up]]:
    """Starts `regiontext up`; whatever still runs when the test ends is stopped."""
    runs: list[Up] = []

    def begin(data_dir: Path, *arguments: str) -> Up:
        runs.append(Up(data_dir, *arguments))
        return runs[-1]

    yield begin
    for run in runs:
        if run.process.poll() is None:
            run.stop(signal.SIGTERM)


class Up:
    """One run of `regiontext up` with its output in a file."""

    def __init__(self, data_dir: Path, *arguments: str) -> None:
        self.output = data_dir.with_name(f"{data_dir.name}-{time.monotonic_ns()}.out")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("REGIONTEXT_")}
        self.began = time.monotonic()
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "backend.cli",
                    "up",
                    "--data-dir",
                    str(data_dir),
                    *arguments,
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment | {"NO_COLOR": "1"},
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        return self.output.read_text(errors="replace")

    def until_ready(self, seconds: float = 400) -> float:
        """Return the seconds until everything ran."""
        while time.monotonic() - self.began < seconds:
            if READY in self.text:
                return time.monotonic() - self.began
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        self.process.kill()
        raise AssertionError(self.text)

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def stop(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


def _gone(processes: list[psutil.Process], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes):
            return True
        time.sleep(0.1)
    return False


def _state(url: str, token: str) -> dict[str, Any]:
    with httpx.Client(
        base_url=url, headers={"Authorization": f"Token {token}"}, timeout=30
    ) as http:
        (project,) = http.get("/api/projects/", params={"title": "regiontext demo"}).json()[
            "results"
        ]
        tasks = http.get("/api/tasks/", params={"project": project["id"], "fields": "all"}).json()
        return {
            "project": project["id"],
            "model_version": project["model_version"],
            "tasks": [(t["id"], t["data"]["image"]) for t in tasks["tasks"]],
            "boxes": [t["id"] for t in tasks["tasks"] if t["total_predictions"]],
            "backends": http.get("/api/ml", params={"project": project["id"]}).json(),
            "webhooks": http.get("/api/webhooks/", params={"project": project["id"]}).json(),
        }


def _logged_in(url: str, password: str) -> bool:
    """Whether the login form takes the password; checks on the way that no page calls outside."""
    with httpx.Client(base_url=url, follow_redirects=True) as browser:
        page = browser.get("/user/login/").text
        csrf = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert csrf is not None
        form = {"email": "annotator@regiontext.local", "password": password}
        browser.post(
            "/user/login/",
            data=form | {"csrfmiddlewaretoken": csrf[1]},
            headers={"Referer": f"{url}/user/login/"},
        )
        if browser.get("/api/current-user/whoami").status_code != 200:
            return False
        assert "sentry_dsn: null" in browser.get("/projects/").text
        return True


def test_start_stop_start_again_kill(
    tmp_path: Path, model_url: str, start: Callable[..., Up]
) -> None:
    studio, backend = free_port(), free_port()
    data = tmp_path / "data"
    arguments = (
        *("--label-studio-port", str(studio), "--port", str(backend)),
        *("--model-url", model_url, "--no-browser"),
    )
    url = f"http://127.0.0.1:{studio}"

    first = start(data, *arguments)
    first.until_ready()
    kept_file = data / "credentials.json"
    assert stat.S_IMODE(kept_file.stat().st_mode) == 0o600
    kept = json.loads(kept_file.read_text())
    password, token = kept["account"]["password"], kept["account"]["token"]
    assert password in first.text and token not in first.text
    assert f"http://localhost:{studio}/projects/" in first.text
    before = _state(url, token)
    assert len(before["tasks"]) == 12
    assert before["boxes"] == [number for number, _ in before["tasks"][-4:]]
    (entry,) = before["backends"]
    assert entry["is_interactive"] and entry["state"] == "CO"
    (hook,) = before["webhooks"]
    assert hook["headers"] == {"X-Regiontext-Secret": kept["webhook_secret"]}
    assert _logged_in(url, password)
    assert not _logged_in(url, "wrong")
    assert httpx.get(f"{url}/heidi-tips").status_code == 404

    busy = start(tmp_path / "other", *arguments)
    assert busy.process.wait(60) == 1
    assert busy.text.count("\n") == 1
    assert f"port {studio}" in busy.text and "--label-studio-port" in busy.text
    twice = start(data, *arguments)
    assert twice.process.wait(60) == 1
    assert "already runs" in twice.text and twice.text.count("\n") == 1

    family = first.family()
    assert first.stop(signal.SIGINT) == 0
    assert _gone(family, 1)
    assert first.text.index("stopping backend") < first.text.index("stopping Label Studio")

    second = start(data, *arguments)
    second.until_ready()
    assert password not in second.text
    after = _state(url, token)
    for entry in (*before["backends"], *after["backends"], *before["webhooks"], *after["webhooks"]):
        entry.pop("updated_at")
    assert after == before

    family = second.family()
    second.process.kill()
    second.process.wait()
    assert _gone(family, 15)

    # Lost keys are made anew, and what Label Studio holds is found again.
    kept_file.unlink()
    third = start(data, *arguments)
    third.until_ready()
    renewed = json.loads(kept_file.read_text())["account"]
    assert renewed["password"] in third.text and renewed["token"] != token
    found = _state(url, renewed["token"])
    assert (found["project"], found["tasks"]) == (before["project"], before["tasks"])
    assert _logged_in(url, renewed["password"])
    assert not _logged_in(url, password)
    family = third.family()
    (child,) = [p for p in family if "serve" in p.cmdline()]
    child.kill()
    assert third.process.wait(60) == 1
    assert "backend was killed by SIGKILL" in third.text and "backend.log" in third.text
    assert _gone(family, 1)


def test_an_existing_label_studio_is_used_and_left_running(
    label_studio: Any, tmp_path: Path, model_url: str, start: Callable[..., Up]
) -> None:
    backend = free_port()
    arguments = (
        *("--label-studio-url", label_studio.url, "--api-key", label_studio.token),
        *("--model-url", model_url, "--no-browser"),
    )
    first = start(tmp_path / "data", *arguments, "--port", str(backend))
    first.until_ready()
    before = _state(label_studio.url, label_studio.token)
    assert len(before["tasks"]) == 12 and len(before["boxes"]) == 4
    assert not any("label_studio.server" in p.cmdline() for p in first.family())
    assert first.stop(signal.SIGTERM) == 0
    assert httpx.get(f"{label_studio.url}/health").status_code == 200
    assert holder(backend) == ""

    # The key is remembered, the backend moves to another port, and nothing is made twice.
    moved = free_port()
    second = start(tmp_path / "data", *arguments[:2], *arguments[4:], "--port", str(moved))
    second.until_ready()
    after = _state(label_studio.url, label_studio.token)
    assert second.stop(signal.SIGTERM) == 0
    assert (after["project"], after["tasks"]) == (before["project"], before["tasks"])
    (entry,), (hook,) = after["backends"], after["webhooks"]
    assert entry["url"] == f"http://127.0.0.1:{moved}"
    assert hook["url"] == f"http://127.0.0.1:{moved}/webhook"
    assert "the backend moved" in second.text
