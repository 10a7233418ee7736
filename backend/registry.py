"""The versions of the model: which is served, which was served before, which wants to be; promoting and rolling back.

A version never changes: its run's manifest holds the hash of every file of it and is checked before it is served. What
is served is one row of the database, so a change is one transaction: a question is answered by the version before it or
by the one after it, and says by which. Knows the store, the disk and the model server; knows no Label Studio.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.errors import BackendError, ModelError
from backend.model_client import ModelClient
from backend.store import ModelVersionRow, Store, SuggestionRow
from backend.store import queries as stored
from backend.store.registry_models import RegistryEventRow
from regiontext.errors import RecordError
from regiontext.records.manifest import file_hash, verify_manifest

__all__ = [
    "LINGER_S",
    "Aliases",
    "RegistryError",
    "adapter_hashes",
    "aliases",
    "check_files",
    "events",
    "out_of_date",
    "promote",
    "record_promotion",
    "rollback",
    "set_shadow",
    "tidy",
    "versions",
]

LINGER_S = 60.0
"""How long a retired adapter stays loaded: longer than any call that still asks for it."""

Action = Literal["promote", "rollback", "shadow"]


class RegistryError(BackendError):
    """A version cannot be served, or there is none to go back to; seen by the operator (CLI)."""


@dataclass(frozen=True)
class Aliases:
    """What the names stand for on one base; None: the base model itself, for `challenger`: none.

    share: the part of the questions that the challenger is asked unseen, in [0, 1].
    """

    base: str
    champion: str | None
    previous: str | None
    challenger: str | None = None
    share: float = 0.0


def versions(store: Store) -> Sequence[ModelVersionRow]:
    """Every version that was ever trained, oldest first."""
    with store.read() as session:
        order = ModelVersionRow.created_at, ModelVersionRow.name
        return session.scalars(select(ModelVersionRow).order_by(*order)).all()


def events(store: Store) -> Sequence[RegistryEventRow]:
    """Every change of what is served, oldest first."""
    with store.read() as session:
        return session.scalars(select(RegistryEventRow).order_by(RegistryEventRow.id)).all()


def aliases(session: Session, base: str) -> Aliases:
    """What champion, previous and challenger are on a base."""
    row = stored.champion(session, base)
    champion = row.name if row else None
    shadow = _last(session, base, RegistryEventRow.action == "shadow")
    running = shadow is not None and shadow.name is not None and shadow.name != champion
    return Aliases(
        base,
        champion,
        _before(session, base, champion),
        shadow.name if shadow is not None and running else None,
        (shadow.share or 0.0) if shadow is not None and running else 0.0,
    )


def check_files(row: ModelVersionRow) -> list[str]:
    """What is wrong with a version's files, one line each: missing, or not as its run wrote them."""
    if row.adapter_path is None:
        return []
    if not Path(row.adapter_path).is_dir():
        return [f"{row.adapter_path}: missing"]
    hashes = row.metrics.get("files")
    if isinstance(hashes, Mapping):
        return _changed(Path(row.adapter_path), hashes)
    if row.run_dir is None:
        return []
    try:
        inside = Path(row.adapter_path).relative_to(row.run_dir).as_posix()
        return [line for line in verify_manifest(Path(row.run_dir)) if line.startswith(inside)]
    except (RecordError, ValueError):
        # A run that was interrupted while judging has no manifest; what it trained is whole all the same.
        return []


def record_promotion(session: Session, name: str, reason: str = "") -> ModelVersionRow:
    """Make a version the champion, in the caller's transaction. Raises KeyError if it is not registered."""
    row = session.get(ModelVersionRow, name)
    if row is None:
        raise KeyError(f"no model version {name!r} is registered")
    before = stored.champion(session, row.base)
    if before is None or before.name != name:
        session.add(
            RegistryEventRow(
                base=row.base,
                action="promote",
                name=name,
                before=before.name if before else None,
                reason=reason,
            )
        )
    return stored.promote(session, name)


async def promote(store: Store, client: ModelClient, name: str, *, reason: str = "") -> Aliases:
    """Serve a version from the next question on; the one before it becomes `previous`.

    Its adapter is loaded first, so that no question waits for it.

    Raises:
        RegistryError: it is not registered, or its files are not what its run wrote.
        ModelError: the model server does not answer, or refuses the adapter.
    """
    row = await asyncio.to_thread(_usable, store, name)
    await _load(client, row)

    def write() -> Aliases:
        with store.begin() as session:
            record_promotion(session, name, reason)
            session.flush()
            return aliases(session, row.base)

    return await asyncio.to_thread(write)


async def rollback(
    store: Store, client: ModelClient, base: str, *, to_base: bool = False, reason: str = ""
) -> Aliases:
    """Serve what was served before the champion (the base model itself if that is what it was, or `to_base`).

    The version that is left keeps its row and files, and may be promoted again. A model server that is away does not
    stand in the way: it is given the adapter when it is back.

    Raises:
        RegistryError: the base model itself is served already, or the files of the version before are not there.
    """

    def find() -> tuple[str, ModelVersionRow | None]:
        with store.read() as session:
            now = aliases(session, base)
        if now.champion is None:
            raise RegistryError(f"{base} itself is served: there is nothing to go back to")
        back = now.previous if not to_base else None
        return now.champion, _usable(store, back) if back else None

    left, row = await asyncio.to_thread(find)
    if row is not None:
        with suppress(ModelError):
            await _load(client, row)

    def write() -> Aliases:
        with store.begin() as session:
            before = stored.champion(session, base)
            if before is None or before.name != left:
                raise RegistryError("what is served has just been changed by somebody else")
            name = row.name if row else None
            session.add(
                RegistryEventRow(
                    base=base, action="rollback", name=name, before=left, reason=reason
                )
            )
            if row is None:
                before.status = "retired"
            else:
                stored.promote(session, row.name)
            session.flush()
            return aliases(session, base)

    return await asyncio.to_thread(write)


async def set_shadow(
    store: Store, client: ModelClient, base: str, name: str | None, share: float
) -> Aliases:
    """Let a version answer a share of the questions unseen, as the challenger of its base; None ends it.

    Raises:
        RegistryError: the version is unknown, of another base, or served already; or the share is not in (0, 1].
        ModelError: the model server does not answer, or refuses the adapter.
    """
    if name is not None:
        if not 0 < share <= 1:
            raise RegistryError(f"the share of questions is {share}; it must be above 0, at most 1")
        row = await asyncio.to_thread(_usable, store, name)
        if row.base != base:
            raise RegistryError(f"{name} is a version of {row.base}, not of {base}")
        if row.status == "champion":
            raise RegistryError(f"{name} is served already; a challenger is another version")
        await _load(client, row)

    def write() -> Aliases:
        with store.begin() as session:
            champion = stored.champion(session, base)
            before = champion.name if champion else None
            event = RegistryEventRow(base=base, action="shadow", name=name, before=before)
            event.share = share if name else None
            event.reason = ""
            session.add(event)
            session.flush()
            return aliases(session, base)

    return await asyncio.to_thread(write)


async def tidy(
    store: Store, client: ModelClient, announced: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Bring the model server in line with the registry; what was done, one line each.

    Loads the champion's and challenger's adapters if the server has forgotten them, and unloads those that have been
    retired or rejected for longer than a call lasts. Adapters that are not the registry's are left alone.
    """
    loaded = {str(m["id"]) for m in announced if m.get("parent")}
    bases = {str(m["id"]) for m in announced if not m.get("parent")}

    def compare() -> tuple[list[ModelVersionRow], list[str]]:
        with store.read() as session:
            rows = session.scalars(
                select(ModelVersionRow).where(ModelVersionRow.base.in_(bases))
            ).all()
            wanted: set[str | None] = set()
            for base in bases:
                now = aliases(session, base)
                wanted |= {now.champion, now.challenger}
            missing = [row for row in rows if row.name in wanted and row.name not in loaded]
            since = datetime.now(UTC) - timedelta(seconds=LINGER_S)
            changes = {base: _last(session, base) for base in bases}
            done = []
            for row in rows:
                event = changes[row.base]
                recent = event is not None and event.at > since
                over = row.status in ("retired", "rejected") and row.name not in wanted
                if over and row.name in loaded and not recent:
                    done.append(row.name)
            return missing, done

    missing, over = await asyncio.to_thread(compare)
    told = []
    for row in missing:
        await _load(client, row)
        told.append(f"loaded {row.name}")
    for name in over:
        await client.unload_adapter(name)
        told.append(f"unloaded {name}")
    return told


def out_of_date(session: Session, model: str) -> dict[int, int]:
    """By project, how many tasks hold predictions of other models only: `regiontext prelabel` renews them."""
    batch = select(SuggestionRow.task).where(SuggestionRow.path == "batch")
    current = batch.where(SuggestionRow.model == model)
    query = (
        select(SuggestionRow.project, func.count(SuggestionRow.task.distinct()))
        .where(SuggestionRow.path == "batch", SuggestionRow.task.not_in(current))
        .group_by(SuggestionRow.project)
    )
    return {project: tasks for project, tasks in session.execute(query)}


def adapter_hashes(adapter: Path) -> dict[str, str]:
    """The sha256 of every file of an adapter, by its name in the folder."""
    files = sorted(path for path in adapter.rglob("*") if path.is_file())
    return {path.relative_to(adapter).as_posix(): file_hash(path) for path in files}


def _changed(adapter: Path, hashes: Mapping[str, Any]) -> list[str]:
    now = adapter_hashes(adapter)
    return [
        f"{name}: {'missing' if name not in now else 'changed since it was trained'}"
        for name in sorted(hashes)
        if now.get(name) != hashes[name]
    ]


def _usable(store: Store, name: str) -> ModelVersionRow:
    with store.read() as session:
        row = session.get(ModelVersionRow, name)
        if row is None:
            known = ", ".join(session.scalars(select(ModelVersionRow.name))) or "none"
            raise RegistryError(f"there is no version {name!r}; there are: {known}")
    faults = check_files(row)
    if faults:
        raise RegistryError(f"{name} is not what was trained: {'; '.join(faults[:3])}")
    return row


async def _load(client: ModelClient, row: ModelVersionRow) -> None:
    if row.adapter_path is not None:
        await client.load_adapter(row.name, row.adapter_path)


def _last(session: Session, base: str, *conditions: Any) -> RegistryEventRow | None:
    query = (
        select(RegistryEventRow)
        .where(RegistryEventRow.base == base, *conditions)
        .order_by(RegistryEventRow.id.desc())
        .limit(1)
    )
    return session.scalars(query).first()


def _before(session: Session, base: str, champion: str | None) -> str | None:
    """What was served when the champion was last promoted; None: the base itself."""
    if champion is None:
        return None
    promoted = _last(
        session,
        base,
        RegistryEventRow.action == "promote",
        RegistryEventRow.name == champion,
    )
    return promoted.before if promoted is not None else None
