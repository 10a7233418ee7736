"""How the queue ends, and what is left behind by who does not wait: everybody is told, nothing is stuck."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from model_server.batches import Job
from model_server.errors import RequestError
from model_server.jobs import Prompt
from tests.model_server.test_engine import FakeModel, busy, running, submit


def test_a_change_of_adapters_that_nobody_waits_for_is_made_and_the_engine_goes_on() -> None:
    model = FakeModel()
    with running(model) as engine:
        first = busy(engine, model)
        change = engine.load_adapter("a", Path("good"))
        assert change.cancel()
        failing = engine.load_adapter("b", Path("bad"))
        assert failing.cancel()
        model.go.set()
        first.future.result(5)
        assert submit(engine).future.result(5).text == "None"
        assert submit(engine, "a").future.result(5).text == "a"
        engine.load_adapter("b", Path("good")).result(5)  # the name is free again


def test_whatever_ends_the_thread_is_said_and_leaves_nobody_waiting() -> None:
    def broken(jobs: Sequence[Job], took: float) -> None:
        raise ValueError("no room for\nmetrics")

    given_up = threading.Event()
    model = FakeModel()
    with running(model, on_batch=broken, on_failed=given_up.set) as engine:
        first = busy(engine, model)
        ticket = engine.arrive()
        ticket.choose("base")
        left = [submit(engine, options=("a", "b"))]
        change = engine.load_adapter("a", Path("good"))
        model.go.set()
        assert first.future.result(5).text == "None"
        for future in (left[0].future, change):
            with pytest.raises(RequestError, match="no room for metrics") as raised:
                future.result(5)
            assert raised.value.status == 503
        assert given_up.wait(5) and engine.state == "failed"
        with pytest.raises(RequestError, match="no room"):
            ticket.submit(Prompt([], []))
        ticket.close()
        assert engine.load() == 0


def test_what_nobody_waits_for_any_more_is_not_queued() -> None:
    model = FakeModel()
    with running(model) as engine:
        ticket = engine.arrive()
        ticket.choose("base")
        ticket.close()
        with pytest.raises(RequestError, match="Nobody waits"):
            ticket.submit(Prompt([], []))
        assert engine.waiting() == engine.load() == 0


def test_what_is_still_being_prepared_when_the_engine_stops_is_told() -> None:
    with running(FakeModel()) as engine:
        ticket = engine.arrive()
        ticket.choose("base")
        engine.stop()
        with pytest.raises(RequestError, match="shutting down"):
            ticket.submit(Prompt([], []))
        ticket.close()


def test_stopping_answers_what_is_queued() -> None:
    model = FakeModel()
    with running(model) as engine:
        jobs = [busy(engine, model), submit(engine)]
        threading.Timer(0.05, model.go.set).start()
        engine.stop()
        assert all(job.future.done() for job in jobs)
        with pytest.raises(RequestError, match="shutting down"):
            submit(engine)
