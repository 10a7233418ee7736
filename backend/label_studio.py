"""How the backend speaks to Label Studio: its own address, its own token, never the one Label
Studio sends.

Label Studio hands out three kinds of key: legacy tokens (`Token …`, switched off by default in
1.23), personal access tokens (a refresh JWT, exchanged for an access token that lives five
minutes) and access tokens. `TokenAuth` tells them apart and keeps the access token fresh; `sdk`
is Label Studio's own client. The key goes to Label Studio's own address only.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import AsyncGenerator, Generator, Mapping
from threading import Lock
from typing import Any, Literal

import httpx

from backend.errors import LabelStudioError
from backend.settings import Settings

__all__ = [
    "TokenAuth",
    "async_client",
    "client",
    "image_url",
    "project_id",
    "sdk",
    "token_ends",
    "token_kind",
    "whoami",
]

TokenKind = Literal["legacy", "personal", "access"]
# An access token is renewed this long before it ends, so that it does not end on its way.
_RENEW_BEFORE_S = 30.0
_TIMEOUT = httpx.Timeout(30.0, connect=5.0)


def sdk(settings: Settings) -> Any:
    """Label Studio's own client (`label_studio_sdk.LabelStudio`); it refreshes a personal access
    token by itself.

    Raises:
        LabelStudioError: no key is set.
    """
    from label_studio_sdk import LabelStudio

    return LabelStudio(base_url=settings.label_studio_url, api_key=_key(settings))


def client(settings: Settings, *, timeout: httpx.Timeout | float = _TIMEOUT) -> httpx.Client:
    """A plain HTTP client for the routes the SDK lacks; paths are relative to Label Studio's
    address.
    """
    auth = TokenAuth(settings.label_studio_url, _key(settings))
    return httpx.Client(base_url=settings.label_studio_url, auth=auth, timeout=timeout)


def async_client(
    settings: Settings, *, timeout: httpx.Timeout | float = _TIMEOUT
) -> httpx.AsyncClient:
    """The same for async code."""
    auth = TokenAuth(settings.label_studio_url, _key(settings))
    return httpx.AsyncClient(base_url=settings.label_studio_url, auth=auth, timeout=timeout)


def whoami(settings: Settings) -> dict[str, Any]:
    """The user the key belongs to: the self-test of address and key.

    Raises:
        LabelStudioError: Label Studio is not there, or refuses the key; the message says which
            and what to do.
    """
    try:
        with client(settings) as http:
            response = http.get("/api/current-user/whoami")
    except httpx.HTTPError as error:
        raise LabelStudioError(
            f"Label Studio does not answer at {settings.label_studio_url}: {error}. "
            "Set REGIONTEXT_LABEL_STUDIO_URL to the address it has as seen from here"
        ) from error
    if response.status_code in (401, 403):
        raise LabelStudioError(
            f"Label Studio at {settings.label_studio_url} refuses the key "
            f"(HTTP {response.status_code}): {_detail(response)}. Create a personal access token under "
            "Account & Settings and set REGIONTEXT_LABEL_STUDIO_API_KEY"
        )
    if response.status_code != 200:
        raise LabelStudioError(
            f"{settings.label_studio_url} answered HTTP {response.status_code} to "
            "/api/current-user/whoami: is it Label Studio?"
        )
    user: dict[str, Any] = response.json()
    return user


def project_id(uid: object) -> int:
    """The project's number in the `project` that Label Studio sends ("2.1795236743": number and
    creation time).

    Raises:
        LabelStudioError: it is no such thing.
    """
    head = str(uid).split(".", 1)[0]
    if not head.isdigit():
        raise LabelStudioError(f"project {uid!r} is not of the form NUMBER or NUMBER.TIMESTAMP")
    return int(head)


def image_url(data: Mapping[str, Any], key: str, item_index: int = 0) -> str:
    """Where the image of a task is; `item_index` counts the images of a multi-image task.

    Raises:
        LabelStudioError: the task has no such image.
    """
    value = data.get(key)
    if isinstance(value, (list, tuple)):
        value = value[item_index] if 0 <= item_index < len(value) else None
    if not isinstance(value, str) or not value:
        raise LabelStudioError(
            f"the task's data has no image under {key!r} (item {item_index}): it has {sorted(data)}"
        )
    return value


def token_kind(key: str) -> TokenKind:
    """What kind of key this is; anything that is no JWT is taken for a legacy token."""
    claims = _claims(key)
    if claims is None:
        return "legacy"
    return "personal" if claims.get("token_type", "refresh") == "refresh" else "access"


def token_ends(key: str) -> float | None:
    """When a key stops working, in seconds since 1970; None if it says nothing of that (legacy tokens do not)."""
    ends = (_claims(key) or {}).get("exp")
    return float(ends) if isinstance(ends, (int, float)) else None


class TokenAuth(httpx.Auth):
    """Authorises requests to one Label Studio, for sync and async clients alike.

    Requests to any other address are left without a key. A personal access token is exchanged for
    an access token when there is none, when it is about to end, and once more when Label Studio
    answers 401.
    """

    def __init__(self, base_url: str, key: str) -> None:
        self._base = httpx.URL(base_url.rstrip("/") + "/")
        self._key = key
        self._kind = token_kind(key)
        self._access: str | None = None
        self._ends = 0.0
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"TokenAuth({str(self._base)!r}, {self._kind})"

    def sync_auth_flow(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]:
        """See httpx.Auth; reads only the refresh answers, so that bodies can be streamed."""
        flow = self._flow(request)
        step = next(flow)
        while True:
            response = yield step
            if self._is_refresh(step):
                response.read()
            try:
                step = flow.send(response)
            except StopIteration:
                return

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """See httpx.Auth; reads only the refresh answers, so that bodies can be streamed."""
        flow = self._flow(request)
        step = next(flow)
        while True:
            response = yield step
            if self._is_refresh(step):
                await response.aread()
            try:
                step = flow.send(response)
            except StopIteration:
                return

    def _flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if not self._is_ours(request.url):
            yield request
            return
        if self._kind == "legacy":
            request.headers["Authorization"] = f"Token {self._key}"
            yield request
            return
        if self._kind == "access":
            request.headers["Authorization"] = f"Bearer {self._key}"
            yield request
            return
        token = self._fresh()
        renewed = token is None
        if token is None:
            token = self._accept((yield self._refresh_request()))
        request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if response.status_code == 401 and not renewed:
            token = self._accept((yield self._refresh_request()))
            request.headers["Authorization"] = f"Bearer {token}"
            yield request

    def _is_ours(self, url: httpx.URL) -> bool:
        return (url.scheme, url.host, url.port) == (
            self._base.scheme,
            self._base.host,
            self._base.port,
        )

    def _refresh_request(self) -> httpx.Request:
        return httpx.Request(
            "POST", self._base.join("api/token/refresh/"), json={"refresh": self._key}
        )

    def _is_refresh(self, request: httpx.Request) -> bool:
        return request.url.path.endswith("/api/token/refresh/")

    def _fresh(self) -> str | None:
        with self._lock:
            return self._access if time.time() < self._ends - _RENEW_BEFORE_S else None

    def _accept(self, response: httpx.Response) -> str:
        try:
            token = response.json()["access"] if response.status_code == 200 else None
        except (ValueError, KeyError, TypeError):
            token = None
        if not isinstance(token, str):
            raise LabelStudioError(
                f"Label Studio at {self._base} does not renew the personal access token "
                f"(HTTP {response.status_code}): {_detail(response)}. "
                "Create a new one and set REGIONTEXT_LABEL_STUDIO_API_KEY"
            )
        ends = token_ends(token)
        with self._lock:
            self._access = token
            self._ends = ends if ends is not None else time.time() + 60.0
        return token


def _key(settings: Settings) -> str:
    if settings.label_studio_api_key is None:
        raise LabelStudioError(
            "no key for Label Studio: create a personal access token under "
            "Account & Settings and set REGIONTEXT_LABEL_STUDIO_API_KEY"
        )
    return settings.label_studio_api_key.get_secret_value()


def _claims(token: str) -> dict[str, Any] | None:
    """The claims of a JWT, unverified; None if it is none."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        padded = parts[1] + "=" * (-len(parts[1]) % 4)
        claims = json.loads(base64.urlsafe_b64decode(padded))
    except (binascii.Error, ValueError):
        return None
    return claims if isinstance(claims, dict) else None


def _detail(response: httpx.Response) -> str:
    """One short line of what an error answer says."""
    try:
        body = response.json()
        text = body.get("detail", body) if isinstance(body, dict) else body
    except ValueError:
        text = response.reason_phrase
    return str(text)[:200]
