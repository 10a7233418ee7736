"""`regiontext up`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from backend.cli.running import DEFAULT_DATA_DIR, DataDir, errors_in_one_line, output
from backend.up.errors import UpError
from backend.up.options import DEFAULT_TITLE, UpOptions

__all__ = ["up"]

_PORTS, _PARTS = "Addresses", "Use what runs already"


def up(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    project_title: Annotated[
        str, typer.Option(help="Title of the project to make, or to find.", min=3)
    ] = DEFAULT_TITLE,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="PATH_OR_HUB_ID",
            help="Model to serve, by default the bundled one; with --model-url the name to ask that server for.",
        ),
    ] = None,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the project in a browser.")
    ] = True,
    assistant: Annotated[
        bool,
        typer.Option(
            "--assistant/--no-assistant",
            help="Run the assistant inside Label Studio's page, for every tool.",
        ),
    ] = True,
    host: Annotated[
        str,
        typer.Option(
            help="Address Label Studio and the backend listen on; 0.0.0.0 lets other machines in. "
            "The model server stays on this machine.",
            rich_help_panel=_PORTS,
        ),
    ] = "127.0.0.1",
    label_studio_port: Annotated[
        int, typer.Option(help="Port of Label Studio.", min=1, max=65535, rich_help_panel=_PORTS)
    ] = 8080,
    port: Annotated[
        int, typer.Option(help="Port of the backend.", min=1, max=65535, rich_help_panel=_PORTS)
    ] = 9090,
    model_port: Annotated[
        int,
        typer.Option(help="Port of the model server.", min=1, max=65535, rich_help_panel=_PORTS),
    ] = 9200,
    label_studio_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Use this Label Studio instead of starting one.",
            rich_help_panel=_PARTS,
        ),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            envvar="REGIONTEXT_LABEL_STUDIO_API_KEY",
            show_envvar=True,
            help="Key for --label-studio-url: a personal access token from Account & Settings.",
            rich_help_panel=_PARTS,
        ),
    ] = None,
    backend_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where that Label Studio reaches the backend, if not at http://HOST:PORT.",
            rich_help_panel=_PARTS,
        ),
    ] = None,
    model_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Use this OpenAI-compatible server (…/v1) instead of starting ours.",
            rich_help_panel=_PARTS,
        ),
    ] = None,
) -> None:
    """Start Label Studio, the model and the backend, with a sample project, and stop them together with Ctrl-C.

    Everything is kept in the data folder; the next start goes on from there.
    """
    with errors_in_one_line():
        if os.name != "posix":
            raise UpError("regiontext up runs on Linux and macOS; on Windows use WSL or Docker")
        from backend.up.run import up as run

        for option, url in (
            ("--label-studio-url", label_studio_url),
            ("--backend-url", backend_url),
            ("--model-url", model_url),
        ):
            if url is not None and not url.startswith(("http://", "https://")):
                raise typer.BadParameter(f"{url!r} does not start with http://", param_hint=option)
        if ":" in host:
            raise typer.BadParameter(f"{host!r} is no IPv4 address or name", param_hint="--host")
        options = UpOptions(
            data_dir=data_dir,
            host=host,
            label_studio_port=label_studio_port,
            port=port,
            model_port=model_port,
            label_studio_url=label_studio_url,
            api_key=api_key,
            model=model,
            model_url=model_url.rstrip("/") if model_url else None,
            backend_url=backend_url,
            project_title=project_title,
            browser=browser,
            assistant=assistant,
        )
        raise typer.Exit(run(options, output()))
