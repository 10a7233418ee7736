"""Keeps the embedded Label Studio from calling the outside world: a Django middleware, loaded
only there.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = ["OUTSIDE_PATHS", "no_outside_calls"]

# Pages for which Label Studio itself fetches something from the internet: the tips beside the project list.
OUTSIDE_PATHS = frozenset({"/heidi-tips", "/heidi-tips/"})


def no_outside_calls(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Answer the paths that would be fetched from outside with 404, as Label Studio does when it
    is offline.
    """
    # Django is there only with Label Studio, and untyped.
    answer = import_module("django.http").JsonResponse

    def middleware(request: Any) -> Any:
        if request.path in OUTSIDE_PATHS:
            return answer({"detail": "offline"}, status=404)
        return get_response(request)

    return middleware
