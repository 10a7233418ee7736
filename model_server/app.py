"""The HTTP side: OpenAI's chat completions, vLLM's adapter endpoints, health and readiness.

Bodies are read and images decoded off the event loop, so `/health` answers whatever the model is
doing. Knows nothing of torch.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from model_server.engine import Engine, Job, Ticket
from model_server.errors import RequestError
from model_server.folder import ModelFolder
from model_server.jobs import Prompt, Token
from model_server.protocol import responses
from model_server.protocol.messages import ImageLimits, picture, read_messages
from model_server.protocol.schemas import (
    ChatRequest,
    LoadAdapterRequest,
    UnloadAdapterRequest,
    parse_body,
)

__all__ = ["create_app"]


def create_app(
    engine: Engine,
    folder: ModelFolder,
    *,
    api_key: str | None = None,
    limits: ImageLimits | None = None,
    max_body_bytes: int = 64_000_000,
) -> FastAPI:
    """The model server as an ASGI app. The engine starts and stops with it.

    Args:
        api_key: when given, every /v1 route asks for it as a bearer token.
        limits: bounds on the images of one request.
        max_body_bytes: longest request body that is read.
    """
    limits = limits or ImageLimits()
    started = int(time.time())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine.start()
        yield
        await run_in_threadpool(engine.stop)

    app = FastAPI(title="regiontext model server", lifespan=lifespan)

    @app.exception_handler(RequestError)
    async def told(request: Request, error: RequestError) -> Response:
        headers = {"Retry-After": "1"} if error.status == 503 else None
        return JSONResponse(responses.error_body(error), error.status, headers=headers)

    @app.exception_handler(HTTPException)
    async def no_route(request: Request, error: HTTPException) -> Response:
        message = f"{request.method} {request.url.path}: {error.detail}."
        return await told(request, RequestError(message, status=error.status_code))

    async def check_key(request: Request) -> None:
        if api_key and not _has_key(request, api_key):
            raise RequestError(
                "The API key is missing or wrong; send it as 'Authorization: Bearer KEY'.",
                code="invalid_api_key",
                status=401,
            )

    v1 = APIRouter(prefix="/v1", dependencies=[Depends(check_key)])

    @app.get("/health")
    async def health() -> dict[str, str]:
        """The process is alive; says nothing about the model."""
        return {"status": "ok", "model": engine.state}

    @app.get("/ready")
    async def ready() -> Response:
        """200 when the model answers, 503 with the reason until then."""
        body: dict[str, Any] = {"status": engine.state}
        if engine.failure:
            body["error"] = engine.failure
        return JSONResponse(body, 200 if engine.state == "ready" else 503)

    @v1.get("/models")
    async def models() -> dict[str, Any]:
        """The base model and the loaded adapters, with how they take a region."""
        base = responses.model_entry(
            folder, id=engine.base, root=folder.source, parent=None, created=started
        )
        adapters = [
            responses.model_entry(
                folder, id=name, root=str(path), parent=engine.base, created=started
            )
            for name, path in engine.adapters().items()
        ]
        return {"object": "list", "data": [base, *adapters]}

    @v1.get("/models/{model:path}")
    async def one_model(model: str) -> dict[str, Any]:
        """One entry of /v1/models."""
        for entry in (await models())["data"]:
            if entry["id"] == model:
                return entry
        raise RequestError(
            f"The model {model!r} is not served here.", code="model_not_found", status=404
        )

    @v1.post("/chat/completions", openapi_extra=_documented(ChatRequest))
    async def chat(request: Request) -> Response:
        """Answer one question about one or more images."""
        ticket = engine.arrive()
        try:
            asked = parse_body(ChatRequest, await _read(request, max_body_bytes))
            ticket.choose(asked.model)
            prompt = _prompt(asked, limits)
        except BaseException:
            ticket.close()
            raise
        if asked.stream:
            return StreamingResponse(_stream(ticket, prompt, asked), media_type="text/event-stream")
        job = await run_in_threadpool(ticket.submit, prompt)
        answer = await asyncio.wrap_future(job.future)
        return JSONResponse(
            responses.completion(answer, logprobs=bool(asked.logprobs), **_envelope(asked))
        )

    @v1.post("/load_lora_adapter", openapi_extra=_documented(LoadAdapterRequest))
    async def load_adapter(request: Request) -> Response:
        """Serve a LoRA adapter folder under a name of its own."""
        asked = parse_body(LoadAdapterRequest, await _read(request, max_body_bytes))
        await asyncio.wrap_future(engine.load_adapter(asked.lora_name, Path(asked.lora_path)))
        return PlainTextResponse(f"Success: LoRA adapter '{asked.lora_name}' added successfully.")

    @v1.post("/unload_lora_adapter", openapi_extra=_documented(UnloadAdapterRequest))
    async def unload_adapter(request: Request) -> Response:
        """Stop serving a LoRA adapter, once the requests in flight are answered."""
        asked = parse_body(UnloadAdapterRequest, await _read(request, max_body_bytes))
        await asyncio.wrap_future(engine.unload_adapter(asked.lora_name))
        return PlainTextResponse(f"Success: LoRA adapter '{asked.lora_name}' removed successfully.")

    app.include_router(v1)
    return app


def _prompt(asked: ChatRequest, limits: ImageLimits) -> Prompt:
    turns, parts = read_messages(asked.messages, limits=limits)
    images = [picture(part, limits=limits) for part in parts]
    return Prompt(turns, images, options=asked.options(), sampling=asked.sampling())


def _stream(ticket: Ticket, prompt: Prompt, asked: ChatRequest) -> AsyncIterator[str]:
    """Submit at once, so that nothing is held should the client never read; then tell as it comes."""
    loop = asyncio.get_running_loop()
    arrived: asyncio.Queue[tuple[Token, str] | None] = asyncio.Queue()

    def put(item: tuple[Token, str] | None) -> None:
        # The loop may be gone when the server is being stopped.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(arrived.put_nowait, item)

    job = ticket.submit(prompt, lambda token, text: put((token, text)))
    job.future.add_done_callback(lambda _: put(None))
    return _events(job, arrived, asked)


async def _events(
    job: Job, arrived: asyncio.Queue[tuple[Token, str] | None], asked: ChatRequest
) -> AsyncIterator[str]:
    envelope = _envelope(asked)
    sent = ""
    waiting: list[Token] = []

    def text_event(text: str) -> str:
        shown = list(waiting) if asked.logprobs else None
        waiting.clear()
        return _event(responses.chunk({"content": text}, tokens=shown, **envelope))

    try:
        yield _event(responses.chunk({"role": "assistant", "content": ""}, **envelope))
        while (item := await arrived.get()) is not None:
            token, text = item
            waiting.append(token)
            if len(text) > len(sent):
                yield text_event(text[len(sent) :])
                sent = text
        answer = job.future.result()
        if len(answer.text) > len(sent) or waiting:
            yield text_event(answer.text[len(sent) :])
        options = None if answer.options is None else dict(answer.options)
        yield _event(responses.chunk({}, finish=answer.finish, options=options, **envelope))
        if asked.stream_options and asked.stream_options.include_usage:
            last = responses.chunk({}, **envelope)
            yield _event({**last, "choices": [], "usage": responses.usage(answer)})
        yield "data: [DONE]\n\n"
    except RequestError as error:
        yield _event(responses.error_body(error))
    finally:
        job.cancelled = True


def _envelope(asked: ChatRequest) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "model": asked.model,
        "created": int(time.time()),
    }


def _event(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"


async def _read(request: Request, limit: int) -> bytes:
    error = RequestError(
        f"The request body is longer than {limit} bytes; send smaller images.",
        code="body_too_large",
        status=413,
    )
    if int(request.headers.get("content-length") or 0) > limit:
        raise error
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limit:
            raise error
    return bytes(body)


def _has_key(request: Request, key: str) -> bool:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.encode(), key.encode())


def _documented(schema: type) -> dict[str, Any]:
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema.model_json_schema()}},  # type: ignore[attr-defined]
        }
    }
