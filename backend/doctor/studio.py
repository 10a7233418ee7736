"""Label Studio's side of the connection, as seen through its API.

Each function is the check of one hop. The one that writes, `delivery`, puts everything back as it was. Knows nothing
of our own processes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx

from backend.connect import EVENTS, describe_config
from backend.doctor.hop import Said
from backend.errors import LabelStudioError
from backend.label_studio import token_ends, token_kind
from backend.label_studio_call import call
from backend.security import WEBHOOK_SECRET_HEADER
from regiontext.labelstudio.config import parse_config

__all__ = ["TESTED", "connection", "delivery", "key", "project", "version", "webhook"]

TESTED = "1.23"
"""The line of Label Studio that every rule of this program was tested against."""

_PROBE = "PROJECT_UPDATED"


def version(client: httpx.Client) -> Said:
    """Label Studio answers, and is one we know."""
    found = call(client, "GET", "/api/version")
    release = str(found.get("release", "")) if isinstance(found, dict) else ""
    if not release:
        raise LabelStudioError(
            f"{client.base_url} answers, but not as Label Studio does: check the address "
            "(REGIONTEXT_LABEL_STUDIO_URL)"
        )
    words = f"{client.base_url} is Label Studio {release}"
    if release != TESTED and not release.startswith(f"{TESTED}."):
        words += f"; regiontext was tested with {TESTED}, so look twice at the first captions"
        return Said(words, "doubtful")
    return Said(words)


def key(client: httpx.Client, secret: str) -> Said:
    """The key is accepted, and will be tomorrow."""
    user = call(client, "GET", "/api/current-user/whoami")
    kind, ends = token_kind(secret), token_ends(secret)
    words = f"{user.get('email', '?')}, {_KINDS[kind]}"
    if kind == "access":
        return Said(
            f"{words}, which works for minutes only: make a personal access token under Account & Settings "
            "and set REGIONTEXT_LABEL_STUDIO_API_KEY",
            "doubtful",
        )
    if ends is not None:
        days = (ends - time.time()) / 86_400
        words += f", ends {datetime.fromtimestamp(min(ends, 4e9), UTC):%Y-%m-%d}"
        if days < 14:
            return Said(f"{words}: make a new one before", "doubtful")
    return Said(words)


_KINDS: Mapping[str, str] = {
    "legacy": "a legacy token",
    "personal": "a personal access token",
    "access": "an access token",
}


def project(client: httpx.Client, number: int) -> Said:
    """The project is there, and its labeling config has something to fill."""
    found = call(client, "GET", f"/api/projects/{number}/")
    config = parse_config(str(found["label_config"]))
    lines = "; ".join(describe_config(config))
    words = f"{number} ({found['title']}): {lines}"
    return Said(words, "doubtful" if config.unsupported else "works")


def connection(client: httpx.Client, number: int, url: str) -> Said:
    """The project has our backend, and Label Studio reaches it, which is asked anew each time."""
    repair = f"regiontext connect --project {number}"
    entries = call(client, "GET", "/api/ml", params={"project": number})
    ours = [e for e in entries if str(e["url"]).rstrip("/") == url]
    if not ours:
        others = ", ".join(str(e["url"]) for e in entries) or "none"
        raise LabelStudioError(
            f"project {number} has no backend at {url} (it has: {others}): {repair}; if Label Studio sees the backend "
            "under another address, give it with --backend-url"
        )
    entry = ours[0]
    if entry["state"] != "CO":
        said = str(entry.get("error_message") or entry.get("readable_state") or "no reason given")
        raise LabelStudioError(
            f"Label Studio does not reach {url} ({' '.join(said.split())[:300]}): the address has to be the one that "
            f"Label Studio sees, and its password the backend's; {repair} sets both. If Label Studio refuses private "
            "addresses, start it with USE_DEFAULT_BANNED_SUBNETS=false"
        )
    if not entry.get("is_interactive"):
        raise LabelStudioError(f"the backend of project {number} is not interactive: {repair}")
    if len(ours) > 1 or len(entries) > 1:
        others = ", ".join(str(e["url"]) for e in entries if e is not entry)
        return Said(
            f"Label Studio reaches {url}; it asks the first interactive backend of a project, and there are others: "
            f"{others}",
            "doubtful" if entries[0] is not entry else "works",
        )
    return Said(f"Label Studio reaches {url}")


def webhook(client: httpx.Client, number: int, url: str, secret: str | None) -> Said:
    """Annotation events are sent to us, with the secret."""
    repair = f"regiontext connect --project {number}"
    hook = _hook(client, number, url)
    if not hook["is_active"]:
        raise LabelStudioError(f"the webhook to {hook['url']} is switched off: {repair}")
    if not hook.get("send_payload"):
        raise LabelStudioError(f"the webhook to {hook['url']} sends no payload: {repair}")
    missing = set(EVENTS) - set(hook.get("actions") or [])
    if missing and not hook.get("send_for_all_actions"):
        raise LabelStudioError(f"the webhook does not send {', '.join(sorted(missing))}: {repair}")
    if secret is not None and (hook.get("headers") or {}).get(WEBHOOK_SECRET_HEADER) != secret:
        raise LabelStudioError(
            f"the webhook carries another secret than the backend expects, which refuses it: {repair}"
        )
    return Said(f"annotation events go to {hook['url']}")


def delivery(
    client: httpx.Client,
    number: int,
    url: str,
    arrived: Callable[[str, float], bool],
    *,
    seconds: float = 5.0,
) -> Said:
    """An event that Label Studio sends now arrives in our database.

    For the moment of the test the webhook also sends changes of the project, and the project is saved as it is; then
    the webhook is as before. `arrived(action, since)` says whether such an event is in the store.
    """
    hook = _hook(client, number, url)
    kept = {name: hook[name] for name in _HOOK_FIELDS if name in hook}
    address = f"/api/webhooks/{hook['id']}/"
    title = call(client, "GET", f"/api/projects/{number}/")["title"]
    since = time.time()
    call(client, "PATCH", address, json=kept | {"actions": [*hook.get("actions", []), _PROBE]})
    try:
        call(client, "PATCH", f"/api/projects/{number}/", json={"title": title})
    finally:
        call(client, "PATCH", address, json=kept)
    while not arrived(_PROBE, since):
        if time.time() - since > seconds:
            raise LabelStudioError(
                f"Label Studio sent an event to {hook['url']} and it is not in the database after {seconds:.0f} s: "
                "either Label Studio cannot reach that address within its one second, or the backend there uses "
                "another database than this command (run it with the same --data-dir or REGIONTEXT_DATABASE_URL)"
            )
        time.sleep(0.1)
    return Said(f"an event arrived {1000 * (time.time() - since):.0f} ms after it was caused")


_HOOK_FIELDS = (
    "url", "send_payload", "send_for_all_actions", "headers", "is_active", "actions",
)  # fmt: skip


def _hook(client: httpx.Client, number: int, url: str) -> dict[str, Any]:
    hooks = call(client, "GET", "/api/webhooks/", params={"project": number})
    ours = [h for h in hooks if h["url"] == f"{url}/webhook"]
    if not ours:
        raise LabelStudioError(
            f"project {number} sends no events to {url}/webhook: regiontext connect --project {number}"
        )
    found: dict[str, Any] = ours[0]
    return found
