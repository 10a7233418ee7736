"""Django settings of the embedded Label Studio: its own with our assistant, but nothing that calls the outside world.

Named by DJANGO_SETTINGS_MODULE in the embedded process and imported only there, where Label
Studio's packages (`core`) are on the path. Knows nothing of regiontext.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

# Its Sentry set-up asks the settings for the next three while they are still being loaded.
from core.settings.base import *  # type: ignore[import-not-found]  # noqa: F403

SENTRY_DSN = None
SENTRY_ENVIRONMENT = "regiontext"
FRONTEND_SENTRY_DSN = None

from core.settings.label_studio import *  # type: ignore[import-not-found]  # noqa: E402, F403
from core.settings.label_studio import DATABASES, MIDDLEWARE  # noqa: E402

SENTRY_DSN = None
FRONTEND_SENTRY_DSN = None

MIDDLEWARE = ["backend.up.offline.no_outside_calls", *MIDDLEWARE]

if os.environ.get("REGIONTEXT_ASSIST_SECRET") and find_spec("plugin") is not None:
    # Last, so that the page is complete and its policy not yet written.
    MIDDLEWARE = [*MIDDLEWARE, "plugin.middleware.script_in_page"]
    ROOT_URLCONF = "plugin.urls"

if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # Annotators submit while jobs read: with write-ahead logging neither waits for the other.
    DATABASES["default"].setdefault("OPTIONS", {}).update(
        timeout=30,
        init_command="PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    )
