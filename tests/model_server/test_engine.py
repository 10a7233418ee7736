"""The queue: what is batched, what waits, what happens around adapters and failures."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from model_server.batches import Job
from model_server.engine import Engine
from model_server.errors import AdapterError, RequestError
from model_server.jobs import Answer, Picture, Prompt


class FakeModel:
    """Answers with the adapter's name; holds each batch until `go` is set."""

    def __init__(self) -> None:
        self.batches: list[list[Job]] = []
        self.go = threading.Event()
        self.go.set()
        self.started = threading.Event()
        self.adapters: set[str] = set()
        self.fail = False
        self.counts: Counter[str] = Counter()
        self.limit = 99

    def prepare(self, prompt: Prompt) -> str:
        return "prepared"

    def group(self, job: Job) -> object:
        return (job.adapter, bool(job.prompt.options), bool(job.prompt.images))

    def answer(self, jobs: Sequence[Job]) -> None:
        self.batches.append(list(jobs))
        self.started.set()
        assert self.go.wait(10)
        if self.fail:
            raise RuntimeError("out of\nmemory")
        for job in jobs:
            assert job.adapter is None or job.adapter in self.adapters
            assert job.ready == "prepared"
            job.future.set_result(Answer(str(job.adapter), (), "stop", 1))

    def load_adapter(self, name: str, path: Path) -> None:
        if path.name == "bad":
            raise AdapterError("unfit", param="lora_path")
        self.adapters.add(name)

    def unload_adapter(self, name: str) -> None:
        self.adapters.remove(name)


@contextmanager
def running(model: FakeModel, **options: object) -> Iterator[Engine]:
    engine = Engine(lambda: model, base="base", **options)
    engine.start()
    while engine.state == "loading":
        time.sleep(0.001)
    try:
        yield engine
    finally:
        model.go.set()
        engine.stop()
        engine._thread.join(5)
        assert not engine._thread.is_alive()


def submit(
    engine: Engine, model: str = "base", *, options: tuple[str, ...] = (), image: bool = False
) -> Job:
    ticket = engine.arrive()
    ticket.choose(model)
    images = [Picture.of(Image.new("RGB", (2, 2)))] if image else []
    (job,) = ticket.submit(Prompt([], images, options=options))
    return job


def busy(engine: Engine, model: FakeModel) -> Job:
    """Occupy the worker, so that what comes next queues up."""
    model.go.clear()
    model.started.clear()
    job = submit(engine)
    assert model.started.wait(5)
    return job


def test_waiting_requests_share_a_batch_up_to_the_limit() -> None:
    model = FakeModel()
    with running(model, max_batch=3) as engine:
        first = busy(engine, model)
        jobs = [submit(engine) for _ in range(5)]
        model.go.set()
        for job in [first, *jobs]:
            job.future.result(5)
    assert [len(batch) for batch in model.batches] == [1, 3, 2]


def test_a_batch_holds_one_kind_of_request() -> None:
    model = FakeModel()
    with running(model) as engine:
        engine.load_adapter("a", Path("a")).result(5)
        busy(engine, model)
        jobs = [
            submit(engine, name, options=options, image=image)
            for name in ("base", "a")
            for options in ((), ("x",))
            for image in (False, True)
            for _ in range(2)
        ]
        model.go.set()
        assert [job.future.result(5).text for job in jobs] == ["None"] * 8 + ["a"] * 8
    assert [len(batch) for batch in model.batches] == [1] + [2] * 8


def test_a_single_request_does_not_wait() -> None:
    with running(FakeModel(), patience_s=30) as engine:
        started = time.monotonic()
        submit(engine).future.result(5)
        assert time.monotonic() - started < 1


def test_a_forming_batch_waits_for_what_is_being_received() -> None:
    model = FakeModel()
    with running(model, patience_s=5) as engine:
        late = engine.arrive()
        job = submit(engine)
        time.sleep(0.05)
        assert not model.batches
        late.choose("base")
        (other,) = late.submit(Prompt([], []))
        job.future.result(1)
        other.future.result(1)
    assert [len(batch) for batch in model.batches] == [2]


def test_a_slow_sender_holds_up_nobody_for_long() -> None:
    with running(FakeModel(), patience_s=0.05) as engine:
        never = engine.arrive()
        submit(engine).future.result(1)
        never.close()
        never.close()
        submit(engine).future.result(1)


def test_a_stalled_sender_holds_up_only_the_first_batch() -> None:
    model = FakeModel()
    with running(model, patience_s=0.3) as engine:
        never = engine.arrive()
        submit(engine).future.result(5)
        began = time.monotonic()
        for _ in range(5):
            submit(engine).future.result(5)
        assert time.monotonic() - began < 0.3
        assert engine.waiting() == 1
        never.close()
        assert engine.waiting() == 0


def test_who_was_answered_together_is_waited_for_shortly() -> None:
    class Slow(FakeModel):
        def answer(self, jobs: Sequence[Job]) -> None:
            time.sleep(1.0 if len(jobs) == 3 else 0.0)
            super().answer(jobs)

    model = Slow()
    with running(model, patience_s=5) as engine:
        first = busy(engine, model)
        together = [submit(engine) for _ in range(3)]
        model.go.set()
        for job in (first, *together):
            job.future.result(5)
        again = submit(engine)  # within a tenth of the second that the batch took
        time.sleep(0.02)
        for job in (again, submit(engine)):
            job.future.result(5)
        began = time.monotonic()
        submit(engine).future.result(5)  # the last batch took no time: nobody is waited for
        assert time.monotonic() - began < 0.1
    assert [len(batch) for batch in model.batches] == [1, 3, 2, 1]


def test_unloading_waits_for_requests_in_flight_and_refuses_new_ones() -> None:
    model = FakeModel()
    with running(model) as engine:
        engine.load_adapter("a", Path("a")).result(5)
        preparing = engine.arrive()
        preparing.choose("a")
        unloaded = engine.unload_adapter("a")
        with pytest.raises(RequestError, match="'a' is not served") as refused:
            submit(engine, "a")
        assert refused.value.status == 404 and engine.adapters() == {}
        with pytest.raises(AdapterError, match="already served"):  # not free before it is gone
            engine.load_adapter("a", Path("a"))
        submit(engine).future.result(5)
        assert not unloaded.done() and model.adapters == {"a"}
        assert preparing.submit(Prompt([], []))[0].future.result(5).text == "a"
        unloaded.result(5)
        assert model.adapters == set()
        engine.load_adapter("a", Path("b")).result(5)
        assert engine.adapters() == {"a": Path("b")}


def test_nobody_waits_while_an_adapter_is_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    hashing, go = threading.Event(), threading.Event()

    def slow(path: Path) -> dict[str, str]:
        hashing.set()
        assert go.wait(10)
        return {"sha256": "x"}

    monkeypatch.setattr("model_server.engine.lineage", slow)
    with running(FakeModel()) as engine, ThreadPoolExecutor(1) as pool:
        loaded = engine.load_adapter("a", Path("a"))
        try:
            assert hashing.wait(5)
            pool.submit(lambda: engine.arrive().close()).result(5)
            assert engine.adapters() == {}
        finally:
            go.set()
        loaded.result(5)
        assert engine.adapters() == {"a": Path("a")} and engine.lineage("a") == {"sha256": "x"}


def test_a_request_is_counted_once_all_the_way() -> None:
    model = FakeModel()
    with running(model) as engine:
        model.go.clear()
        ticket = engine.arrive()
        loads = [engine.load()]
        ticket.choose("base")
        loads.append(engine.load())
        (job,) = ticket.submit(Prompt([], []))
        loads.append(engine.load())
        assert model.started.wait(5)
        loads.append(engine.load())
        model.go.set()
        job.future.result(5)
        while engine.load():  # closed right after the answer is there
            time.sleep(0.001)
        ticket.close()
        assert loads == [1] * 4 and engine.load() == 0


def test_what_is_being_fetched_is_not_waited_for_and_keeps_its_place() -> None:
    model = FakeModel()
    with running(model, patience_s=30, max_waiting=2) as engine:
        ticket = engine.arrive()
        ticket.choose("base")
        with ticket.aside():
            submit(engine).future.result(5)
            assert engine.waiting() == 1
            other = engine.arrive()
            with pytest.raises(RequestError, match="2 requests are waiting"):
                engine.arrive()
            other.close()
        alone = submit(engine)
        time.sleep(0.05)
        assert not alone.future.done()  # what is here again is waited for
        for job in (alone, *ticket.submit(Prompt([], []))):
            job.future.result(5)
    assert [len(batch) for batch in model.batches] == [1, 2]


def test_the_size_of_a_batch_may_be_found_when_the_model_is_there() -> None:
    model = FakeModel()
    with running(model, max_batch=lambda: 2) as engine:
        jobs = [busy(engine, model), *(submit(engine) for _ in range(3))]
        model.go.set()
        for job in jobs:
            job.future.result(5)
    assert [len(batch) for batch in model.batches] == [1, 2, 1]


def test_an_unfit_adapter_leaves_its_name_free() -> None:
    with running(FakeModel()) as engine:
        with pytest.raises(AdapterError, match="unfit"):
            engine.load_adapter("a", Path("bad")).result(5)
        assert engine.adapters() == {}
        engine.load_adapter("a", Path("good")).result(5)
        with pytest.raises(AdapterError, match="'base' is already served"):
            engine.load_adapter("base", Path("good"))


def test_a_failed_batch_tells_its_requests_and_the_next_works() -> None:
    model = FakeModel()
    with running(model) as engine:
        model.fail = True
        with pytest.raises(RequestError, match="out of memory") as told:
            submit(engine).future.result(5)
        assert told.value.status == 500
        model.fail = False
        submit(engine).future.result(5)


def test_cancelled_requests_are_not_answered() -> None:
    model = FakeModel()
    with running(model) as engine:
        busy(engine, model)
        gone, stays = submit(engine), submit(engine)
        gone.cancelled = True
        model.go.set()
        stays.future.result(5)
        with pytest.raises(CancelledError):
            gone.future.result(5)
    assert model.batches[1] == [stays]


def test_answers_of_one_request_share_ticket_and_batch() -> None:
    model = FakeModel()
    with running(model) as engine:
        engine.load_adapter("a", Path("a")).result(5)
        busy(engine, model)
        ticket = engine.arrive()
        ticket.choose("a")
        jobs = ticket.submit(*[Prompt([], [])] * 3)
        unloaded = engine.unload_adapter("a")
        model.go.set()
        assert [job.future.result(5).text for job in jobs] == ["a"] * 3
        unloaded.result(5)
    assert [len(batch) for batch in model.batches] == [1, 3]


def test_a_full_queue_refuses_at_once() -> None:
    model = FakeModel()
    with running(model, max_waiting=2) as engine:
        first = busy(engine, model)
        queued, coming = submit(engine), engine.arrive()
        with pytest.raises(RequestError, match="2 requests are waiting") as refused:
            engine.arrive()
        assert (refused.value.status, refused.value.kind) == (429, "rate_limit_error")
        coming.close()
        other = submit(engine)
        model.go.set()
        for job in (first, queued, other):
            job.future.result(5)
        assert engine.waiting() == 0


def test_what_is_given_up_takes_no_place_in_a_batch() -> None:
    model = FakeModel()
    with running(model, max_batch=2) as engine:
        busy(engine, model)
        gone = [submit(engine) for _ in range(4)]
        for job in gone:
            job.cancelled = True
        stay = [submit(engine) for _ in range(2)]
        model.go.set()
        for job in stay:
            job.future.result(5)
    assert model.batches[1:] == [stay]


def test_batches_are_told() -> None:
    told: list[tuple[int, float]] = []
    with running(FakeModel(), on_batch=lambda jobs, s: told.append((len(jobs), s))) as engine:
        submit(engine).future.result(5)
        submit(engine).future.result(5)
    assert [size for size, _ in told] == [1, 1] and all(seconds >= 0 for _, seconds in told)
