"""Who may call which route: basic auth, the webhook's secret header, and the addresses never fetched from.

Secrets are compared in constant time and never logged. Knows nothing of what the routes do.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import ipaddress
import socket

from starlette.datastructures import Headers

from backend.errors import ImageFetchError
from backend.settings import Settings

__all__ = [
    "ASSIST_SECRET_HEADER",
    "OPEN_ROUTES",
    "WEBHOOK_SECRET_HEADER",
    "is_private",
    "may_assist",
    "may_call",
    "may_send_webhook",
    "resolve_public",
]

WEBHOOK_SECRET_HEADER = "X-Regiontext-Secret"
"""The header in which Label Studio's webhook carries `webhook_secret` (set by `regiontext connect`)."""

ASSIST_SECRET_HEADER = "X-Regiontext-Assist"
"""The header in which the plugin inside Label Studio carries `assist_secret`."""

OPEN_ROUTES = frozenset(
    {"/health", "/ready", "/webhook", "/assist", "/assist/drawn", "/assist/unseen"}
)
"""Routes without basic auth: those that watch the process tell nothing, and webhooks, which Label Studio sends without
it, have their own secret; so has the assistant inside Label Studio."""


def may_call(settings: Settings, path: str, headers: Headers) -> bool:
    """Whether a request to `path` carries the basic auth that the settings ask for, if any."""
    return path in OPEN_ROUTES or not settings.basic_auth_user or _has_basic_auth(settings, headers)


def may_send_webhook(settings: Settings, headers: Headers) -> bool:
    """Whether a webhook is from Label Studio.

    Annotation events carry the secret header; the Start Training button posts to the same route without it, but
    with the basic auth of the connection. Either will do; with neither configured, anyone may send.
    """
    secret = settings.webhook_secret
    if secret is not None and _same(
        headers.get(WEBHOOK_SECRET_HEADER, ""), secret.get_secret_value()
    ):
        return True
    if settings.basic_auth_user and _has_basic_auth(settings, headers):
        return True
    return secret is None and not settings.basic_auth_user


def may_assist(settings: Settings, headers: Headers) -> bool:
    """Whether a request is from the plugin inside Label Studio; nobody may ask while no secret is set."""
    secret = settings.assist_secret
    given = headers.get(ASSIST_SECRET_HEADER, "")
    return secret is not None and _same(given, secret.get_secret_value())


def is_private(address: str) -> bool:
    """Whether an IP address is anything but a public one: loopback, private, link-local, metadata, multicast."""
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        # Other ways to write an IPv4 address, which would otherwise walk around the check.
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and any(ip in network for network in _HOLDING_IPV4):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
        if ip.is_site_local or ip in _LOCAL_NAT64:
            return True
        if inner is not None:
            ip = inner
    return not ip.is_global or ip.is_multicast


async def resolve_public(host: str, port: int) -> str:
    """One public IP address of a host, to connect to: resolved once, so that it cannot change after the check.

    Raises:
        ImageFetchError: the name is unknown, or any of its addresses is private.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ImageFetchError(f"the image host {host!r} cannot be resolved: {error}") from error
    addresses = [str(entry[4][0]) for entry in found]
    for address in addresses:
        if is_private(address.split("%", 1)[0]):
            raise ImageFetchError(
                f"the image host {host!r} resolves to the private address {address}; images come only from "
                "Label Studio and public hosts (to trust a host of your own network, add it to "
                "REGIONTEXT_ALLOWED_IMAGE_HOSTS and set REGIONTEXT_ALLOW_PRIVATE_IMAGE_HOSTS=true)"
            )
    if not addresses:
        raise ImageFetchError(f"the image host {host!r} has no address")
    return addresses[0]


# NAT64 (RFC 6052), and addresses "compatible" with IPv4 (RFC 4291, 2.5.5.1).
_HOLDING_IPV4 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("::/96"))
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")


def _has_basic_auth(settings: Settings, headers: Headers) -> bool:
    scheme, _, encoded = headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic" or settings.basic_auth_password is None:
        return False
    try:
        given = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return False
    wanted = f"{settings.basic_auth_user}:{settings.basic_auth_password.get_secret_value()}"
    return hmac.compare_digest(given, wanted.encode())


def _same(given: str, wanted: str) -> bool:
    # Headers arrive as latin-1; compare bytes, since compare_digest refuses other text.
    return hmac.compare_digest(given.encode("latin-1", "replace"), wanted.encode())
