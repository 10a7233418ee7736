"""A cache bounded by the bytes it holds: what was used longest ago goes first. Safe to share between threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

__all__ = ["BoundedCache"]

V = TypeVar("V")


class BoundedCache(Generic[V]):
    """Values by name, each with its size in bytes; together never more than the bound."""

    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes
        self._held = 0
        self._values: OrderedDict[str, tuple[V, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str) -> V | None:
        """The value of that name, now the one used last; None if it is not (or no longer) held."""
        with self._lock:
            found = self._values.get(name)
            if found is None:
                return None
            self._values.move_to_end(name)
            return found[0]

    def put(self, name: str, value: V, size: int) -> None:
        """Hold a value of `size` bytes under a name, instead of an older one; not at all if it is over the bound."""
        with self._lock:
            _, freed = self._values.pop(name, (None, 0))
            self._held -= freed
            if size > self._max:
                return
            self._values[name] = (value, size)
            self._held += size
            while self._held > self._max:
                _, (_, dropped) = self._values.popitem(last=False)
                self._held -= dropped
