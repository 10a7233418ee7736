"""What a client is told about a request that cannot be answered, and what others notice of it."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from model_server.engine import Engine
from model_server.errors import brief
from model_server.folder import ModelFolder
from model_server.protocol.fetch import Fetcher
from tests.model_server.conftest import messages, picture, serving, wait_ready
from tests.model_server.test_engine import FakeModel

pytestmark = pytest.mark.model

FOLDER = ModelFolder(source="nowhere", name="base")
LONG = "a long word " * 10_000


@pytest.fixture
def engine() -> Engine:
    return Engine(FakeModel, base="base", patience_s=30)


@pytest.fixture
def url(engine: Engine) -> Iterator[str]:
    with serving(engine, FOLDER) as url:
        wait_ready(url)
        yield url


def asked(url: str, **change: Any) -> httpx.Response:
    body = {"model": "base", "messages": messages("a"), **change}
    return httpx.post(f"{url}/v1/chat/completions", json=body, timeout=20)


def address(url: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "an address": ({"messages": address("http://[")}, "messages[0].content[0].image_url.url"),
    "a message": ({"messages": [LONG]}, "messages[0]"),
    "a role": ({"messages": [{"role": LONG, "content": "a"}]}, "messages[0].role"),
    "content": ({"messages": [{"role": "user", "content": {"a": LONG}}]}, "messages[0].content"),
    "deep content": (
        {"messages": [{"role": "user", "content": {"a": [{str(n): [LONG]} for n in range(99)]}}]},
        "messages[0].content",
    ),
    "a part": (
        {"messages": [{"role": "user", "content": [{"type": LONG}]}]},
        "messages[0].content[0].type",
    ),
    "an option": (
        {"structured_outputs": {"choice": [LONG, LONG]}},
        "structured_outputs.choice",
    ),
    "a schema": ({"structured_outputs": {"json": 5}}, "structured_outputs.json"),
    "a number": ({"max_tokens": LONG}, "max_tokens"),
    "a field": ({LONG: 1}, LONG[:200]),
    "alternatives": ({"top_logprobs": 3}, "top_logprobs"),
}


def test_a_refusal_names_the_field_and_echoes_little(url: str) -> None:
    for name, (change, param) in BAD.items():
        response = asked(url, **change)
        assert response.status_code == 400, (name, response.text)
        error = response.json()["error"]
        assert (error["param"], error["type"]) == (param, "invalid_request_error"), name
        assert len(error["message"]) < 400, name
    unknown = asked(url, model=LONG)
    assert unknown.status_code == 404 and len(unknown.json()["error"]["message"]) < 300
    assert asked(url, top_logprobs=0).status_code == 200
    assert asked(url, top_logprobs=3, logprobs=True).status_code == 200


def test_a_value_is_echoed_as_it_is_or_shortened() -> None:
    assert brief("tool") == "'tool'" and brief(None) == "None"
    assert brief({"type": "audio"}) == "{'type': 'audio'}"
    for value in (LONG, [LONG] * 9, {"a": {"b": LONG}}, {LONG: [[[[1]]]]}):
        assert 20 < len(brief(value, 80)) <= 80


def test_what_nobody_has_foreseen_is_told_in_openais_shape(
    engine: Engine, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> dict[str, Path]:
        raise RuntimeError("a secret")

    monkeypatch.setattr(engine, "adapters", fail)
    response = httpx.get(f"{url}/v1/models", headers={"X-Request-Id": "abc"})
    assert response.status_code == 500 and response.headers["X-Request-Id"] == "abc"
    error = response.json()["error"]
    assert (error["type"], error["code"]) == ("server_error", "internal_error")
    assert "secret" not in error["message"] and "a secret" in caplog.text
    counted = 'model_server_requests_total{route="/v1/models",status="500"} 1.0'
    assert counted in httpx.get(f"{url}/metrics").text


def test_an_adapter_may_be_named_after_its_base(engine: Engine, url: str) -> None:
    for name in ("red", "base:0001"):
        engine.load_adapter(name, Path(name)).result(5)
    said = {
        model: asked(url, model=model).json()["choices"][0]["message"]["content"]
        for model in ("base", "red", "base:red", "base:0001")
    }
    assert said == {"base": "None", "red": "red", "base:red": "red", "base:0001": "base:0001"}
    for model in ("0001", "base:", "base:base", "base:base:red", "other:red"):
        assert asked(url, model=model).status_code == 404, model


def test_slow_hosts_hold_up_nobody_else(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()

    def found(host: str, port: int, **_: object) -> list[tuple]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", port))]

    async def answer(request: httpx.Request) -> httpx.Response:
        while not go.is_set():
            await asyncio.sleep(0.01)
        return httpx.Response(200, content=b"bytes")

    transport = httpx.MockTransport(answer)
    fetcher = Fetcher(["slow.example"], transport=transport, deadline_s=60)
    with serving(engine, FOLDER, fetcher=fetcher) as url, ThreadPoolExecutor(8) as pool:
        wait_ready(url)
        port = int(url.rpartition(":")[2])
        real = socket.getaddrinfo
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda host, to, *rest, **more: (
                real(host, to, *rest, **more) if to == port else found(host, to)
            ),
        )
        slow = address("http://slow.example/a.png")
        waiting = [pool.submit(asked, url, messages=slow) for _ in range(8)]
        try:
            while list(engine._coming.values()).count(None) < len(waiting):
                time.sleep(0.01)
            began = time.monotonic()
            assert asked(url, messages=messages("a", picture(0))).status_code == 200
            assert time.monotonic() - began < 10  # the engine's patience is 30 s
            while engine.load() > len(waiting):  # closed right after the answer is there
                time.sleep(0.01)
            assert engine.waiting() == len(waiting)
        finally:
            go.set()
        assert [one.result().status_code for one in waiting] == [200] * len(waiting)
        assert engine.waiting() == 0


def test_a_body_that_stalls_gives_its_place_back(engine: Engine) -> None:
    with serving(engine, FOLDER, stall_s=0.3) as url:
        wait_ready(url)
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            head = "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n"
            connection.sendall(head.encode() + b'{"model"')
            while engine.waiting() == 0:
                time.sleep(0.005)
            said = connection.recv(65536)
        assert said.startswith(b"HTTP/1.1 408") and b"body_stalled" in said
        while engine.waiting():
            time.sleep(0.005)
