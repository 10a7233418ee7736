"""A question must not pay for its neighbours in the batch: one that cannot be prepared fails alone, and of a batch
that fails each is asked alone, but for those of which something was told already.

Knows nothing of how a model answers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch

from model_server.batches import Job
from model_server.decoding import Row
from model_server.errors import RequestError
from model_server.families.answers import fail
from model_server.jobs import Prompt

__all__ = ["begun_fail", "prepared", "together_or_alone"]

R = TypeVar("R")

log = logging.getLogger("model_server")


def prepared(jobs: Sequence[Job], prepare: Callable[[Prompt], R]) -> list[tuple[Job, R]]:
    """Jobs with what was, or now is, made of their prompts; those of which nothing can be made fail."""
    asked: list[tuple[Job, R]] = []
    for job in jobs:
        try:
            asked.append((job, job.ready or prepare(job.prompt)))
        except RequestError as error:
            fail(job, error)
    return asked


def together_or_alone(
    asked: Sequence[tuple[Job, R]], answer: Callable[[Sequence[tuple[Job, R]]], None]
) -> None:
    """Answer all together; if that raises, those that are not resolved by then one by one.

    Whatever is raised about one alone, such as that memory ran out, is what it is told.
    """
    if len(asked) > 1:
        try:
            answer(asked)
            return
        except Exception:
            log.exception("a batch of %d failed; each is asked alone", len(asked))
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # what a large batch left in pieces
    # Outside the handler: what its traceback holds is free again.
    for job, ready in asked:
        if job.cancelled:
            fail(job, RequestError("Nobody waits for this answer any more.", code="cancelled"))
        elif not job.future.done():
            try:
                answer([(job, ready)])
            except Exception as error:
                fail(job, error)


@contextmanager
def begun_fail(rows: Sequence[Row], jobs: Sequence[Job]) -> Iterator[None]:
    """Around decoding: if it raises, those fail that cannot be asked again, since tokens of theirs were told or have
    moved their grammar on; it is raised again for the others.
    """
    try:
        yield
    except Exception as error:
        for row, job in zip(rows, jobs, strict=True):
            if row.tokens and (job.on_token or row.constraint):
                fail(job, error)
        raise
