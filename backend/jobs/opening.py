"""Opens what a job works with, unless it was given. Knows no job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from backend.settings import Settings
from backend.store import Store, open_store

__all__ = ["using_store"]


@asynccontextmanager
async def using_store(settings: Settings, given: Store | None) -> AsyncIterator[Store]:
    """The given store, left open; or the one of the settings, opened for the block."""
    if given is not None:
        yield given
        return
    store = await asyncio.to_thread(open_store, settings.database_url)
    try:
        yield store
    finally:
        store.close()
