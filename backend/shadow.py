"""A challenger answers some of the questions again, unseen, after the annotator has the champion's answer.

Off unless the registry names a challenger with a share. It never slows anybody down: it asks one question at a time,
only while nothing is being answered, gives way at once when something is (the question is asked again later), and
forgets what does not fit into its short queue. Knows nothing of how the champion's answers came about.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from dataclasses import dataclass

from backend.errors import ModelError
from backend.model_client import ModelClient
from backend.registry import Aliases, aliases
from backend.store import ShadowAnswerRow, Store, SuggestionRow
from regiontext.labelstudio.answers import accepted
from regiontext.labelstudio.config import Field

__all__ = ["Shadow", "Unseen"]

_log = logging.getLogger(__name__)

_QUEUE = 32
_LOOK_S = 5.0
_PAUSE_S = 0.05


@dataclass(frozen=True, eq=False)
class Unseen:
    """A question that was answered: the suggestion's id and value, the pictures as they went, the words."""

    suggestion: str
    base: str
    value: Sequence[str]
    urls: Sequence[str]
    prompt: str
    options: Sequence[str]
    field: Field | None
    max_tokens: int

    @classmethod
    def of(cls, row: SuggestionRow, base: str, urls: Sequence[str], field: Field | None) -> Unseen:
        """The question of a suggestion that was stored."""
        most = int(row.decoding["max_tokens"])
        return cls(row.id, base, row.value, urls, row.prompt, row.options, field, most)


class Shadow:
    """What waits to be asked unseen. One per process, on its event loop."""

    def __init__(self) -> None:
        self._waiting: deque[Unseen] = deque(maxlen=_QUEUE)
        self._answering = 0
        self._worker: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[bool] | None = None
        self._looked: tuple[float, Aliases] | None = None

    @asynccontextmanager
    async def answering(self) -> AsyncIterator[None]:
        """While the block runs somebody waits for an answer: nothing is asked unseen."""
        self._answering += 1
        if self._asking is not None:
            self._asking.cancel()
        try:
            yield
        finally:
            self._answering -= 1

    def offer(self, store: Store, client: ModelClient, unseen: Iterable[Unseen]) -> None:
        """Questions that were just answered; returns at once."""
        self._waiting.extend(unseen)
        if self._waiting and (self._worker is None or self._worker.done()):
            # It outlives the request that starts it, and asks for others: it must not be taken for it.
            self._worker = asyncio.create_task(self._work(store, client), context=Context())

    async def close(self) -> None:
        """Forget what waits."""
        self._waiting.clear()
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)

    async def drained(self) -> None:
        """Wait until nothing waits any more."""
        if self._worker is not None:
            await asyncio.gather(self._worker, return_exceptions=True)

    async def _work(self, store: Store, client: ModelClient) -> None:
        while self._waiting:
            if self._answering:
                await asyncio.sleep(_PAUSE_S)
                continue
            one = self._waiting.popleft()
            self._asking = asyncio.create_task(self._ask(store, client, one))
            try:
                # Shielded from nothing: whoever is answered cancels it, and it is asked again later.
                done = await asyncio.gather(self._asking, return_exceptions=True)
            finally:
                self._asking = None
            if isinstance(done[0], asyncio.CancelledError):
                self._waiting.appendleft(one)
            elif isinstance(done[0], BaseException) and not isinstance(done[0], ModelError):
                _log.error("asking unseen failed", exc_info=done[0])

    async def _ask(self, store: Store, client: ModelClient, one: Unseen) -> bool:
        """Ask the challenger, if there is one and the question is of its share; whether it was asked."""
        now = await self._aliases(store, one.base)
        challenger = now.challenger
        if challenger is None or not _chosen(one.suggestion, now.share):
            return False
        said = await client.ask(
            one.urls,
            one.prompt,
            model=challenger,
            options=one.options,
            max_tokens=one.max_tokens,
        )
        value = list(accepted(one.field, said.text)) if one.field is not None else [said.text]
        row = ShadowAnswerRow(
            suggestion=one.suggestion,
            challenger=challenger,
            value=value,
            confidence=said.confidence,
            agrees=_words(value) == _words(one.value),
        )

        def keep() -> None:
            with store.begin() as session:
                session.merge(row)

        # What was answered is kept, whoever begins to draw meanwhile.
        keeping = asyncio.ensure_future(asyncio.to_thread(keep))
        with suppress(asyncio.CancelledError):
            await asyncio.shield(keeping)
        return True

    async def _aliases(self, store: Store, base: str) -> Aliases:
        looked = self._looked
        if looked is not None and looked[1].base == base and time.monotonic() < looked[0] + _LOOK_S:
            return looked[1]

        def look() -> Aliases:
            with store.read() as session:
                return aliases(session, base)

        now = await asyncio.to_thread(look)
        self._looked = time.monotonic(), now
        return now


def _chosen(suggestion: str, share: float) -> bool:
    """Whether a question is of the share: by its id, so that asking again asks the same."""
    digest = hashlib.sha256(suggestion.encode()).digest()
    return int.from_bytes(digest[:4], "big") < share * 2**32


def _words(value: Sequence[str]) -> list[str]:
    return " ".join(value).casefold().split()
