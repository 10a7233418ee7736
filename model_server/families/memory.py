"""What a model has read of pictures and of the words behind them: kept until newer reading takes its memory.

Knows nothing of how it was read.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from model_server.packing import alike

__all__ = ["Key", "Memory", "Read"]

Key = tuple[str | None, bytes]
"""The adapter through which pictures were read, None for the base model, and which pictures."""


@dataclass(frozen=True, eq=False)
class Read:
    """Keys and values float[layers, 2, heads, P + W, D] of P tokens of pictures and of the W `words` behind them."""

    states: Tensor
    words: tuple[int, ...]

    def known(self, ids: Sequence[int]) -> int:
        """How many of a question's tokens are among the words; its last token never is, since it must be run."""
        return min(alike(self.words, ids), len(ids) - 1)

    def up_to(self, known: int) -> Tensor:
        """The part that ends with so many of the words."""
        return self.states[:, :, :, : self.states.shape[3] - len(self.words) + known]


class Memory:
    """The newest of what was read, up to `max_bytes`; what was asked for last is the newest."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.nbytes = 0
        self._kept: OrderedDict[Key, Read] = OrderedDict()

    def held(self) -> list[Key]:
        """What is remembered, the oldest first."""
        return list(self._kept)

    def get(self, key: Key) -> Read | None:
        """What was read of these pictures, if it still is remembered."""
        read = self._kept.get(key)
        if read is not None:
            self._kept.move_to_end(key)
        return read

    def keep(self, key: Key, read: Read) -> None:
        """Remember what was read of pictures; the oldest gives way. What is larger than all room is not kept."""
        if read.states.nbytes > self.max_bytes:
            return
        if (before := self._kept.pop(key, None)) is not None:
            self.nbytes -= before.states.nbytes
        self._kept[key] = read
        self.nbytes += read.states.nbytes
        while self.nbytes > self.max_bytes:
            self.nbytes -= self._kept.popitem(last=False)[1].states.nbytes

    def forget(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self.nbytes = 0

    def forget_adapter(self, name: str) -> None:
        """Forget what was read through an adapter."""
        for key in [key for key in self._kept if key[0] == name]:
            self.nbytes -= self._kept.pop(key).states.nbytes
