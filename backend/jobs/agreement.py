"""Several annotators on one region: how far they agree, and whose answer stands for all.

An answer is about a thing: one field of one region or ordered pair of one task. Regions are the same where their ids
are, as they are for everybody who started from the same prediction or imported regions. `answers_given` reads the
store; the rest is pure. Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from backend.jobs.outcomes import pair_key
from backend.store import AnnotationRow, OutcomeRow, Store
from regiontext.metrics.agreement import (
    TextAgreement,
    consensus,
    krippendorff_alpha,
    text_agreement,
)
from regiontext.records.record import Record

__all__ = [
    "FieldAgreement",
    "Given",
    "Thing",
    "agreements",
    "answers_given",
    "one_per_thing",
    "standing",
    "standing_in",
]

# By number only: two projects that share one cost a few rows more, not a wrong answer.
_SHARED = (
    select(AnnotationRow.task)
    .where(AnnotationRow.deleted.is_(False))
    .group_by(AnnotationRow.task)
    .having(func.count() > 1)
)

Thing = tuple[int, int, str, str]
"""(project, task, region or `pair_key`, field)."""


@dataclass(frozen=True)
class Given:
    """What one annotator said about a thing; `values` is empty where the field was cleared or the region removed."""

    thing: Thing
    annotation: int
    annotator: int | None
    values: tuple[str, ...]
    closed: bool
    updated_at: datetime


@dataclass(frozen=True)
class FieldAgreement:
    """How far annotators agree about one field. things: how many of its regions have answers of several.

    alpha: Krippendorff's, of closed fields. text: of open ones. None where too little is known.
    """

    field: str
    closed: bool
    things: int
    alpha: float | None
    text: TextAgreement | None


def answers_given(store: Store, project: int | None = None, *, shared: bool = False) -> list[Given]:
    """Every answer in a project (in all, if None), oldest first, without those of deleted annotations.

    shared: only those about tasks with several annotations.
    """
    query = (
        select(OutcomeRow)
        .join(AnnotationRow, AnnotationRow.id == OutcomeRow.annotation)
        .where(AnnotationRow.deleted.is_(False))
        .order_by(OutcomeRow.updated_at, OutcomeRow.annotation, OutcomeRow.region, OutcomeRow.field)
    )
    if project is not None:
        query = query.where(OutcomeRow.project == project)
    if shared:
        query = query.where(OutcomeRow.task.in_(_SHARED))
    with store.read() as session:
        return [
            Given(
                thing=(row.project, row.task, row.region, row.field),
                annotation=row.annotation,
                annotator=row.annotator,
                values=tuple(str(value) for value in row.final),
                closed=bool(row.options),
                updated_at=row.updated_at,
            )
            for row in session.scalars(query)
        ]


def agreements(given: Iterable[Given]) -> list[FieldAgreement]:
    """The agreement about each field that several annotators answered, by name.

    Somebody's second annotation of a task replaces the first. Closed fields are compared by the set of options, an
    empty field being a value of its own; of open fields only the texts that were written.
    """
    by_field: dict[str, list[list[Given]]] = {}
    for several in _things(given).values():
        by_field.setdefault(several[0].thing[3], []).append(several)
    found = []
    for field, things in sorted(by_field.items()):
        shared = sum(len(several) > 1 for several in things)
        if not shared:
            continue
        closed = any(item.closed for several in things for item in several)
        if closed:
            alpha = krippendorff_alpha(
                [[frozenset(item.values) for item in several] for several in things]
            )
            found.append(FieldAgreement(field, True, shared, alpha, None))
        else:
            texts = [[" ".join(i.values) for i in several if i.values] for several in things]
            found.append(FieldAgreement(field, False, shared, None, text_agreement(texts)))
    return found


def standing(given: Iterable[Given]) -> dict[Thing, int | None]:
    """The annotation whose answer stands for each thing that several annotators answered; None: no answer does.

    The rule is that of `regiontext.metrics.agreement.consensus`.
    """
    found: dict[Thing, int | None] = {}
    for thing, several in _things(given).items():
        if len(several) > 1:
            closed = any(item.closed for item in several)
            place = consensus([item.values for item in several], closed=closed)
            found[thing] = None if place is None else several[place].annotation
    return found


def standing_in(store: Store, project: int | None = None) -> dict[Thing, int | None]:
    """`standing` of all that several annotators answered in a project (in all, if None)."""
    return standing(answers_given(store, project, shared=True))


def one_per_thing(records: Sequence[Record], stands: Mapping[Thing, int | None]) -> list[Record]:
    """The records without those that another annotator's answer stands for (see `standing`), in their order."""

    def thing(record: Record) -> Thing:
        region = record.regions[0] if len(record.regions) == 1 else pair_key(*record.regions)
        return record.project, record.task, region, record.field

    return [
        record
        for record in records
        if stands.get(thing(record), record.annotation) == record.annotation
    ]


def _things(given: Iterable[Given]) -> dict[Thing, list[Given]]:
    """Each annotator's newest answer to each thing, oldest first."""
    newest: dict[Thing, dict[int | tuple[str, int], Given]] = {}
    for item in sorted(given, key=lambda item: (item.updated_at, item.annotation)):
        # An annotation of nobody known is somebody else's than any other.
        who = item.annotator if item.annotator is not None else ("annotation", item.annotation)
        answers = newest.setdefault(item.thing, {})
        answers.pop(who, None)
        answers[who] = item
    return {thing: list(answers.values()) for thing, answers in newest.items()}
