"""Adds one module script and its styles to the pages of Label Studio in which tasks can be opened.

The script itself does nothing before a task is open. Label Studio changes from its list of projects to a task without
loading a page, so all pages of projects carry it; those for signing in or out, and whatever is no page, do not.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

from django.core.exceptions import MiddlewareNotUsed  # type: ignore[import-not-found]
from django.middleware.csrf import get_token  # type: ignore[import-not-found]
from django.urls import reverse  # type: ignore[import-not-found]

from plugin.setup import setup
from plugin.views import VERSION

__all__ = ["MAIN", "STYLES", "script_in_page"]

MAIN = "main.js"
STYLES = "card.css"
_END = b"</body>"


def script_in_page(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The middleware. MiddlewareNotUsed where the assistant has to stay away."""
    if setup() is None:
        raise MiddlewareNotUsed

    def middleware(request: Any) -> Any:
        response = get_response(request)
        if not _is_page(request, response):
            return response
        before, end, after = response.content.rpartition(_END)
        if end:
            response.content = before + (_styles() + _script(request)).encode() + end + after
            if response.has_header("Content-Length"):
                response["Content-Length"] = str(len(response.content))
        return response

    return middleware


def _is_page(request: Any, response: Any) -> bool:
    user = getattr(request, "user", None)
    return (
        request.method == "GET"
        and (request.path_info == "/" or request.path_info.startswith("/projects"))
        and response.status_code == 200
        and not response.streaming
        and response.get("Content-Type", "").startswith("text/html")
        and user is not None
        and user.is_authenticated
    )


def _styles() -> str:
    # Here rather than from the script: once the editor stands, new styles make the browser go over all of it.
    return f'<link rel="stylesheet" href="{escape(_address(STYLES))}">'


def _script(request: Any) -> str:
    attributes = {
        "type": "module",
        "id": "regiontext",
        "src": _address(MAIN),
        "data-csrf": get_token(request),
        "data-user": str(request.user.pk),
    }
    if nonce := str(getattr(request, "csp_nonce", "") or ""):
        attributes["nonce"] = nonce
    written = " ".join(f'{name}="{escape(value)}"' for name, value in attributes.items())
    return f"<script {written}></script>"


def _address(name: str) -> str:
    return str(reverse("regiontext-page", args=[VERSION, name]))
