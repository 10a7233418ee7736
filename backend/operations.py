"""The routes for whoever runs the backend: /ready for the one who routes to it, /metrics for Prometheus.

Label Studio calls neither. /ready needs no key and tells only names; /metrics needs the basic auth where it is set.
"""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from backend.metrics import CONTENT_TYPE
from backend.protocol import Backend
from backend.serving import served

__all__ = ["router"]

router = APIRouter()


@router.get("/ready")
async def ready(request: Request) -> JSONResponse:
    """Whether a call could be answered now: 200, or 503 with what is missing (the database, a model)."""
    backend: Backend = request.app.state.backend

    def missing() -> list[str]:
        try:
            with backend.store.read() as session:
                session.execute(text("SELECT 1"))
            model = served(backend.settings, backend.store)
        except SQLAlchemyError:
            return ["database"]
        return [] if model is not None and backend.assistant.model.is_up else ["model"]

    lacking = await asyncio.to_thread(missing)
    return JSONResponse({"ready": not lacking, "missing": lacking}, 503 if lacking else 200)


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Everything that is counted, in Prometheus' text format."""
    backend: Backend = request.app.state.backend
    return Response(
        await asyncio.to_thread(backend.assistant.metrics.text),
        headers={"Content-Type": CONTENT_TYPE},
    )
