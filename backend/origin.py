"""Tells two Label Studios on one database apart: their numbers of projects, tasks and annotations collide.

Label Studio names a project by its number and the second of its creation. The first one that comes is the one whose
work the database keeps; a project of the same number that was created at another time belongs to another Label Studio
(or to a new one in the place of the old), and is refused before anything of it is mixed with what is kept.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from backend.errors import OtherLabelStudio
from backend.label_studio import project_id
from backend.store import Store
from backend.store import queries as stored

__all__ = ["Origins", "check_origin", "created_in", "created_of"]


class Origins:
    """Which projects were found to be the ones that the database knows. One per process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen: set[tuple[int, int]] = set()

    async def project(self, uid: object) -> int:
        """The project's number in what Label Studio sends, once it is known to be the database's project.

        Raises:
            LabelStudioError: it names no project.
            OtherLabelStudio: see `check_origin`.
        """
        number, created = project_id(uid), created_in(uid)
        if created is not None and (number, created) not in self._seen:
            await asyncio.to_thread(check_origin, self._store, number, created)
            self._seen.add((number, created))
        return number


def check_origin(store: Store, project: int, created: int | None) -> None:
    """See that a project is the one of that number whose work the database keeps; remember it if it is the first.

    created: in seconds since 1970; None, if it is not known, is taken on trust.

    Raises:
        OtherLabelStudio: it is not.
    """
    if created is None:
        return
    with store.read() as session:
        known = stored.project_created(session, project)
    if known is None:
        with store.begin() as session:
            known = stored.remember_project(session, project, created)
    if known != created:
        raise OtherLabelStudio(
            f"project {project} was created at {_shown(created)}, but the one of that number that this database "
            f"keeps at {_shown(known)}: it is another Label Studio's, whose numbers collide. Give each Label Studio a "
            "backend with a database of its own (REGIONTEXT_DATA_DIR or REGIONTEXT_DATABASE_URL)"
        )


def created_in(uid: object) -> int | None:
    """The creation time in "2.1795236743", in seconds since 1970; None if there is none."""
    _, _, tail = str(uid).partition(".")
    # Longer ones are no times, and more than a database holds.
    return int(tail) if tail.isdecimal() and len(tail) <= 12 else None


def created_of(created_at: object) -> int | None:
    """The same of a project as Label Studio's API and webhooks show it (`created_at`, an ISO time)."""
    try:
        when = datetime.fromisoformat(str(created_at))
    except ValueError:
        return None
    return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp())


def _shown(created: int) -> str:
    try:
        return f"{datetime.fromtimestamp(created, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, OSError, ValueError):
        return str(created)
