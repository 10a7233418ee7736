"""Pictures by address: fetched from allowed hosts only, never from private addresses, never past a redirect.

Off unless hosts are named. The address is resolved once and the connection goes to what was checked, so that a name
cannot change its mind in between. Waits on the event loop, so that a slow host keeps no thread from other requests.
Knows nothing of messages or images.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

import httpx

from model_server.errors import RequestError, brief

__all__ = ["Fetcher"]

_PORTS = {"http": 80, "https": 443}


class Fetcher:
    """Fetches pictures, for one event loop.

    Args:
        hosts: names, or ``name:port``, that may be asked; a name alone allows the scheme's own port.
        max_bytes: longest body that is read.
        timeout_s: for connecting and between pieces.
        deadline_s: for a picture as a whole, finding the host's address included.
    """

    def __init__(
        self,
        hosts: Sequence[str] = (),
        *,
        max_bytes: int = 20_000_000,
        timeout_s: float = 10.0,
        deadline_s: float = 20.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)
        self._max_bytes = max_bytes
        self._deadline_s = deadline_s
        # Without this a proxy of the environment would fetch for us, past every check.
        self._http = httpx.AsyncClient(
            timeout=timeout_s, follow_redirects=False, trust_env=False, transport=transport
        )

    async def fetch(self, url: str, *, param: str) -> bytes:
        """The body of `url`; raises RequestError naming `param`."""
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise _unreadable(url, error, param) from None
        scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
        if scheme not in _PORTS or not host:
            raise _refused(
                f"Images must be data URLs (data:image/png;base64,…), got an address of {scheme[:16]!r}.",
                param,
            )
        try:
            port = parts.port or _PORTS[scheme]
        except ValueError:
            raise _refused(
                f"The port of {brief(url)} is none; it must be a number up to 65535.", param
            ) from None
        allowed = f"{host}:{port}" in self._hosts or (
            host in self._hosts and port == _PORTS[scheme]
        )
        if not allowed or parts.username is not None:
            raise _refused(
                f"This server does not fetch images from {brief(f'{host}:{port}')}; send a data URL "
                "(data:image/png;base64,…) or have the host allowed (--image-hosts).",
                param,
            )
        try:
            target = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise _unreadable(url, error, param) from None
        try:
            async with asyncio.timeout(self._deadline_s):
                address = await self._public_address(host, port, param)
                return await self._get(target, host, address, param)
        except TimeoutError:
            raise _refused(
                f"The image at {host} was not there after {self._deadline_s:g} seconds; send a data URL "
                "(data:image/png;base64,…).",
                param,
            ) from None

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _public_address(self, host: str, port: int, param: str) -> str:
        try:
            found = await asyncio.to_thread(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise _refused(f"The host {host} has no address.", param) from None
        addresses = [str(entry[4][0]) for entry in found]
        for address in addresses:
            if not ipaddress.ip_address(address.partition("%")[0]).is_global:
                raise _refused(f"The host {host} is at a private address.", param)
        return addresses[0]

    async def _get(self, target: httpx.URL, host: str, address: str, param: str) -> bytes:
        named = target.netloc.decode("ascii")
        request = self._http.build_request(
            "GET",
            target.copy_with(host=address, fragment=None),
            headers={"Host": named},
            extensions={"sni_hostname": host},
        )
        body = bytearray()
        try:
            response = await self._http.send(request, stream=True)
            try:
                if response.status_code != 200:
                    raise _refused(
                        f"{host} answered {response.status_code} for the image; redirects are not "
                        "followed.",
                        param,
                    )
                async for piece in response.aiter_bytes():
                    body += piece
                    if len(body) > self._max_bytes:
                        raise RequestError(
                            f"The image at {host} has more than {self._max_bytes} bytes.",
                            param=param,
                            code="image_too_large",
                            status=413,
                        )
            finally:
                await response.aclose()
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise _refused(f"The image at {host} cannot be fetched: {reason}", param) from None
        return bytes(body)


def _unreadable(url: str, error: Exception, param: str) -> RequestError:
    return _refused(f"The address {brief(url)} cannot be read: {str(error)[:80]}.", param)


def _refused(message: str, param: str) -> RequestError:
    return RequestError(message, param=param, code="image_url_not_supported")
