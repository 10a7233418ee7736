"""All hops, in the order in which one depends on another.

Knows the order and what depends on what; each hop knows its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import httpx

from backend.doctor import ours, studio
from backend.doctor.hop import Hop, Said
from backend.errors import SettingsError
from backend.settings import Settings
from backend.store import Store

__all__ = ["chain"]


def chain(
    settings: Settings,
    project: int | None,
    *,
    client: httpx.Client,
    store: Callable[[], Store],
    image_transport: httpx.AsyncBaseTransport | None = None,
    model_transport: httpx.AsyncBaseTransport | None = None,
) -> tuple[Hop, ...]:
    """The hops from Label Studio to a caption; without a project only those that need none.

    client: authorised for Label Studio. store: opens the database, or raises why not. image_transport,
    model_transport: stand in for the network.
    """
    url, key, secret = (
        settings.reachable_url,
        settings.label_studio_api_key,
        settings.webhook_secret,
    )

    def check_key() -> Said:
        if key is None:
            raise SettingsError(
                "no key for Label Studio: create a personal access token under Account & Settings and set "
                "REGIONTEXT_LABEL_STUDIO_API_KEY"
            )
        return studio.key(client, key.get_secret_value())

    general: tuple[Hop, ...] = (
        Hop("database", lambda: ours.database(settings, store())),
        Hop("Label Studio", lambda: studio.version(client)),
        Hop("key", check_key, ("Label Studio",)),
        Hop("model", lambda: ours.model(settings, model_transport)),
        Hop("backend", lambda: ours.backend(settings)),
    )
    if settings.segmenter_url is not None:
        general += (Hop("segmenter", lambda: ours.segmenter(settings, model_transport)),)
    if project is None:
        return general

    @cache
    def sample() -> Any:
        return ours.sample(client, project)

    def arrived(action: str, since: float) -> bool:
        return ours.event_arrived(store(), action, since)

    plain = secret.get_secret_value() if secret is not None else None
    return (
        *general,
        Hop("project", lambda: studio.project(client, project), ("key",)),
        Hop("origin", lambda: ours.origin(store(), client, project), ("project", "database")),
        Hop("connection", lambda: studio.connection(client, project, url), ("project", "backend")),
        Hop("webhook", lambda: studio.webhook(client, project, url, plain), ("project",)),
        Hop(
            "delivery",
            lambda: studio.delivery(client, project, url, arrived),
            ("webhook", "backend", "database"),
        ),
        Hop("image", lambda: ours.image(settings, sample(), image_transport), ("project",)),
        Hop(
            "caption",
            lambda: ours.caption(settings, store(), sample(), image_transport, model_transport),
            ("image", "model", "database"),
        ),
    )
