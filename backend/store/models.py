"""The tables. Columns only: no behaviour, no queries.

Provenance reads from left to right: images → suggestions → annotations → outcomes →
model_versions. Every time is UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    TypeDecorator,
    false,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = [
    "AnnotationRow",
    "Base",
    "EventRow",
    "ImageClusterRow",
    "ImageRow",
    "ModelVersionRow",
    "OutcomeRow",
    "ProjectRow",
    "ServedModelRow",
    "SuggestionRow",
    "utc_now",
]


def utc_now() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.now(UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime in UTC; SQLite, which keeps no zone, gets and gives it back as UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times, convert the others to UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone: use datetime.now(UTC)")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the zone back to what SQLite stored without one."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Names every constraint, so that migrations can speak of them on every database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime(),
        dict[str, Any]: JSON(),
        list[Any]: JSON(),
    }


class ImageRow(Base):
    """An image that was seen, with the arm it was drawn into before any suggestion about it."""

    __tablename__ = "images"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    task: Mapped[int | None]
    project: Mapped[int | None]
    width: Mapped[int]
    height: Mapped[int]
    arm: Mapped[str] = mapped_column(String(16))
    first_seen: Mapped[datetime] = mapped_column(default=utc_now)


class ImageClusterRow(Base):
    """Where an image belongs among its near duplicates (see `regiontext.records.splits`); never changed once written.

    number: in the order of placing. perceptual: its perceptual hash. cluster: the image that its cluster began with.
    """

    __tablename__ = "image_clusters"

    hash: Mapped[str] = mapped_column(ForeignKey("images.hash"), primary_key=True)
    number: Mapped[int] = mapped_column(index=True)
    perceptual: Mapped[str] = mapped_column(String(64))
    cluster: Mapped[str] = mapped_column(String(64), index=True)
    beside: Mapped[list[Any]]


class SuggestionRow(Base):
    """One answer of the model, with everything needed to ask the same question again."""

    __tablename__ = "suggestions"
    __table_args__ = (Index("ix_suggestions_task_region_field", "task", "region", "field"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    project: Mapped[int] = mapped_column(index=True)
    task: Mapped[int]
    region: Mapped[str] = mapped_column(String(128))
    region_to: Mapped[str | None] = mapped_column(String(128))
    field: Mapped[str] = mapped_column(String(256))
    question: Mapped[str] = mapped_column(Text)
    question_hash: Mapped[str] = mapped_column(String(64))
    options: Mapped[list[Any]]
    prompt: Mapped[str] = mapped_column(Text)
    render_hash: Mapped[str] = mapped_column(String(64))
    image_hash: Mapped[str] = mapped_column(ForeignKey("images.hash"), index=True)
    view: Mapped[dict[str, Any]]
    model_version: Mapped[str] = mapped_column(String(256))
    model: Mapped[str] = mapped_column(String(256))
    decoding: Mapped[dict[str, Any]]
    value: Mapped[list[Any]]
    confidence: Mapped[float | None]
    path: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class EventRow(Base):
    """A webhook as it came in; acknowledged once it is here, processed later."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    received_at: Mapped[datetime] = mapped_column(default=utc_now)
    action: Mapped[str] = mapped_column(String(64))
    payload: Mapped[dict[str, Any]]
    processed_at: Mapped[datetime | None] = mapped_column(index=True)
    error: Mapped[str | None] = mapped_column(Text)


class AnnotationRow(Base):
    """The last known state of an annotation in Label Studio (id is Label Studio's own)."""

    __tablename__ = "annotations"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    project: Mapped[int] = mapped_column(index=True)
    task: Mapped[int] = mapped_column(index=True)
    completed_by: Mapped[int | None]
    result: Mapped[list[Any]]
    lead_time: Mapped[float | None]
    created_at: Mapped[datetime | None]
    updated_at: Mapped[datetime | None]
    deleted: Mapped[bool] = mapped_column(default=False)
    image_hash: Mapped[str | None] = mapped_column(String(64), index=True)
    source: Mapped[str] = mapped_column(String(32))


class OutcomeRow(Base):
    """What the human made of one field of one region in one annotation.

    edit_chars, edit_words, edit_share, meaning_changed: as in `regiontext.metrics.edits.Edit`. seconds: the region's
    share of the annotation's time, where Label Studio tells it. trap: the suggestion was wrong on purpose.
    """

    __tablename__ = "outcomes"

    annotation: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    region: Mapped[str] = mapped_column(String(128), primary_key=True)
    field: Mapped[str] = mapped_column(String(256), primary_key=True)
    project: Mapped[int] = mapped_column(index=True)
    task: Mapped[int]
    image_hash: Mapped[str | None] = mapped_column(String(64), index=True)
    arm: Mapped[str] = mapped_column(String(16))
    outcome: Mapped[str] = mapped_column(String(16))
    suggestion: Mapped[str | None] = mapped_column(String(32))
    suggested: Mapped[list[Any]]
    final: Mapped[list[Any]]
    options: Mapped[list[Any]]
    question: Mapped[str] = mapped_column(Text)
    labels: Mapped[list[Any]]
    annotator: Mapped[int | None]
    model_version: Mapped[str | None] = mapped_column(String(256))
    # None in the rows of versions that did not measure; the next collect fills them.
    edit_chars: Mapped[int | None]
    edit_words: Mapped[int | None]
    edit_share: Mapped[float | None]
    meaning_changed: Mapped[bool | None]
    seconds: Mapped[float | None]
    trap: Mapped[bool] = mapped_column(default=False, server_default=false())
    updated_at: Mapped[datetime] = mapped_column(default=utc_now)


class ModelVersionRow(Base):
    """A model that is, was or wants to be served; `name` is the id it is requested by ("base:run"
    for an adapter).
    """

    __tablename__ = "model_versions"

    name: Mapped[str] = mapped_column(String(256), primary_key=True)
    base: Mapped[str] = mapped_column(String(256))
    adapter_path: Mapped[str | None] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(16), index=True)
    metrics: Mapped[dict[str, Any]] = mapped_column(default=dict)
    run_dir: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    promoted_at: Mapped[datetime | None]


class ProjectRow(Base):
    """A project of the Label Studio that this database belongs to; `created` in seconds since 1970."""

    __tablename__ = "projects"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    created: Mapped[int] = mapped_column(BigInteger)
    first_seen: Mapped[datetime] = mapped_column(default=utc_now)


class ServedModelRow(Base):
    """What the model server last announced about a model, so that it is known while the server is
    away.
    """

    __tablename__ = "served_models"

    id: Mapped[str] = mapped_column(String(256), primary_key=True)
    position: Mapped[int]
    announcement: Mapped[dict[str, Any]]
    seen_at: Mapped[datetime] = mapped_column(default=utc_now)
