from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from backend.logs import request_context
from backend.model_client import ModelClient
from backend.shadow import Shadow, Unseen
from backend.store import RegistryEventRow, ShadowAnswerRow, Store, open_store
from tests.backend.report.sample import seed


@pytest.fixture
def store(tmp_path: Path, database_url: str) -> Iterator[Store]:
    opened = open_store(database_url)
    seed(opened, tmp_path)
    with opened.begin() as session:
        for row in session.scalars(select(ShadowAnswerRow)):
            session.delete(row)
    yield opened
    opened.close()


class Challenger:
    """A model server that takes its time and remembers."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.delay_s, self.asked, self.models = delay_s, 0, set[str]()
        self.names = set[str | None]()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        self.names.add(request.headers.get("X-Request-Id"))
        self.models.add(json.loads(request.content)["model"])
        await asyncio.sleep(self.delay_s)
        body = {"choices": [{"message": {"content": "A red car"}}]}
        return httpx.Response(200, json=body)

    def client(self) -> ModelClient:
        return ModelClient("http://model/v1", transport=httpx.MockTransport(self))


def unseen(task: int, value: str = "a red  car") -> Unseen:
    return Unseen(f"s{task}", "mini", [value], ["data:,"], "What?", (), None, 8)


TASKS = [2, 3, 4, 5, 7, 8, 9, 10]


def share(store: Store, share: float | None) -> None:
    with store.begin() as session:
        name = "mini:0002" if share else None
        session.add(RegistryEventRow(base="mini", action="shadow", name=name, share=share))


def answers(store: Store) -> dict[str, bool]:
    with store.read() as session:
        return {row.suggestion: row.agrees for row in session.scalars(select(ShadowAnswerRow))}


def ask(store: Store, model: Challenger, *waiting: Unseen) -> None:
    async def go() -> None:
        shadow = Shadow()
        async with model.client() as client:
            shadow.offer(store, client, waiting)
            await shadow.drained()

    asyncio.run(go())


def test_what_is_asked_unseen_is_not_taken_for_the_request_that_was_answered(store: Store) -> None:
    share(store, 1.0)
    model = Challenger()
    with request_context("abc-1"):
        ask(store, model, unseen(2), unseen(3))
    assert model.asked == 2 and model.names == {None}


def test_the_challenger_is_asked_and_agreement_kept(store: Store) -> None:
    share(store, 1.0)
    model = Challenger()
    ask(store, model, unseen(2), unseen(3, "a bus"))
    assert answers(store) == {"s2": True, "s3": False}
    assert model.models == {"mini:0002"}


def test_nobody_is_asked_while_it_is_off(store: Store) -> None:
    share(store, None)
    model = Challenger()
    ask(store, model, unseen(2))
    assert model.asked == 0
    assert answers(store) == {}


def test_only_the_share_is_asked(store: Store) -> None:
    share(store, 0.5)
    model = Challenger()
    ask(store, model, *(unseen(task) for task in TASKS))
    assert 0 < model.asked < len(TASKS)
    first = answers(store)
    ask(store, model, *(unseen(task) for task in TASKS))
    assert answers(store) == first


def test_whoever_waits_for_an_answer_comes_first(store: Store) -> None:
    """A question that is being asked unseen gives way at once, and is asked again later."""
    share(store, 1.0)
    model = Challenger(delay_s=0.3)

    async def go() -> float:
        shadow = Shadow()
        async with model.client() as client:
            began = time.monotonic()
            shadow.offer(store, client, [unseen(2), unseen(3)])
            offered = time.monotonic() - began
            while model.asked == 0:
                await asyncio.sleep(0.01)
            async with shadow.answering():
                at = model.asked
                await asyncio.sleep(0.5)
                assert model.asked == at
                assert answers(store) == {}
            await shadow.drained()
            return offered

    assert asyncio.run(go()) < 0.1
    assert set(answers(store)) == {"s2", "s3"}
    assert model.asked == 3


def test_what_does_not_fit_is_forgotten_and_failures_pass(store: Store) -> None:
    share(store, 1.0)

    async def go() -> None:
        shadow = Shadow()
        transport = httpx.MockTransport(lambda request: httpx.Response(500, json={}))
        async with ModelClient("http://model/v1", transport=transport) as client:
            shadow.offer(store, client, [unseen(2)] * 500)
            assert len(shadow._waiting) == 32
            await shadow.drained()
            shadow.offer(store, client, [unseen(2)])
            await shadow.close()

    asyncio.run(go())
    assert answers(store) == {}
