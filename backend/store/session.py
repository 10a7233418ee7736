"""Opens the database, brings its schema up to date, and hands out transactions.

SQLite runs in WAL mode. Its driver's own idea of transactions is switched off: it would open them
late and commit DDL half-way, so BEGIN is said here, and a transaction that may write takes the
write lock at once (a reader that turns writer in the middle fails at once instead of waiting).
PostgreSQL is made to do the same by an advisory lock: what is read before writing ("is this image
known?") then holds until the commit, whichever the database. Writing transactions are short.
Knows nothing of the tables' meaning.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from backend.errors import StoreError

__all__ = ["Store", "open_store"]

MIGRATIONS = Path(__file__).parent / "migrations"
_BUSY_TIMEOUT_MS = 10_000
# Any constant: the key under which PostgreSQL lets one transaction at a time write or upgrade.
_WRITE_LOCK = 0x7265_6769


@dataclass(frozen=True)
class Store:
    """A database whose schema is up to date. Safe to share between threads."""

    engine: Engine

    @contextmanager
    def begin(self) -> Iterator[Session]:
        """A transaction that may write, one at a time: committed at the end of the block, rolled
        back if it raises.
        """
        writer = self.engine.execution_options(regiontext_write=True)
        with Session(writer, expire_on_commit=False) as session, session.begin():
            _lock(session.connection())
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A consistent view for reading only; never waits for a writer on SQLite."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def open_store(url: str) -> Store:
    """Open the database at a SQLAlchemy URL, creating the SQLite file's folder and upgrading the
    schema.

    Raises:
        StoreError: the URL cannot be read, the database does not answer, or it was written by a
            newer version.
    """
    try:
        engine = _engine(url)
        with engine.execution_options(regiontext_write=True).begin() as connection:
            _upgrade(connection)
    except (ArgumentError, ValueError) as error:
        # ValueError: the port is no number, of which a password with an unquoted ":" or "/" makes a part.
        why = str(error) if isinstance(error, ArgumentError) else "its port is no number"
        raise StoreError(
            f"REGIONTEXT_DATABASE_URL is no SQLAlchemy URL: {why}. Examples: "
            "sqlite:///data/regiontext.db, postgresql+psycopg://user:password@host/regiontext "
            "(signs like : / @ in a password are written %3A %2F %40)"
        ) from None
    except (SQLAlchemyError, OSError, ImportError) as error:
        shown = make_url(url).render_as_string(hide_password=True)
        raise StoreError(f"cannot open the database {shown}: {error}") from error
    return Store(engine)


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, pool_pre_ping=True, hide_parameters=True)
    options: dict[str, Any] = {"connect_args": {"check_same_thread": False}}
    if parsed.database in (None, "", ":memory:"):
        options["poolclass"] = StaticPool
    else:
        Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
    # What is written (webhooks, people's texts) has no place in an error message or a log.
    engine = create_engine(parsed, hide_parameters=True, **options)
    event.listen(engine, "connect", _on_sqlite_connect)
    event.listen(engine, "begin", _on_sqlite_begin)
    return engine


def _on_sqlite_connect(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
    _write_ahead(cursor)
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _write_ahead(cursor: Any) -> None:
    # SQLite does not wait out its busy timeout here: while another process opens the file first or closes it last,
    # the change of mode fails at once.
    until = time.monotonic() + _BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.02)


def _on_sqlite_begin(connection: Connection) -> None:
    write = connection.get_execution_options().get("regiontext_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _lock(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITE_LOCK})


def _upgrade(connection: Connection) -> None:
    _lock(connection)
    config = Config()
    config.set_main_option("script_location", MIGRATIONS.as_posix().replace("%", "%%"))
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)
    current = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in scripts.walk_revisions()}
    if current is not None and current not in known:
        raise StoreError(
            f"the database is at revision {current!r}, which this version of regiontext does not "
            "know: it was written by a newer one; upgrade regiontext or point "
            "REGIONTEXT_DATABASE_URL elsewhere"
        )
    if current != scripts.get_current_head():
        command.upgrade(config, "head")
