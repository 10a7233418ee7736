"""The routes Label Studio calls: /health, /setup, /predict, /webhook, /versions.

Reads requests and writes answers in Label Studio's words; each route hands over to the module that knows. /health,
/setup, /versions and /webhook answer from the store at once and touch no model.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy import select

from backend.assistant import Assistant
from backend.batch import predict_batch
from backend.errors import BackendError, OtherLabelStudio
from backend.events import EventWorker, keep_event
from backend.interactive import Interactive, config_of, interact
from backend.ledger import Ledger
from backend.outgoing import entry_of, regional
from backend.security import may_send_webhook
from backend.serving import served, unknown_yet
from backend.settings import Settings
from backend.store import ModelVersionRow, Store
from regiontext.errors import ConfigError
from regiontext.labelstudio.decode import is_shape

__all__ = ["PAGE", "Backend", "router"]

_log = logging.getLogger(__name__)

router = APIRouter()

PAGE = "regiontext_page"
"""Key in the context of an interactive call: a text of this annotator's page alone. Label Studio passes it on."""


@dataclass(frozen=True, eq=False)
class Backend:
    """What the routes work with; in `app.state.backend` while the app runs."""

    settings: Settings
    store: Store
    assistant: Assistant
    ledger: Ledger
    events: EventWorker


@router.api_route("/health", methods=["GET", "HEAD"])
async def health() -> dict[str, str]:
    """This process is alive. Says nothing of the model: Label Studio waits one second."""
    return {"status": "UP", "model_class": "regiontext"}


@router.post("/setup")
async def setup(request: Request) -> dict[str, str]:
    """The model version for a project's labeling config; Label Studio renews predictions of another one.

    The address and token that come along are not used: the token is dead on a default installation, and ours is set.
    """
    backend, body = _backend(request), await _body(request)
    try:
        await backend.assistant.origins.project(body.get("project"))
    except OtherLabelStudio as error:
        _log.error("connected, but refused: %s", error)
    except BackendError as error:
        _log.warning("set up without a project: %s", error)
    model = await asyncio.to_thread(served, backend.settings, backend.store)
    model = model or unknown_yet(backend.settings)
    try:
        return {"model_version": model.version(config_of(str(body.get("schema", ""))))}
    except ConfigError as error:
        _log.warning("set up without questions: %s", error, extra={"project": body.get("project")})
        return {"model_version": model.model}


@router.get("/versions")
async def versions(request: Request) -> dict[str, Any]:
    """The models that were ever promoted, the one that answers now first."""
    backend = _backend(request)

    def read() -> list[str]:
        model = served(backend.settings, backend.store) or unknown_yet(backend.settings)
        with backend.store.read() as session:
            known = select(ModelVersionRow.name).where(ModelVersionRow.promoted_at.is_not(None))
            return list(dict.fromkeys([model.model, *session.scalars(known)]))

    return {"versions": await asyncio.to_thread(read)}


@router.post("/predict")
async def predict(request: Request) -> Response:
    """Batch predictions, or with `params.context` what an annotator at the screen is waiting for."""
    backend, body = _backend(request), await _body(request)
    tasks = [t for t in _list(body.get("tasks")) if isinstance(t, Mapping)]
    params = body.get("params")
    context = params.get("context") if isinstance(params, Mapping) else None
    project, config = body.get("project"), str(body.get("label_config") or "")
    if context is None:
        entries = await predict_batch(
            backend.assistant,
            tasks=tasks,
            project=project,
            label_config=config,
            hand_over=getattr(request.app.state, "hand_over", None),
        )
        return _json({"results": entries})
    sent = context.get("result") if isinstance(context, Mapping) else None
    results = [dict(item) for item in _list(sent) if isinstance(item, Mapping)]
    page = context.get(PAGE) if isinstance(context, Mapping) else None
    call = Interactive(
        tasks[0] if tasks else {},
        str(project),
        config,
        tuple(results),
        page=page if isinstance(page, str) and 0 < len(page) <= 128 else None,
    )
    try:
        answer = await interact(backend.assistant, backend.ledger, call)
    except Exception:
        # An HTTP error, or an answer without them, would delete the annotator's regions.
        _log.exception("an interactive call failed")
        answer = regional(results)
    _log.info(
        "answered",
        extra={
            "task": call.task.get("id"),
            "shapes": sum(is_shape(item) for item in answer),
            "results": len(answer),
        },
    )
    return _json({"results": [entry_of(answer)]})


@router.post("/webhook")
async def webhook(request: Request) -> JSONResponse:
    """Keep an event and say so; it is worked off in the background."""
    backend = _backend(request)
    if not may_send_webhook(backend.settings, request.headers):
        _log.warning("a webhook without the secret was refused")
        return JSONResponse({"detail": "the webhook's secret is missing or wrong"}, 401)
    body = await _body(request)
    if not isinstance(body.get("action"), str):
        return JSONResponse({"detail": "a webhook needs an action"}, 400)
    number = await asyncio.to_thread(keep_event, backend.store, body)
    backend.events.wake()
    return JSONResponse({"status": "kept", "event": number})


def _backend(request: Request) -> Backend:
    backend: Backend = request.app.state.backend
    return backend


async def _body(request: Request) -> dict[str, Any]:
    """The request's JSON object; empty when it is none."""
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _json(body: Mapping[str, Any]) -> Response:
    """An answer that can always be written.

    Regions are echoed as they came, and what came may hold numbers that JSON lacks (they become null, as in the page's
    own JSON) or half of a surrogate pair (escaped, as it came). Failing here would delete the annotator's regions.
    """
    try:
        text = json.dumps(body, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(body), allow_nan=False)
    return Response(text, media_type="application/json")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
