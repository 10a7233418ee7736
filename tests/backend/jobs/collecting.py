"""Suggestions put into a store, webhooks sent and worked off, and what the store then says of them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select

from backend.events import work_off
from backend.jobs.collect import Collected, collect, process_event
from backend.settings import Settings
from backend.store import ImageRow, OutcomeRow, Store, SuggestionRow
from backend.store import queries as stored
from regiontext.images import image_hash
from tests.backend.jobs.fakes import FakeLabelStudio, picture

__all__ = ["outcomes", "process", "run", "send", "suggest"]


def suggest(
    store: Store,
    task: int,
    region: str,
    field: str,
    value: str,
    *,
    to: str | None = None,
    at: datetime | None = None,
    arm: str = "assist",
    path: str = "batch",
    image: bytes = b"",
    version: str = "tiny@base+r1+q1",
) -> str:
    digest = image_hash(image or picture(task))
    with store.begin() as session:
        number = stored.count(session, SuggestionRow)
        row = ImageRow(hash=digest, task=task, project=1, width=80, height=60, arm=arm)
        stored.record_image(session, row)
        suggestion = SuggestionRow(
            id=f"s{number}", project=1, task=task, region=region, region_to=to, field=field,
            question="Describe the object {mark}.", question_hash="q", options=[], prompt="p",
            render_hash="r", image_hash=digest, view={}, model_version=version, model="tiny",
            decoding={}, value=[value], confidence=0.5, path=path,
            created_at=at or datetime.now(UTC) - timedelta(minutes=1),
        )  # fmt: skip
        session.add(suggestion)
        return suggestion.id


def outcomes(store: Store) -> dict[tuple[int, str, str], str]:
    with store.read() as session:
        rows = session.scalars(select(OutcomeRow)).all()
        return {(row.annotation, row.region, row.field): row.outcome for row in rows}


def send(studio: FakeLabelStudio, store: Store, action: str, *annotations: dict[str, Any]) -> None:
    with store.begin() as session:
        stored.add_event(session, action, studio.event(action, *annotations))


def process(settings: Settings, store: Store) -> int:
    """As the backend's worker does it; how many webhooks there were."""
    done = 0
    while work_off(settings, store, process_event):
        done += 1
    return done


def run(settings: Settings, project: int) -> Collected:
    return asyncio.run(collect(settings, project))
