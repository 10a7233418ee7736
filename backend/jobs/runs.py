"""The folders and rows of fine-tuning runs: numbers, what a run chose to learn from, and what became of it.

Knows the store and the disk; knows no model and no network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from backend.jobs.errors import NotEnough
from backend.registry import adapter_hashes, record_promotion
from backend.store import ModelVersionRow, Store
from backend.store import queries as stored
from regiontext.records.record import Record
from regiontext.records.splits import Split

__all__ = ["Chosen", "begin_run", "choose", "close_interrupted", "record_result", "register"]


@dataclass(frozen=True)
class Chosen:
    """What a run learns from and is judged by.

    judging: decide. guarding: accepted texts kept out of training, which must not get worse. `validated` says whether
    the judging records hold the validation split too, because holdout alone was too small.
    """

    training: tuple[Record, ...]
    judging: tuple[Record, ...]
    guarding: tuple[Record, ...]
    validated: bool


def choose(
    learnable: Sequence[Record],
    holdout: Sequence[Record],
    splits: Mapping[str, Split | None],
    *,
    min_records: int,
    min_eval: int,
    max_eval: int,
) -> Chosen:
    """Split the records of a run; `splits` has those of their images by hash.

    Raises NotEnough with how many are there and how many it takes.

    Trained on: the train split of the assist and control arms. Judging: holdout, and where that is fewer than
    `min_eval`, the validation split besides. Guarding: accepted texts of the validation split, unless they judge.
    """
    training = tuple(r for r in learnable if splits.get(r.image_hash) == "train")
    validation = [r for r in learnable if splits.get(r.image_hash) == "validation"]
    if len(training) < min_records:
        raise NotEnough(
            f"there are {len(training)} texts to learn from (outside holdout and validation), and it takes "
            f"{min_records}: submit more annotations, or lower --min-records"
        )
    judging, validated = list(holdout), len(holdout) < min_eval
    if validated:
        judging += validation
    if len(judging) < min_eval:
        raise NotEnough(
            f"there are {len(judging)} texts to judge a new model by (holdout and validation images), and it takes "
            f"{min_eval}: submit annotations of more images, or lower --min-eval"
        )
    guarding = [] if validated else [r for r in validation if r.outcome == "accepted"]
    # By image hash: an arbitrary but fixed order, so that a cut takes the same images each time.
    by_hash = sorted(judging, key=lambda r: (r.image_hash, r.id))[:max_eval]
    kept = sorted(guarding, key=lambda r: (r.image_hash, r.id))[:max_eval]
    return Chosen(training, tuple(by_hash), tuple(kept), validated)


def begin_run(data_dir: Path, taken: Sequence[str]) -> Path:
    """A new folder `runs/NNNN`, its number above those of all folders and of the `taken` names ("base:NNNN")."""
    runs = data_dir / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    names = [path.name for path in runs.iterdir()] + [name.rpartition(":")[2] for name in taken]
    number = max((int(name) for name in names if name.isdigit()), default=0)
    while True:
        number += 1
        folder = runs / f"{number:04d}"
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder


def close_interrupted(store: Store) -> list[str]:
    """Reject challengers that an interrupted run left behind; their names."""
    query = select(ModelVersionRow).where(ModelVersionRow.status == "challenger")
    with store.begin() as session:
        left = session.scalars(query).all()
        for row in left:
            row.status = "rejected"
            row.metrics = {**row.metrics, "reason": "the run was interrupted"}
        return [row.name for row in left]


def register(store: Store, name: str, *, base: str, adapter: Path, run_dir: Path) -> None:
    """Write down a trained challenger, with the hashes of its files: it never changes from then on."""
    files = adapter_hashes(adapter) if adapter.is_dir() else {}
    with store.begin() as session:
        stored.upsert(
            session,
            ModelVersionRow(
                name=name,
                base=base,
                adapter_path=str(adapter),
                status="challenger",
                metrics={"files": files},
                run_dir=str(run_dir),
            ),
        )


def record_result(store: Store, name: str, metrics: Mapping[str, Any], *, promote: bool) -> None:
    """Promote a challenger (the champion before it retires) or reject it, in one transaction."""
    with store.begin() as session:
        row = session.get(ModelVersionRow, name)
        if row is None:
            raise KeyError(f"no model version {name!r} is registered")
        files = {"files": row.metrics["files"]} if "files" in row.metrics else {}
        row.metrics = {**files, **metrics}
        if not promote:
            row.status = "rejected"
        else:
            record_promotion(session, name, str(metrics.get("reason", "")))
