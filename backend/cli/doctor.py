"""`regiontext doctor` and `regiontext status`: is everything there, and does it fit together?"""

from __future__ import annotations

from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import typer
from rich.text import Text
from sqlalchemy import make_url

from backend.cli.running import DEFAULT_DATA_DIR, DataDir, Project, errors_in_one_line, output
from backend.errors import StoreError

if TYPE_CHECKING:
    from backend.store import Store

__all__ = ["doctor", "status"]

_SIGNS = {
    "works": ("✓", "green"),
    "doubtful": ("!", "yellow"),
    "wrong": ("✗", "bold red"),
    "unknown": ("–", "dim"),
}
_QUICK = ("Label Studio", "key", "model", "backend", "project", "connection", "webhook")


def doctor(project: Project = None, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Test every hop from Label Studio to a real caption; say what is wrong and the exact fix.

    For a moment the project's webhook also sends changes of the project, to see that events arrive; nothing else is
    touched. Exit status 0 when everything works.
    """
    _examine(project, data_dir, only=None)


def status(project: Project = None, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Check Label Studio, the model server, the backend and their connection, without trying them out.

    Exit status 0 when everything works; regiontext doctor looks closer.
    """
    _examine(project, data_dir, only=_QUICK)


def _examine(project: int | None, data_dir: DataDir, *, only: tuple[str, ...] | None) -> None:
    with errors_in_one_line():
        from backend import label_studio
        from backend.doctor import chain, examine
        from backend.store import open_store
        from backend.up.settings import find_settings, remembered_project

        settings = find_settings(data_dir)
        number = project if project is not None else remembered_project(data_dir)
        client = (
            label_studio.client(settings, timeout=60)
            if settings.label_studio_api_key is not None
            else httpx.Client(base_url=settings.label_studio_url, timeout=60)
        )
        console, wrong = output(), 0
        with ExitStack() as stack:

            @cache
            def store() -> Store:
                _must_exist(settings.database_url)
                opened = open_store(settings.database_url)
                stack.callback(opened.close)
                return opened

            stack.enter_context(client)
            hops = chain(settings, number, client=client, store=store)
            chosen = [hop for hop in hops if only is None or hop.name in only]
            for found in examine(chosen):
                sign, style = _SIGNS[found.state]
                wrong += found.state == "wrong"
                line = Text.assemble((sign, style), f" {found.name:13} {found.words}")
                console.print(line, soft_wrap=True, highlight=False)
        if number is None and only is None:
            console.print("  no project is known: give --project N to test its connection")
        if wrong:
            raise typer.Exit(1)


def _must_exist(database_url: str) -> None:
    """A doctor who makes a new database would find the wrong one healthy."""
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).exists():
        raise StoreError(
            f"there is no database at {url.database}: the backend has not run with this --data-dir yet "
            "(regiontext serve or up makes it), or it uses another"
        )
