"""One call of Label Studio's API, with what it refuses said in one line.

For the short, synchronous work of connecting and setting up. Knows no route.
"""

from __future__ import annotations

from typing import Any

import httpx

from backend.errors import LabelStudioError

__all__ = ["Refused", "call"]


class Refused(LabelStudioError):
    """Label Studio answered a call with an error; `status` is the HTTP status, `detail` its own words."""

    def __init__(self, message: str, *, status: int, detail: str) -> None:
        super().__init__(message)
        self.status = status
        self.detail = detail


def call(client: httpx.Client, method: str, path: str, **options: Any) -> Any:
    """Call Label Studio's API and return the decoded JSON (None for an empty answer).

    Raises LabelStudioError when nothing sensible answers, and Refused, with its status and its own words, when Label
    Studio answers with an error.
    """
    try:
        answer = client.request(method, path, **options)
    except httpx.HTTPError as error:
        raise LabelStudioError(
            f"Label Studio does not answer at {client.base_url} "
            f"({type(error).__name__}: {error}): is it running there?"
        ) from None
    if answer.is_success:
        if not answer.content:
            return None
        try:
            return answer.json()
        except ValueError:
            raise LabelStudioError(
                f"{client.base_url} answers, but not as Label Studio does ({path} is not JSON): "
                "check the address"
            ) from None
    raise _refused(client, path, answer)


def _refused(client: httpx.Client, path: str, answer: httpx.Response) -> Refused:
    detail = _detail(answer)
    status = answer.status_code
    if answer.is_redirect:
        message = (
            f"{client.base_url} redirects to {answer.headers.get('location', 'elsewhere')}: "
            "give the address Label Studio is served from"
        )
    elif status == 401:
        message = (
            f"Label Studio at {client.base_url} does not accept the API key ({detail}): copy a personal access "
            "token from Account & Settings there; legacy tokens work only where they are switched on"
        )
    else:
        message = f"Label Studio answered {status} to {path}: {detail}"
    return Refused(message, status=status, detail=detail)


def _detail(answer: httpx.Response) -> str:
    """Return Label Studio's own explanation of an error as one line."""
    try:
        found = answer.json()
    except ValueError:
        return answer.reason_phrase
    if not isinstance(found, dict):
        return str(found)[:400]
    parts: list[str] = []
    for field, messages in (found.get("validation_errors") or {}).items():
        said = "; ".join(map(str, messages)) if isinstance(messages, list) else str(messages)
        parts.append(said if field == "non_field_errors" else f"{field}: {said}")
    text = " ".join(parts) or str(found.get("detail") or found)
    return " ".join(text.split())[:600]
