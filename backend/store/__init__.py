"""What the backend remembers: one SQL database, SQLite by default, PostgreSQL by URL.

`models` are the tables, `session` opens the database (and upgrades it), `queries` are the few
questions asked of it, `migrations` the history of its shape. Knows nothing of HTTP, images or
models.
"""

from __future__ import annotations

from backend.store.models import (
    AnnotationRow,
    Base,
    EventRow,
    ImageClusterRow,
    ImageRow,
    ModelVersionRow,
    OutcomeRow,
    ProjectRow,
    ServedModelRow,
    SuggestionRow,
)
from backend.store.registry_models import RegistryEventRow, ShadowAnswerRow
from backend.store.session import Store, open_store

__all__ = [
    "AnnotationRow",
    "Base",
    "EventRow",
    "ImageClusterRow",
    "ImageRow",
    "ModelVersionRow",
    "OutcomeRow",
    "ProjectRow",
    "RegistryEventRow",
    "ServedModelRow",
    "ShadowAnswerRow",
    "Store",
    "SuggestionRow",
    "open_store",
]
