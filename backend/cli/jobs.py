"""`regiontext prelabel`, `collect` and `export`: options in, a progress bar, a few words out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from backend.cli.background import app as background_jobs
from backend.cli.background import start_prelabel
from backend.cli.finetune import finetune
from backend.cli.running import (
    DEFAULT_DATA_DIR,
    AllProjects,
    DataDir,
    Project,
    errors_in_one_line,
    one_or_all,
    output,
    progress_bar,
    say,
)
from backend.up.settings import find_project, find_settings

__all__ = ["add_to", "collect", "export", "prelabel"]

_SHOWN = 10


def add_to(app: typer.Typer, *, panel: str) -> None:
    """Add the jobs to the command."""
    for command in (prelabel, collect, export, finetune):
        app.command(rich_help_panel=panel)(command)
    app.add_typer(background_jobs, rich_help_panel=panel)


def prelabel(
    project: Project = None,
    include_annotated: Annotated[
        bool,
        typer.Option("--include-annotated", help="Also take regions from submitted annotations."),
    ] = False,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Tasks at once.")] = 4,
    random_share: Annotated[
        float,
        typer.Option(
            min=0.0, max=1.0, help="Share of tasks placed at random; the others: unsure ones first."
        ),
    ] = 0.2,
    background: Annotated[
        bool,
        typer.Option("--background", help="Let the running backend do it; see regiontext jobs."),
    ] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Fill the regions that a project's tasks already have, as predictions.

    May be stopped and started again at any time: tasks that are done are not done twice.
    """
    with errors_in_one_line():
        from backend.jobs.prelabel import prelabel as run

        settings = find_settings(data_dir)
        number = find_project(project, data_dir)
        if background:
            start_prelabel(
                settings,
                project=number,
                include_annotated=include_annotated,
                concurrency=concurrency,
                random_share=random_share,
            )
            return
        with progress_bar("prelabel") as notify:
            done = asyncio.run(
                run(
                    settings,
                    number,
                    notify,
                    include_annotated=include_annotated,
                    concurrency=concurrency,
                    random_share=random_share,
                )
            )
        console = output()
        say(console, f"project {done.project}, {done.tasks} tasks, model {done.model_version}")
        _count(
            console,
            (
                (done.created, "filled"),
                (done.renewed, "renewed with this version"),
                (done.current, "were up to date"),
                (done.complete, "had nothing to add"),
                (done.without_regions, "have no regions"),
                (done.unassisted, "are kept unfilled on purpose (control and holdout)"),
                (done.failed, "failed: run it again to retry"),
            ),
        )
        if done.failed:
            raise typer.Exit(1)


def collect(project: Project = None, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Read what annotators made of the suggestions into the database.

    Events arrive by themselves while the backend runs; this catches up on whatever was missed.
    """
    with errors_in_one_line():
        from backend.jobs.collect import collect as run

        settings = find_settings(data_dir)
        number = find_project(project, data_dir)
        with progress_bar("collect") as notify:
            found = asyncio.run(run(settings, number, notify))
        console = output()
        say(console, f"project {found.project}, {found.annotations} annotations")
        _count(
            console,
            (
                (found.created, "were new"),
                (found.updated, "had changed"),
                (found.deleted, "are gone"),
                (len(found.errors), "could not be read"),
            ),
        )
        if found.outcomes:
            words = ", ".join(f"{count} {name}" for name, count in sorted(found.outcomes.items()))
            say(console, f"texts: {words}")
        if found.errors:
            raise typer.Exit(1)


def _list_formats(wanted: bool) -> None:
    """Print every format, and stop."""
    if not wanted:
        return
    from regiontext.records.formats.registry import FORMATS

    for one in FORMATS.values():
        typer.echo(f"{one.name:27} {one.about} ({one.pictures} pictures)")
    raise typer.Exit


def export(
    out: Annotated[
        Path, typer.Argument(help="Folder to write; replaced if it is an earlier export.")
    ],
    fmt: Annotated[str, typer.Option("--format", "-f", help="One of --formats.")] = "llava",
    coordinates: Annotated[
        str | None,
        typer.Option(help="Of which model, for qwen-vl and ms-swift: qwen2.5-vl, qwen3-vl, …"),
    ] = None,
    validation: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Share of images for validation.")
    ] = 0.2,
    project: Project = None,
    all_projects: AllProjects = False,
    formats: Annotated[
        bool,
        typer.Option(
            "--formats", is_eager=True, callback=_list_formats, help="List the formats, and stop."
        ),
    ] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Write the corrections as a dataset for a trainer, with a data card and a manifest of hashes.

    Images of the holdout arm, and near duplicates of them, are never exported. An export that was interrupted goes on
    where it was when it is started again.
    """
    with errors_in_one_line():
        from backend.jobs.export import export as run

        settings = find_settings(data_dir)
        number = one_or_all(project, all_projects, data_dir)
        with progress_bar("export") as notify:
            done = asyncio.run(
                run(
                    settings,
                    number,
                    out,
                    fmt,
                    notify,
                    coordinates=coordinates,
                    validation=validation,
                )
            )
        console = output()
        say(console, f"{done.records} records on {done.images} images in {done.out}")
        if done.reused:
            say(console, f"  {done.reused} were taken over from an earlier export")
        for name, counts in done.counts.items():
            words = ", ".join(f"{count} {value}" for value, count in sorted(counts.items()))
            say(console, f"  {name}: {words}")
        if done.errors:
            say(console, f"  {len(done.errors)} problems, all of them in its manifest.json:")
            for line in done.errors[-_SHOWN:]:
                say(console, f"    {line}", "yellow")


def _count(console: Console, counted: Sequence[tuple[int, str]]) -> None:
    for number, words in counted:
        if number:
            say(console, f"  {number} {words}")
