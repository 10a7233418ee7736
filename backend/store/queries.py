"""The questions asked of the store, one small function each, on an open session.

Reading functions run in `store.read()`, writing ones in `store.begin()`. Knows the tables, not
the domain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from backend.store.models import (
    AnnotationRow,
    EventRow,
    ImageRow,
    ModelVersionRow,
    OutcomeRow,
    ProjectRow,
    ServedModelRow,
    SuggestionRow,
    utc_now,
)

__all__ = [
    "add_event",
    "add_suggestions",
    "champion",
    "count",
    "count_open_events",
    "count_outcomes",
    "finish_event",
    "image_of_task",
    "open_events",
    "project_created",
    "promote",
    "record_image",
    "remember_project",
    "replace_served_models",
    "served_models",
    "suggested_values",
    "suggestions_of_task",
    "upsert",
]


def record_image(session: Session, seen: ImageRow) -> ImageRow:
    """The image's row, written first if the image is new.

    An image that was once offered to the assistant may not enter holdout or control later (it has
    been suggested about, perhaps trained on), so a known image keeps its arm; the one move
    allowed is out of holdout and control, when the shares were lowered: `seen.arm == "assist"`
    then wins.
    """
    known = session.get(ImageRow, seen.hash)
    if known is None:
        session.add(seen)
        session.flush()
        return seen
    if known.arm != "assist" and seen.arm == "assist":
        known.arm = "assist"
    return known


def project_created(session: Session, project: int) -> int | None:
    """When the project of that number was created, in seconds since 1970; None if none was seen."""
    return session.scalar(select(ProjectRow.created).where(ProjectRow.id == project))


def remember_project(session: Session, project: int, created: int) -> int:
    """Remember when a project was created, unless that is known; what is known from now on."""
    known = project_created(session, project)
    if known is None:
        session.add(ProjectRow(id=project, created=created))
    return created if known is None else known


def image_of_task(session: Session, project: int, task: int) -> str | None:
    """The hash of the image last seen for a task; None if it was never looked at."""
    by_suggestion = (
        select(SuggestionRow.image_hash)
        .where(SuggestionRow.task == task, SuggestionRow.project == project)
        .order_by(SuggestionRow.created_at.desc())
        .limit(1)
    )
    by_image = (
        select(ImageRow.hash)
        .where(ImageRow.task == task, ImageRow.project == project)
        .order_by(ImageRow.first_seen.desc())
        .limit(1)
    )
    return session.scalar(by_suggestion) or session.scalar(by_image)


def add_suggestions(session: Session, suggestions: Iterable[SuggestionRow]) -> None:
    """Keep the model's answers; their images must have been recorded before."""
    # Plain rows: following the objects to the end of the transaction takes twice the time, and a person waits.
    columns = SuggestionRow.__table__.columns.keys()
    kept = [{name: getattr(row, name) for name in columns} for row in suggestions]
    rows = [{name: value for name, value in row.items() if value is not None} for row in kept]
    if rows:
        session.execute(insert(SuggestionRow), rows)


def suggestions_of_task(session: Session, project: int, task: int) -> Sequence[SuggestionRow]:
    """Everything ever suggested for a task, oldest first."""
    query = (
        select(SuggestionRow)
        .where(SuggestionRow.task == task, SuggestionRow.project == project)
        .order_by(SuggestionRow.created_at, SuggestionRow.id)
    )
    return session.scalars(query).all()


def suggested_values(
    session: Session, project: int, task: int
) -> set[tuple[str, str, tuple[str, ...]]]:
    """Every (region, field, value) that was ever suggested in a task: text equal to one of them
    is our own.
    """
    query = select(SuggestionRow.region, SuggestionRow.field, SuggestionRow.value).where(
        SuggestionRow.task == task, SuggestionRow.project == project
    )
    return {(region, field, tuple(value)) for region, field, value in session.execute(query)}


def add_event(session: Session, action: str, payload: Mapping[str, Any]) -> int:
    """Keep a webhook; its number."""
    event = EventRow(action=action, payload=dict(payload))
    session.add(event)
    session.flush()
    return event.id


def count_open_events(session: Session) -> int:
    """How many events wait to be worked off."""
    waiting = select(func.count()).select_from(EventRow).where(EventRow.processed_at.is_(None))
    return session.scalar(waiting) or 0


def count_outcomes(session: Session) -> list[tuple[str | None, str, str, int]]:
    """(model version, arm, outcome, how many fields), for every combination there is."""
    keys = OutcomeRow.model_version, OutcomeRow.arm, OutcomeRow.outcome
    rows = session.execute(select(*keys, func.count()).group_by(*keys))
    return [(version, arm, outcome, number) for version, arm, outcome, number in rows]


def open_events(session: Session, *, limit: int = 100) -> Sequence[EventRow]:
    """Webhooks not yet processed, oldest first."""
    query = (
        select(EventRow).where(EventRow.processed_at.is_(None)).order_by(EventRow.id).limit(limit)
    )
    return session.scalars(query).all()


def finish_event(session: Session, event_id: int, *, error: str | None = None) -> None:
    """Mark a webhook as dealt with; a failed one is not tried again, reconciling by polling makes
    it good.
    """
    event = session.get(EventRow, event_id)
    if event is not None:
        event.processed_at = utc_now()
        event.error = error


def champion(session: Session, base: str | None = None) -> ModelVersionRow | None:
    """The promoted model (of one base, if given); None: the base itself is served."""
    query = select(ModelVersionRow).where(ModelVersionRow.status == "champion")
    if base is not None:
        query = query.where(ModelVersionRow.base == base)
    return session.scalars(query.order_by(ModelVersionRow.promoted_at.desc()).limit(1)).first()


def promote(session: Session, name: str) -> ModelVersionRow:
    """Make a model the champion of its base and retire the one before it.

    Raises:
        KeyError: no model of that name is registered.
    """
    row = session.get(ModelVersionRow, name)
    if row is None:
        raise KeyError(f"no model version {name!r} is registered")
    others = select(ModelVersionRow).where(
        ModelVersionRow.base == row.base,
        ModelVersionRow.status == "champion",
        ModelVersionRow.name != name,
    )
    for other in session.scalars(others):
        other.status = "retired"
    row.status = "champion"
    row.promoted_at = utc_now()
    return row


def served_models(session: Session) -> Sequence[Mapping[str, Any]]:
    """What the model server last announced, in its order."""
    query = select(ServedModelRow.announcement).order_by(ServedModelRow.position)
    return session.scalars(query).all()


def replace_served_models(session: Session, announcements: Sequence[Mapping[str, Any]]) -> None:
    """Remember what the model server announces now; forgets what it no longer does."""
    session.execute(delete(ServedModelRow))
    for position, announcement in enumerate(announcements):
        session.merge(
            ServedModelRow(
                id=str(announcement["id"]), position=position, announcement=dict(announcement)
            )
        )


def upsert(session: Session, row: AnnotationRow | OutcomeRow | ModelVersionRow) -> None:
    """Insert a row, or replace the columns of the one with the same key."""
    session.merge(row)


def count(session: Session, table: type[Any], *conditions: Any) -> int:
    """How many rows of a table meet the conditions."""
    return session.scalar(select(func.count()).select_from(table).where(*conditions)) or 0
