"""The tables of the registry: what was served when, and what a challenger said unseen.

Columns only, as `backend.store.models`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from backend.store.models import Base, utc_now

__all__ = ["RegistryEventRow", "ShadowAnswerRow"]


class RegistryEventRow(Base):
    """One change of what is served for a base: never altered, never deleted.

    action: "promote", "rollback" or "shadow". name: the version it is about, None for the base itself (and for no
    shadow any more). before: what was served until then, None for the base itself. share: of a shadow, of questions.
    """

    __tablename__ = "registry_events"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(default=utc_now)
    base: Mapped[str] = mapped_column(String(256), index=True)
    action: Mapped[str] = mapped_column(String(16))
    name: Mapped[str | None] = mapped_column(String(256))
    before: Mapped[str | None] = mapped_column(String(256))
    share: Mapped[float | None]
    reason: Mapped[str] = mapped_column(Text, default="")


class ShadowAnswerRow(Base):
    """What a challenger answered to a question whose suggestion came from the champion; shown to nobody."""

    __tablename__ = "shadow_answers"

    suggestion: Mapped[str] = mapped_column(ForeignKey("suggestions.id"), primary_key=True)
    challenger: Mapped[str] = mapped_column(String(256), primary_key=True)
    value: Mapped[list[Any]]
    confidence: Mapped[float | None]
    agrees: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
