"""Runs a module of this project as a process of its own until it is not needed any more."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx

__all__ = ["running"]


@contextmanager
def running(module: Sequence[str], ready: str, **environment: str) -> Iterator[None]:
    """`python -m MODULE…`, on one thread, from when the URL `ready` answers 200 to the end of the block.

    Raises RuntimeError when it ends before that or takes more than three minutes.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", *module],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        stdout=subprocess.DEVNULL,
    )
    try:
        for _ in range(900):
            if process.poll() is not None:
                raise RuntimeError(f"{module[0]} ended with status {process.returncode}")
            try:
                if httpx.get(ready, timeout=2).status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            time.sleep(0.2)
        else:
            raise RuntimeError(f"{ready} did not answer 200 in three minutes")
        yield
    finally:
        process.terminate()
        process.wait(20)
