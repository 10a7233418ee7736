"""What every request passes: its id goes in, through to the model, and out again; it is counted and logged."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from PIL import Image

from backend.guard import Guard
from backend.logs import request_context
from backend.metrics import Metrics
from backend.model_client import ModelClient
from backend.settings import Settings
from tests.backend.conftest import SetStage


def test_a_request_names_itself_and_is_told_its_name(set_stage: SetStage) -> None:
    stage = set_stage()
    assert (
        stage.http.get("/health", headers={"X-Request-Id": "abc-1"}).headers["X-Request-Id"]
        == "abc-1"
    )
    mine = [stage.http.get("/health").headers["X-Request-Id"] for _ in range(2)]
    assert all(name.isalnum() for name in mine) and mine[0] != mine[1]


def test_refused_requests_have_a_name_and_are_logged(
    set_stage: SetStage, caplog: pytest.LogCaptureFixture
) -> None:
    stage = set_stage(basic_auth_user="ann", basic_auth_password="s3cret")
    with caplog.at_level(logging.INFO, logger="backend.guard"):
        refused = stage.http.post("/predict", json={}, headers={"X-Request-Id": "abc-2"})
    assert refused.status_code == 401 and refused.headers["X-Request-Id"] == "abc-2"
    (record,) = [r for r in caplog.records if r.name == "backend.guard"]
    assert record.getMessage() == "POST /predict" and record.__dict__["status"] == 401
    assert record.__dict__["ms"] >= 0


async def _call(app: Any, **headers: str) -> list[dict[str, Any]]:
    """What a guarded app sends, whether it ends or breaks off."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    state = SimpleNamespace(backend=SimpleNamespace(assistant=SimpleNamespace(metrics=Metrics())))
    scope = {
        "type": "http", "method": "GET", "path": "/versions", "app": SimpleNamespace(state=state),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    guard = Guard(app, settings=Settings(_env_file=None))  # type: ignore[call-arg]
    with suppress(ZeroDivisionError):
        await guard(scope, receive, send)
    return sent


def test_a_crash_is_logged_and_answered_under_its_request(caplog: pytest.LogCaptureFixture) -> None:
    async def crashes(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    with caplog.at_level(logging.INFO, logger="backend.guard"):
        sent = asyncio.run(_call(crashes, **{"x-request-id": "abc-4"}))
    assert sent[0]["status"] == 500 and (b"x-request-id", b"abc-4") in sent[0]["headers"]
    assert b"internal error" in sent[1]["body"]
    failed, answered = (r for r in caplog.records if r.name == "backend.guard")
    assert failed.exc_info and failed.getMessage() == "GET /versions failed"
    assert answered.__dict__["status"] == 500


def test_an_answer_that_breaks_off_is_not_given_a_second_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def breaks(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ZeroDivisionError

    sent = asyncio.run(_call(breaks))
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert any("failed" in record.getMessage() for record in caplog.records)


def test_whoever_calls_cannot_invent_time_series(set_stage: SetStage) -> None:
    stage = set_stage()
    for path in ("/nowhere/1", "/nowhere/2", "/jobs/7", "/report/x"):
        stage.http.get(path)
    told = stage.http.get("/metrics").text
    assert "nowhere" not in told and "/jobs/7" not in told
    assert 'route="other"' in told and 'route="/jobs"' in told and 'route="/report"' in told


def test_the_model_is_told_which_request_a_question_belongs_to() -> None:
    heard: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        heard.append(request.headers.get("X-Request-Id"))
        choice = {"message": {"content": "a red car"}}
        return httpx.Response(200, json={"model": "m", "choices": [choice]})

    async def ask() -> None:
        async with ModelClient("http://m/v1", transport=httpx.MockTransport(answer)) as client:
            picture = Image.new("RGB", (4, 4))
            with request_context("abc-3"):
                await asyncio.gather(
                    client.ask([picture], "?", model="m"),
                    client.ask([picture], "?", model="m", told=lambda _: None),
                )
            await client.ask([picture], "?", model="m")

    asyncio.run(ask())
    *own, outside = heard
    # A name for each: vLLM refuses a second of the same while the first is being answered.
    assert len({*own}) == 2 and all(str(name).startswith("abc-3-") for name in own)
    assert outside is None
