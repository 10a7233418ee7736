"""Which models an OpenAI-compatible server announces. Asked before anything depends on it."""

from __future__ import annotations

import httpx

from backend.settings import Settings
from backend.up.errors import UpError

__all__ = ["announced_models"]


def announced_models(settings: Settings) -> tuple[str, ...]:
    """Return the ids that the server at `settings.model_url` announces, at least one.

    Raises UpError, saying what to do, when nobody answers, a key is wanted, or it is no such API.
    """
    url, headers = settings.model_url, {}
    if settings.model_api_key is not None:
        headers["Authorization"] = f"Bearer {settings.model_api_key.get_secret_value()}"
    try:
        answer = httpx.get(f"{url}/models", headers=headers, timeout=10)
    except httpx.HTTPError as error:
        raise UpError(f"no model server answers at {url} ({error}): start it") from None
    if answer.status_code in (401, 403):
        raise UpError(f"the model server at {url} wants a key: set REGIONTEXT_MODEL_API_KEY")
    try:
        names = tuple(str(model["id"]) for model in answer.json()["data"])
    except (ValueError, KeyError, TypeError):
        names = ()
    if not names:
        raise UpError(
            f"{url}/models announces no model (HTTP {answer.status_code}): the address is that of "
            "an OpenAI-compatible API, which usually ends in /v1"
        )
    return names
