"""Asks any OpenAI-compatible model for a verdict, in words. Knows nothing of benchmarks or of pictures."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

import httpx

from backend.evaluate.errors import JudgeError

__all__ = ["Judge"]

_TIMEOUT = httpx.Timeout(120.0, connect=10.0)
_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_ATTEMPTS = 5
# OpenAI's newer name of the limit: who wants it says so once, and gets it from then on.
_NEWER = "max_completion_tokens"


class Judge:
    """One judge model behind `url` (with its /v1, as OpenAI's). `key` goes with each request, if given."""

    def __init__(
        self,
        url: str,
        model: str,
        key: str | None = None,
        *,
        pause_s: float = 2.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.model = model
        self._url = url.rstrip("/")
        self._pause_s = pause_s
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.AsyncClient(headers=headers, timeout=_TIMEOUT, transport=transport)
        self._limit = "max_tokens"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def ask(self, words: str, *, max_tokens: int, temperature: float = 0.0) -> str:
        """What the judge says to one message; "" if it says nothing.

        Busy, slow and failing servers are asked again, five times in all. Raises JudgeError.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            last = attempt == _ATTEMPTS
            limit = self._limit
            try:
                answer = await self._post(words, temperature, {limit: max_tokens})
            except httpx.HTTPError as error:
                if last:
                    reason = str(error) or type(error).__name__
                    raise JudgeError(
                        f"the judge at {self._url} does not answer: {reason}"
                    ) from error
            else:
                if answer.status_code == 200:
                    return _content(answer, self._url)
                if limit != _NEWER and answer.status_code == 400 and _NEWER in answer.text:
                    self._limit = _NEWER
                    continue
                if answer.status_code not in _PASSING or last:
                    raise JudgeError(
                        f"the judge at {self._url} refuses (HTTP {answer.status_code}): "
                        f"{' '.join(answer.text.split())[:200]}"
                    )
            await asyncio.sleep(self._pause_s * 2 ** (attempt - 1))
        raise AssertionError("unreachable")

    async def _post(self, words: str, temperature: float, limit: dict[str, int]) -> httpx.Response:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": words}],
            "temperature": temperature,
            **limit,
        }
        return await self._http.post(f"{self._url}/chat/completions", json=body)


def _content(answer: httpx.Response, url: str) -> str:
    try:
        content = answer.json()["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise JudgeError(
            f"{url} answers, but not as OpenAI's chat completions do: {answer.text[:200]!r}"
        ) from error
    return content.strip() if isinstance(content, str) else ""
