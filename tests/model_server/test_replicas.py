"""One model on several devices: who answers, and adapters that are everywhere or nowhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from model_server.batches import Job
from model_server.engine import Engine
from model_server.errors import AdapterError, RequestError
from model_server.jobs import Picture, Prompt
from model_server.replicas import _MARGIN, Replicas
from tests.model_server.test_engine import FakeModel, submit


@contextmanager
def running(*models: FakeModel, **options: object) -> Iterator[Replicas]:
    replicas = Replicas([Engine(lambda m=model: m, base="base", **options) for model in models])
    replicas.start()
    while replicas.state == "loading":
        time.sleep(0.001)
    try:
        yield replicas
    finally:
        for model in models:
            model.go.set()
        replicas.stop()


def test_the_replica_with_least_to_do_is_asked() -> None:
    one, other = FakeModel(), FakeModel()
    with running(one, other) as replicas:
        one.go.clear()
        first = submit(replicas)
        assert one.started.wait(5)
        for _ in range(5):
            submit(replicas).future.result(5)
        assert not first.future.done() and len(other.batches) == 5
        one.go.set()
        first.future.result(5)
        assert replicas.waiting() == 0


def test_a_full_replica_does_not_refuse_what_another_has_room_for() -> None:
    one, other = FakeModel(), FakeModel()
    with running(one, other, max_waiting=2) as replicas:
        full, busier = replicas._engines
        full._max_waiting = 1
        tickets = [full.arrive()]
        other.go.clear()
        jobs = [submit(busier)]
        assert other.started.wait(5)
        jobs.append(submit(busier))
        assert full.load() < busier.load()
        tickets.append(replicas.arrive())
        with pytest.raises(RequestError, match="2 requests are waiting"):
            replicas.arrive()
        other.go.set()
        for job in jobs:
            job.future.result(5)
        for ticket in tickets:
            ticket.close()


def about(replicas: Replicas, digest: bytes) -> Job:
    ticket = replicas.arrive()
    ticket.choose("base")
    (job,) = ticket.submit(Prompt([], [Picture(digest, lambda: Image.new("RGB", (2, 2)))]))
    return job


def test_questions_about_a_picture_go_to_who_has_read_it_unless_it_is_busier() -> None:
    one, other = FakeModel(), FakeModel()
    with running(one, other, max_batch=1) as replicas:
        for _ in range(4):
            about(replicas, b"a").future.result(5)
        assert (len(one.batches), len(other.batches)) == (4, 0)
        one.go.clear()
        one.started.clear()
        held = [about(replicas, b"a")]
        assert one.started.wait(5)
        held.append(about(replicas, b"b"))  # a new one goes to who has least to do
        held[1].future.result(5)
        while replicas._engines[1].load():  # closed right after the answer is there
            time.sleep(0.001)
        assert (len(one.batches), len(other.batches)) == (5, 1)
        held += [about(replicas, b"a") for _ in range(_MARGIN)]
        assert len(other.batches) == 1 and replicas._engines[0].load() == 1 + _MARGIN
        moved = about(replicas, b"a")
        moved.future.result(5)  # too much to do: read anew, and remembered there from now on
        assert len(other.batches) == 2
        about(replicas, b"a").future.result(5)
        assert len(other.batches) == 3
        assert replicas._engines[0].load() == 1 + _MARGIN
        one.go.set()
        for job in held:
            job.future.result(5)
        while any(engine.load() for engine in replicas._engines):
            time.sleep(0.001)
        assert replicas.waiting() == 0


def test_a_request_stays_where_it_is_when_the_reader_is_full() -> None:
    one, other = FakeModel(), FakeModel()
    with running(one, other, max_waiting=1, max_batch=1) as replicas:
        about(replicas, b"a").future.result(5)
        one.go.clear()
        one.started.clear()
        held = [about(replicas, b"a")]
        assert one.started.wait(5)
        held.append(about(replicas, b"a"))  # queued: there is no place more
        about(replicas, b"a").future.result(5)
        assert len(other.batches) == 1
        one.go.set()
        for job in held:
            job.future.result(5)


def test_it_is_full_only_when_every_replica_is() -> None:
    one, other = FakeModel(), FakeModel()
    with running(one, other, max_waiting=1) as replicas:
        tickets = [replicas.arrive(), replicas.arrive()]
        with pytest.raises(RequestError) as refused:
            replicas.arrive()
        assert refused.value.status == 429
        for ticket in tickets:
            ticket.close()


def test_adapters_are_loaded_into_all_or_none() -> None:
    one, other = FakeModel(), FakeModel()

    def refuse(name: str, path: Path) -> None:
        raise AdapterError("out of memory", param="lora_path")

    with running(one, other) as replicas:
        replicas.load_adapter("a", Path("a")).result(5)
        assert set(replicas.adapters()) == one.adapters == other.adapters == {"a"}
        jobs = [submit(replicas, "a") for _ in range(4)]
        assert {job.future.result(5).text for job in jobs} == {"a"}
        other.load_adapter = refuse  # type: ignore[method-assign]
        with pytest.raises(AdapterError, match="out of memory"):
            replicas.load_adapter("b", Path("b")).result(5)
        assert set(replicas.adapters()) == one.adapters == {"a"}
        replicas.unload_adapter("a").result(5)
        assert not replicas.adapters() and not one.adapters and not other.adapters
        with pytest.raises(AdapterError, match="No adapter 'a' is loaded"):
            replicas.unload_adapter("a").result(5)


def test_it_is_ready_when_the_last_one_is_and_failed_when_one_failed() -> None:
    def broken() -> FakeModel:
        raise RuntimeError("no room on this device")

    replicas = Replicas([Engine(FakeModel, base="base"), Engine(broken, base="base")])
    assert replicas.state == "loading"
    replicas.start()
    until = time.monotonic() + 5
    while replicas.state == "loading" and time.monotonic() < until:
        time.sleep(0.001)
    assert replicas.state == "failed" and "no room" in str(replicas.failure)
    replicas.stop()
    with pytest.raises(ValueError, match="no engines"):
        Replicas([])


def test_requests_given_up_free_their_places_wherever_they_are() -> None:
    one, other = FakeModel(), FakeModel()
    with running(one, other) as replicas:
        one.go.clear()
        other.go.clear()
        busy = [submit(replicas), submit(replicas)]
        assert one.started.wait(5) and other.started.wait(5)
        queued = [submit(replicas), submit(replicas)]
        replicas.give_up(queued)
        assert replicas.waiting() == 0 and all(job.future.cancelled() for job in queued)
        one.go.set()
        other.go.set()
        for job in busy:
            job.future.result(5)
