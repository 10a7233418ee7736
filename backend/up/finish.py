"""What the user is told when everything runs, and the browser."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
import webbrowser
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from backend.settings import DEFAULT_DATA_DIR
from backend.up.credentials import FILE_NAME, Credentials
from backend.up.options import EMBEDDED, UpOptions

__all__ = ["browser_wanted", "open_browser", "public_label_studio_url", "show_ready"]

_WITH_ASSISTANT = (
    "Open a task, press 1 and drag a box around an object: its caption and material appear. "
    "Press 1 before each further box; 2 draws an ellipse, 3 a polygon, 4 a brush.",
    "The card beside it says how sure the model is; Shift+A asks again, Shift+L for relations.",
)
_WITH_SMART_TOOLS = (
    "Open a task. At the bottom, switch on Auto-Annotation, then Auto-Accept Suggestions.",
    "Take the pink tool at the end of the toolbar and drag a box around an object: its caption "
    "and material appear. Press 1 before each further box.",
)
_THEN = (
    "Correct what is wrong, then Submit.",
    "The last four tasks come with boxes; fill them all at once: regiontext prelabel",
    "Later: regiontext collect, regiontext export --format llava OUT, regiontext finetune",
)


def public_label_studio_url(options: UpOptions) -> str:
    """Return the address of Label Studio for a browser on this machine."""
    if options.server != EMBEDDED:
        return options.server
    local = options.host in ("127.0.0.1", "0.0.0.0", "::", "::1", "localhost")
    return f"http://{'localhost' if local else options.host}:{options.label_studio_port}"


def show_ready(options: UpOptions, credentials: Credentials, console: Console) -> str:
    """Print where to go, with whose password, and what to try; return the project's address.

    The password is shown once, after the first start; later only where it is kept.
    """
    connection, account = credentials.connection, credentials.account
    assert connection is not None and connection.project is not None
    url = f"{public_label_studio_url(options)}/projects/{connection.project}/data"
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    facts.add_row("Label Studio", Text(url, "bold cyan"))
    if options.server == EMBEDDED and account is not None:
        facts.add_row("user", account.username)
        kept = options.data_dir / FILE_NAME
        if account.shown:
            facts.add_row("password", Text(f"in {kept}", "dim"))
        else:
            facts.add_row("password", Text(account.password, "bold"))
            facts.add_row("", Text(f"shown this once, kept in {kept}", "dim"))
    facts.add_row("backend", connection.backend_url or options.own_backend_url)
    facts.add_row("model", connection.model_url or options.own_model_url)
    console.print()
    console.print(Panel(facts, title="regiontext is running", title_align="left", expand=False))
    in_page = options.server == EMBEDDED and options.assistant
    for number, step in enumerate((_WITH_ASSISTANT if in_page else _WITH_SMART_TOOLS) + _THEN, 1):
        console.print(Text(f" {number}. {step}"), soft_wrap=True)
    console.print()
    if (line := _activation()) is not None:
        console.print(
            Text(f"In a second terminal, in this folder, before these commands: {line}", "dim"),
            soft_wrap=True,
        )
    if options.data_dir.resolve() != DEFAULT_DATA_DIR.resolve():
        console.print(
            Text(
                f"These commands then take --data-dir {shlex.quote(str(options.data_dir))}", "dim"
            ),
            soft_wrap=True,
        )
    console.print(
        Text("Ctrl-C stops everything; regiontext up goes on from there.", "dim"), soft_wrap=True
    )
    return url


def _activation() -> str | None:
    """Return the line that puts `regiontext` on the path of a shell; None where it is there already."""
    script = Path(sys.prefix) / "bin" / "activate"
    if shutil.which("regiontext") is not None or not script.is_file():
        return None
    if script.is_relative_to(Path.cwd()):
        script = script.relative_to(Path.cwd())
    return f"source {shlex.quote(str(script))}"


def browser_wanted() -> bool:
    """Whether a window can be expected to open: a person at a desktop, not CI, not a remote shell."""
    environment = os.environ
    if environment.get("CI") or environment.get("SSH_CONNECTION") or not sys.stdout.isatty():
        return False
    if sys.platform == "darwin":
        return True
    return bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))


def open_browser(url: str) -> bool:
    """Open `url` where that makes sense; whether it was tried. Never raises: it is a convenience."""
    if not browser_wanted():
        return False
    with contextlib.suppress(webbrowser.Error, OSError):
        return webbrowser.open(url)
    return False
