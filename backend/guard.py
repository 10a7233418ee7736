"""What every request passes on its way in: it gets an id, shows basic auth where that is set, is counted and logged.

An answer that streams is counted until its end. Plain ASGI: Starlette's own base for middleware adds a task and two
queues to each request. Knows nothing of what the routes do.
"""

from __future__ import annotations

import logging
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.logs import REQUEST_ID_HEADER, request_context
from backend.metrics import Metrics
from backend.security import may_call
from backend.settings import Settings

__all__ = ["ROUTES", "Guard"]

_log = logging.getLogger(__name__)

# Asked every few seconds by whoever watches the process.
_QUIET = frozenset({"/health", "/ready", "/metrics"})

ROUTES = frozenset(
    {
        *("/health", "/setup", "/versions", "/predict", "/webhook", "/ready", "/metrics", "/jobs"),
        *("/assist", "/assist/drawn", "/assist/unseen", "/report"),
    }
)


class Guard:
    """The middleware. The app's state has the running backend, whose metrics count."""

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, headers = scope["path"], Headers(scope=scope)
        with request_context(headers.get(REQUEST_ID_HEADER)) as name:
            started = time.perf_counter()
            status, begun = 500, False

            async def named(message: Message) -> None:
                nonlocal status, begun
                if message["type"] == "http.response.start":
                    status, begun = message["status"], True
                    MutableHeaders(scope=message)[REQUEST_ID_HEADER] = name
                await send(message)

            if may_call(self._settings, path, headers):
                metrics: Metrics = scope["app"].state.backend.assistant.metrics
                with metrics.request(_route(path)) as answered:
                    try:
                        await self._app(scope, receive, named)
                    except Exception:
                        _log.exception("%s %s failed", scope["method"], path)
                        if begun:
                            # The answer is on its way: it breaks off, and who reads it notices.
                            status = 500
                            raise
                        await _failure(scope, receive, named)
                    finally:
                        answered(status)
            else:
                await _refusal(scope, receive, named)
            _log.log(
                logging.DEBUG if path in _QUIET else logging.INFO,
                "%s %s",
                scope["method"],
                path,
                extra={
                    "status": status,
                    "ms": round((time.perf_counter() - started) * 1000, 1),
                },
            )


_refusal = JSONResponse(
    {"detail": "basic auth is missing or wrong"},
    401,
    {"WWW-Authenticate": 'Basic realm="regiontext"'},
)


_failure = JSONResponse({"detail": "internal error; see the log of regiontext"}, 500)


def _route(path: str) -> str:
    """The path if it is a route, else one name for all others: whoever calls must not invent time series."""
    for whole in ("/jobs", "/report"):
        if path.startswith(f"{whole}/"):
            return whole
    return path if path in ROUTES else "other"
