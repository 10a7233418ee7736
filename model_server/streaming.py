"""Answers told as they come: server-sent events in OpenAI's shape.

Tokens arrive from the worker thread and leave on the event loop. Knows nothing of routes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Any

from model_server.batches import Job
from model_server.errors import RequestError
from model_server.jobs import Answer, Token
from model_server.protocol import responses
from model_server.protocol.schemas import ChatRequest

__all__ = ["Events"]

Arrived = tuple[int, Token | None, str]


class Events:
    """The event stream of one request. Make it on the event loop, before its jobs are submitted.

    Args:
        envelope: id, model and creation time, the same in every event.
        answered: called with the answers when all are there.
        give_up: called with the jobs when the stream has ended, however it did.
    """

    def __init__(
        self,
        asked: ChatRequest,
        envelope: dict[str, Any],
        answered: Callable[[Sequence[Answer]], None],
        give_up: Callable[[Sequence[Job]], None],
    ) -> None:
        self._asked = asked
        self._envelope = envelope
        self._answered = answered
        self._give_up = give_up
        self._loop = asyncio.get_running_loop()
        self._arrived: asyncio.Queue[Arrived] = asyncio.Queue()

    def token(self, index: int, token: Token | None, text: str) -> None:
        """A token of answer `index` and its text so far, None when it is complete; from any thread."""
        # The loop may be gone when the server is being stopped.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._arrived.put_nowait, (index, token, text))

    def watch(self, jobs: Sequence[Job]) -> None:
        """Be told when the answers are complete."""
        for index, job in enumerate(jobs):
            job.future.add_done_callback(lambda _, index=index: self.token(index, None, ""))

    async def told(self, jobs: Sequence[Job]) -> AsyncIterator[str]:
        """The events; nobody waits for the answers any more when this is closed."""
        writers = [_Choice(index, self._asked, self._envelope) for index in range(len(jobs))]
        left = len(jobs)
        try:
            for writer in writers:
                yield writer.begun()
            while left:
                index, token, text = await self._arrived.get()
                writer = writers[index]
                if token is not None:
                    event = writer.grown(token, text)
                    if event:
                        yield event
                    continue
                left -= 1
                for event in writer.ended(jobs[index].future.result()):
                    yield event
            answers = [job.future.result() for job in jobs]
            self._answered(answers)
            if self._asked.stream_options and self._asked.stream_options.include_usage:
                last = responses.chunk({}, **self._envelope)
                yield _event({**last, "choices": [], "usage": responses.usage(answers)})
            yield "data: [DONE]\n\n"
        except RequestError as error:
            yield _event(responses.error_body(error))
        finally:
            self._give_up(jobs)


class _Choice:
    """What was sent of one answer."""

    def __init__(self, index: int, asked: ChatRequest, envelope: dict[str, Any]) -> None:
        self._shape = {"index": index, **envelope}
        self._logprobs = bool(asked.logprobs)
        self._sent = ""
        self._heard = 0
        self._waiting: list[Token] = []

    def begun(self) -> str:
        return _event(responses.chunk({"role": "assistant", "content": ""}, **self._shape))

    def grown(self, token: Token, text: str) -> str | None:
        self._heard += 1
        self._waiting.append(token)
        return self._text(text) if len(text) > len(self._sent) else None

    def ended(self, answer: Answer) -> list[str]:
        events = []
        # The end of the turn and what completed a stop text are no text, but count for the confidence.
        self._waiting += answer.tokens[self._heard :]
        if len(answer.text) > len(self._sent) or (self._waiting and self._logprobs):
            events.append(self._text(answer.text))
        options = None if answer.options is None else dict(answer.options)
        finish = answer.finish
        events.append(_event(responses.chunk({}, finish=finish, options=options, **self._shape)))
        return events

    def _text(self, text: str) -> str:
        tokens = list(self._waiting) if self._logprobs else None
        self._waiting.clear()
        grown = text[len(self._sent) :]
        self._sent = text
        return _event(responses.chunk({"content": grown}, tokens=tokens, **self._shape))


def _event(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"
