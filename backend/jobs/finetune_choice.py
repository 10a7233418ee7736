"""What a fine-tuning run learns from and is judged by, written down so that a restart decides nothing anew.

Knows records and the run's folder; knows no store and no model.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from backend.jobs.errors import JobError
from backend.jobs.runs import Chosen
from regiontext.marks.view import View
from regiontext.records.record import Record

__all__ = ["CHOICE_NAME", "Choice", "begun_at", "read_choice", "write_choice"]

CHOICE_NAME = "choice.json"

# JSON has lists where a record has tuples. Annotations are text, as `from __future__ import annotations` has it.
_TUPLES = frozenset(f.name for f in fields(Record) if str(f.type).startswith("tuple["))


@dataclass(frozen=True)
class Choice:
    """The first step of a run.

    name: the id of the model to be. base, root: the base model's id, and its folder or hub id. view: how regions are
    shown. projects: whose records they are. begun: UNIX seconds. problems: what went wrong while collecting.
    """

    name: str
    base: str
    root: str
    view: View
    projects: tuple[int, ...]
    chosen: Chosen
    begun: float
    problems: tuple[str, ...] = ()


def write_choice(run_dir: Path, choice: Choice) -> None:
    """Write it into the run's folder, whole or not at all."""
    chosen = choice.chosen
    facts = {
        "name": choice.name,
        "base": choice.base,
        "root": choice.root,
        "view": choice.view.to_dict(),
        "projects": list(choice.projects),
        "begun": choice.begun,
        "problems": list(choice.problems),
        "validated": chosen.validated,
    } | {
        part: [asdict(record) for record in getattr(chosen, part)]
        for part in ("training", "judging", "guarding")
    }
    beside = run_dir / f"{CHOICE_NAME}.tmp"
    beside.write_text(json.dumps(facts, ensure_ascii=False), encoding="utf-8")
    os.replace(beside, run_dir / CHOICE_NAME)


def read_choice(run_dir: Path) -> Choice:
    """Read what `write_choice` wrote. Raises JobError if it is not there any more."""
    try:
        facts = json.loads((run_dir / CHOICE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise JobError(
            f"the run in {run_dir} cannot go on: {CHOICE_NAME} cannot be read ({error}); start afresh with --new"
        ) from error
    training, judging, guarding = (
        _records(facts[part]) for part in ("training", "judging", "guarding")
    )
    return Choice(
        name=facts["name"],
        base=facts["base"],
        root=facts["root"],
        view=View.from_dict(facts["view"]),
        projects=tuple(facts["projects"]),
        chosen=Chosen(training, judging, guarding, bool(facts["validated"])),
        begun=float(facts["begun"]),
        problems=tuple(facts["problems"]),
    )


def begun_at(data_dir: Path) -> float:
    """When the last run of a data folder began, UNIX seconds; 0 if there was none."""
    found = 0.0
    for path in sorted((data_dir / "runs").glob(f"*/{CHOICE_NAME}"))[-20:]:
        try:
            found = max(found, float(json.loads(path.read_text(encoding="utf-8"))["begun"]))
        except (OSError, ValueError, KeyError):
            continue
    return found


def _records(rows: Sequence[Mapping[str, Any]]) -> tuple[Record, ...]:
    return tuple(Record(**_as_tuples(row)) for row in rows)


def _as_tuples(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if name in _TUPLES and value is not None else value
        for name, value in row.items()
    }
