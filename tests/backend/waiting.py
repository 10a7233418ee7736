"""Waiting for what happens in another thread."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Return when the condition holds; AssertionError if it does not in time."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"it did not happen in {seconds} s"
        time.sleep(0.02)
