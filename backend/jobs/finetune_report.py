"""What a fine-tuning run is told, and what it reports. Knows nothing of how a run goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.jobs.errors import JobError
from backend.jobs.gate import Decision

__all__ = ["FinetuneOptions", "FinetuneReport"]

_FOR_TRAINER = (
    *("steps", "batch_size", "lr", "rank", "replay", "passes", "dpo", "beta"),
    *("seed", "device"),
)


@dataclass(frozen=True)
class FinetuneOptions:
    """How a run learns and judges; what is None is left to the trainer and the model folder.

    renders: ways each record is shown, the first of them as it will be asked, the others with random marks, so that
    hardly any visit repeats a drawing. min_records, min_eval: fewer records to learn from, or to judge by, and the
    run does not begin. max_eval: no more than these are asked. dpo: visits of every preference pair after the
    supervised steps, 0 for none. threads: for the trainer, None for all processors.
    """

    renders: int = 4
    min_records: int = 8
    min_eval: int = 8
    max_eval: int = 500
    steps: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    rank: int | None = None
    replay: float | None = None
    passes: float | None = None
    dpo: float | None = None
    beta: float | None = None
    seed: int = 0
    threads: int | None = None
    device: str | None = None

    def __post_init__(self) -> None:
        """Refuse what makes no sense: raises JobError."""
        for name in ("renders", "min_records", "min_eval", "max_eval"):
            if getattr(self, name) < 1:
                raise JobError(f"{name} is {getattr(self, name)}; it must be at least 1")

    def for_trainer(self) -> dict[str, int | float | str | None]:
        """The options that the trainer takes under the same names."""
        return {name: getattr(self, name) for name in _FOR_TRAINER}


@dataclass(frozen=True)
class FinetuneReport:
    """What came of a run.

    name: the id of the new model ("base:0001"). decision: the figures of both models, with the reason. counts: of
    records. problems: one line per record or image that was left out, and about Label Studio where it could not be
    told of the new version. seconds: since the run began, with the time that it lay interrupted.
    """

    run: str
    name: str
    promoted: bool
    reason: str
    champion: str
    decision: Decision
    counts: Mapping[str, Any]
    seconds: float
    run_dir: Path
    problems: Sequence[str] = ()
