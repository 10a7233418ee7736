"""The wire to the model: what is sent, how an answer and its confidence are read, what counts as which fault."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from backend.data_urls import data_url
from backend.errors import ModelError, ModelUnavailable, UnknownModel
from backend.model_answers import Answer
from backend.model_client import ModelClient
from tests.backend.stubs import StubModel, pictures

PICTURE = Image.new("RGB", (8, 6), "red")


def ask(stub: StubModel, options: tuple[str, ...] = (), **given: Any) -> Answer:
    async def work() -> Answer:
        async with ModelClient("http://m/v1/", "secret", transport=stub.transport()) as client:
            return await client.ask(
                [PICTURE], "What is it?", **({"model": "stub-model"} | given), options=options
            )

    return asyncio.run(work())


def read(body: Any, options: tuple[str, ...] = (), status: int = 200) -> Answer:
    async def work() -> Answer:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        transport = httpx.MockTransport(lambda r: httpx.Response(status, content=content))
        async with ModelClient("http://m/v1", transport=transport) as client:
            return await client.ask([PICTURE], "?", model="m", options=options)

    return asyncio.run(work())


def said(text: Any, **more: Any) -> dict[str, Any]:
    return {"model": "m", "choices": [{"message": {"content": text}} | more]}


def logprobs(*values: Any) -> dict[str, Any]:
    return {"logprobs": {"content": [{"token": "t", "logprob": v} for v in values]}}


def test_what_is_sent() -> None:
    stub = StubModel()
    ask(stub, ("clear", "blurred"), max_tokens=9)
    (body,) = stub.asked
    assert body["max_tokens"] == 9 and body["temperature"] == 0 and body["logprobs"] is True
    assert body["structured_outputs"] == {"choice": ["clear", "blurred"]}
    assert stub.prompts == ["What is it?"]
    (sent,) = pictures(body)
    assert np.array_equal(np.asarray(sent), np.asarray(PICTURE))
    ask(stub)
    assert "structured_outputs" not in stub.asked[1]


def test_a_picture_may_be_encoded_before() -> None:
    stub = StubModel()

    async def work() -> None:
        async with ModelClient("http://m/v1", transport=stub.transport()) as client:
            await client.ask([data_url(PICTURE)], "?", model="stub-model")

    asyncio.run(work())
    assert pictures(stub.asked[0])[0].size == (8, 6)


def test_confidence_of_an_open_answer_is_that_of_all_its_tokens() -> None:
    answer = read(said(" a red car ", **logprobs(math.log(0.5), math.log(0.4))))
    assert answer.text == "a red car" and answer.confidence == pytest.approx(0.2)


def test_confidence_of_a_closed_answer_is_that_of_the_option() -> None:
    answer = read(said("no", options={"yes": 0.25, "no": 0.75}, **logprobs(-9.0)), ("yes", "no"))
    assert answer.confidence == 0.75 and answer.options == {"yes": 0.25, "no": 0.75}


def test_a_server_that_does_not_score_options() -> None:
    answer = read(said("no", **logprobs(math.log(0.7))), ("yes", "no"))
    assert answer.options is None and answer.confidence == pytest.approx(0.7)


@pytest.mark.parametrize(
    "more", [{}, {"logprobs": None}, {"logprobs": {"content": []}}, logprobs("x"), logprobs(None)]
)
def test_a_server_that_tells_no_confidence(more: dict[str, Any]) -> None:
    assert read(said("a car", **more)).confidence is None


@pytest.mark.parametrize("value", [3.0, -1e9, float("-inf")])
def test_confidence_stays_a_probability(value: float) -> None:
    answer = read(said("x", **logprobs(value)))
    assert answer.confidence is not None and 0.0 <= answer.confidence <= 1.0


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"<html>", {}, {"choices": []}, said(None), said(""), said("  "), said(5)]
)
def test_no_answer(body: Any) -> None:
    with pytest.raises(ModelError):
        read(body)


def test_an_answer_far_longer_than_what_was_asked_for() -> None:
    """It would fill the editor's page, and every draft that it saves."""
    with pytest.raises(ModelError, match="answered 4000 characters where 48 tokens"):
        read(said("word " * 799 + "word."))
    assert read(said("word " * 200)).text.startswith("word word")


def test_an_answer_that_is_no_option() -> None:
    with pytest.raises(ModelError, match="none of the options"):
        read(said("maybe"), ("yes", "no"))


def fault(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "x", "param": None, "code": None} | more}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, fault("The model `x` does not exist.", code=404), UnknownModel),
        (404, fault("No such model.", param="model"), UnknownModel),
        (400, fault("Unknown model 'x'.", code="model_not_found"), UnknownModel),
        (404, {"detail": "Not Found"}, ModelError),
        (400, fault("image too large"), ModelError),
        (503, fault("loading"), ModelUnavailable),
        (429, b"slow down", ModelUnavailable),
        (500, b"boom", ModelError),
    ],
)
def test_refusals(status: int, body: Any, kind: type[ModelError]) -> None:
    with pytest.raises(ModelError) as caught:
        read(body, status=status)
    assert type(caught.value) is kind


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(ModelUnavailable, match="http://m/v1 does not answer"):
        ask(StubModel(down=True))


def test_an_adapter_that_is_loaded_already_is_fine() -> None:
    stub = StubModel()

    async def work() -> None:
        async with ModelClient("http://m/v1", transport=stub.transport()) as client:
            await client.load_adapter("stub-model:1", "/runs/1")
            await client.load_adapter("stub-model:1", "/runs/1")
            assert [m["id"] for m in await client.models()] == ["stub-model", "stub-model:1"]

    asyncio.run(work())


def test_an_adapter_that_is_just_leaving_is_loaded_when_it_is_gone() -> None:
    stub = StubModel(leaving={"stub-model:1": 2})

    async def work() -> None:
        async with ModelClient("http://m/v1", transport=stub.transport()) as client:
            await client.load_adapter("stub-model:1", "/runs/1")
            assert [m["id"] for m in await client.models()] == ["stub-model", "stub-model:1"]

    asyncio.run(work())
    assert len(stub.loads) == 3


def test_what_no_database_can_hold_is_left_out() -> None:
    assert read(said("a red\x00 car\ud800")).text == "a red car"
    with pytest.raises(ModelError, match="empty"):
        read(said("\x00"))


def test_only_adapters_are_loaded_with_the_admin_key() -> None:
    keys: dict[str, str] = {}

    def answer(request: httpx.Request) -> httpx.Response:
        keys[request.url.path] = request.headers["Authorization"]
        return httpx.Response(200, json={"data": []})

    async def work() -> None:
        transport = httpx.MockTransport(answer)
        async with ModelClient("http://m/v1", "k", admin_key="a", transport=transport) as client:
            await client.models()
            await client.load_adapter("x", "/x")
            await client.unload_adapter("x")

    asyncio.run(work())
    assert keys == {
        "/v1/models": "Bearer k",
        "/v1/load_lora_adapter": "Bearer a",
        "/v1/unload_lora_adapter": "Bearer a",
    }


def test_half_a_surrogate_pair_in_a_wish_does_not_stop_the_question() -> None:
    stub = StubModel(text="a car")

    async def work() -> Answer:
        async with ModelClient("http://m/v1", transport=stub.transport()) as client:
            return await client.ask([PICTURE], "What \ud83d is it?", model="stub-model")

    assert asyncio.run(work()).text == "a car"
    assert stub.prompts == ["What  is it?"]


@pytest.mark.parametrize("fault", [{"message": "no memory", "code": "model_error"}, "no memory"])
def test_an_error_in_a_stream_is_one_while_answering(fault: object) -> None:
    grown = {"choices": [{"delta": {"content": "a"}}]}
    lines = "".join(f"data: {json.dumps(event)}\n\n" for event in (grown, {"error": fault}))
    reply = httpx.Response(200, text=lines, headers={"Content-Type": "text/event-stream"})

    async def work() -> None:
        transport = httpx.MockTransport(lambda _: reply)
        async with ModelClient("http://m/v1", transport=transport) as client:
            await client.ask([PICTURE], "?", model="m", told=lambda _: None)

    with pytest.raises(ModelError, match=r"^the model server failed while answering: no memory$"):
        asyncio.run(work())
