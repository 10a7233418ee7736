"""`regiontext up`, from the first check to the last child stopped."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import replace

from rich.console import Console
from rich.text import Text

from backend.errors import BackendError
from backend.up import services
from backend.up.credentials import Credentials, save
from backend.up.display import Display
from backend.up.errors import ServiceFailed
from backend.up.finish import open_browser, show_ready
from backend.up.lock import only_one
from backend.up.options import EMBEDDED, UpOptions
from backend.up.prepare import prepare
from backend.up.settings import read_settings
from backend.up.signals import Signals, StopRequested
from backend.up.start import Start
from backend.up.supervisor import Supervisor
from regiontext.errors import RegiontextError

__all__ = ["up"]

_WATCH_S = 0.5


def up(options: UpOptions, console: Console) -> int:
    """Run everything until it is told to stop; return the exit status.

    0 after Ctrl-C or SIGTERM, 1 when something could not start or died (said in one line, with the end of its log).
    Raises BackendError or RegiontextError for what is wrong before anything has started.
    """
    settings = read_settings()
    waiting = "a run that was killed is still being stopped, waiting for it"
    with Signals() as signals, contextlib.ExitStack() as stack:
        try:
            with signals.raising():
                lock = stack.enter_context(
                    only_one(options.data_dir, on_wait=lambda: console.print(waiting))
                )
                credentials = prepare(options, settings)
        except StopRequested:
            return 0
        supervisor = Supervisor(
            on_stop=lambda name: _say(console, f"stopping {name}"),
            uninterrupted=signals.uninterrupted,
            keep_open=(lock,),
        )
        signals.on_repeat = supervisor.hurry
        # Signals raise only inside `raising`: the stop that follows is never cut short.
        with supervisor:
            try:
                with signals.raising():
                    environment = services.own_environment()
                    with Display(console) as display:
                        start = Start(
                            options, settings, credentials, environment, supervisor, display
                        )
                        credentials = start.run()
                    _welcome(options, credentials, console)
                    while True:
                        supervisor.check()
                        time.sleep(_WATCH_S)
            except StopRequested:
                if console.is_terminal:
                    _say(console, "")
                return 0
            except (BackendError, RegiontextError) as error:
                _report(error, console)
                return 1


def _welcome(options: UpOptions, credentials: Credentials, console: Console) -> None:
    account = credentials.account
    url = show_ready(options, credentials, console)
    if account is not None and not account.shown and options.server == EMBEDDED:
        save(replace(credentials, account=replace(account, shown=True)), options.data_dir)
    if options.browser:
        open_browser(url)


def _say(console: Console, text: str) -> None:
    # The terminal may be gone; the children still have to be stopped.
    with contextlib.suppress(OSError):
        console.print(text, highlight=False)


def _report(error: Exception, console: Console) -> None:
    """Say in one line what went wrong, and show the end of the log when there is one."""
    with contextlib.suppress(OSError):
        console.print(Text.assemble(("error: ", "bold red"), str(error)), soft_wrap=True)
        if isinstance(error, ServiceFailed):
            console.print(Text(f"last lines of {error.log}:", "dim"), soft_wrap=True)
            for line in error.tail:
                console.print(Text(f"  {_readable(line)}", "dim"), soft_wrap=True)


def _readable(line: str) -> str:
    """Return a log line as a person reads it: the backend's are JSON."""
    try:
        found = json.loads(line)
        return f"{found['time'][11:19]} {found['level']} {found['message']}"
    except (ValueError, KeyError, TypeError):
        return line
