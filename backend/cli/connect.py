"""`regiontext connect`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer
from rich.text import Text

from backend.cli.running import DEFAULT_DATA_DIR, DataDir, Project, errors_in_one_line, output

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
        from backend.connect import describe_config
        from backend.up.credentials import Connection, save
        from backend.up.settings import find_project, find_settings, keep_credentials

        kept = keep_credentials(data_dir)
        settings = find_settings(
            data_dir, label_studio_url=url, label_studio_api_key=api_key, public_url=backend_url
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
        before = kept.connection
        if before is None or before.label_studio_url == settings.label_studio_url:
            key = settings.label_studio_api_key
            connection = before or Connection(
                server=settings.label_studio_url,
                label_studio_url=settings.label_studio_url,
                label_studio_api_key=key.get_secret_value() if key else "",
                model_url=settings.model_url,
                samples_added=True,
            )
            if before is None or before.project in (None, number):
                connection = replace(connection, project=number, backend_url=connected.backend_url)
            save(kept.with_connection(connection), data_dir)

        console = output()
        console.print(
            Text(f"Label Studio  {settings.label_studio_url} as {user.get('email', '?')}"),
            soft_wrap=True,
        )
        console.print(Text(f"project       {number} {connected.title}"), soft_wrap=True)
        console.print(
            Text(f"backend       {connected.backend_url} ({connected.backend})"), soft_wrap=True
        )
        console.print(
            Text(f"webhook       {connected.backend_url}/webhook ({connected.webhook})"),
            soft_wrap=True,
        )
        for change in connected.changes:
            console.print(Text(f"  repaired: {change}", "yellow"), soft_wrap=True)
        console.print("fills")
        for line in describe_config(connected.config):
            console.print(Text(f"  {line}"), soft_wrap=True)
