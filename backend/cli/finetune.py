"""`regiontext finetune`: options in, a progress bar, the verdict out.

Knows nothing of training: that is a job in a process of its own.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Annotated

import typer

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
from backend.errors import BackendError
from backend.up.settings import find_settings

if TYPE_CHECKING:
    from backend.jobs.finetune import FinetuneReport

__all__ = ["finetune"]

_LEARNING, _JUDGING, _SCHEDULE = "Learning", "Judging", "Schedule"


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
            say(output(), "cancelled" if stopped else "there is no run to cancel")
            return
        number = one_or_all(project, all_projects, data_dir)
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
        say(console, f"no run: {report}", "yellow")
        return
    for problem in report.problems:
        say(console, problem, "yellow")
    decision = report.decision
    say(console, f"{report.champion}: {decision.champion:.3f}")
    say(console, f"{report.name}: {decision.challenger:.3f}")
    verdict = "promoted" if report.promoted else "not promoted"
    style = "bold green" if report.promoted else "bold yellow"
    say(console, f"{verdict}: {report.reason}", style)
    say(console, f"{report.seconds:.0f} s, everything in {report.run_dir}")


def _seconds(given: str | None) -> float | None:
    """Seconds of "30m", "6h" or "7d"."""
    if given is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", given.strip())
    if found is None or not float(found[1]):
        raise typer.BadParameter(f"--every {given!r}: write it as 30m, 6h or 7d")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]
