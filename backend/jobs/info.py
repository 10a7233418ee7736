"""What is told of a job that outlives the process. Knows neither how jobs run nor what they do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = ["JobInfo", "State"]

State = Literal["queued", "running", "paused", "cancelled", "done", "failed"]


@dataclass(frozen=True)
class JobInfo:
    """Where a job is, in tasks, or in steps of training.

    project: None for all. total: None until it has started. doing: in words, "" if the state says it all. eta_s:
    seconds left, None if unknown. counts: tasks by how they ended. problems: the last ones, one line each. error: why
    it failed. times: UNIX seconds.
    """

    id: str
    project: int | None
    state: State
    done: int
    total: int | None
    failed: int
    eta_s: float | None
    created: float
    started: float | None
    finished: float | None
    error: str | None
    kind: str
    doing: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self) | {"problems": list(self.problems)}
