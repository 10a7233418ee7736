"""Webhooks: kept at once, worked off in the background, in order.

Label Studio waits one second for the answer while the annotator waits for theirs, and never sends an event twice. So an
event is acknowledged when it is in the store, and a worker of this process hands it to a processor, whose business it
is what an event means.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from backend.settings import Settings
from backend.store import EventRow, Store
from backend.store import queries as stored

__all__ = ["EventProcessor", "EventWorker", "keep_event", "work_off"]

_log = logging.getLogger(__name__)

EventProcessor = Callable[[Settings, Store, EventRow], None]
"""Deals with one event: blocks, and raises what went wrong."""

_POLL_S = 5.0


def keep_event(store: Store, body: Mapping[str, Any]) -> int:
    """Keep a webhook's body; its number. The project's sharing token, which comes along, is not kept."""
    payload = dict(body)
    if isinstance(payload.get("project"), Mapping):
        payload["project"] = {k: v for k, v in payload["project"].items() if k != "token"}
    with store.begin() as session:
        return stored.add_event(session, str(body.get("action", ""))[:64], payload)


def work_off(settings: Settings, store: Store, processor: EventProcessor) -> bool:
    """Process the oldest event that waits; whether there was one. What goes wrong is written into its row."""
    with store.read() as session:
        events = stored.open_events(session, limit=1)
    if not events:
        return False
    event, error = events[0], None
    try:
        processor(settings, store, event)
    except Exception as fault:
        error = f"{type(fault).__name__}: {fault}"[:2000]
        _log.exception("an event failed", extra={"event": event.id, "action": event.action})
    with store.begin() as session:
        stored.finish_event(session, event.id, error=error)
    return True


class EventWorker:
    """Works off the kept events in a thread, one at a time, whenever woken and every few seconds."""

    def __init__(self, settings: Settings, store: Store, processor: EventProcessor) -> None:
        self._settings = settings
        self._store = store
        self._processor = processor
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, with whatever an earlier process left behind."""
        self._task = asyncio.create_task(self._run())

    def wake(self) -> None:
        """There is a new event."""
        self._wake.set()

    async def stop(self) -> None:
        """Stop after the event at hand; the others stay in the store."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                while await asyncio.to_thread(
                    work_off, self._settings, self._store, self._processor
                ):
                    pass
            except Exception:
                _log.exception("the event worker stumbled; it goes on")
            try:
                await asyncio.wait_for(self._wake.wait(), _POLL_S)
            except TimeoutError:
                continue
