"""Asks a model over the OpenAI wire: pictures and words in, an answer and how sure the model was out.

Works against this project's model server, vLLM, SGLang or a cloud model. Knows nothing of regions, fields or Label
Studio.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx
import orjson
from PIL import Image

from backend.data_urls import data_url
from backend.errors import ModelError, ModelUnavailable
from backend.logs import REQUEST_ID_HEADER, request_id
from backend.model_answers import (
    CHARS_PER_TOKEN,
    NOT_READY,
    Answer,
    json_object,
    read_answer,
    refusal,
    short,
    storable,
)
from backend.settings import Settings

__all__ = ["ModelClient", "client_of", "segmenter_of"]

_TIMEOUT = httpx.Timeout(60.0, connect=3.0)
# An adapter leaves when the requests that name it are answered.
_LEAVING_S = 30.0


def client_of(
    settings: Settings, *, transport: httpx.AsyncBaseTransport | None = None
) -> ModelClient:
    """The client of the server that the settings name. transport: stands in for the network."""
    key, admin = settings.model_api_key, settings.model_admin_key
    return ModelClient(
        settings.model_url,
        key.get_secret_value() if key else None,
        admin_key=admin.get_secret_value() if admin else None,
        transport=transport,
    )


def segmenter_of(
    settings: Settings, *, transport: httpx.AsyncBaseTransport | None = None
) -> ModelClient | None:
    """The client of the server that makes masks; None if that is the model's own. transport: as in `client_of`."""
    if settings.segmenter_url is None:
        return None
    key = settings.segmenter_api_key
    return ModelClient(
        settings.segmenter_url, key.get_secret_value() if key else None, transport=transport
    )


class ModelClient:
    """One OpenAI-compatible server. Keep one per process: it reuses its connections."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        admin_key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        # Only these calls carry it: the server may be somebody else's.
        self._admin = {"Authorization": f"Bearer {admin_key}"} if admin_key else {}
        headers = {"Content-Type": "application/json"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        self._http = httpx.AsyncClient(
            base_url=self._url,
            headers=headers,
            timeout=_TIMEOUT,
            transport=transport,
            event_hooks={"request": [_name]},
        )
        self._is_up = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    @property
    def is_up(self) -> bool:
        """Whether the server answered the last call, be it with a refusal."""
        return self._is_up

    async def models(self) -> list[dict[str, Any]]:
        """What the server announces under GET /models, in its order.

        Raises:
            ModelUnavailable: it does not answer.
            ModelError: it answers something else.
        """
        body = await self._call("GET", "/models")
        data = body.get("data")
        if not isinstance(data, list):
            raise ModelError(f"the model server at {self._url} lists no models: {short(body)}")
        return [m for m in data if isinstance(m, dict) and isinstance(m.get("id"), str)]

    async def ask(
        self,
        images: Sequence[Image.Image | str],
        prompt: str,
        *,
        model: str,
        options: Sequence[str] = (),
        max_tokens: int = 48,
        temperature: float = 0.0,
        told: Callable[[str], None] | None = None,
    ) -> Answer:
        """Ask about the images; with options, only they may be answered. Deterministic at temperature 0.

        An image is a picture or, when several questions share it, its `data_url` made once. told: called with the text
        so far while an open question is being answered, where the server streams.

        Raises:
            ModelUnavailable: the server does not answer, or not yet.
            UnknownModel: the server does not know the model.
            ModelError: the request was refused, or the answer is empty, far too long or none of the options.
        """
        urls = [i if isinstance(i, str) else await asyncio.to_thread(data_url, i) for i in images]
        content: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": url}} for url in urls
        ]
        content.append({"type": "text", "text": storable(prompt)})
        request: dict[str, Any] = {
            "model": model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": max_tokens,
            "temperature": temperature,
            "logprobs": True,
        }
        if options:
            request["structured_outputs"] = {"choice": list(options)}
        if told is not None and not options:
            body = await self._streamed(request, told)
        else:
            body = await self._call("POST", "/chat/completions", request)
        answer = read_answer(body, tuple(options), model)
        if len(answer.text) > CHARS_PER_TOKEN * max_tokens:
            raise ModelError(
                f"the model answered {len(answer.text)} characters where {max_tokens} tokens were asked for"
            )
        return answer

    async def load_adapter(self, name: str, path: str) -> None:
        """Make an adapter known to the server under a name; one already known by it is fine.

        A name that the server is about to forget is taken and not served: that is waited for.

        Raises:
            ModelUnavailable: the server does not answer.
            ModelError: it refuses (no such path, not made for this base, the name does not get free).
        """
        body = {"lora_name": name, "lora_path": path}
        until = time.monotonic() + _LEAVING_S
        while True:
            try:
                await self._call("POST", "/load_lora_adapter", body, headers=self._admin)
                return
            except ModelError as error:
                # vLLM and ours: 400 "The lora adapter 'x' has already been loaded."
                if "already" not in str(error).lower():
                    raise
                if any(model["id"] == name for model in await self.models()):
                    return
                if time.monotonic() > until:
                    raise
            await asyncio.sleep(0.1)

    async def unload_adapter(self, name: str) -> None:
        """Make the server forget an adapter; one that it does not know is fine.

        Raises:
            ModelUnavailable: the server does not answer.
        """
        try:
            body = {"lora_name": name}
            await self._call("POST", "/unload_lora_adapter", body, headers=self._admin)
        except ModelUnavailable:
            raise
        except ModelError:
            return

    async def post(
        self, path: str, body: Mapping[str, Any], *, expected: Collection[int] = ()
    ) -> tuple[int, dict[str, Any]]:
        """The status and body of a route that not every server has; 200, or one of `expected`.

        Raises:
            ModelUnavailable: the server does not answer, or not yet.
            ModelError: it refuses with any other status.
        """
        response, parsed = await self._send("POST", path, body)
        if response.status_code != 200 and response.status_code not in expected:
            raise refusal(response.status_code, response.reason_phrase, parsed)
        return response.status_code, parsed

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        response, parsed = await self._send(method, path, body, headers)
        if response.status_code == 200:
            # vLLM answers the adapter routes with plain text.
            return parsed
        raise refusal(response.status_code, response.reason_phrase, parsed)

    async def _streamed(
        self, request: Mapping[str, Any], told: Callable[[str], None]
    ) -> dict[str, Any]:
        """The body that the same request would have without streaming, put together from its events."""
        text, model = "", None
        tokens: list[Any] = []
        try:
            async with self._http.stream(
                "POST", "/chat/completions", content=orjson.dumps({**request, "stream": True})
            ) as response:
                self._is_up = response.status_code not in NOT_READY
                plain = "text/event-stream" not in response.headers.get("content-type", "")
                if response.status_code != 200 or plain:
                    await response.aread()
                    parsed = json_object(response.text)
                    if response.status_code != 200:
                        raise refusal(response.status_code, response.reason_phrase, parsed)
                    return parsed
                async for line in response.aiter_lines():
                    event = (
                        json_object(line.removeprefix("data:")) if line.startswith("data:") else {}
                    )
                    if "error" in event:
                        raise _broken(event)
                    choice = next(iter(event.get("choices") or ()), None)
                    if not isinstance(choice, Mapping):
                        continue
                    model = event.get("model")
                    logprobs = choice.get("logprobs")
                    if isinstance(logprobs, Mapping):
                        tokens += logprobs.get("content") or []
                    delta = choice.get("delta")
                    grown = delta.get("content") if isinstance(delta, Mapping) else None
                    if isinstance(grown, str) and grown:
                        text += grown
                        told(storable(text))
        except httpx.HTTPError as error:
            self._is_up = False
            reason = str(error) or type(error).__name__
            raise ModelUnavailable(
                f"the model server at {self._url} does not answer: {reason}"
            ) from error
        choice = {"message": {"content": text}, "logprobs": {"content": tokens}}
        return {"model": model, "choices": [choice]}

    async def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[httpx.Response, dict[str, Any]]:
        """The response and its body, empty if that is no JSON object."""
        try:
            # A question carries its pictures, and the standard library takes half a millisecond to write one.
            content = None if body is None else orjson.dumps(body)
            response = await self._http.request(method, path, content=content, headers=headers)
        except httpx.TimeoutException as error:
            self._is_up = False
            raise ModelUnavailable(f"the model server at {self._url} is too slow") from error
        except httpx.HTTPError as error:
            self._is_up = False
            reason = str(error) or type(error).__name__
            raise ModelUnavailable(
                f"the model server at {self._url} does not answer: {reason}"
            ) from error
        self._is_up = response.status_code not in NOT_READY
        try:
            parsed: Any = response.json()
        except ValueError:
            parsed = None
        return response, parsed if isinstance(parsed, dict) else {}


def _broken(event: Mapping[str, Any]) -> ModelError:
    """The error that a stream ends with after it began well: its status says nothing of it."""
    fault = event.get("error")
    message = fault.get("message") if isinstance(fault, Mapping) else fault
    return ModelError(
        f"the model server failed while answering: {short(message or 'it does not say why')}"
    )


async def _name(request: httpx.Request) -> None:
    """Let the model server tell which request of ours a question belongs to: `{id}-{random}`.

    Never the id alone: vLLM knows its requests by this header, and earlier releases refuse a second of the same name
    while the first is being answered.
    """
    if name := request_id():
        request.headers[REQUEST_ID_HEADER] = f"{name}-{secrets.token_hex(4)}"
