"""Puts the backend together: settings in, a FastAPI app out. What lives as long as the process is `running`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI

from backend.assist import router as assist
from backend.events import EventProcessor
from backend.guard import Guard
from backend.jobs.durable import Jobs
from backend.jobs_api import router as jobs_api
from backend.logs import set_up_logging
from backend.operations import router as operations
from backend.protocol import router
from backend.report.routes import router as report
from backend.running import running_backend
from backend.settings import Settings

__all__ = ["create_app", "serve"]

_DRAIN_S = 20


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
    app.add_middleware(Guard, settings=chosen)
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
