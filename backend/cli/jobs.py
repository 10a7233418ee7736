"""`regiontext prelabel`, `collect`, `export` and `finetune`: options in, a progress bar, a few words out."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from backend.cli.background import app as background_jobs
from backend.cli.background import start_prelabel
from backend.cli.running import (
    DEFAULT_DATA_DIR,
    DataDir,
    Project,
    errors_in_one_line,
    output,
    progress_bar,
)
from backend.errors import BackendError
from backend.up.settings import find_project, find_settings, remembered_project

if TYPE_CHECKING:
    from backend.jobs.finetune import FinetuneReport

__all__ = ["add_to", "collect", "export", "finetune", "prelabel"]

_SHOWN = 10

_LEARNING, _JUDGING, _SCHEDULE = "Learning", "Judging", "Schedule"

AllProjects = Annotated[
    bool, typer.Option("--all-projects", help="Use the records of every project.")
]


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
        _say(console, f"project {done.project}, {done.tasks} tasks, model {done.model_version}")
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
        _say(console, f"project {found.project}, {found.annotations} annotations")
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
            _say(console, f"texts: {words}")
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
        number = _one_or_all(project, all_projects, data_dir)
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
        _say(console, f"{done.records} records on {done.images} images in {done.out}")
        if done.reused:
            _say(console, f"  {done.reused} were taken over from an earlier export")
        for name, counts in done.counts.items():
            words = ", ".join(f"{count} {value}" for value, count in sorted(counts.items()))
            _say(console, f"  {name}: {words}")
        if done.errors:
            _say(console, f"  {len(done.errors)} problems, all of them in its manifest.json:")
            for line in done.errors[-_SHOWN:]:
                _say(console, f"    {line}", "yellow")


def finetune(
    project: Project = None,
    all_projects: AllProjects = False,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Training steps; by default 20 to 200, by what is to be learnt.",
            rich_help_panel=_LEARNING,
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Examples per step; by default 24.", rich_help_panel=_LEARNING),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Learning rate; by default 0.3 / width of the language model.",
            rich_help_panel=_LEARNING,
        ),
    ] = None,
    rank: Annotated[
        int | None,
        typer.Option(min=1, help="Rank of the LoRA; by default 16.", rich_help_panel=_LEARNING),
    ] = None,
    replay: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Old examples per new one; by default 5.",
            rich_help_panel=_LEARNING,
        ),
    ] = None,
    renders: Annotated[
        int,
        typer.Option(min=1, help="Ways each record is drawn.", rich_help_panel=_LEARNING),
    ] = 4,
    dpo: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Visits of every preference pair after the supervised steps; by default 0: none.",
            rich_help_panel=_LEARNING,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Of all that is random.", rich_help_panel=_LEARNING)
    ] = 0,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, help="CPU threads; by default all processors.", rich_help_panel=_LEARNING
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="cpu, cuda or cuda:N; by default all GPUs, else the CPU.",
            rich_help_panel=_LEARNING,
        ),
    ] = None,
    min_records: Annotated[
        int,
        typer.Option(min=1, help="Fewer to learn from, and it stops.", rich_help_panel=_JUDGING),
    ] = 8,
    min_eval: Annotated[
        int, typer.Option(min=1, help="Fewer to judge by, and it stops.", rich_help_panel=_JUDGING)
    ] = 8,
    max_eval: Annotated[
        int, typer.Option(min=1, help="No more than these are asked.", rich_help_panel=_JUDGING)
    ] = 500,
    every: Annotated[
        str | None,
        typer.Option(
            help="Stay, and run again so long after the last run: 30m, 6h, 7d.",
            rich_help_panel=_SCHEDULE,
        ),
    ] = None,
    after: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Stay, and run when there are so many new corrections that change the meaning.",
            rich_help_panel=_SCHEDULE,
        ),
    ] = None,
    new: Annotated[
        bool,
        typer.Option("--new", help="Begin afresh instead of going on with an interrupted run."),
    ] = False,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Cancel the run that is going on, or was interrupted.")
    ] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Teach the model the corrections, and serve the result only if it proves better.

    Better means: a paired bootstrap over the holdout records says so, and no slice is clearly worse. A run that is
    stopped or killed is gone on with by the next call.
    """
    with errors_in_one_line():
        from backend.jobs import finetune as job

        settings = find_settings(data_dir)
        if cancel:
            stopped = job.cancel_finetune(settings)
            _say(output(), "cancelled" if stopped else "there is no run to cancel")
            return
        number = _one_or_all(project, all_projects, data_dir)
        options = job.FinetuneOptions(
            renders=renders,
            min_records=min_records,
            min_eval=min_eval,
            max_eval=max_eval,
            steps=steps,
            batch_size=batch_size,
            lr=lr,
            rank=rank,
            replay=replay,
            dpo=dpo,
            seed=seed,
            threads=threads,
            device=device,
        )
        every_s = _seconds(every)
        with progress_bar("finetune") as notify:
            if every_s is not None or after is not None:
                asyncio.run(
                    job.keep_finetuning(
                        settings,
                        number,
                        notify,
                        options=options,
                        every_s=every_s,
                        after=after,
                        told=_say_finetuned,
                    )
                )
            report = asyncio.run(
                job.finetune(settings, number, notify, options=options, afresh=new)
            )
        _say_finetuned(report)


def _say_finetuned(report: FinetuneReport | BackendError) -> None:
    console = output()
    if isinstance(report, BackendError):
        _say(console, f"no run: {report}", "yellow")
        return
    for problem in report.problems:
        _say(console, problem, "yellow")
    decision = report.decision
    _say(console, f"{report.champion}: {decision.champion:.3f}")
    _say(console, f"{report.name}: {decision.challenger:.3f}")
    verdict = "promoted" if report.promoted else "not promoted"
    style = "bold green" if report.promoted else "bold yellow"
    _say(console, f"{verdict}: {report.reason}", style)
    _say(console, f"{report.seconds:.0f} s, everything in {report.run_dir}")


def _seconds(given: str | None) -> float | None:
    """Seconds of "30m", "6h" or "7d"."""
    if given is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", given.strip())
    if found is None or not float(found[1]):
        raise typer.BadParameter(f"--every {given!r}: write it as 30m, 6h or 7d")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]


def _one_or_all(project: int | None, all_projects: bool, data_dir: Path) -> int | None:
    """Return the project that was named or remembered; None for all."""
    if all_projects:
        if project is not None:
            raise typer.BadParameter("use either --project or --all-projects")
        return None
    return project if project is not None else remembered_project(data_dir)


def _say(console: Console, words: str, style: str = "") -> None:
    console.print(Text(words, style), soft_wrap=True)


def _count(console: Console, counted: Sequence[tuple[int, str]]) -> None:
    for number, words in counted:
        if number:
            _say(console, f"  {number} {words}")
