"""Says on the standard error how far a long benchmark is, every few seconds; the figures go to the standard output."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

__all__ = ["teller"]

EVERY_S = 5.0


def teller(what: str, *, every_s: float = EVERY_S) -> Callable[..., None]:
    """What is called with (done, of how many, more words) as often as one likes, and prints now and then.

    The first and the last are always printed, with the time since the teller was made.
    """
    began = time.monotonic()
    last: float | None = None

    def tell(done: int, total: int | None, more: str = "") -> None:
        nonlocal last
        now = time.monotonic()
        if last is not None and now - last < every_s and done != total:
            return
        last = now
        of = "" if total is None else f" of {total}"
        words = f"{what}: {done}{of}, {now - began:.0f} s"
        print(f"{words}, {more}" if more else words, file=sys.stderr, flush=True)

    return tell
