"""The HTTP API around the answers: keys, limits, ids, metrics, a full queue, starting and stopping."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest

from model_server.batches import Job
from model_server.engine import Engine
from model_server.folder import find_model
from model_server.jobs import Answer, Prompt
from model_server.protocol.messages import ImageLimits
from tests.model_server.conftest import ask, messages, picture, serving, wait_ready

pytestmark = pytest.mark.model


def test_key_and_limits(tiny_folder: Path) -> None:
    folder = find_model(tiny_folder)
    engine = Engine(lambda: _Echo(), base="tiny")
    limits = ImageLimits(max_bytes=2000, max_pixels=400, max_images=1)
    with serving(engine, folder, api_key="secret", limits=limits, max_body_bytes=20_000) as url:
        wait_ready(url)
        assert httpx.get(f"{url}/v1/models").status_code == 401
        headers = {"Authorization": "Bearer secret"}
        assert httpx.get(f"{url}/v1/models", headers=headers).status_code == 200

        def post(*pictures: object) -> httpx.Response:
            body = {"model": "tiny", "messages": messages("a", *pictures)}
            return httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers)

        assert post(picture(0, (10, 10))).status_code == 500  # _Echo does not answer
        assert "pixels" in post(picture(0, (25, 25))).json()["error"]["message"]
        assert post(picture(0, (50, 50))).json()["error"]["code"] == "image_too_large"
        two = post(picture(0, (5, 5)), picture(0, (5, 5))).json()["error"]
        assert two["code"] == "too_many_images"
        assert two["param"] == "messages[0].content[1].image_url.url"
        assert post(picture(0, (100, 90))).status_code == 413


def test_adapters_may_have_a_key_of_their_own(tiny_folder: Path) -> None:
    engine = Engine(lambda: _Echo(), base="tiny")
    with serving(engine, find_model(tiny_folder), api_key="user", admin_key="admin") as url:
        wait_ready(url)

        def status(key: str, method: str, path: str, body: object = None) -> int:
            headers = {"Authorization": f"Bearer {key}"}
            return httpx.request(method, url + path, json=body, headers=headers).status_code

        load = ("POST", "/v1/load_lora_adapter", {"lora_name": "a", "lora_path": "/nowhere"})
        assert status("user", "GET", "/v1/models") == status("admin", "GET", "/v1/models") == 200
        assert status("user", *load) == 401
        assert status("admin", *load) == 200  # _Echo takes anything


def test_a_request_gets_its_own_id_back(server: str) -> None:
    named = httpx.get(f"{server}/health", headers={"X-Request-Id": "abc-1"})
    assert named.headers["X-Request-Id"] == "abc-1"
    assert "X-Request-Id" not in httpx.get(f"{server}/health").headers


def test_metrics(client: openai.OpenAI, server: str) -> None:
    def value(name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", httpx.get(f"{server}/metrics").text, re.M)
        return float(found[1]) if found else 0.0

    names = [
        'model_server_requests_total{route="/v1/chat/completions",status="200"}',
        'model_server_requests_total{route="/v1/chat/completions",status="404"}',
        'model_server_stage_seconds_count{stage="receive"}',
        'model_server_stage_seconds_count{stage="prepare"}',
        'model_server_stage_seconds_count{stage="queue"}',
        'model_server_stage_seconds_count{stage="answer"}',
        "model_server_batch_size_count",
        'model_server_pictures_total{memory="miss"}',
        'model_server_pictures_total{memory="hit"}',
    ]
    before = [value(name) for name in names]
    ask(client, seed=91)
    ask(client, "a", seed=91)
    with pytest.raises(openai.NotFoundError):
        ask(client, model="other")
    assert [value(name) - was for name, was in zip(names, before, strict=True)] == [
        *(2, 1, 2, 2, 2, 2, 2),
        *(1, 1),
    ]
    assert value("model_server_waiting") == 0
    assert value('model_server_tokens_total{kind="prompt"}') > 0


def test_a_full_queue_and_a_client_that_goes_away(tiny_folder: Path) -> None:
    model = _Held()
    engine = Engine(lambda: model, base="tiny", max_waiting=1)
    body = {"model": "tiny", "messages": messages("a")}
    with serving(engine, find_model(tiny_folder)) as url, ThreadPoolExecutor(2) as pool:
        wait_ready(url)

        def post(timeout_s: float = 20) -> httpx.Response:
            return httpx.post(f"{url}/v1/chat/completions", json=body, timeout=timeout_s)

        first = pool.submit(post)
        assert model.busy.wait(10)
        with pytest.raises(httpx.ReadTimeout):
            post(0.3)  # queued, and gone before its turn
        second = pool.submit(post)
        while engine.waiting() < 1:
            time.sleep(0.01)
        full = post()
        assert full.status_code == 429 and full.headers["retry-after"] == "1"
        assert full.json()["error"]["code"] == "queue_full"
        model.go.set()
        assert first.result(10).status_code == second.result(10).status_code == 200
    assert model.answered == 2


def test_port_opens_before_the_model_is_loaded(tiny_folder: Path) -> None:
    folder = find_model(tiny_folder)
    go = threading.Event()

    def slow() -> _Echo:
        go.wait(20)
        raise OSError("disk\non fire")

    failed = threading.Event()
    engine = Engine(slow, base="tiny", on_failed=failed.set)
    with serving(engine, folder) as url:
        assert httpx.get(f"{url}/health").status_code == 200
        assert httpx.get(f"{url}/ready").status_code == 503
        assert httpx.get(f"{url}/v1/models").json()["data"][0]["id"] == "tiny"
        body = {"model": "tiny", "messages": messages("a")}
        early = httpx.post(f"{url}/v1/chat/completions", json=body)
        assert early.status_code == 503
        assert early.json()["error"]["code"] == "model_loading"
        assert early.headers["retry-after"]
        go.set()
        assert failed.wait(5)
        assert httpx.get(f"{url}/health").status_code == 200
        assert httpx.get(f"{url}/ready").json() == {"status": "failed", "error": "disk on fire"}


class _Echo:
    """A model that leaves every job unanswered."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.limit = 99

    def prepare(self, prompt: Prompt) -> None:
        for one in prompt.images:
            one.load()

    def group(self, job: object) -> None: ...

    def answer(self, jobs: object) -> None:
        """Answer nothing."""

    def load_adapter(self, name: str, path: Path) -> None: ...

    def unload_adapter(self, name: str) -> None: ...


class _Held(_Echo):
    """Answers when it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.busy, self.go = threading.Event(), threading.Event()
        self.answered = 0

    def answer(self, jobs: Sequence[Job]) -> None:
        self.busy.set()
        assert self.go.wait(20)
        self.answered += len(jobs)
        for job in jobs:
            job.future.set_result(Answer("red", (), "stop", 1))
