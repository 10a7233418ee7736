"""The bytes of a task's image: from Label Studio with its key, from allowed hosts without, from nowhere else.

Task data is written by whoever may import tasks, so a URL in it is not trusted: other hosts, private addresses and
redirects to them are refused, answers are cut off at a size. Decoding (with its guard against bombs) is
`regiontext.images`.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
import zlib
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote_to_bytes

import httpx

from backend.cache import BoundedCache
from backend.errors import ImageFetchError, LabelStudioError
from backend.label_studio import TokenAuth
from backend.security import resolve_public
from backend.settings import Settings

__all__ = ["Images"]

# Paths that only Label Studio serves: its storages write them with Label Studio's public host name, which may
# not be the one it has as seen from here.
_OWN_PATHS = ("/data/upload/", "/data/local-files/", "/storage-data/uploaded/")
_IMAGE_PATHS = ("/data/", "/storage-data/", "/static/", "/tasks/", "/projects/")
_STORAGE_SCHEMES = frozenset({"s3", "gs", "azure-blob", "redis", "dbfs"})
_MAX_REDIRECTS = 5
_TTL_S = 600.0
_TIMEOUT = httpx.Timeout(20.0, connect=5.0)
# In all: who sends a byte every few seconds keeps to every other limit.
_TOTAL_S = 60.0


class Images:
    """Fetches images and keeps the last ones, up to a number of bytes. One per process, for one event loop.

    looked_up: told of every look into the cache whether it was there.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        looked_up: Callable[[bool], None] = lambda hit: None,
    ) -> None:
        self._settings = settings
        self._looked_up = looked_up
        self._home = httpx.URL(settings.label_studio_url + "/")
        key = settings.label_studio_api_key
        self._auth = TokenAuth(settings.label_studio_url, key.get_secret_value()) if key else None
        # trust_env off: a proxy would resolve names itself, behind the address check. Images are compressed already,
        # and some encodings make gigabytes of one packet.
        self._http = httpx.AsyncClient(
            timeout=_TIMEOUT,
            follow_redirects=False,
            trust_env=False,
            transport=transport,
            headers={"Accept-Encoding": "identity"},
        )
        self._cache: BoundedCache[tuple[float, bytes]] = BoundedCache(settings.image_cache_bytes)
        self._running: dict[str, asyncio.Task[bytes]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def fetch(self, url: str, *, task: int | None = None) -> bytes:
        """The bytes behind the URL in a task's data; `task` is needed for cloud storage URLs.

        Calls for the same URL at the same time share one download.

        Raises:
            ImageFetchError: the URL may not be fetched, or cannot be; the message is one line for the annotator.
        """
        if url.startswith("data:"):
            return self._decode_data_url(url)
        key = f"{task} {url}" if self._is_storage(url) else url
        hit = self._cache.get(key)
        fresh = hit is not None and time.monotonic() - hit[0] < _TTL_S
        self._looked_up(fresh)
        if hit is not None and fresh:
            return hit[1]
        running = self._running.get(key)
        if running is None:
            running = asyncio.create_task(self._download(url, task))
            self._running[key] = running
            running.add_done_callback(lambda done: self._finish(key, done))
        # Shielded: a caller out of time must not take the download from the others.
        return await asyncio.shield(running)

    def _finish(self, key: str, done: asyncio.Task[bytes]) -> None:
        self._running.pop(key, None)
        if done.cancelled() or done.exception() is not None:
            return
        data = done.result()
        self._cache.put(key, (time.monotonic(), data), len(data))

    async def _download(self, url: str, task: int | None) -> bytes:
        try:
            async with asyncio.timeout(_TOTAL_S):
                return await self._followed(url, task)
        except TimeoutError as error:
            raise ImageFetchError(
                f"the image {_short(url)} does not arrive in {_TOTAL_S:g} s"
            ) from error

    async def _followed(self, url: str, task: int | None) -> bytes:
        try:
            target, vouched = self._locate(url, task), False
            for _ in range(_MAX_REDIRECTS + 1):
                response = await self._open(target, vouched=vouched)
                try:
                    if not response.is_redirect:
                        return await self._read(response, target)
                    # Label Studio sends to presigned addresses of the storage that its admin gave it.
                    vouched = self._is_home(target)
                    target = self._redirected(response, target)
                finally:
                    await response.aclose()
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise ImageFetchError(f"the image {_short(url)} does not arrive: {reason}") from error
        except LabelStudioError as error:
            raise ImageFetchError(str(error)) from error
        raise ImageFetchError(f"the image {_short(url)} redirects more than {_MAX_REDIRECTS} times")

    def _locate(self, url: str, task: int | None) -> httpx.URL:
        """Where to go for a URL as it stands in task data; it may still be refused by `_open`."""
        if self._is_storage(url):
            if task is None:
                raise ImageFetchError(f"{_short(url)} can be resolved only for a task")
            encoded = base64.urlsafe_b64encode(url.encode()).decode()
            return self._home.join(f"tasks/{task}/resolve/").copy_with(params={"fileuri": encoded})
        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, TypeError) as error:
            raise ImageFetchError(f"{_short(url)} is no address: {error}") from error
        if not parsed.scheme and not parsed.host:
            if not url.startswith("/"):
                raise ImageFetchError(
                    f"{_short(url)!r} is neither an address nor a path; an uploaded image looks like "
                    "/data/upload/1/photo.jpg"
                )
            return self._on_home(parsed)
        if parsed.scheme not in ("http", "https"):
            raise ImageFetchError(
                f"images cannot be read from {parsed.scheme}:// ({_short(url)}); use http(s), an upload, local "
                f"files or a storage that Label Studio resolves ({', '.join(sorted(_STORAGE_SCHEMES))})"
            )
        own_path = parsed.path.startswith(_OWN_PATHS) and not self._is_allowed(parsed.host)
        return self._on_home(parsed) if own_path or self._is_home(parsed) else parsed

    def _on_home(self, url: httpx.URL) -> httpx.URL:
        """The same path and query on Label Studio's own address."""
        path = url.raw_path.decode("ascii")
        # Label Studio may live under a sub-path, of which task data sometimes has a copy.
        root = self._home.raw_path.decode("ascii").rstrip("/")
        if root and path.startswith(f"{root}/"):
            path = path.removeprefix(root)
        # Our key opens more than images, and what comes back is quoted to annotators when it is none.
        if not path.startswith(_IMAGE_PATHS) or ".." in url.path.split("/"):
            raise ImageFetchError(
                f"{_short(path)} is no path of an image in Label Studio; those begin with "
                f"{', '.join(_IMAGE_PATHS)}"
            )
        return self._home.copy_with(raw_path=(root + path).encode("ascii"))

    async def _open(self, url: httpx.URL, *, vouched: bool) -> httpx.Response:
        """Send the request, if the URL may be fetched; the body is still to be read.

        `vouched`: Label Studio itself redirected here. Public addresses only, unless the settings say otherwise.
        """
        if self._is_home(url):
            request = self._http.build_request("GET", url)
            return await self._http.send(request, stream=True, auth=self._auth)
        host = url.host
        if not vouched and not self._is_allowed(host):
            raise ImageFetchError(
                f"images may not be fetched from {host!r}; add it to REGIONTEXT_ALLOWED_IMAGE_HOSTS to allow it"
            )
        port = url.port or (443 if url.scheme == "https" else 80)
        if self._settings.allow_private_image_hosts and self._is_allowed(host):
            request = self._http.build_request("GET", url)
        else:
            address = await resolve_public(host, port)
            # Connect to the address that was checked, under the name it was asked by.
            extensions: dict[str, Any] = {"sni_hostname": host}
            request = self._http.build_request(
                "GET",
                url.copy_with(host=address),
                headers={"Host": url.netloc.decode("ascii")},
                extensions=extensions,
            )
        return await self._http.send(request, stream=True, auth=None)

    def _redirected(self, response: httpx.Response, url: httpx.URL) -> httpx.URL:
        try:
            target = url.join(response.headers.get("Location", ""))
        except httpx.InvalidURL as error:
            raise ImageFetchError(f"{_short(str(url))} redirects to no address: {error}") from error
        if target.scheme not in ("http", "https") or (
            url.scheme == "https" and target.scheme == "http" and not self._is_home(target)
        ):
            raise ImageFetchError(
                f"{_short(str(url))} redirects to {target.scheme}://, which is not followed"
            )
        return target

    async def _read(self, response: httpx.Response, url: httpx.URL) -> bytes:
        limit = self._settings.max_image_bytes
        where = _short(str(url))
        if response.status_code in (401, 403) and self._is_home(url):
            raise ImageFetchError(
                f"Label Studio refuses the image {where} (HTTP {response.status_code}); check "
                "REGIONTEXT_LABEL_STUDIO_API_KEY and that its user may see the project"
            )
        if response.status_code != 200:
            raise ImageFetchError(f"the image {where} answers HTTP {response.status_code}")
        if "text/html" in response.headers.get("Content-Type", "").lower():
            raise ImageFetchError(f"{where} is a web page, not an image; it may need a login")
        announced = response.headers.get("Content-Length", "")
        if announced.isdigit() and int(announced) > limit:
            raise ImageFetchError(f"the image {where} has {announced} bytes, more than {limit}")
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip"):
            raise ImageFetchError(
                f"the image {where} comes in the encoding {encoding!r}, which is not read"
            )
        unpacking = zlib.decompressobj(wbits=31) if encoding == "gzip" else None
        parts: list[bytes] = []
        size = 0
        async for raw in response.aiter_raw() if unpacking else response.aiter_bytes():
            part = raw
            if unpacking is not None:
                try:
                    part = unpacking.decompress(raw, limit - size + 1)
                except zlib.error as error:
                    raise ImageFetchError(f"the image {where} is no gzip as it says") from error
            size += len(part)
            if size > limit:
                raise ImageFetchError(f"the image {where} has more than {limit} bytes")
            parts.append(part)
        return b"".join(parts)

    def _decode_data_url(self, url: str) -> bytes:
        head, comma, body = url.partition(",")
        limit = self._settings.max_image_bytes
        if len(body) > limit * 4 // 3 + 4:
            raise ImageFetchError(f"the image in the data URL has more than {limit} bytes")
        try:
            return (
                base64.b64decode(body, validate=True)
                if comma and head.endswith(";base64")
                else unquote_to_bytes(body)
            )
        except (binascii.Error, ValueError) as error:
            raise ImageFetchError(f"the data URL {_short(url)} cannot be read: {error}") from error

    def _is_storage(self, url: str) -> bool:
        return url.split("://", 1)[0].lower() in _STORAGE_SCHEMES

    def _is_home(self, url: httpx.URL) -> bool:
        return (url.scheme, url.host, url.port) == (
            self._home.scheme,
            self._home.host,
            self._home.port,
        )

    def _is_allowed(self, host: str) -> bool:
        return host.lower() in self._settings.allowed_image_hosts


def _short(url: str) -> str:
    """A URL to show: no query (it may hold a signature), not too long."""
    shown = url.split("?", 1)[0]
    return shown if len(shown) <= 100 else shown[:97] + "..."
