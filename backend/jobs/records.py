"""The store's outcomes as records: what a model can learn from, and be judged by.

Knows the tables; knows nothing of Label Studio's API or of pixels.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import select

from backend.jobs.outcomes import pair_ends
from backend.store import AnnotationRow, ImageRow, OutcomeRow, Store, SuggestionRow
from regiontext.labelstudio.results import read_results
from regiontext.records.arm import Arm
from regiontext.records.record import Record, record_id

__all__ = ["HELD_OUT", "LEARNT_FROM", "USABLE", "load_records", "project_numbers"]

LEARNT_FROM: tuple[Arm, ...] = ("assist", "control")
"""The arms a model may be trained on. Holdout never is."""

HELD_OUT: tuple[Arm, ...] = ("holdout",)
"""The arm that only judges."""

USABLE = ("accepted", "edited", "added")
"""The outcomes that leave a text behind."""


def project_numbers(store: Store) -> list[int]:
    """The projects of which the store holds outcomes."""
    with store.read() as session:
        return sorted(session.scalars(select(OutcomeRow.project).distinct()))


def load_records(
    store: Store, project: int | None = None, *, arms: Collection[Arm] = LEARNT_FROM
) -> list[Record]:
    """Every record of a project (of all, if None) whose image is in one of the arms, in a stable order.

    A record is what a human left in a field: accepted, edited or added. Left out are texts of deleted annotations,
    regions without a usable shape, and closed questions with several answers, which a model that answers with one
    option cannot give. `Record.image` is empty: only Label Studio knows where a task's image is.
    """
    query = (
        select(OutcomeRow, AnnotationRow, ImageRow, SuggestionRow)
        .join(AnnotationRow, AnnotationRow.id == OutcomeRow.annotation)
        .join(ImageRow, ImageRow.hash == OutcomeRow.image_hash)
        .outerjoin(SuggestionRow, SuggestionRow.id == OutcomeRow.suggestion)
        .where(
            ImageRow.arm.in_(list(arms)),
            OutcomeRow.outcome.in_(USABLE),
            AnnotationRow.deleted.is_(False),
        )
        .order_by(OutcomeRow.task, OutcomeRow.annotation, OutcomeRow.region, OutcomeRow.field)
    )
    if project is not None:
        query = query.where(OutcomeRow.project == project)
    records = []
    with store.read() as session:
        shapes: tuple[int | None, Mapping[str, Any]] = (None, {})
        for outcome, annotation, image, suggestion in session.execute(query):
            if shapes[0] != annotation.id:
                shapes = annotation.id, read_results(annotation.result).shapes
            record = _record(outcome, shapes[1], image, suggestion)
            if record is not None:
                records.append(record)
    return records


def _record(
    row: OutcomeRow,
    shapes: Mapping[str, Any],
    image: ImageRow,
    suggestion: SuggestionRow | None,
) -> Record | None:
    regions = _regions(row, shapes)
    final = tuple(str(entry) for entry in row.final)
    if not regions or not final or (row.options and len(final) > 1):
        return None
    return Record(
        id=record_id(row.annotation, regions, row.field),
        project=row.project,
        task=row.task,
        annotation=row.annotation,
        image_hash=image.hash,
        image="",
        size=(image.width, image.height),
        regions=regions,
        shapes=tuple(shapes[region] for region in regions),
        labels=tuple(str(label) for label in row.labels),
        field=row.field,
        kind="closed" if row.options else "open",
        wording=row.question,
        options=tuple(str(option) for option in row.options),
        answer=final,
        outcome=row.outcome,  # type: ignore[arg-type]  # one of USABLE, by the query
        # The image's arm is the one that counts now: it may have moved since the outcome was written.
        arm=image.arm,  # type: ignore[arg-type]  # written from an Arm
        suggested=tuple(str(entry) for entry in row.suggested) if row.suggestion else None,
        prompt=suggestion.prompt if suggestion else None,
        model_version=row.model_version,
        annotator=row.annotator,
        updated_at=row.updated_at.isoformat(),
    )


def _regions(row: OutcomeRow, shapes: Mapping[str, Any]) -> tuple[str, ...]:
    ends: Sequence[str] = (row.region,)
    if "{subject}" in row.question:
        ends = pair_ends(row.region, shapes) or ()
    return tuple(ends) if all(end in shapes for end in ends) else ()
