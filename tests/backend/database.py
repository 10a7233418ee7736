"""Which database the store's tests use: SQLite in a file of the test, or a PostgreSQL that the environment names.

`REGIONTEXT_TEST_DATABASE_URL=postgresql+psycopg://user@host/db` runs the same tests against it; each test gets a
schema of its own, which is dropped again.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, make_url, text

VARIABLE = "REGIONTEXT_TEST_DATABASE_URL"


@contextmanager
def empty_database(folder: Path) -> Iterator[str]:
    """The URL of a database without any table."""
    server = os.environ.get(VARIABLE)
    if not server:
        yield f"sqlite:///{folder}/regiontext-data/regiontext.db"
        return
    schema = f"test_{uuid.uuid4().hex}"
    engine = create_engine(server)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    try:
        url = make_url(server).update_query_dict({"options": f"-csearch_path={schema}"})
        yield url.render_as_string(hide_password=False)
    finally:
        with engine.begin() as connection:
            connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
        engine.dispose()
