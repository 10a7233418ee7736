"""The queue in front of the model: one worker thread, requests batched as they come.

The worker owns the model: it loads it, answers batches, and loads and unloads adapters between
batches. A lone request starts at once; a batch forms from what is already waiting, plus what is at
this moment being received and decoded, pictures that come from elsewhere excepted. For a moment
those who were answered together last are expected to ask together again: half a batch takes nearly
as long as a whole one. Knows nothing of HTTP, and of torch only that a `Model` answers batches.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model_server.batches import Job, Model, answer, one_line, take_batch
from model_server.errors import ModelServerError, RequestError
from model_server.folder import lineage
from model_server.jobs import Prompt
from model_server.served import Served
from model_server.tickets import Ticket

__all__ = ["Engine"]

log = logging.getLogger("model_server")

# The share of a batch's time for which those who were answered are waited for.
_RETURNING = 0.1


@dataclass(eq=False)
class _Command:
    """Something to do to the model between batches, once no request holds `needs_idle`."""

    run: Callable[[Model], None]
    needs_idle: str | None = None
    future: Future[None] = field(default_factory=Future)


class Engine:
    """Loads a model in the background and answers prompts in batches.

    Attributes:
        state: "loading", then "ready" or "failed".
        failure: why there is no model, in one line: it could not be loaded, or its thread ended; None unless it failed.

    Args:
        open_model: called in the worker thread; what it raises ends up in `failure`.
        base: id of the base model, as clients name it.
        adapters: adapters that `open_model` brings along, by name.
        max_batch: most requests in one batch, or what tells it once the model is loaded.
        max_waiting: most requests on their way in or queued; more are refused with 429.
        patience_s: longest wait for requests that are just being received, or expected after a
            batch of several; never spent when there are none.
        on_batch: called in the worker thread with the jobs of a batch and the seconds it took.
        on_failed: called in the worker thread when there will be no model any more.
    """

    def __init__(
        self,
        open_model: Callable[[], Model],
        *,
        base: str,
        adapters: Mapping[str, Path] | None = None,
        max_batch: int | Callable[[], int] = 16,
        max_waiting: int = 256,
        patience_s: float = 0.02,
        on_failed: Callable[[], None] | None = None,
        on_batch: Callable[[Sequence[Job], float], None] | None = None,
    ) -> None:
        self._open_model = open_model
        self.base = base
        self._max_batch = 1 if callable(max_batch) else max_batch
        self._find_max_batch = max_batch if callable(max_batch) else None
        self._max_waiting = max_waiting
        self._patience_s = patience_s
        # How many were answered together last, and until when they may be expected to ask again.
        self._answered, self._expected_until = 0, 0.0
        self._on_failed = on_failed
        self.on_batch = on_batch
        # A future that is cancelled closes its ticket in the same thread: the lock is reentrant.
        self._changed = threading.Condition(threading.RLock())
        self._queue: deque[Job] = deque()
        self._commands: deque[_Command] = deque()
        self._served = Served(base, adapters or {})
        # Tickets not closed, with the adapter that each keeps in memory; of these, those not submitted: when each came,
        # None while it waits for something else than this machine.
        self._open: dict[Ticket, str | None] = {}
        self._coming: dict[Ticket, float | None] = {}
        self._stopping = self._ended = False
        self._model: Model | None = None
        self.state = "loading"
        self.failure: str | None = None
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)

    # What the HTTP side calls.

    def start(self) -> None:
        """Begin loading the model; returns at once."""
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Answer what is queued, then end the worker. A model still loading is abandoned."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive() and self.state != "loading":
            self._thread.join(timeout_s)

    def give_up(self, jobs: Sequence[Job]) -> None:
        """Nobody waits for these answers any more: free their places; those being answered end early."""
        with self._changed:
            for job in jobs:
                job.cancelled = True
                if job in self._queue:
                    self._queue.remove(job)
                    job.future.cancel()

    def waiting(self) -> int:
        """Requests on their way in or queued."""
        with self._changed:
            return self._waiting()

    def load(self) -> int:
        """Requests on their way in, queued or being answered."""
        with self._changed:
            return len(self._open)

    def counts(self) -> Mapping[str, int]:
        """What the model counts, such as pictures read and remembered."""
        return dict(self._model.counts) if self._model else {}

    @property
    def limit(self) -> int | None:
        """Tokens of prompt and answer together; None until the model is loaded."""
        return self._model.limit if self._model else None

    def adapters(self) -> dict[str, Path]:
        """Names and folders of the adapters that requests may name."""
        with self._changed:
            return self._served.adapters()

    def arrive(self) -> Ticket:
        """Announce a request that is just being received, so that a forming batch may wait.

        Raises RequestError 429 when the queue is full.
        """
        with self._changed:
            if self._waiting() >= self._max_waiting:
                raise RequestError(
                    f"{self._max_waiting} requests are waiting already; ask again in a moment.",
                    code="queue_full",
                    status=429,
                )
            ticket = Ticket(self)
            self._open[ticket] = None
            self._coming[ticket] = time.monotonic()
            return ticket

    def lineage(self, name: str) -> dict[str, Any] | None:
        """Where an adapter comes from; None for an unknown one."""
        return self._served.lineage(name)

    def prepare(self, prompt: Prompt) -> Any:
        """What the model makes of a prompt before its turn; raises RequestError."""
        assert self._model is not None
        return self._model.prepare(prompt)

    def load_adapter(self, name: str, path: Path) -> Future[None]:
        """Load an adapter between batches; raises AdapterError if the name is taken."""

        def run(model: Model) -> None:
            try:
                model.load_adapter(name, path)
                found = lineage(path)  # reads the whole file: not under the lock
                with self._changed:
                    self._served.add(name, path, found)
            finally:
                self._settle(name)

        with self._changed:
            self._check_ready()
            self._served.reserve(name)
            return self._command(_Command(run))

    def unload_adapter(self, name: str) -> Future[None]:
        """Refuse new requests for an adapter at once; forget it when those in flight are done."""
        with self._changed:
            self._check_ready()
            self._served.retire(name)

            def run(model: Model) -> None:
                try:
                    model.unload_adapter(name)
                finally:
                    self._settle(name)

            return self._command(_Command(run, needs_idle=name))

    def _settle(self, name: str) -> None:
        with self._changed:
            self._served.settle(name)

    def _command(self, command: _Command) -> Future[None]:
        self._commands.append(command)
        self._changed.notify_all()
        return command.future

    def _check_ready(self) -> None:
        if self.state == "loading" and not self._stopping:
            raise RequestError(
                "The model is still loading; ask again when GET /ready answers 200.",
                code="model_loading",
                status=503,
            )
        if self._stopping or self.state == "failed":
            raise self._gone()

    def _gone(self) -> RequestError:
        if self.state == "failed":
            return RequestError(
                f"The model is not there: {self.failure}", code="model_failed", status=503
            )
        return RequestError("The server is shutting down.", code="shutting_down", status=503)

    def _waiting(self) -> int:
        return len(self._coming) + len(self._queue)

    # What a `Ticket` calls; its own methods say what each does.

    def hold(self, ticket: Ticket, model: str) -> str | None:
        """Keep what `model` names for this ticket; returns the adapter, None for the base model."""
        with self._changed:
            adapter = self._served.adapter_of(model)
            self._check_ready()
            self._open[ticket] = adapter
            return adapter

    def set_aside(self, ticket: Ticket, aside: bool) -> None:
        """Let forming batches wait for this ticket or not."""
        with self._changed:
            if ticket in self._coming:
                self._coming[ticket] = None if aside else time.monotonic()
                self._changed.notify_all()

    def submit(self, ticket: Ticket, jobs: Sequence[Job]) -> None:
        """Queue what was prepared; raises RequestError if the engine has ended."""
        with self._changed:
            if self._ended:
                raise self._gone()
            if ticket not in self._open:
                raise RequestError("Nobody waits for this answer any more.", code="cancelled")
            self._coming.pop(ticket, None)
            self._queue += jobs
            self._changed.notify_all()

    def close(self, ticket: Ticket) -> None:
        """Forget a ticket."""
        with self._changed:
            self._coming.pop(ticket, None)
            if ticket in self._open:
                del self._open[ticket]
                self._changed.notify_all()

    # What the worker does.

    def _work(self) -> None:
        try:
            self._serve(self._load())
        except Exception as error:
            self.failure = one_line(error)
            self.state = "failed"
            if not isinstance(error, ModelServerError):
                log.exception("the model's thread has ended")
            log.error("The model is not there: %s", self.failure)
            if self._on_failed:
                self._on_failed()
        finally:
            self._leave()

    def _load(self) -> Model:
        started = time.monotonic()
        model = self._open_model()
        if self._find_max_batch:
            self._max_batch = self._find_max_batch()
        self._model = model
        self.state = "ready"
        log.info("%s is ready after %.1f s", self.base, time.monotonic() - started)
        return model

    def _leave(self) -> None:
        # Nobody is left without an answer.
        with self._changed:
            self._ended = True
            for left in (*self._queue, *self._commands):
                if left.future.set_running_or_notify_cancel():
                    left.future.set_exception(self._gone())
            self._queue.clear()
            self._commands.clear()

    def _serve(self, model: Model) -> None:
        while (task := self._next()) is not None:
            if isinstance(task, _Command):
                _run(task, model)
            else:
                started = time.monotonic()
                answer(task, model)
                took = time.monotonic() - started
                self._answered = len(task)
                self._expected_until = started + took + min(self._patience_s, _RETURNING * took)
                if self.on_batch:
                    self.on_batch(task, took)

    def _next(self) -> _Command | list[Job] | None:
        with self._changed:
            while True:
                command = self._ready_command()
                if command is not None:
                    return command
                if self._queue:
                    self._gather()
                    batch = take_batch(self._queue, self._max_batch, self._group)
                    if batch:
                        return batch
                    continue
                if self._stopping:
                    return None
                self._changed.wait()

    def _ready_command(self) -> _Command | None:
        for command in self._commands:
            if command.needs_idle is None or command.needs_idle not in self._open.values():
                self._commands.remove(command)
                return command
        return None

    def _group(self, job: Job) -> Hashable:
        assert self._model is not None
        return self._model.group(job)

    def _gather(self) -> None:
        deadline = time.monotonic() + self._patience_s
        while len(self._queue) < self._max_batch:
            # What is just being received is waited for, but no longer than that after it came.
            came = [at for at in self._coming.values() if at is not None]
            until = min(deadline, max(came, default=0.0) + self._patience_s)
            # Who was answered together asks again together; one alone is never waited for.
            if 1 < self._answered > len(self._queue):
                until = max(until, min(deadline, self._expected_until))
            left = until - time.monotonic()
            if left <= 0:
                break
            self._changed.wait(left)


def _run(command: _Command, model: Model) -> None:
    # It is done in any case: that nobody waits for it any more does not undo what was reserved for it.
    awaited = command.future.set_running_or_notify_cancel()
    try:
        command.run(model)
    except Exception as error:
        if awaited:
            command.future.set_exception(error)
        else:
            log.exception("a change of adapters failed that nobody waits for")
    else:
        if awaited:
            command.future.set_result(None)
