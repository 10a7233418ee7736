"""One job of a kind per project at a time, on one machine.

The operating system holds the lock, so a job that is killed lets go of it at once. Knows nothing of the job.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

__all__ = ["exclusive", "is_held"]

_POLL_S = 0.25

if sys.platform == "win32":
    import msvcrt

    def _take(file: IO[str]) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _take(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@asynccontextmanager
async def exclusive(
    folder: Path, name: str, *, waiting: Callable[[str], None] | None = None
) -> AsyncIterator[None]:
    """Hold the lock `name` in `folder` for the block; wait while another process holds it.

    `waiting` is told once, in words, when there is somebody to wait for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.lock"
    # Never removed: removing a lock file while another process waits for it would give two locks.
    with path.open("a+", encoding="utf-8") as file:
        told = False
        while True:
            try:
                _take(file)
                break
            except OSError:
                if waiting is not None and not told:
                    waiting(f"waiting for another {name} (process {_holder(path)})")
                told = True
                await asyncio.sleep(_POLL_S)
        if sys.platform != "win32":
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
        yield


def is_held(folder: Path, name: str) -> bool:
    """Whether anybody holds the lock `name` in `folder` right now."""
    try:
        with (folder / f"{name}.lock").open("r+", encoding="utf-8") as file:
            _take(file)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip() or "unknown"
    except OSError:
        return "unknown"
