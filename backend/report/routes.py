"""The routes of the report: /report is the page, /report/seen/ID.png what the model saw.

Behind the basic auth where it is set. Where none is set, only this machine may read: the page quotes people's texts.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response

from backend.errors import BackendError
from backend.protocol import Backend
from backend.report.figures import Example, figures
from backend.report.page import page
from backend.report.seen import draw_again, kept
from backend.settings import Settings

__all__ = ["router"]

_log = logging.getLogger(__name__)

_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
_HEADERS = {
    # Nothing on the page comes from elsewhere, and nothing on it runs.
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}

router = APIRouter(prefix="/report")


@router.get("")
async def report(request: Request) -> Response:
    """The page, as things stand now. Pictures that were never drawn are drawn behind it, for the next look."""
    backend: Backend = request.app.state.backend
    settings = backend.settings
    if (refused := _refused(request, settings)) is not None:
        return refused
    found = await asyncio.to_thread(figures, settings, backend.store)
    missing = [e.suggestion for e in found.examples if kept(settings, e.suggestion) is None]
    if missing and settings.label_studio_api_key is not None:
        _draw_behind(request, backend, missing)

    def src(one: Example) -> str | None:
        return f"report/seen/{one.suggestion}.png" if kept(settings, one.suggestion) else None

    html = await asyncio.to_thread(page, found, await _jobs(request), src)
    return HTMLResponse(html, headers=_HEADERS)


@router.get("/seen/{name}.png")
async def seen(request: Request, name: str) -> Response:
    """What the model was shown for a suggestion; 404 if it was never drawn again."""
    settings = request.app.state.backend.settings
    if (refused := _refused(request, settings)) is not None:
        return refused
    found = kept(settings, name) if _ID.fullmatch(name) else None
    if found is None:
        return JSONResponse({"detail": "there is no such picture"}, 404)
    return FileResponse(found.path, media_type="image/png", headers=_HEADERS)


def _refused(request: Request, settings: Settings) -> Response | None:
    """Why the page is not shown; None if it may be (the basic auth itself is asked for before any route)."""
    caller = request.client.host if request.client else ""
    # By its name too: a page of another site may have its own name point here, and a proxy calls from here.
    if settings.basic_auth_user or (_is_here(caller) and _is_here(request.url.hostname or "")):
        return None
    return JSONResponse(
        {
            "detail": "the report quotes people's texts: set REGIONTEXT_BASIC_AUTH_USER and "
            "REGIONTEXT_BASIC_AUTH_PASSWORD to read it from another machine, or write it with regiontext report"
        },
        403,
    )


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _jobs(request: Request) -> list[Mapping[str, Any]]:
    try:
        return [job.to_dict() for job in await request.app.state.jobs.listing()]
    except BackendError as error:
        _log.warning("the report lists no jobs: %s", error)
        return []


def _draw_behind(request: Request, backend: Backend, missing: list[str]) -> None:
    """Draw in a task of its own, one at a time for the whole process."""
    state = request.app.state
    running: asyncio.Task[Any] | None = getattr(state, "drawing", None)
    if running is None or running.done():
        work = draw_again(backend.settings, backend.store, missing)
        state.drawing = asyncio.create_task(work)
        state.drawing.add_done_callback(_told)


def _told(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("drawing for the report failed", exc_info=error)
