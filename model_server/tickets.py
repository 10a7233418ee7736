"""A request on its way through an engine, from the moment that it is announced until its answers are there.

Knows nothing of HTTP, and leaves every count to the engine, which keeps them under its lock.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from model_server.batches import Job, OnToken
from model_server.jobs import Prompt

if TYPE_CHECKING:
    from model_server.engine import Engine

__all__ = ["Ticket"]


class Ticket:
    """A request on its way in: a forming batch waits for it, and its adapter stays in memory.

    Close it if it is not submitted; once submitted it closes itself when the answers are there.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._adapter: str | None = None

    def choose(self, model: str) -> None:
        """Name the model asked for.

        Raises RequestError 404 for an unknown one, 503 while loading, when there is no model, or
        when stopping.
        """
        self._adapter = self._engine.hold(self, model)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Meanwhile no forming batch waits for this request; its place and its adapter are kept."""
        self._engine.set_aside(self, True)
        try:
            yield
        finally:
            self._engine.set_aside(self, False)

    def submit(self, *prompts: Prompt, on_token: OnToken | None = None) -> list[Job]:
        """Prepare the prompts in this thread and queue them together.

        Every `job.future` resolves to its Answer or a RequestError. Raises RequestError for a prompt that cannot be
        prepared, and when the engine has ended meanwhile; `on_token` is called with the prompt's number.
        """
        jobs = [
            Job(
                prompt,
                self._adapter,
                partial(on_token, number) if on_token else None,
                ready=self._engine.prepare(prompt),
            )
            for number, prompt in enumerate(prompts)
        ]
        left = count(1)

        def done(_: object) -> None:
            if next(left) == len(jobs):
                self.close()

        for job in jobs:
            job.future.add_done_callback(done)
        self._engine.submit(self, jobs)
        return jobs

    def close(self) -> None:
        """Stop being waited for and release the adapter; safe to call twice."""
        self._engine.close(self)
