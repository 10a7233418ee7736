"""Stops process groups when the process at the other end of standard input is gone, however it
ended.

A program of its own, run as `python -I -S watchdog.py` with a pipe as standard input. It reads
lines: "+N" means "look after process group N", "-N" means "N has been stopped". At the end of
input (the parent ended, or was killed) the groups that are left get SIGTERM and, five seconds
later, SIGKILL. It imports no package of this project, so that it stays small and works while
everything else is broken.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable

__all__ = ["main", "stop_groups"]

_GRACE_S = 5.0


def _signal(group: int, number: int) -> bool:
    """Signal a group; False when nobody is left in it."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def stop_groups(groups: Iterable[int], grace_s: float = _GRACE_S) -> None:
    """End process groups: SIGTERM to all, SIGKILL to those still there after `grace_s` seconds."""
    left = [group for group in groups if _signal(group, signal.SIGTERM)]
    deadline = time.monotonic() + grace_s
    while left and time.monotonic() < deadline:
        time.sleep(0.1)
        left = [group for group in left if _signal(group, 0)]
    for group in left:
        _signal(group, signal.SIGKILL)


def main() -> None:
    """Follow standard input to its end, then stop what is left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: dict[int, None] = {}
    with contextlib.suppress(OSError):
        for line in sys.stdin:
            text = line.strip()
            if not text[1:].isdigit():
                continue
            if text.startswith("+"):
                groups[int(text[1:])] = None
            elif text.startswith("-"):
                groups.pop(int(text[1:]), None)
    stop_groups(reversed(groups))


if __name__ == "__main__":
    main()
