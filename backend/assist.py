"""The routes of the assistant inside Label Studio: what the plugin asks for a page, answered event by event.

Each line of an answer is one JSON object (see `assist_stream.events`). The plugin has checked who asks and what they
may see, and says so with a shared secret; nothing here is for a browser. Knows nothing of the page.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from sqlalchemy import delete

from backend.assist_relations import note_arrows
from backend.assist_stream import Asked, events, read_asked
from backend.assistant import Assistant
from backend.errors import BackendError, ModelUnavailable, UnknownModel
from backend.protocol import Backend
from backend.security import may_assist
from backend.store import Store, SuggestionRow
from regiontext.errors import RegiontextError

__all__ = ["router"]

_log = logging.getLogger(__name__)

_MEDIA = "application/x-ndjson"
_MAX_IDS = 100

router = APIRouter()


@router.post("/assist")
async def assist(request: Request) -> Response:
    """Answer for one region of a page: text while it is said, then suggestions; one JSON object a line."""
    backend: Backend = request.app.state.backend
    if not may_assist(backend.settings, request.headers):
        return _refused()
    try:
        asked = read_asked(await _body(request))
        await backend.assistant.origins.project(asked.uid)
    except (BackendError, RegiontextError, ValueError) as error:
        return JSONResponse({"detail": " ".join(str(error).split())}, 400)
    return StreamingResponse(
        _lines(backend.assistant, asked), media_type=_MEDIA, headers={"Cache-Control": "no-store"}
    )


@router.post("/assist/unseen")
async def unseen(request: Request) -> Response:
    """Forget suggestions that never came to be seen: the annotator typed, or was gone, before they were there."""
    return await _told(request, "forgotten", _forget)


@router.post("/assist/drawn")
async def drawn(request: Request) -> Response:
    """Keep which of the relations that were told of the annotator added as arrows."""
    return await _told(
        request, "kept", lambda store, task, ids: note_arrows(store, task, ids, "drawn")
    )


async def _lines(assistant: Assistant, asked: Asked) -> AsyncIterator[bytes]:
    """The events as lines; what goes wrong is the last of them."""
    try:
        async with aclosing(events(assistant, asked)) as stream:
            async for event in stream:
                yield _line(event)
    except (BackendError, RegiontextError) as error:
        _log.warning("nothing for the page: %s", error, extra={"task": asked.task})
        # Asking later helps only if it is the model that is not there.
        away = isinstance(error, (ModelUnavailable, UnknownModel))
        why = " ".join(str(error).split())
        yield _line({"event": "away" if away else "refused", "reason": why})
    except Exception as error:
        _log.exception("answering the page failed", extra={"task": asked.task})
        yield _line({"event": "refused", "reason": f"internal error ({type(error).__name__})"})


async def _told(
    request: Request, done: str, work: Callable[[Store, int, list[str]], int]
) -> Response:
    """Do something with the suggestions that a page tells of; how many were there is the answer."""
    backend: Backend = request.app.state.backend
    if not may_assist(backend.settings, request.headers):
        return _refused()
    body = await _body(request)
    ids, task = body.get("ids"), body.get("task")
    if not isinstance(ids, list) or not isinstance(task, int):
        return JSONResponse({"detail": "`ids` must be a list and `task` a number"}, 400)
    names = [str(id) for id in ids[:_MAX_IDS]]
    return JSONResponse({done: await asyncio.to_thread(work, backend.store, task, names)})


def _forget(store: Store, task: int, ids: list[str]) -> int:
    found = (
        SuggestionRow.id.in_(ids), SuggestionRow.task == task, SuggestionRow.path == "interactive"
    )  # fmt: skip
    with store.begin() as session:
        return int(session.execute(delete(SuggestionRow).where(*found)).rowcount)  # type: ignore[attr-defined]


def _line(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event, allow_nan=False).encode() + b"\n"


def _refused() -> Response:
    return JSONResponse(
        {
            "detail": "the assistant's secret is missing or wrong: set REGIONTEXT_ASSIST_SECRET to the same value "
            "here and in Label Studio"
        },
        401,
    )


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}
