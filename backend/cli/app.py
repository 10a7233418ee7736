"""The `regiontext` command: its subcommands and the options before them."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from backend.cli import (
    connect,
    doctor,
    evaluate,
    explain,
    jobs,
    outcomes,
    registry,
    report,
    serve,
    up,
)
from backend.cli.running import set_debugging

__all__ = ["app"]

app = typer.Typer(
    name="regiontext",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "A Label Studio assistant for region-level text: draw a region, get its caption, correct it, and the model "
        "learns.\n\nStart with [bold]regiontext up[/bold]."
    ),
)


def _print_version(wanted: bool) -> None:
    if not wanted:
        return
    try:
        found = version("regiontext")
    except PackageNotFoundError:
        found = "not installed"
    typer.echo(f"regiontext {found}")
    raise typer.Exit


@app.callback()
def _options(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", envvar="REGIONTEXT_DEBUG", help="Show whole traces of errors."),
    ] = False,
) -> None:
    set_debugging(debug)


_START, _WORK, _MODEL = "Set up", "Work", "Model"
app.command(rich_help_panel=_START)(up.up)
app.command(rich_help_panel=_START)(serve.serve)
app.command(rich_help_panel=_START)(connect.connect)
app.command(rich_help_panel=_START)(doctor.status)
app.command(rich_help_panel=_START)(doctor.doctor)
jobs.add_to(app, panel=_WORK)
app.command(rich_help_panel=_WORK)(outcomes.outcomes)
app.command(rich_help_panel=_WORK)(evaluate.evaluate)
registry.add_to(app, panel=_MODEL)
report.add_to(app, panel=_MODEL)
explain.add_to(app, panel=_MODEL)
