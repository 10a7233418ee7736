"""The plugin in a Label Studio of its own, with plugin.settings and a sub-path: who may ask, and what is passed on.

That Label Studio runs on PostgreSQL where there is one; the browser tests' runs on SQLite.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.label_studio_server import LabelStudioServer, running_label_studio
from tests.plugin.postgres import running_postgres

pytestmark = [pytest.mark.label_studio, pytest.mark.timeout(600)]

SECRET = "known to both sides only"
LINES = [{"event": "text", "field": "caption", "text": "a"}, {"event": "done"}]
CONFIG = (
    '<View><Image name="image" value="$image"/>'
    '<RectangleLabels name="box" toName="image"><Label value="A"/></RectangleLabels></View>'
)


@dataclass
class Backend:
    """What the plugin sent, and how it is answered."""

    url: str = ""
    status: int = 200
    asked: list[tuple[str, str | None, dict[str, Any]]] = field(default_factory=list)


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    known = Backend()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer({"status": "UP"})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            known.asked.append((self.path, self.headers.get("X-Regiontext-Assist"), body))
            if self.path.startswith("/assist"):
                self.answer(*LINES)
            else:
                self.answer({"model_version": "m", "results": [{"result": []}]})

        def answer(self, *lines: dict[str, Any]) -> None:
            self.send_response(known.status)
            self.end_headers()
            for line in lines:
                self.wfile.write(json.dumps(line).encode() + b"\n")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    known.url = f"http://127.0.0.1:{server.server_port}"
    yield known
    server.shutdown()


@pytest.fixture(scope="module")
def database() -> Iterator[Mapping[str, str] | None]:
    with running_postgres() as variables:
        yield variables


@pytest.fixture(scope="module")
def site(
    backend: Backend,
    database: Mapping[str, str] | None,
    tmp_path_factory: pytest.TempPathFactory,
    label_studio_tables: Path,
) -> Iterator[LabelStudioServer]:
    more = dict(database or {}) | {
        "DJANGO_SETTINGS_MODULE": "plugin.settings",
        "REGIONTEXT_BACKEND_URL": backend.url + "/",
        "REGIONTEXT_ASSIST_SECRET": SECRET,
    }
    folder = tmp_path_factory.mktemp("label-studio")
    tables = None if database else label_studio_tables
    with running_label_studio(folder, database=tables, sub_path="/label", more=more) as server:
        yield server


@pytest.fixture(scope="module")
def task(site: LabelStudioServer) -> dict[str, int]:
    with httpx.Client(base_url=site.url, headers=site.headers, timeout=60) as api:
        made = api.post("/api/projects/", json={"title": "tasks", "label_config": CONFIG}).json()
        body = {"project": made["id"], "data": {"image": "https://example.com/a.png"}}
        return {"id": api.post("/api/tasks/", json=body).json()["id"], "project": made["id"]}


@pytest.fixture(scope="module")
def signed_in(site: LabelStudioServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=site.url, timeout=60) as client:
        form = client.get("/user/login/").text
        found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form)
        assert found
        body = {"email": site.email, "password": site.password, "csrfmiddlewaretoken": found[1]}
        answer = client.post("/user/login/", data=body)
        assert answer.status_code == 302
        yield client


@pytest.fixture
def page(signed_in: httpx.Client) -> str:
    return signed_in.get("/projects/").text


def attribute(page: str, name: str) -> str:
    tag = re.search(r'<script [^>]*id="regiontext"[^>]*>', page)
    assert tag, "the script is not in the page"
    found = re.search(rf'{name}="([^"]*)"', tag[0])
    return found[1] if found else ""


def ask(client: httpx.Client, page: str, body: Any, **headers: str) -> httpx.Response:
    given = {"X-CSRFToken": attribute(page, "data-csrf")} | headers
    return client.post("/regiontext/assist", json=body, headers=given)


def test_the_pages_of_projects_carry_the_script(signed_in: httpx.Client, page: str) -> None:
    assert page.count('id="regiontext"') == 1
    assert SECRET not in page
    # Behind a sub-path, the proxy takes it away again.
    src = attribute(page, "src")
    assert src.startswith("/label/regiontext/page/") and src.endswith("/main.js")
    main = signed_in.get(src.removeprefix("/label"))
    assert main.status_code == 200 and main.headers["Content-Type"].startswith("text/javascript")
    assert "immutable" in main.headers["Cache-Control"]
    (styles,) = re.findall(r'<link rel="stylesheet" href="([^"]*/card.css)">', page)
    assert styles == src.replace("main.js", "card.css")
    assert (
        signed_in.get(styles.removeprefix("/label")).headers["Content-Type"].startswith("text/css")
    )
    policy = signed_in.get("/projects/").headers.get("Content-Security-Policy-Report-Only", "")
    assert not policy or "nonce-" in policy


def test_other_pages_and_answers_do_not(site: LabelStudioServer, signed_in: httpx.Client) -> None:
    with httpx.Client(base_url=site.url, timeout=60) as stranger:
        assert 'id="regiontext"' not in stranger.get("/user/login/").text
    for path in ("/user/account", "/api/projects/", "/health"):
        assert 'id="regiontext"' not in signed_in.get(path, follow_redirects=False).text


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fsettings.py", "package.json"])
def test_only_the_files_of_the_page_are_served(signed_in: httpx.Client, name: str) -> None:
    assert signed_in.get(f"/regiontext/page/x/{name}").status_code == 404


def test_what_is_passed_on_is_read_here_not_taken_from_the_page(
    signed_in: httpx.Client, page: str, task: dict[str, int], backend: Backend
) -> None:
    backend.asked.clear()
    body = {
        "task": task["id"],
        "region": "r",
        "results": [{"id": "r"}],
        "wish": "shorter",
        "project": "99.1",
        "label_config": "<View/>",
        "user": {"id": 77},
    }
    answer = ask(signed_in, page, body)
    assert answer.status_code == 200
    assert [json.loads(line) for line in answer.text.splitlines()] == LINES
    assert answer.headers["X-Accel-Buffering"] == "no"
    ((path, secret, passed),) = backend.asked
    assert path == "/assist" and secret == SECRET
    assert passed["task"] == {"id": task["id"], "data": {"image": "https://example.com/a.png"}}
    assert passed["label_config"] == CONFIG and passed["wish"] == "shorter"
    assert re.fullmatch(rf"{task['project']}\.\d{{9,11}}", passed["project"])
    assert passed["user"] == {"id": int(attribute(page, "data-user"))}


def test_a_suggestion_comes_through_on_postgresql(
    signed_in: httpx.Client,
    page: str,
    task: dict[str, int],
    site: LabelStudioServer,
    database: Mapping[str, str] | None,
) -> None:
    if database is None:
        pytest.skip("PostgreSQL is not installed here: this Label Studio runs on SQLite")
    assert not list(site.data_dir.glob("*.sqlite3"))
    address = {"host": database["POSTGRE_HOST"], "port": database["POSTGRE_PORT"]}
    with psycopg.connect(**address, user="postgres", dbname="postgres") as server:  # type: ignore[arg-type]
        (found,) = server.execute("SELECT project_id FROM task WHERE id = %s", [task["id"]])
    assert found == (task["project"],)
    answer = ask(signed_in, page, {"task": task["id"], "region": "r", "results": [{"id": "r"}]})
    assert [json.loads(line) for line in answer.text.splitlines()] == LINES


def test_smart_tools_tell_the_backend_who_draws(
    signed_in: httpx.Client,
    site: LabelStudioServer,
    page: str,
    task: dict[str, int],
    backend: Backend,
) -> None:
    with httpx.Client(base_url=site.url, headers=site.headers, timeout=60) as api:
        body = {"project": task["project"], "url": backend.url, "is_interactive": True}
        made = api.post("/api/ml/", json=body | {"title": "ours"}).json()
    backend.asked.clear()
    context = {"result": [], "regiontext_page": "somebody else"}
    answer = signed_in.post(
        f"/api/ml/{made['id']}/interactive-annotating",
        json={"task": task["id"], "context": context},
        headers={"X-CSRFToken": attribute(page, "data-csrf")},
    )
    assert answer.json() == {"data": {"result": []}}
    ((path, _, asked),) = backend.asked
    assert path == "/predict" and asked["params"]["context"]["result"] == []
    assert asked["params"]["context"]["regiontext_page"] == f"user {attribute(page, 'data-user')}"


def test_strangers_and_forged_requests_do_not_get_through(
    site: LabelStudioServer,
    signed_in: httpx.Client,
    page: str,
    task: dict[str, int],
    backend: Backend,
) -> None:
    backend.asked.clear()
    body = {"task": task["id"], "region": "r", "results": []}
    assert signed_in.post("/regiontext/assist", json=body).status_code == 403
    assert ask(signed_in, page, body, **{"X-CSRFToken": "x" * 64}).status_code == 403
    with httpx.Client(base_url=site.url, timeout=60) as stranger:
        assert stranger.post("/regiontext/assist", json=body).status_code in (401, 403)
        token = {"X-CSRFToken": "a" * 64, "Cookie": f"csrftoken={'a' * 64}"}
        assert stranger.post("/regiontext/assist", json=body, headers=token).status_code in (401, 403)  # fmt: skip
    assert signed_in.get("/regiontext/assist").status_code == 405
    assert not backend.asked


@pytest.mark.parametrize(
    ("body", "status"), [({"task": 9_999_999}, 404), ({"task": "1"}, 400), ([], 400)]
)
def test_what_cannot_be_answered_is_refused(
    signed_in: httpx.Client, page: str, body: Any, status: int
) -> None:
    assert ask(signed_in, page, body).status_code == status


def test_a_backend_that_refuses_is_a_line(
    signed_in: httpx.Client, page: str, task: dict[str, int], backend: Backend
) -> None:
    backend.status = 401
    try:
        answer = ask(signed_in, page, {"task": task["id"], "region": "r", "results": []})
    finally:
        backend.status = 200
    assert [json.loads(line)["event"] for line in answer.text.splitlines()] == ["away"]


@pytest.mark.parametrize("what", ["unseen", "drawn"])
def test_what_became_of_suggestions_is_passed_on(
    what: str, signed_in: httpx.Client, page: str, task: dict[str, int], backend: Backend
) -> None:
    backend.asked.clear()
    body = {"task": task["id"], "ids": ["a"]}
    headers = {"X-CSRFToken": attribute(page, "data-csrf")}
    assert signed_in.post(f"/regiontext/{what}", json=body, headers=headers).status_code == 204
    assert backend.asked == [(f"/assist/{what}", SECRET, body)]
    assert signed_in.post(f"/regiontext/{what}", json=body).status_code == 403
    assert signed_in.post("/regiontext/else", json=body, headers=headers).status_code == 404
    assert len(backend.asked) == 1
