"""`regiontext prelabel --background` and `regiontext jobs`: bulk work that the running backend does.

Everything goes through the backend's own routes under /jobs. Knows nothing of the work.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.table import Table
from rich.text import Text

from backend.cli.running import DEFAULT_DATA_DIR, DataDir, errors_in_one_line, output
from backend.errors import BackendError
from backend.jobs.errors import JobError
from backend.settings import Settings
from backend.up.settings import find_settings

__all__ = ["app", "start_prelabel"]

_TIMEOUT = httpx.Timeout(60.0, connect=5.0)
_STYLES = {"done": "green", "failed": "red", "running": "bold", "paused": "yellow"}

app = typer.Typer(
    name="jobs",
    help="List the background jobs; pause, resume or cancel one.",
    no_args_is_help=False,
)

JobId = Annotated[str, typer.Argument(help="As `regiontext jobs` lists it.", metavar="ID")]


@app.callback(invoke_without_command=True)
def jobs(context: typer.Context, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """List the background jobs, newest first."""
    if context.invoked_subcommand is not None:
        return
    with errors_in_one_line():
        found = _call(find_settings(data_dir), "GET", "/jobs")["jobs"]
        if not found:
            output().print("there are no jobs: start one with regiontext prelabel --background")
            return
        table = Table("id", "kind", "project", "state", "done", "failed", "left", "", box=None)
        for job in found:
            table.add_row(
                job["id"],
                job["kind"],
                "all" if job["project"] is None else str(job["project"]),
                Text(job["state"], _STYLES.get(job["state"], "")),
                _of(job),
                str(job["failed"] or ""),
                _time(job["eta_s"]) if job["state"] == "running" else "",
                job["doing"],
            )
        output().print(table)
        for job in found:
            if job["state"] == "failed" and job["error"]:
                output().print(Text(f"{job['id']}: {job['error']}", "red"), soft_wrap=True)


@app.command()
def pause(id: JobId, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Stop a job for a while; what is in work is finished first."""
    _ask(id, "pause", data_dir)


@app.command()
def resume(id: JobId, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Go on with a job that is paused, or that failed, where it was."""
    _ask(id, "resume", data_dir)


@app.command()
def cancel(id: JobId, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Stop a job for good; what it made stays."""
    _ask(id, "cancel", data_dir)


def start_prelabel(settings: Settings, **options: Any) -> None:
    """Ask the backend to pre-label a project, and say under which id."""
    job = _call(settings, "POST", "/jobs/prelabel", json=options)
    output().print(
        f"job {job['id']} is {job['state']}; regiontext jobs tells how far it is", highlight=False
    )


def _ask(id: str, what: str, data_dir: Path) -> None:
    with errors_in_one_line():
        job = _call(find_settings(data_dir), "POST", f"/jobs/{id}/{what}")
        output().print(f"job {id} is {job['state']}, {_of(job)} tasks", highlight=False)


def _call(settings: Settings, method: str, path: str, **options: Any) -> dict[str, Any]:
    """Call a route of the running backend. Raises BackendError."""
    url = settings.reachable_url
    password = settings.basic_auth_password
    auth = (
        (settings.basic_auth_user, password.get_secret_value())
        if settings.basic_auth_user and password is not None
        else None
    )
    try:
        answer = httpx.request(method, f"{url}{path}", auth=auth, timeout=_TIMEOUT, **options)
    except httpx.HTTPError as error:
        raise BackendError(
            f"the backend does not answer at {url} ({type(error).__name__}): start it with "
            "regiontext serve, or leave out --background to do the work here"
        ) from error
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise BackendError(f"{url} answers, but not as the backend does: check the address")
    if not answer.is_success:
        raise JobError(str(found.get("detail") or answer.reason_phrase))
    return found


def _of(job: dict[str, Any]) -> str:
    total = job["total"]
    return f"{job['done']} of {total}" if total is not None else str(job["done"])


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
