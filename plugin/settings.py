"""Django settings: Label Studio's own, with the assistant added. Use as DJANGO_SETTINGS_MODULE=plugin.settings.

Imported only in Label Studio's process, where its packages (`core`) are on the path.
"""

from __future__ import annotations

from core.settings.base import *  # type: ignore[import-not-found]  # noqa: F403
from core.settings.base import get_env

# Label Studio's Sentry set-up asks the settings for these while they are still being loaded; it is off without an
# address of your own.
SENTRY_DSN = get_env("SENTRY_DSN", "")
SENTRY_ENVIRONMENT = get_env("SENTRY_ENVIRONMENT", "opensource")
FRONTEND_SENTRY_DSN = get_env("FRONTEND_SENTRY_DSN", "")

from core.settings.label_studio import *  # type: ignore[import-not-found]  # noqa: E402, F403
from core.settings.label_studio import MIDDLEWARE  # noqa: E402

SENTRY_DSN = get_env("SENTRY_DSN", "")
FRONTEND_SENTRY_DSN = get_env("FRONTEND_SENTRY_DSN", "")

# Last, so that the page is complete and its policy not yet written.
MIDDLEWARE = [*MIDDLEWARE, "plugin.middleware.script_in_page"]
ROOT_URLCONF = "plugin.urls"
