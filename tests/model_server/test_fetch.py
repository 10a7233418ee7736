"""Pictures by address: what may be asked, and what is refused before a connection is made."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from model_server.errors import RequestError
from model_server.protocol.fetch import Fetcher

PARAM = "messages[0].content[0].image_url.url"
PUBLIC = "93.184.215.14"


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`resolve(address, …)`: every name has these addresses."""

    def at(*addresses: str) -> None:
        def found(host: str, port: int, **_: object) -> list[tuple]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in addresses]

        monkeypatch.setattr(socket, "getaddrinfo", found)

    at(PUBLIC)
    return at


def fetcher(answer: Callable[[httpx.Request], httpx.Response], **options: object) -> Fetcher:
    hosts = ("pictures.example", "other.example:8080")
    return Fetcher(hosts, transport=httpx.MockTransport(answer), **options)


def fetched(one: Fetcher, url: str) -> bytes:
    return asyncio.run(one.fetch(url, param=PARAM))


def refuse(request: httpx.Request) -> httpx.Response:
    raise AssertionError(f"asked {request.url}")


def test_an_allowed_host_is_asked_at_the_address_that_was_checked(
    resolve: Callable[..., None],
) -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, content=b"bytes")

    assert fetched(fetcher(answer), "https://Pictures.example/a.png?b=1#c") == b"bytes"
    (request,) = asked
    assert str(request.url) == f"https://{PUBLIC}/a.png?b=1"
    assert request.headers["host"] == "pictures.example"
    assert request.extensions["sni_hostname"] == "pictures.example"
    assert fetched(fetcher(answer), "http://other.example:8080/a") == b"bytes"
    assert asked[1].headers["host"] == "other.example:8080"


@pytest.mark.parametrize(
    "url",
    [
        "https://elsewhere.example/a.png",
        "https://pictures.example:8443/a.png",
        "http://other.example/a.png",
        "https://pictures.example@elsewhere.example/a.png",
        "https://user@pictures.example/a.png",
        "https://pictures.example:port/a.png",
        "ftp://pictures.example/a.png",
        "file:///etc/passwd",
        "/etc/passwd",
        "http://[",
        "http://[::1",
        "http://pictures.example/\x00",
        f"http://pictures.example/{'a' * 70_000}",
        f"http://{'a' * 70_000}/",
    ],
    ids=lambda url: url[:40],
)
def test_other_addresses_are_refused(resolve: Callable[..., None], url: str) -> None:
    with pytest.raises(RequestError) as refused:
        fetched(fetcher(refuse), url)
    assert (refused.value.param, refused.value.code) == (PARAM, "image_url_not_supported")
    assert len(refused.value.message) < 400


def test_a_name_that_no_resolver_takes_has_no_address() -> None:
    name = "a" * 64  # longer than a label may be
    with pytest.raises(RequestError, match="has no address"):
        fetched(Fetcher([name]), f"http://{name}/")


def test_a_host_that_trickles_is_given_up_in_the_end(resolve: Callable[..., None]) -> None:
    class Trickle(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                yield b"x"
                await asyncio.sleep(0.01)

    slow = fetcher(lambda _: httpx.Response(200, stream=Trickle()), deadline_s=0.1)
    with pytest.raises(RequestError, match=r"not there after 0\.1 seconds") as refused:
        fetched(slow, "https://pictures.example/a.png")
    assert (refused.value.param, refused.value.status) == (PARAM, 400)


def test_a_resolver_that_is_slow_is_given_up_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()

    def found(*_: object, **__: object) -> list[tuple]:
        go.wait(10)
        return []

    async def ask() -> None:
        try:
            await fetcher(refuse, deadline_s=0.1).fetch("https://pictures.example/", param=PARAM)
        finally:
            go.set()

    monkeypatch.setattr(socket, "getaddrinfo", found)
    with pytest.raises(RequestError, match="not there after"):
        asyncio.run(ask())


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.0.9",
        "169.254.169.254",
        "::1",
        "fe80::1%eth0",
        "0.0.0.0",
        "::ffff:127.0.0.1",
        "100.64.0.1",
    ],
)
def test_private_addresses_are_refused_even_of_allowed_hosts(
    resolve: Callable[..., None], address: str
) -> None:
    resolve(PUBLIC, address)
    with pytest.raises(RequestError, match="private address"):
        fetched(fetcher(refuse), "https://pictures.example/a.png")


def test_redirects_errors_and_long_bodies_are_refused(resolve: Callable[..., None]) -> None:
    def ask(response: httpx.Response) -> None:
        fetched(fetcher(lambda _: response, max_bytes=10), "https://pictures.example/a")

    ask(httpx.Response(200, content=b"x" * 10))
    with pytest.raises(RequestError, match="redirects are not followed"):
        ask(httpx.Response(302, headers={"Location": "http://127.0.0.1/"}))
    with pytest.raises(RequestError, match="404"):
        ask(httpx.Response(404))
    with pytest.raises(RequestError, match="more than 10 bytes") as refused:
        ask(httpx.Response(200, content=b"x" * 11))
    assert refused.value.status == 413

    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route")

    with pytest.raises(RequestError, match="no route"):
        fetched(fetcher(broken), "https://pictures.example/a")
