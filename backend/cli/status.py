"""`regiontext status`: is everything there, and does it fit together?"""

from __future__ import annotations

from collections.abc import Callable

import httpx
import typer
from rich.text import Text

from backend.cli.running import DEFAULT_DATA_DIR, DataDir, Project, errors_in_one_line, output
from backend.errors import BackendError
from backend.settings import Settings

__all__ = ["status"]


def status(project: Project = None, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Check Label Studio, the model server, the backend and their connection; say what is wrong.

    Exit status 0 when everything works.
    """
    with errors_in_one_line():
        from backend.up.settings import find_settings, remembered_project

        settings = find_settings(data_dir)
        number = project if project is not None else remembered_project(data_dir)
        checks: list[tuple[str, Callable[[], str]]] = [
            ("Label Studio", lambda: _label_studio(settings)),
            ("model", lambda: _model(settings)),
            ("backend", lambda: _backend(settings)),
        ]
        if number is not None:
            checks.append(("connection", lambda: _connection(settings, number)))
        console, wrong = output(), 0
        for name, check in checks:
            try:
                sign, style, words = "✓", "green", check()
            except (BackendError, httpx.HTTPError) as error:
                sign, style, words, wrong = "✗", "bold red", str(error), wrong + 1
            console.print(Text.assemble((sign, style), f" {name:13} {words}"), soft_wrap=True)
        if wrong:
            raise typer.Exit(1)


def _label_studio(settings: Settings) -> str:
    from backend import label_studio

    user = label_studio.whoami(settings)
    return f"{settings.label_studio_url} as {user.get('email', '?')}"


def _model(settings: Settings) -> str:
    from backend.up.models import announced_models

    names = announced_models(settings)
    asked = settings.model or names[0]
    if asked not in names:
        raise BackendError(
            f"{settings.model_url} serves {', '.join(names)}, not {asked}: correct REGIONTEXT_MODEL"
        )
    return f"{settings.model_url} serves {', '.join(names)}"


def _backend(settings: Settings) -> str:
    url = settings.reachable_url
    try:
        answer = httpx.get(f"{url}/health", timeout=5)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise BackendError(f"{url} does not answer ({error}): regiontext serve") from None
    return url


def _connection(settings: Settings, project: int) -> str:
    from backend import label_studio
    from backend.label_studio_call import call

    url = settings.reachable_url
    with label_studio.client(settings) as client:
        entries = call(client, "GET", "/api/ml", params={"project": project})
        hooks = call(client, "GET", "/api/webhooks/", params={"project": project})
    repair = f"regiontext connect --project {project}"
    ours = [e for e in entries if str(e["url"]).rstrip("/") == url]
    if not ours:
        raise BackendError(f"project {project} has no backend at {url}: {repair}")
    if ours[0]["state"] != "CO":
        said = ours[0].get("error_message") or ours[0].get("readable_state")
        raise BackendError(f"Label Studio does not reach {url} ({said}): {repair}")
    if not any(h["url"] == f"{url}/webhook" and h["is_active"] for h in hooks):
        raise BackendError(f"project {project} sends no events to {url}/webhook: {repair}")
    return f"project {project} asks {url} and sends it events"
