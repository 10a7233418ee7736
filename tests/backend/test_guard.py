"""What every request passes: its id goes in, through to the model, and out again; it is counted and logged."""

from __future__ import annotations

import asyncio
import logging

import httpx
import pytest
from PIL import Image

from backend.logs import request_context
from backend.model_client import ModelClient
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
                await client.ask([picture], "?", model="m")
                await client.ask([picture], "?", model="m", told=lambda _: None)
            await client.ask([picture], "?", model="m")

    asyncio.run(ask())
    assert heard == ["abc-3", "abc-3", None]
