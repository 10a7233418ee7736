"""Jobs, what a model must do with them, and how a batch is taken from the queue and answered.

Knows nothing of HTTP or threads, and of torch only that a `Model` answers batches.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from model_server.errors import RequestError
from model_server.jobs import Answer, Prompt, Token

__all__ = ["Job", "Model", "OnToken", "answer", "one_line", "take_batch", "told"]

log = logging.getLogger("model_server")

OnToken = Callable[[int, Token, str], None]
"""Called in the worker thread with the answer's number, a token and the text so far, as `Job.on_token` is."""


@dataclass(eq=False)
class Job:
    """A prompt in the queue, and where its answer goes.

    Attributes:
        adapter: None for the base model.
        on_token: called with every token but those that end the answer, and what of the answer's text is settled.
        ready: what `Model.prepare` made of the prompt.
        cancelled: nobody waits for the answer any more.
        queued: when it was queued, time.monotonic seconds.
    """

    prompt: Prompt
    adapter: str | None = None
    on_token: Callable[[Token, str], None] | None = None
    ready: Any = None
    cancelled: bool = False
    future: Future[Answer] = field(default_factory=Future)
    queued: float = field(default_factory=time.monotonic)


class Model(Protocol):
    """What the engine needs of a model. All calls but `prepare` come from one thread.

    Attributes:
        counts: what it counts, by name.
        limit: tokens of prompt and answer together.
    """

    counts: Counter[str]
    limit: int

    def prepare(self, prompt: Prompt) -> Any:
        """What can be made of a prompt in any thread, while others are answered; raises RequestError."""

    def group(self, job: Job) -> Hashable:
        """Jobs of one group can share a batch."""

    def answer(self, jobs: Sequence[Job]) -> None:
        """Resolve the future of every job, all of one group."""

    def load_adapter(self, name: str, path: Path) -> None:
        """Make an adapter available; raises AdapterError."""

    def unload_adapter(self, name: str) -> None:
        """Forget an adapter."""


def take_batch(queue: deque[Job], most: int, group: Callable[[Job], Hashable]) -> list[Job]:
    """Take the oldest job and those of its group, in order; jobs that nobody waits for are dropped."""
    batch: list[Job] = []
    rest: list[Job] = []
    own: Hashable = None
    for job in queue:
        if job.cancelled:
            job.future.cancel()
        elif not batch:
            own = group(job)
            batch.append(job)
        elif len(batch) < most and group(job) == own:
            batch.append(job)
        else:
            rest.append(job)
    queue.clear()
    queue.extend(rest)
    return batch


def answer(batch: Sequence[Job], model: Model) -> None:
    """Have the model answer; every future is resolved in the end, whatever happens."""
    for job in batch:
        # From here on the waiting side cannot cancel the future under the model's hands.
        job.future.set_running_or_notify_cancel()
    try:
        model.answer(batch)
        failure: Exception = RuntimeError("the model left the request unanswered")
    except Exception as error:
        failure = error
        log.exception("a batch of %d failed", len(batch))
    for job in batch:
        if not job.future.done():
            job.future.set_exception(told(failure))


def told(error: Exception) -> RequestError:
    """An exception as the client is told it; one that is not meant for clients is a 500."""
    if isinstance(error, RequestError):
        return error
    return RequestError(
        f"The model failed on this request: {one_line(error)}", code="model_error", status=500
    )


def one_line(error: BaseException) -> str:
    """The error's text without line breaks."""
    return " ".join(f"{error}".split()) or type(error).__name__
