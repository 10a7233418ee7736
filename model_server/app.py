"""The HTTP side: OpenAI's chat completions, vLLM's adapter endpoints, health and readiness.

Bodies are read and images decoded off the event loop, so `/health` answers whatever the model is
doing. Knows nothing of torch.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from model_server.batches import Job
from model_server.engine import Engine
from model_server.errors import RequestError, brief
from model_server.folder import ModelFolder
from model_server.jobs import Answer, Picture, Prompt
from model_server.metrics import CONTENT_TYPE, Metrics
from model_server.protocol import responses
from model_server.protocol.fetch import Fetcher
from model_server.protocol.messages import ImageLimits, ImagePart, picture, read_messages
from model_server.protocol.schemas import (
    ChatRequest,
    LoadAdapterRequest,
    UnloadAdapterRequest,
    parse_body,
)
from model_server.replicas import Replicas, RoutedTicket
from model_server.segmenter_routes import Segmenting, segment_router
from model_server.streaming import Events
from model_server.tickets import Ticket

__all__ = ["create_app"]

log = logging.getLogger("model_server")

_CLOSED_BY_CLIENT = 499
# A request body may take so many times the longest pause.
_STALLS = 10


def create_app(
    engine: Engine | Replicas,
    folder: ModelFolder,
    *,
    api_key: str | None = None,
    admin_key: str | None = None,
    limits: ImageLimits | None = None,
    fetcher: Fetcher | None = None,
    max_body_bytes: int = 64_000_000,
    stall_s: float = 30.0,
    segmenting: Segmenting | None = None,
) -> FastAPI:
    """The model server as an ASGI app. The engine starts and stops with it, and the fetcher stops with it.

    Args:
        api_key: when given, every /v1 route asks for it as a bearer token.
        admin_key: when given, loading and unloading adapters asks for this key instead.
        limits: bounds on the images of one request.
        fetcher: fetches images given by address; by default none are.
        max_body_bytes: longest request body that is read.
        stall_s: longest pause within a request body, which may take ten times as long in all.
        segmenting: answers POST /v1/segment; without one it is 404.
    """
    limits = limits or ImageLimits()
    addresses = fetcher or Fetcher()
    started = int(time.time())
    metrics = Metrics(waiting=engine.waiting, counts=engine.counts)
    engine.on_batch = metrics.batch
    pool = ThreadPoolExecutor(4, thread_name_prefix="prepare")
    body = partial(_read, limit=max_body_bytes, stall_s=stall_s)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine.start()
        yield
        await run_in_threadpool(engine.stop)
        pool.shutdown(wait=False)
        await addresses.close()
        if segmenting:
            segmenting.close()

    app = FastAPI(title="regiontext model server", lifespan=lifespan)

    app.add_middleware(_Counted, metrics=metrics)

    @app.exception_handler(RequestError)
    async def told(request: Request, error: RequestError) -> Response:
        headers = {"Retry-After": "1"} if error.status in (429, 503) else None
        return JSONResponse(responses.error_body(error), error.status, headers=headers)

    @app.exception_handler(HTTPException)
    async def no_route(request: Request, error: HTTPException) -> Response:
        message = f"{request.method} {request.url.path}: {error.detail}."
        return await told(request, RequestError(message, status=error.status_code))

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=_CLOSED_BY_CLIENT)

    def check(request: Request, key: str | None, name: str) -> None:
        if key and not _has_key(request, key):
            raise RequestError(
                f"The {name} key is missing or wrong; send it as 'Authorization: Bearer KEY'.",
                code="invalid_api_key",
                status=401,
            )

    async def check_key(request: Request) -> None:
        if not (admin_key and _has_key(request, admin_key)):
            check(request, api_key, "API")

    async def check_admin(request: Request) -> None:
        check(request, admin_key or api_key, "admin" if admin_key else "API")

    v1 = APIRouter(prefix="/v1", dependencies=[Depends(check_key)])
    admin = APIRouter(prefix="/v1", dependencies=[Depends(check_admin)])

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

    @app.get("/metrics")
    async def measured() -> Response:
        """Prometheus metrics."""
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    @v1.get("/models")
    async def models() -> dict[str, Any]:
        """The base model and the loaded adapters, with how they take a region."""
        bounds = {
            "max_tokens": engine.limit,
            "max_images": limits.max_images,
            "max_image_bytes": limits.max_bytes,
            "max_image_pixels": limits.max_pixels,
        }
        shared: dict[str, Any] = {"created": started, "limits": bounds}
        base = responses.model_entry(
            folder, id=engine.base, root=folder.source, parent=None, **shared
        )
        adapters = [
            responses.model_entry(
                folder,
                id=name,
                root=str(path),
                parent=engine.base,
                lineage=engine.lineage(name),
                **shared,
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
            f"The model {brief(model)} is not served here.", code="model_not_found", status=404
        )

    @v1.post("/chat/completions", openapi_extra=_documented(ChatRequest))
    async def chat(request: Request) -> Response:
        """Answer one question about one or more images."""
        ticket = engine.arrive()
        loop, begun = asyncio.get_running_loop(), time.monotonic()
        try:
            asked = parse_body(ChatRequest, await body(request))
            ticket.choose(asked.model)
            envelope = _envelope(asked)
            events = (
                Events(asked, envelope, metrics.answered, engine.give_up) if asked.stream else None
            )
            read = time.monotonic()
            turns, parts = read_messages(asked.messages, limits=limits)
            fetched = await _fetched(parts, addresses, ticket)

            def submit() -> list[Job]:
                images = [
                    picture(part, limits=limits, data=fetched.get(part.param)) for part in parts
                ]
                prompts = _prompts(asked, turns, images)
                return ticket.submit(*prompts, on_token=events.token if events else None)

            jobs = await loop.run_in_executor(pool, submit)
        except BaseException:
            ticket.close()
            raise
        metrics.stage("receive", read - begun)
        metrics.stage("prepare", time.monotonic() - read)
        if events:
            events.watch(jobs)
            return StreamingResponse(events.told(jobs), media_type="text/event-stream")
        answers = await _answers(request, jobs, engine)
        if answers is None:
            return Response(status_code=_CLOSED_BY_CLIENT)
        metrics.answered(answers)
        return JSONResponse(
            responses.completion(answers, logprobs=bool(asked.logprobs), **envelope)
        )

    @admin.post("/load_lora_adapter", openapi_extra=_documented(LoadAdapterRequest))
    async def load_adapter(request: Request) -> Response:
        """Serve a LoRA adapter folder under a name of its own."""
        asked = parse_body(LoadAdapterRequest, await body(request))
        await asyncio.wrap_future(engine.load_adapter(asked.lora_name, Path(asked.lora_path)))
        return PlainTextResponse(f"Success: LoRA adapter '{asked.lora_name}' added successfully.")

    @admin.post("/unload_lora_adapter", openapi_extra=_documented(UnloadAdapterRequest))
    async def unload_adapter(request: Request) -> Response:
        """Stop serving a LoRA adapter, once the requests in flight are answered."""
        asked = parse_body(UnloadAdapterRequest, await body(request))
        await asyncio.wrap_future(engine.unload_adapter(asked.lora_name))
        return PlainTextResponse(f"Success: LoRA adapter '{asked.lora_name}' removed successfully.")

    app.include_router(v1)
    app.include_router(admin)
    app.include_router(segment_router(segmenting, body, limits, Depends(check_key)))
    return app


class _Counted:
    """Counts requests by route and status and gives back a request's own id, without touching body or stream.

    What nobody has foreseen is logged and told in OpenAI's shape here, so that it is counted, too.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        begun = False

        async def counted(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                if name := Headers(scope=scope).get("X-Request-Id"):
                    MutableHeaders(scope=message)["X-Request-Id"] = name
                route = getattr(scope.get("route"), "path", "other")
                self._metrics.request(route, message["status"])
            await send(message)

        try:
            await self._app(scope, receive, counted)
        except Exception:
            if begun:
                raise
            log.exception("%s %s failed", scope["method"], scope["path"])
            error = RequestError(
                "The server failed on this request; its log says why.",
                code="internal_error",
                status=500,
            )
            await JSONResponse(responses.error_body(error), 500)(scope, receive, counted)


async def _fetched(
    parts: Sequence[ImagePart], fetcher: Fetcher, ticket: Ticket | RoutedTicket
) -> dict[str, bytes]:
    """What the images that are addresses hold, by field; raises RequestError for the first that cannot be had."""
    addresses = [part for part in parts if part.is_address]
    if not addresses:
        return {}
    tasks = [asyncio.ensure_future(fetcher.fetch(one.url, param=one.param)) for one in addresses]
    with ticket.aside():
        try:
            found = await asyncio.gather(*tasks)
            return {part.param: data for part, data in zip(addresses, found, strict=True)}
        finally:
            for task in tasks:
                task.cancel()


def _prompts(
    asked: ChatRequest, turns: list[dict[str, Any]], images: list[Picture]
) -> list[Prompt]:
    samplings, options = asked.samplings(), asked.options()
    return [Prompt(turns, images, options=options, sampling=sampling) for sampling in samplings]


async def _answers(
    request: Request, jobs: list[Job], engine: Engine | Replicas
) -> list[Answer] | None:
    """The answers, or None when the client has gone; the jobs are then given up."""
    answered = asyncio.gather(*(asyncio.wrap_future(job.future) for job in jobs))
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({answered, gone}, return_when=asyncio.FIRST_COMPLETED)
        return await answered if answered.done() else None
    finally:
        gone.cancel()
        if not answered.done():
            # Nobody asks for the outcome of what is being answered already.
            answered.add_done_callback(lambda done: done.cancelled() or done.exception())
            engine.give_up(jobs)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _envelope(asked: ChatRequest) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "model": asked.model,
        "created": int(time.time()),
    }


async def _read(request: Request, limit: int, stall_s: float) -> bytes:
    error = RequestError(
        f"The request body is longer than {limit} bytes; send smaller images.",
        code="body_too_large",
        status=413,
    )
    if int(request.headers.get("content-length") or 0) > limit:
        raise error
    body = bytearray()
    clock = asyncio.get_running_loop().time
    last = clock() + _STALLS * stall_s
    try:
        async with asyncio.timeout(stall_s) as deadline:
            async for part in request.stream():
                deadline.reschedule(min(clock() + stall_s, last))
                body += part
                if len(body) > limit:
                    raise error
    except TimeoutError:
        # Whoever stalls would keep a place in the queue from others.
        raise RequestError(
            f"The rest of the request body did not come: there was a pause of {stall_s:g} s, or it took longer than "
            f"{_STALLS * stall_s:g} s in all. Send it again.",
            code="body_stalled",
            status=408,
        ) from None
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
