"""Puts the backend together: settings in, a FastAPI app out. What lives as long as the process is `running`."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from backend.assist import router as assist
from backend.events import EventProcessor
from backend.jobs.durable import Jobs
from backend.jobs_api import router as jobs_api
from backend.logs import request_context, set_up_logging
from backend.operations import router as operations
from backend.protocol import router
from backend.report.routes import router as report
from backend.running import running_backend
from backend.security import may_call
from backend.settings import Settings

__all__ = ["create_app", "serve"]

_log = logging.getLogger(__name__)

_DRAIN_S = 20
# Asked every few seconds by whoever watches the process.
_QUIET = frozenset({"/health", "/ready", "/metrics"})


ROUTES = frozenset(
    {
        *("/health", "/setup", "/versions", "/predict", "/webhook", "/ready", "/metrics", "/jobs"),
        *("/assist", "/assist/drawn", "/assist/unseen", "/report"),
    }
)


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
        async with running_backend(
            chosen,
            model_transport=model_transport,
            image_transport=image_transport,
            processor=processor,
        ) as backend:
            app.state.backend = backend
            app.state.jobs = jobs = Jobs(chosen, backend.store)
            # A job reads and stores through Label Studio's API.
            app.state.hand_over = jobs.hand_over if chosen.label_studio_api_key else None
            await jobs.recover()
            try:
                yield
            finally:
                await jobs.close()

    app = FastAPI(title="regiontext", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.include_router(router)
    app.include_router(operations)
    app.include_router(jobs_api)
    app.include_router(assist)
    app.include_router(report)
    app.middleware("http")(_guard(chosen))
    return app


def serve(settings: Settings | None = None) -> None:
    """Run the backend in this process until it is stopped."""
    import uvicorn

    chosen = settings or Settings()
    set_up_logging(chosen.log_level, chosen.secrets)
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
    for whole in ("/jobs", "/report"):
        if path.startswith(f"{whole}/"):
            return whole
    return path if path in ROUTES else "other"
