"""One line per step of the start, while it happens: what, how far, how long, and where its log is.

In a terminal the lines live and carry a clock; elsewhere (CI, a pipe) each change is one printed line. Knows nothing of
what the steps do.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

__all__ = ["Display", "Step"]

State = Literal["waiting", "running", "done", "failed"]
_SIGNS = {"waiting": ("·", "dim"), "done": ("✓", "green"), "failed": ("✗", "bold red")}


@dataclass
class Step:
    """One line: its name, what is said beside it, its log, and its clock."""

    name: str
    log: Path | None = None
    state: State = "waiting"
    note: str = ""
    began: float | None = None
    ended: float | None = None
    spinner: Spinner = field(default_factory=lambda: Spinner("dots", style="cyan"))

    @property
    def seconds(self) -> float:
        """How long it has been going on, or took."""
        if self.began is None:
            return 0.0
        return (self.ended if self.ended is not None else time.monotonic()) - self.began


class Display:
    """The lines of all steps, in the order they were added; a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._steps: dict[str, Step] = {}
        self._live = (
            Live(get_renderable=self._table, console=console, refresh_per_second=8, transient=False)
            if console.is_terminal
            else None
        )

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            # The terminal may be gone; the children still have to be stopped.
            with contextlib.suppress(OSError):
                self._live.stop()

    def add(self, name: str, *, log: Path | None = None, note: str = "") -> None:
        """Add a line for a step that has not begun."""
        self._steps[name] = Step(name, log=log, note=note)

    def begin(self, name: str, note: str = "starting") -> None:
        """Start the clock of a step."""
        step = self._steps[name]
        step.state, step.note, step.began = "running", note, time.monotonic()
        self._print(step)

    def note(self, name: str, note: str) -> None:
        """Say what a step is doing now."""
        step = self._steps[name]
        if step.note != note:
            step.note = note
            self._print(step)

    def done(self, name: str, note: str = "ready") -> None:
        """Mark a step as done."""
        self._end(name, "done", note)

    def fail(self, name: str, note: str) -> None:
        """Mark a step as failed."""
        self._end(name, "failed", note)

    def fail_running(self) -> None:
        """Mark what was under way as failed."""
        for step in self._steps.values():
            if step.state == "running":
                self._end(step.name, "failed", "failed")

    def _end(self, name: str, state: State, note: str) -> None:
        step = self._steps[name]
        step.state, step.note, step.ended = state, note, time.monotonic()
        self._print(step)

    def _print(self, step: Step) -> None:
        if self._live is not None:
            return
        sign = _SIGNS.get(step.state, ("…", ""))[0]
        clock = f" ({step.seconds:.1f} s)" if step.ended is not None else ""
        log = f"  log: {step.log}" if step.log is not None and step.state == "running" else ""
        with contextlib.suppress(OSError):
            self._console.print(
                Text(f"{sign} {step.name}: {step.note}{clock}{log}"), soft_wrap=True
            )

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_column(width=1)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis")
        table.add_column(justify="right", no_wrap=True)
        table.add_column(style="dim", no_wrap=True, overflow="ellipsis")
        for step in self._steps.values():
            sign, style = _SIGNS.get(step.state, ("", ""))
            clock = f"{step.seconds:.0f} s" if step.began is not None else ""
            table.add_row(
                step.spinner if step.state == "running" else Text(sign, style),
                step.name,
                Text(step.note, "" if step.state != "waiting" else "dim"),
                clock,
                str(step.log) if step.log is not None else "",
            )
        return table
