"""How a job tells whoever started it how far it is. Knows nothing of terminals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Notify", "Progress", "quiet", "seconds_left"]


@dataclass(frozen=True)
class Progress:
    """Where a job is: `done` of `total` (None while unknown), and what it is doing.

    `problem` is one line about something that went wrong with a single item; the job goes on.
    """

    done: int
    total: int | None
    doing: str
    problem: str | None = None


Notify = Callable[[Progress], None]


def quiet(progress: Progress) -> None:
    """Tell nobody."""


def seconds_left(done: int, total: int | None, seconds: float) -> float | None:
    """How long the rest takes if it goes on as it went: `done` in `seconds`; None while that is unknown."""
    if total is None or done <= 0:
        return None
    return max(0, total - done) * seconds / done
