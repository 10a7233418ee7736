"""Stand-ins for the neighbours of the backend: a model server that speaks the wire, Label Studio's image routes."""

from __future__ import annotations

import asyncio
import base64
import io
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from PIL import Image, ImageDraw

BASE = "stub-model"
VIEW = {
    "scope": "crop",
    "kind": "rectangle",
    "context": 1.0,
    "min_side": 48,
    "max_side": 224,
    "evidence": True,
}
ENTRY = {
    "object": "model",
    "owned_by": "regiontext",
    "region_input": "overlay",
    "view": VIEW,
    "max_regions": 2,
}


def photo(size: tuple[int, int] = (800, 600), colour: str = "grey", seed: int = 0) -> bytes:
    """A PNG whose bytes, and so whose arm, depend on the seed."""
    image = Image.new("RGB", size, colour)
    ImageDraw.Draw(image).text((10, 10), f"photo {seed}", fill="white")
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


@dataclass
class StubModel:
    """Answers open questions with `text` (or what `say` makes of the prompt), closed ones with the first option."""

    text: str = "a red car"
    delay: float = 0.0
    down: bool = False
    say: Callable[[str, list[str]], str] | None = None
    served: list[dict[str, Any]] = field(
        default_factory=lambda: [ENTRY | {"id": BASE, "root": "/models/stub", "parent": None}]
    )
    adapters: dict[str, str] = field(default_factory=dict)
    # Names that are not served any more and not free yet, with how often they will still be refused.
    leaving: dict[str, int] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    loads: list[dict[str, Any]] = field(default_factory=list)

    @property
    def prompts(self) -> list[str]:
        """The words of every question so far."""
        return [_words(request) for request in self.asked]

    def transport(self) -> httpx.AsyncBaseTransport:
        """The wire to it, inside the process of the test."""
        return _Switch(self, httpx.ASGITransport(app=self.app()))

    def app(self) -> FastAPI:
        """The server itself."""
        app = FastAPI()

        @app.get("/v1/models")
        async def models() -> dict[str, Any]:
            extra = [
                ENTRY | {"id": name, "root": path, "parent": BASE}
                for name, path in self.adapters.items()
            ]
            return {"object": "list", "data": [*self.served, *extra]}

        @app.post("/v1/load_lora_adapter")
        async def load(request: Request) -> JSONResponse:
            body = await request.json()
            self.loads.append(body)
            left = self.leaving.get(body["lora_name"], 0)
            self.leaving[body["lora_name"]] = left - 1
            if body["lora_name"] in self.adapters or left > 0:
                return JSONResponse(
                    _error(f"The lora adapter '{body['lora_name']}' has already been loaded."), 400
                )
            self.adapters[body["lora_name"]] = body["lora_path"]
            return JSONResponse({"status": "ok"})

        @app.post("/v1/chat/completions")
        async def complete(request: Request) -> JSONResponse:
            body = await request.json()
            known = {m["id"] for m in self.served} | set(self.adapters)
            if body["model"] not in known:
                return JSONResponse(
                    _error(f"The model '{body['model']}' does not exist.", param="model"), 404
                )
            self.asked.append(body)
            await asyncio.sleep(self.delay)
            return JSONResponse(self._completion(body))

        return app

    def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
        options = body.get("structured_outputs", {}).get("choice", [])
        words = _words(body)
        text = self.say(words, options) if self.say else options[0] if options else self.text
        tokens = [
            {"token": word, "logprob": math.log(0.9), "bytes": None, "top_logprobs": []}
            for word in text.split()
        ]
        choice: dict[str, Any] = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "logprobs": {"content": tokens},
            "finish_reason": "stop",
        }
        if options:
            rest = 0.4 / max(1, len(options) - 1)
            choice["options"] = {o: 0.6 if o == text else rest for o in options}
        return {"object": "chat.completion", "model": body["model"], "choices": [choice]}


@dataclass
class StubHost:
    """Label Studio as far as images go: every path answers with one picture, for the right key."""

    data: bytes = field(default_factory=photo)
    token: str = "k" * 40
    status: int = 200
    delay: float = 0.0
    seen: list[httpx.Request] = field(default_factory=list)

    def transport(self) -> httpx.AsyncBaseTransport:
        """The wire to it."""
        return httpx.MockTransport(self._answer)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        await asyncio.sleep(self.delay)
        if request.headers.get("Authorization") != f"Token {self.token}":
            return httpx.Response(401, json={"detail": "Invalid token."})
        return httpx.Response(self.status, content=self.data, headers={"Content-Type": "image/png"})


class _Switch(httpx.AsyncBaseTransport):
    def __init__(self, model: StubModel, inner: httpx.AsyncBaseTransport) -> None:
        self._model, self._inner = model, inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._model.down:
            raise httpx.ConnectError("All connection attempts failed")
        return await self._inner.handle_async_request(request)


def _error(message: str, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "not_found_error", "param": param, "code": None}}


def _words(body: dict[str, Any]) -> str:
    return str(body["messages"][0]["content"][-1]["text"])


def pictures(body: dict[str, Any]) -> list[Image.Image]:
    """The images of a request, decoded."""
    parts = body["messages"][0]["content"][:-1]
    return [
        Image.open(io.BytesIO(base64.b64decode(p["image_url"]["url"].split(",", 1)[1])))
        for p in parts
    ]
