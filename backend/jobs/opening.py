"""Opens what a job works with, and closes it. Knows no job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from backend.assistant import Assistant
from backend.images import Images
from backend.jobs.studio import Studio
from backend.model_client import client_of
from backend.settings import Settings
from backend.store import Store, open_store

__all__ = ["using_store", "workplace"]


@asynccontextmanager
async def using_store(settings: Settings, given: Store | None = None) -> AsyncIterator[Store]:
    """The given store, left open; or the one of the settings, opened for the block."""
    if given is not None:
        yield given
        return
    store = await asyncio.to_thread(open_store, settings.database_url)
    try:
        yield store
    finally:
        store.close()


@asynccontextmanager
async def workplace(
    settings: Settings, given: Store | None = None
) -> AsyncIterator[tuple[Assistant, Studio]]:
    """Store, images, model and Label Studio together, for jobs that need them all."""
    async with (
        using_store(settings, given) as store,
        Studio(settings) as studio,
        Images(settings) as images,
        client_of(settings) as model,
    ):
        yield Assistant(settings, store, images, model), studio
