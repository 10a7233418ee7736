"""Finds what webhooks missed, by asking Label Studio now and then: an event is sent once, waits a second, and is gone.

Runs beside the backend, some time after its start (events were lost while it was away) and then at intervals. What
`regiontext collect` does by hand. Knows when; `jobs.collect` knows how.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from sqlalchemy import select

from backend.errors import BackendError
from backend.jobs.collect import Collected
from backend.settings import Settings
from backend.store import AnnotationRow, ImageRow, Store
from regiontext.errors import RegiontextError

__all__ = ["known_projects", "reconcile"]

_log = logging.getLogger(__name__)

Collect = Callable[[int], Awaitable[Collected]]


def known_projects(store: Store) -> list[int]:
    """The projects that the store has seen an image or an annotation of."""
    with store.read() as session:
        images = session.scalars(select(ImageRow.project).distinct())
        annotations = session.scalars(select(AnnotationRow.project).distinct())
        return sorted({project for project in (*images, *annotations) if project is not None})


async def reconcile(settings: Settings, store: Store, collect: Collect) -> None:
    """Collect every known project, again and again, until cancelled; not at all if the interval is 0.

    One project that fails (it was deleted, Label Studio is away) is a line in the log, and tried again next time.
    """
    if not settings.collect_every_s:
        return
    await asyncio.sleep(min(settings.collect_every_s, settings.collect_first_s))
    while True:
        for project in await asyncio.to_thread(known_projects, store):
            try:
                found = await collect(project)
            except (BackendError, RegiontextError) as error:
                _log.warning("not reconciled: %s", error, extra={"project": project})
                continue
            except Exception:
                _log.exception("reconciling failed; it goes on", extra={"project": project})
                continue
            if found.created or found.updated or found.deleted:
                _log.info(
                    "webhooks had missed annotations",
                    extra={
                        "project": project,
                        "created": found.created,
                        "updated": found.updated,
                        "deleted": found.deleted,
                    },
                )
        await asyncio.sleep(settings.collect_every_s)
