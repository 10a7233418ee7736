"""`regiontext connect`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from backend.cli.running import DEFAULT_DATA_DIR, DataDir, Project, errors_in_one_line, output

if TYPE_CHECKING:
    from backend.connect import Connected
    from backend.settings import Settings
    from backend.up.credentials import Credentials

__all__ = ["connect"]


def connect(
    url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Address of Label Studio (REGIONTEXT_LABEL_STUDIO_URL)."),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="A personal access token from Account & Settings there (REGIONTEXT_LABEL_STUDIO_API_KEY).",
        ),
    ] = None,
    project: Project = None,
    backend_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where Label Studio reaches the backend (REGIONTEXT_PUBLIC_URL; http://127.0.0.1:9090).",
        ),
    ] = None,
    title: Annotated[str, typer.Option(help="Name of the backend in Label Studio.")] = "regiontext",
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Connect a running backend to a project of a running Label Studio, or repair the connection.

    Adds it as interactive ML backend and has annotation events sent to it. Safe to run again.
    """
    with errors_in_one_line():
        from backend import label_studio
        from backend.connect import connect as make
        from backend.up.credentials import Credentials, load
        from backend.up.settings import find_project, find_settings

        kept = load(data_dir) or Credentials.new()
        settings = find_settings(
            data_dir,
            kept=kept,
            label_studio_url=url,
            label_studio_api_key=api_key,
            public_url=backend_url,
        )
        number = find_project(project, data_dir)
        user = label_studio.whoami(settings)
        secret, password = settings.webhook_secret, settings.basic_auth_password
        with label_studio.client(settings, timeout=60) as client:
            connected = make(
                client,
                number,
                settings.reachable_url,
                secret=secret.get_secret_value() if secret else None,
                title=title,
                basic_auth=(settings.basic_auth_user or "", password.get_secret_value())
                if password
                else None,
            )
        _remember(kept, settings, connected, data_dir)
        _report(settings.label_studio_url, str(user.get("email", "?")), connected)


def _remember(kept: Credentials, settings: Settings, done: Connected, data_dir: Path) -> None:
    """Keep what the other commands need, unless the folder belongs to another Label Studio or project."""
    from backend.up.credentials import Connection, save

    known, key = kept.connection, settings.label_studio_api_key
    if known is None:
        known = Connection(
            server=settings.label_studio_url,
            label_studio_url=settings.label_studio_url,
            label_studio_api_key=key.get_secret_value() if key else "",
            model_url=settings.model_url,
            samples_added=True,
        )
    ours = known.label_studio_url == settings.label_studio_url
    if ours and known.project in (None, done.project):
        known = replace(known, project=done.project, backend_url=done.backend_url)
    save(kept.with_connection(known), data_dir)


def _report(label_studio_url: str, user: str, done: Connected) -> None:
    from backend.connect import describe_config

    console = output()
    for line in (
        f"Label Studio  {label_studio_url} as {user}",
        f"project       {done.project} {done.title}",
        f"backend       {done.backend_url} ({done.backend})",
        f"webhook       {done.backend_url}/webhook ({done.webhook})",
        *(f"  repaired: {change}" for change in done.changes),
        "fills",
        *(f"  {line}" for line in describe_config(done.config)),
    ):
        console.print(Text(line), soft_wrap=True)
