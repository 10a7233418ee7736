"""What all commands share: common options, errors in one line, progress bars."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import httpx
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from backend.errors import BackendError
from backend.jobs.progress import Notify
from backend.jobs.progress import Progress as JobProgress
from backend.settings import DEFAULT_DATA_DIR
from backend.up.settings import remembered_project
from regiontext.errors import RegiontextError

__all__ = [
    "DEFAULT_DATA_DIR",
    "AllProjects",
    "DataDir",
    "Project",
    "debugging",
    "errors_in_one_line",
    "one_or_all",
    "output",
    "progress_bar",
    "said",
    "say",
    "set_debugging",
]

DataDir = Annotated[
    Path,
    typer.Option(
        "--data-dir",
        envvar="REGIONTEXT_DATA_DIR",
        help="Folder with the database, the keys and the logs.",
        file_okay=False,
    ),
]
Project = Annotated[
    int | None,
    typer.Option(
        "--project",
        "-p",
        min=1,
        help="Number of the project in Label Studio; by default the one of regiontext up.",
    ),
]


AllProjects = Annotated[
    bool, typer.Option("--all-projects", help="Use the records of every project.")
]


def one_or_all(project: int | None, all_projects: bool, data_dir: Path) -> int | None:
    """The project that was named or remembered; None for all, BadParameter if one is named beside all."""
    if all_projects:
        if project is not None:
            raise typer.BadParameter("use either --project or --all-projects")
        return None
    return project if project is not None else remembered_project(data_dir)


def output() -> Console:
    """Where results are printed."""
    return Console()


def said() -> Console:
    """Where everything else is printed: standard error."""
    return Console(stderr=True)


def say(console: Console, words: str, style: str = "") -> None:
    """Print words as they are, however long and whatever brackets they hold."""
    console.print(Text(words, style), soft_wrap=True)


def debugging() -> bool:
    """Whether --debug was given."""
    return bool(os.environ.get("REGIONTEXT_DEBUG"))


@contextlib.contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Turn what can be expected to go wrong into one line and exit status 1; --debug shows the whole trace."""
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except KeyboardInterrupt:
        said().print("stopped")
        raise typer.Exit(130) from None
    except Exception as error:
        if debugging() or not _expected(error):
            if not debugging():
                said().print(
                    "This is a fault of regiontext itself; please report it with the lines below."
                )
            raise
        said().print(
            Text.assemble(("error: ", "bold red"), _one_line(error)),
            soft_wrap=True,
            highlight=False,
        )
        raise typer.Exit(1) from None


@contextlib.contextmanager
def progress_bar(title: str) -> Iterator[Notify]:
    """Show a job's progress on standard error; problems with single items become lines above the bar."""
    console = said()
    bar = Progress(
        SpinnerColumn(),
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[doing]}", style="dim"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    last = ""

    with bar:
        task: TaskID = bar.add_task(title, total=None, doing="")

        def notify(progress: JobProgress) -> None:
            nonlocal last
            if progress.problem is not None:
                console.print(Text(progress.problem, "yellow"), soft_wrap=True)
            bar.update(task, completed=progress.done, total=progress.total, doing=progress.doing)
            # Without a terminal: a line when what is done changes, not for every item.
            if bar.disable and progress.doing and progress.doing != last:
                last = progress.doing
                console.print(f"{title}: {progress.doing}", highlight=False, soft_wrap=True)

        yield notify


def _expected(error: Exception) -> bool:
    return isinstance(
        error, (BackendError, RegiontextError, httpx.HTTPError, OSError, ValidationError)
    ) or type(error).__module__.startswith("label_studio_sdk")


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, (BackendError, RegiontextError)):
        return text
    return f"{type(error).__name__}: {text}"


def set_debugging(on: bool) -> None:
    """Switch --debug on for this process and those it starts."""
    if on:
        os.environ["REGIONTEXT_DEBUG"] = "1"
