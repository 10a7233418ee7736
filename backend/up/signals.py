"""Ctrl-C, SIGTERM and a closed terminal as one exception, raised only where it can do no harm."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["Signals", "StopRequested"]

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequested(BaseException):
    """The user, or the system, asks to stop. Not an Exception: nothing on the way may swallow it."""


class Signals:
    """Installs the handlers while entered. Outside `raising()` a signal only calls `on_repeat`."""

    def __init__(self) -> None:
        self.on_repeat: Callable[[], None] = lambda: None
        self._before: dict[int, Any] = {}
        self._raise = False
        self._held = 0
        self._pending = False

    def __enter__(self) -> Self:
        for number in _NUMBERS:
            # Under nohup a closed terminal is to be ignored.
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def raising(self) -> Iterator[None]:
        """Raise StopRequested, here, when a signal arrives in this block."""
        self._raise = True
        try:
            yield
        finally:
            self._raise = False

    @contextlib.contextmanager
    def uninterrupted(self) -> Iterator[None]:
        """Put off StopRequested to the end of this block."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        if self._pending and self._raise and not self._held:
            self._pending = False
            raise StopRequested

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self._raise:
            self.on_repeat()
        elif self._held:
            self._pending = True
        else:
            # Once: what follows is the orderly stop, which a second signal only hurries.
            self._raise = False
            raise StopRequested
