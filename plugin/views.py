"""What the page can ask for: its own files, and what the backend says about a region of a task the user may see.

Only a signed-in user with the page's CSRF token gets through; the task and its project are read here, never taken from
the page, and who asks is added. Knows nothing of what is asked.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from core.permissions import all_permissions  # type: ignore[import-not-found]
from django.http import (  # type: ignore[import-not-found]
    Http404,
    HttpResponse,
    JsonResponse,
    StreamingHttpResponse,
)
from django.views.decorators.http import require_GET, require_POST  # type: ignore[import-not-found]

from plugin.road import lines_from, post_to
from plugin.setup import Setup, setup

__all__ = ["FILES", "VERSION", "assist", "note", "page_file"]

_PAGE = Path(__file__).parent / "page"
_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
FILES = {file.name: file for file in sorted(_PAGE.iterdir()) if file.suffix in _TYPES}
"""The files of the page by name."""

VERSION = hashlib.sha256(b"".join(file.read_bytes() for file in FILES.values())).hexdigest()[:12]
"""Changes with any of them, so that they can be kept for ever."""

_TAKEN = ("region", "results", "fields", "wish", "relations")
_NOTES = ("unseen", "drawn")
_FOR_EVER = "public, max-age=31536000, immutable"


@require_GET
def page_file(request: Any, version: str, name: str) -> Any:
    """One file of the page."""
    found = _read(name)
    if found is None:
        raise Http404
    response = HttpResponse(found, content_type=_TYPES[FILES[name].suffix])
    response["Cache-Control"] = _FOR_EVER if version == VERSION else "no-cache"
    response["X-Content-Type-Options"] = "nosniff"
    return response


@require_POST
def assist(request: Any) -> Any:
    """What the backend says about a region, line by line as it comes."""
    here, task, body, refusal = _asked(request)
    if refusal is not None:
        return refusal
    project = task.project
    passed = {name: body[name] for name in _TAKEN if name in body}
    passed |= {
        "project": f"{project.id}.{int(project.created_at.timestamp())}",
        "task": {"id": task.id, "data": task.data},
        "label_config": project.label_config,
        "user": {"id": request.user.pk},
    }
    response = StreamingHttpResponse(lines_from(here, passed), content_type="application/x-ndjson")
    response["Cache-Control"] = "no-store"
    # A proxy that collects the answer would make a stream of words one lump.
    response["X-Accel-Buffering"] = "no"
    return response


@require_POST
def note(request: Any, what: str) -> Any:
    """Suggestions that came when the annotator had typed, or was gone; relations that became arrows."""
    if what not in _NOTES:
        raise Http404
    here, task, body, refusal = _asked(request)
    if refusal is not None:
        return refusal
    ids = body.get("ids")
    passed = {"task": task.id, "ids": ids if isinstance(ids, list) else []}
    return HttpResponse(status=204 if post_to(here, f"/assist/{what}", passed) == 200 else 502)


# Label Studio asks no view for the page's token unless the view says so.
assist._dont_enforce_csrf_checks = False
note._dont_enforce_csrf_checks = False


def _asked(request: Any) -> tuple[Setup, Any, dict[str, Any], Any]:
    """The set-up, the task and the body of a request; or the answer that refuses it."""
    nothing: tuple[Any, Any, dict[str, Any]] = (None, None, {})
    if not request.user.is_authenticated:
        return *nothing, JsonResponse({"detail": "sign in first"}, status=401)
    here = setup()
    if here is None:
        return *nothing, JsonResponse({"detail": "the assistant is off"}, status=404)
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict) or not isinstance(body.get("task"), int):
        detail = "the body must be a JSON object with a task"
        return *nothing, JsonResponse({"detail": detail}, status=400)
    task = _task(body["task"])
    # The same answer for a task that is not there and one that is not theirs.
    if task is None or not _may_see(request.user, task):
        return *nothing, JsonResponse({"detail": "there is no such task"}, status=404)
    return here, task, body, None


def _task(number: int) -> Any:
    from tasks.models import Task  # type: ignore[import-not-found]

    return Task.objects.filter(pk=number).select_related("project").first()


def _may_see(user: Any, task: Any) -> bool:
    return bool(user.has_perm(all_permissions.tasks_view, task) and task.has_permission(user))


@cache
def _read(name: str) -> bytes | None:
    file = FILES.get(name)
    return file.read_bytes() if file is not None else None
