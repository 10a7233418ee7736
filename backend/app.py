"""Puts the backend together: settings in, a FastAPI app out. Opens and closes what lives as long as the process."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from backend.assistant import Assistant
from backend.errors import BackendError
from backend.events import EventProcessor, EventWorker
from backend.images import Images
from backend.jobs.collect import process_event
from backend.ledger import Ledger
from backend.logs import request_context, set_up_logging
from backend.metrics import Metrics, store_collector
from backend.model_client import ModelClient
from backend.operations import router as operations
from backend.protocol import Backend, router
from backend.security import may_call
from backend.serving import refresh
from backend.settings import Settings
from backend.store import open_store

__all__ = ["create_app", "serve"]

_log = logging.getLogger(__name__)

_REFRESH_S = 30.0
_DRAIN_S = 20
# Asked every few seconds by whoever watches the process.
_QUIET = frozenset({"/health", "/ready", "/metrics"})


ROUTES = frozenset({"/health", "/setup", "/versions", "/predict", "/webhook", "/ready", "/metrics"})


def create_app(
    settings: Settings | None = None,
    *,
    model_transport: httpx.AsyncBaseTransport | None = None,
    image_transport: httpx.AsyncBaseTransport | None = None,
    processor: EventProcessor | None = None,
) -> FastAPI:
    """The ML backend that Label Studio connects to.

    settings: read from the environment if not given. model_transport, image_transport: stand in for the network.
    processor: what webhooks are handed to; the collect job's if not given.
    """
    chosen = settings or Settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            store = await asyncio.to_thread(open_store, chosen.database_url)
            stack.callback(store.close)
            key = chosen.model_api_key
            model = await stack.enter_async_context(
                ModelClient(
                    chosen.model_url,
                    key.get_secret_value() if key else None,
                    transport=model_transport,
                )
            )
            metrics = Metrics()
            metrics.watch(store_collector(store))
            images = await stack.enter_async_context(
                Images(
                    chosen,
                    transport=image_transport,
                    looked_up=lambda hit: metrics.cached("bytes", hit=hit),
                )
            )
            assistant = Assistant(chosen, store, images, model, metrics)
            events = EventWorker(chosen, store, processor or process_event)
            events.start()
            stack.push_async_callback(events.stop)
            watching = asyncio.create_task(_watch_model(assistant))
            stack.push_async_callback(_cancelled, watching)
            app.state.backend = Backend(chosen, store, assistant, Ledger(chosen.pending_s), events)
            yield

    app = FastAPI(title="regiontext", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.include_router(router)
    app.include_router(operations)
    app.middleware("http")(_guard(chosen))
    return app


def serve(settings: Settings | None = None) -> None:
    """Run the backend in this process until it is stopped."""
    import uvicorn

    chosen = settings or Settings()
    set_up_logging(chosen.log_level)
    uvicorn.run(
        create_app(chosen),
        host=chosen.host,
        port=chosen.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_DRAIN_S,
    )


def _guard(
    settings: Settings,
) -> Callable[[Request, Callable[[Request], Awaitable[Response]]], Awaitable[Response]]:
    """Gives each request an id, asks for basic auth where it is set, and logs what was answered in what time."""

    async def guard(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        with request_context(request.headers.get("X-Request-Id")) as name:
            started = time.perf_counter()
            path = request.url.path
            response: Response
            if may_call(settings, path, request.headers):
                with request.app.state.backend.assistant.metrics.request(_route(path)) as answered:
                    response = await call_next(request)
                    answered(response.status_code)
            else:
                response = JSONResponse(
                    {"detail": "basic auth is missing or wrong"},
                    401,
                    {"WWW-Authenticate": 'Basic realm="regiontext"'},
                )
            response.headers["X-Request-Id"] = name
            _log.log(
                logging.DEBUG if path in _QUIET else logging.INFO,
                "%s %s",
                request.method,
                path,
                extra={
                    "status": response.status_code,
                    "ms": round((time.perf_counter() - started) * 1000, 1),
                },
            )
            return response

    return guard


def _route(path: str) -> str:
    """The path if it is a route, else one name for all others: whoever calls must not invent time series."""
    return path if path in ROUTES else "other"


async def _watch_model(assistant: Assistant) -> None:
    """Keep in the store what the model server announces, so that routes need not ask it."""
    away = False
    while True:
        try:
            await refresh(assistant.settings, assistant.store, assistant.model)
            away = False
        except BackendError as error:
            if not away:
                _log.warning("no model to ask: %s", error)
            away = True
        except Exception:
            _log.exception("watching the model server failed; it goes on")
        await asyncio.sleep(_REFRESH_S)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
