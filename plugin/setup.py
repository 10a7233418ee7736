"""What the environment says about the assistant, and whether this Label Studio is one it was tested with.

Knows no Django; everything is read once.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
from dataclasses import dataclass, field
from functools import cache

__all__ = ["TESTED", "Setup", "setup"]

TESTED = "1.23."
"""How the versions of Label Studio begin that the page was tested with."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Setup:
    """Where the backend is, without a slash at its end, and what it knows us by."""

    backend_url: str
    secret: str = field(repr=False)


@cache
def setup() -> Setup | None:
    """The assistant's set-up; None, with one line in the log, where it has to stay away."""
    try:
        version = importlib.metadata.version("label-studio")
    except importlib.metadata.PackageNotFoundError:
        version = "of unknown version"
    if not version.startswith(TESTED):
        _log.warning(
            "regiontext: the assistant stays out of the page: tested with Label Studio %sx, this is %s",
            TESTED,
            version,
        )
        return None
    url = os.environ.get("REGIONTEXT_BACKEND_URL", "").strip().rstrip("/")
    secret = os.environ.get("REGIONTEXT_ASSIST_SECRET", "").strip()
    if not url.startswith(("http://", "https://")) or not secret:
        _log.warning(
            "regiontext: the assistant stays out of the page: set REGIONTEXT_BACKEND_URL (http://…) and "
            "REGIONTEXT_ASSIST_SECRET (the same as the backend's)"
        )
        return None
    return Setup(url, secret)
