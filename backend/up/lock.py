"""One `regiontext up` per data folder: a lock that lasts until its last child is gone."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from backend.up.errors import AlreadyRunning

__all__ = ["FILE_NAME", "only_one"]

FILE_NAME = "up.lock"


@contextlib.contextmanager
def only_one(
    data_dir: Path, *, patience_s: float = 15.0, on_wait: Callable[[], None] = lambda: None
) -> Iterator[int]:
    """Hold the data folder's lock and yield its file descriptor.

    The watchdog of a run that was killed keeps that run's lock while it stops the children; that is waited for, up to
    `patience_s`, after calling `on_wait`. Raises AlreadyRunning when somebody else keeps it.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    path = data_dir / FILE_NAME
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + patience_s
        waiting = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                owner = _owner(handle)
                if _alive(owner) or time.monotonic() > deadline:
                    raise AlreadyRunning(
                        f"regiontext up already runs on {data_dir}"
                        f"{f' (pid {owner})' if owner else ''}: "
                        "use that one, stop it, or choose another folder with --data-dir"
                    ) from None
                if not waiting:
                    waiting = True
                    on_wait()
                time.sleep(0.2)
        os.truncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield handle
    finally:
        # Closing releases it, unless a watchdog still holds it open.
        os.close(handle)


def _owner(handle: int) -> int:
    text = os.pread(handle, 32, 0).decode(errors="replace").strip()
    return int(text) if text.isdigit() else 0


def _alive(pid: int) -> bool:
    """Whether a process runs: one that was killed may linger as a zombie until it is reaped."""
    try:
        return bool(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
