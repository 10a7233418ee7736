"""A model server in this process that says its answers word by word, as slowly as a test wants, or not at all."""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from tests.backend.stubs import BASE, ENTRY
from tests.label_studio_server import free_port

__all__ = ["SlowModel", "running_model"]

WORDS = "a small red car"


@dataclass
class SlowModel:
    """text: what it says to open questions. word_s: how long each word takes. sure: the probability of each word.

    relation: what it says of pairs, "" for no relation.
    """

    url: str
    text: str = WORDS
    word_s: float = 0.02
    sure: float = 0.95
    relation: str = ""
    away: bool = False
    asked: list[dict[str, Any]] = field(default_factory=list)

    def reset(self) -> None:
        self.text, self.word_s, self.sure, self.relation, self.away = WORDS, 0.02, 0.95, "", False
        self.asked.clear()

    @property
    def questions(self) -> list[str]:
        """The words of every open question so far."""
        return [
            str(body["messages"][0]["content"][-1]["text"])
            for body in self.asked
            if "structured_outputs" not in body
        ]


@contextmanager
def running_model() -> Iterator[SlowModel]:
    """The server, on a port of its own, until the end of the block."""
    port = free_port()
    model = SlowModel(f"http://127.0.0.1:{port}/v1")
    server = uvicorn.Server(uvicorn.Config(_app(model), port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    try:
        yield model
    finally:
        server.should_exit = True
        thread.join(10)


def _app(model: SlowModel) -> FastAPI:
    app = FastAPI()

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        entry = ENTRY | {"id": BASE, "root": "/models/stub", "parent": None}
        return {"object": "list", "data": [entry]}

    @app.post("/v1/chat/completions")
    async def complete(request: Request) -> Response:
        body = await request.json()
        if model.away:
            return JSONResponse({"error": {"message": "loading"}}, 503)
        model.asked.append(body)
        options = body.get("structured_outputs", {}).get("choice", [])
        if options:
            wanted = [o for o in options if o == model.relation]
            return JSONResponse(_whole(options, wanted[0] if wanted else options[-1]))
        if not body.get("stream"):
            await asyncio.sleep(model.word_s * len(model.text.split()))
            return JSONResponse(_whole([], model.text))
        return StreamingResponse(_said(model), media_type="text/event-stream")

    return app


def _whole(options: list[str], text: str) -> dict[str, Any]:
    rest = 0.2 / max(1, len(options) - 1)
    choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": text}}
    if options:
        choice["options"] = {o: 0.8 if o == text else rest for o in options}
    return {"object": "chat.completion", "model": BASE, "choices": [choice]}


async def _said(model: SlowModel) -> AsyncIterator[str]:
    for at, word in enumerate(model.text.split()):
        await asyncio.sleep(model.word_s)
        logprobs = {"content": [{"token": word, "logprob": math.log(model.sure)}]}
        delta = {"content": word if at == 0 else f" {word}"}
        event = {"model": BASE, "choices": [{"index": 0, "delta": delta, "logprobs": logprobs}]}
        yield f"data: {json.dumps(event)}\n\n"
    yield "data: [DONE]\n\n"
