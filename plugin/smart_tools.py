"""Label Studio's own road from a smart tool to the backend, with who draws added.

Stock Label Studio does not tell the backend whose page a smart tool's region is on: before an annotator's first draft
is saved, the backend cannot tell two who begin a task at the same time from each other, and has to let each see what
the other draws. Here the user is known.
"""

from __future__ import annotations

from typing import Any

from ml.api import MLBackendInteractiveAnnotating  # type: ignore[import-not-found]

from plugin.setup import setup

__all__ = ["PAGE", "Annotating"]

PAGE = "regiontext_page"
"""Key in the context of such a call; the backend's `protocol.PAGE`."""


class Annotating(MLBackendInteractiveAnnotating):  # type: ignore[misc]
    """Label Studio's view; a class because its views are."""

    def post(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """As Label Studio answers; whoever asks may not say that they are somebody else."""
        context = request.data.get("context") if isinstance(request.data, dict) else None
        if setup() is not None and isinstance(context, dict):
            context[PAGE] = f"user {request.user.pk}"
        return super().post(request, *args, **kwargs)
