"""Connects a backend to a Label Studio project: the ML backend entry and the webhook, created or repaired.

Label Studio makes the webhook itself when a backend is added, for all actions and without our secret, so it is narrowed
to annotation events and given the secret header. Running it again changes nothing that is right. Knows nothing of
processes or of the backend's inside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import httpx

from backend.label_studio_call import Refused, call
from backend.security import WEBHOOK_SECRET_HEADER
from regiontext.labelstudio.config import LabelingConfig, parse_config

__all__ = [
    "EVENTS",
    "TITLE",
    "Connected",
    "connect",
    "describe_config",
]

TITLE = "regiontext"
EVENTS = (
    "ANNOTATION_CREATED",
    "ANNOTATIONS_CREATED",
    "ANNOTATION_UPDATED",
    "ANNOTATIONS_DELETED",
)

State = Literal["created", "repaired", "unchanged"]


@dataclass(frozen=True)
class Connected:
    """What `connect` found and did. `changes` says in words what was repaired."""

    project: int
    title: str
    backend_url: str
    backend: State
    webhook: State
    changes: tuple[str, ...]
    config: LabelingConfig


def connect(
    client: httpx.Client,
    project: int,
    backend_url: str,
    *,
    secret: str | None,
    title: str = TITLE,
    basic_auth: tuple[str, str] | None = None,
    note: Callable[[str], None] = lambda line: None,
) -> Connected:
    """Make `backend_url` the interactive ML backend of a project, with its webhook; repair what is there.

    `note` is told what is being done, in words. Raises LabelStudioError with what to change, regiontext's ConfigError
    when the project's labeling config has nothing that could be filled (nothing is changed then).
    """
    backend_url = backend_url.rstrip("/")
    found = _project(client, project)
    config = parse_config(str(found["label_config"]))
    note("adding the backend")
    backend, old_url, changes = _ensure_backend(client, project, backend_url, title, basic_auth)
    note("setting up the webhook")
    webhook, webhook_changes = _ensure_webhook(client, project, backend_url, old_url, secret)
    if backend == "created" and webhook == "repaired":
        # Label Studio made it a moment ago, in its own way.
        webhook, webhook_changes = "created", []
    changes += webhook_changes
    if not found.get("model_version"):
        # Label Studio shows the predictions of this name's backend to annotators; it sets it only for a new entry.
        current = _project(client, project).get("model_version")
        if not current:
            call(client, "PATCH", f"/api/projects/{project}/", json={"model_version": title})
    return Connected(
        project, str(found["title"]), backend_url, backend, webhook, tuple(changes), config
    )


def describe_config(config: LabelingConfig) -> tuple[str, ...]:
    """Say in a few lines what of a labeling config will be filled."""
    lines = [
        f"{field.name}: "
        + (f"one of {', '.join(field.options)}" if field.options else "text")
        + " for each region"
        for field in config.fields
    ]
    if config.relations:
        lines.append(f"relations: {', '.join(r.value for r in config.relations)}")
    if (written := config.relation_field) is not None:
        lines.append(f"{written.name}: relations as text")
    if (prompt := config.prompt_field) is not None:
        lines.append(f"{prompt.name}: asks for all regions")
    lines += [f"{tag}: not supported, left alone" for tag in config.unsupported]
    return tuple(lines)


def _project(client: httpx.Client, project: int) -> dict[str, Any]:
    try:
        found: dict[str, Any] = call(client, "GET", f"/api/projects/{project}/")
    except Refused as refused:
        if refused.status == 404:
            raise Refused(
                f"there is no project {project} at {client.base_url} that this key may see: "
                "the number is in the project's address, …/projects/N",
                status=404,
                detail=refused.detail,
            ) from None
        raise
    return found


def _ensure_backend(
    client: httpx.Client,
    project: int,
    url: str,
    title: str,
    basic_auth: tuple[str, str] | None,
) -> tuple[State, str | None, list[str]]:
    """Return what was done, the entry's former URL if it moved, and the changes in words."""
    wanted: dict[str, Any] = {
        "project": project,
        "url": url,
        "title": title,
        "is_interactive": True,
        "auth_method": "NONE",
    }
    if basic_auth is not None:
        wanted |= {
            "auth_method": "BASIC_AUTH",
            "basic_auth_user": basic_auth[0],
            "basic_auth_pass": basic_auth[1],
        }
    entries = call(client, "GET", "/api/ml", params={"project": project})
    ours = [e for e in entries if str(e["url"]).rstrip("/") == url]
    ours += [e for e in entries if e.get("title") == title and e not in ours]
    if not ours:
        _backend_call(client, "POST", "/api/ml", wanted)
        return "created", None, []

    first, *rest = ours
    changes = []
    old_url = str(first["url"]).rstrip("/")
    if old_url != url:
        changes.append(f"the backend moved from {old_url} to {url}")
    if not first.get("is_interactive"):
        changes.append("interactive pre-annotation is on")
    if first.get("title") != title:
        changes.append(f"the backend's title is {title}")
    if (first.get("auth_method") or "NONE") != wanted["auth_method"]:
        changes.append(f"authentication is {wanted['auth_method']}")
    if first.get("state") != "CO":
        changes.append(f"the backend was {str(first.get('readable_state') or 'lost').lower()}")
    # The password cannot be read back, so with basic auth it is always sent.
    if changes or basic_auth is not None:
        _backend_call(client, "PATCH", f"/api/ml/{first['id']}", wanted)
    for entry in rest:
        call(client, "DELETE", f"/api/ml/{entry['id']}")
        changes.append(f"a second entry of the backend ({entry['url']}) is gone")
    return ("repaired" if changes else "unchanged"), (old_url if old_url != url else None), changes


def _ensure_webhook(
    client: httpx.Client, project: int, url: str, old_url: str | None, secret: str | None
) -> tuple[State, list[str]]:
    target = f"{url}/webhook"
    hooks = call(client, "GET", "/api/webhooks/", params={"project": project})
    ours = [h for h in hooks if h["url"] == target]
    ours += [h for h in hooks if old_url is not None and h["url"] == f"{old_url}/webhook"]
    kept = dict(ours[0].get("headers") or {}) if ours else {}
    headers = {k: v for k, v in kept.items() if k.lower() != WEBHOOK_SECRET_HEADER.lower()}
    if secret is not None:
        headers[WEBHOOK_SECRET_HEADER] = secret
    # Label Studio empties the list of actions on every update that does not name them.
    wanted = {
        "url": target,
        "send_payload": True,
        "send_for_all_actions": False,
        "actions": list(EVENTS),
        "headers": headers,
        "is_active": True,
    }
    if not ours:
        _backend_call(client, "POST", "/api/webhooks/", wanted | {"project": project})
        return "created", []
    first, *rest = ours
    changes = []
    if any(_differs(first.get(key), value) for key, value in wanted.items()):
        _backend_call(client, "PATCH", f"/api/webhooks/{first['id']}/", wanted)
        changes.append("the webhook sends annotation events, with the secret")
    for hook in rest:
        call(client, "DELETE", f"/api/webhooks/{hook['id']}/")
        changes.append(f"a second webhook ({hook['url']}) is gone")
    return ("repaired" if changes else "unchanged"), changes


def _differs(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, list):
        return sorted(found or []) != sorted(wanted)
    return bool(found != wanted)


def _backend_call(client: httpx.Client, method: str, path: str, body: Mapping[str, Any]) -> Any:
    """Call with an address of ours in the body, and explain why Label Studio would not take it."""
    try:
        return call(client, method, path, json=dict(body))
    except Refused as refused:
        address, words = body["url"], refused.detail
        if "reserved network address" in words or "was not allowed" in words:
            raise Refused(
                f"Label Studio does not accept the address {address}: it refuses private addresses by default "
                f"({words}). Start Label Studio with USE_DEFAULT_BANNED_SUBNETS=false (or with "
                "ML_BLOCK_LOCAL_IP=false and SSRF_PROTECTION_ENABLED=false), or give the backend "
                "an address that is public, with --backend-url",
                status=refused.status,
                detail=words,
            ) from None
        if "authentication" in words or ("valid ML backend" in words and "401" in words):
            raise Refused(
                f"the backend at {address} does not accept our password: run this with the --data-dir of the "
                "backend, or give both the same REGIONTEXT_BASIC_AUTH_USER, REGIONTEXT_BASIC_AUTH_PASSWORD "
                "and REGIONTEXT_WEBHOOK_SECRET",
                status=refused.status,
                detail=words,
            ) from None
        if "connect to ML backend" in words or "health check failed" in words:
            raise Refused(
                f"Label Studio cannot reach the backend at {address}: it has to run (regiontext serve), and "
                "the address has to be the one Label Studio sees, which differs when it runs in a "
                f"container or on another machine (--backend-url). Label Studio says: {words}",
                status=refused.status,
                detail=words,
            ) from None
        raise
