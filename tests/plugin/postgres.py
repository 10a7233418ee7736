"""A PostgreSQL of its own for Label Studio, started from what the machine has installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.label_studio_server import free_port

__all__ = ["running_postgres"]

_USER = "postgres"


@contextmanager
def running_postgres() -> Iterator[Mapping[str, str] | None]:
    """An empty cluster until the end of the block: Label Studio's variables for it; None without PostgreSQL here."""
    programs = _programs()
    if programs is None:
        yield None
        return
    # It refuses to run as root, and pytest's own folders are closed to everyone else.
    user = _USER if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        if user is not None:
            shutil.chown(folder, user)
        data, log = Path(folder, "data"), Path(folder, "log")

        def run(program: str, *arguments: str) -> None:
            command = [str(programs / program), *arguments]
            # What it starts keeps its output open; a pipe would wait for it for ever.
            with open(os.devnull, "wb") as nowhere:
                subprocess.run(command, check=True, user=user, cwd=folder, stdout=nowhere)

        run("initdb", "-D", str(data), "-U", _USER, "--auth=trust", "--no-sync", "-E", "UTF8")
        port = free_port()  # not before: others take ports meanwhile
        settings = f"-p {port} -c listen_addresses=127.0.0.1 -k {folder} -c fsync=off"
        run("pg_ctl", "-D", str(data), "-l", str(log), "-o", settings, "-w", "-t", "120", "start")
        try:
            yield {
                "DJANGO_DB": "default",
                "POSTGRE_HOST": "127.0.0.1",
                "POSTGRE_PORT": str(port),
                "POSTGRE_NAME": _USER,
                "POSTGRE_USER": _USER,
                "POSTGRE_PASSWORD": "trusted",
            }
        finally:
            run("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")


def _programs() -> Path | None:
    """The folder of initdb and pg_ctl; Debian keeps them off the path, by version."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return installed[-1].parent if installed else None
