"""Which addresses images are fetched from, with which key, and what is refused."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from backend import security
from backend.errors import ImageFetchError
from backend.images import Images
from backend.settings import Settings

PUBLIC = "93.184.216.34"
HOME = "http://localhost:8080"


def settings(**given: Any) -> Settings:
    values = {"label_studio_url": HOME, "label_studio_api_key": "k" * 40, "_env_file": None}
    return Settings(**(values | given))


class Net:
    """Everything that is sent, and what comes back."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response] | None = None) -> None:
        self.sent: list[httpx.Request] = []
        self._answer = answer or (lambda request: httpx.Response(200, content=b"picture"))

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        return self._answer(request)

    def fetch(self, url: str, *, task: int | None = 7, **given: Any) -> bytes:
        async def work() -> bytes:
            transport = httpx.MockTransport(self.handle)
            async with Images(settings(**given), transport=transport) as images:
                return await images.fetch(url, task=task)

        return asyncio.run(work())

    @property
    def urls(self) -> list[str]:
        return [str(request.url) for request in self.sent]


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A name service of our own: host -> address."""
    known = {
        "images.example.org": PUBLIC,
        "bucket.example.org": PUBLIC,
        "inside.example.org": "10.1.2.3",
    }

    async def look_up(self: object, host: str, port: int, **_: object) -> list[Any]:
        if host not in known and not host.replace(".", "").isdigit():
            raise OSError("unknown name")
        return [(2, 1, 6, "", (known.get(host, host), port))]

    monkeypatch.setattr("asyncio.base_events.BaseEventLoop.getaddrinfo", look_up)
    return known


@pytest.mark.parametrize(
    "url",
    [
        "/data/upload/2/photo.jpg",
        "/data/local-files/?d=photos%2Fone%20two.jpg",
        "/storage-data/uploaded/?filepath=upload/2/photo.jpg",
    ],
)
def test_paths_are_read_from_label_studio_with_its_key(url: str) -> None:
    net = Net()
    assert net.fetch(url) == b"picture"
    assert net.urls == [HOME + url]
    assert net.sent[0].headers["Authorization"] == "Token " + "k" * 40


def test_label_studio_under_a_sub_path() -> None:
    net = Net()
    net.fetch("/data/upload/2/a.png", label_studio_url="http://host/ls")
    net.fetch("/ls/data/upload/2/b.png", label_studio_url="http://host/ls")
    assert net.urls == ["http://host/ls/data/upload/2/a.png", "http://host/ls/data/upload/2/b.png"]


def test_its_public_name_is_read_at_the_address_it_has_from_here() -> None:
    net = Net()
    net.fetch("https://labels.example.com/data/local-files/?d=a.png")
    assert net.urls == [HOME + "/data/local-files/?d=a.png"]


def test_cloud_storage_is_resolved_by_label_studio() -> None:
    net = Net()
    net.fetch("s3://bucket/a photo.png", task=31)
    encoded = base64.urlsafe_b64encode(b"s3://bucket/a photo.png").decode()
    assert net.sent[0].url.path == "/tasks/31/resolve/"
    assert net.sent[0].url.params["fileuri"] == encoded
    with pytest.raises(ImageFetchError, match="only for a task"):
        net.fetch("s3://bucket/a.png", task=None)


def test_a_presigned_address_is_followed_without_the_key() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/tasks/31/resolve/":
            there = "https://bucket.example.org/a.png?X-Amz-Signature=abc"
            return httpx.Response(303, headers={"Location": there})
        return httpx.Response(200, content=b"from the bucket")

    net = Net(answer)
    assert net.fetch("s3://bucket/a.png", task=31) == b"from the bucket"
    assert "Authorization" not in net.sent[1].headers
    assert net.sent[1].headers["Host"] == "bucket.example.org"
    # Connected to the address that was checked, so that the name cannot change in between.
    assert net.sent[1].url.host == PUBLIC
    assert net.sent[1].extensions["sni_hostname"] == "bucket.example.org"


@pytest.mark.parametrize(
    "there",
    [
        "http://127.0.0.1/admin",
        "http://169.254.169.254/latest/meta-data/",
        "http://inside.example.org/a.png",
        "http://[::1]/",
        "http://[::ffff:10.0.0.1]/",
        "file:///etc/passwd",
        "gopher://x/",
    ],
)
def test_a_redirect_into_the_private_network_is_refused(there: str, names: dict[str, str]) -> None:
    names |= {"::1": "::1", "::ffff:10.0.0.1": "::ffff:10.0.0.1", "::ffff:a00:1": "::ffff:10.0.0.1"}
    net = Net(lambda request: httpx.Response(302, headers={"Location": there}))
    with pytest.raises(ImageFetchError):
        net.fetch("/data/upload/2/a.png")
    assert len(net.sent) == 1


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://images.example.org/a.png", "ALLOWED_IMAGE_HOSTS"),
        ("http://169.254.169.254/latest", "ALLOWED_IMAGE_HOSTS"),
        ("http://localhost:9000/data/a.png", "ALLOWED_IMAGE_HOSTS"),
        ("file:///etc/passwd", "cannot be read from file"),
        ("ftp://images.example.org/a.png", "cannot be read from ftp"),
        ("photo.png", "neither an address nor a path"),
        ("//images.example.org/a.png", "cannot be read from"),
        ("http://", "ALLOWED_IMAGE_HOSTS"),
        ("", "neither"),
        ("/api/users", "no path of an image"),
        (HOME + "/api/users", "no path of an image"),
        ("/data/../api/users", "no path of an image"),
        ("/data/%2e%2e/api/users", "no path of an image"),
    ],
)
def test_other_addresses_are_refused_without_a_request(url: str, why: str) -> None:
    net = Net()
    with pytest.raises(ImageFetchError, match=why):
        net.fetch(url)
    assert not net.sent


def test_an_allowed_host_is_read_without_the_key() -> None:
    net = Net()
    net.fetch("https://images.example.org/a.png", allowed_image_hosts="images.example.org, other")
    assert "Authorization" not in net.sent[0].headers


def test_an_allowed_host_in_the_private_network_needs_a_word_more() -> None:
    net = Net()
    with pytest.raises(ImageFetchError, match=r"private address 10\.1\.2\.3"):
        net.fetch("http://inside.example.org/a.png", allowed_image_hosts="inside.example.org")
    net.fetch(
        "http://inside.example.org/a.png",
        allowed_image_hosts="inside.example.org",
        allow_private_image_hosts=True,
    )
    assert net.urls == ["http://inside.example.org/a.png"]


def test_an_allowed_host_may_not_redirect_to_another() -> None:
    where = {"Location": "https://bucket.example.org/a.png"}
    net = Net(lambda request: httpx.Response(302, headers=where))
    with pytest.raises(ImageFetchError, match=r"bucket\.example\.org"):
        net.fetch("https://images.example.org/a.png", allowed_image_hosts="images.example.org")


def test_a_redirect_without_end() -> None:
    net = Net(lambda request: httpx.Response(302, headers={"Location": "/data/upload/2/a.png"}))
    with pytest.raises(ImageFetchError, match="redirects more than"):
        net.fetch("/data/upload/2/a.png")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (httpx.Response(401), "REGIONTEXT_LABEL_STUDIO_API_KEY"),
        (httpx.Response(404), "HTTP 404"),
        (httpx.Response(200, content=b"<html>", headers={"Content-Type": "text/html"}), "web page"),
        (httpx.Response(200, content=b"x" * 101), "more than 100"),
        (httpx.Response(200, headers={"Content-Length": "101"}), "101 bytes"),
    ],
)
def test_answers_that_are_no_image(answer: httpx.Response, why: str) -> None:
    with pytest.raises(ImageFetchError, match=why):
        Net(lambda request: answer).fetch("/data/upload/2/a.png", max_image_bytes=100)


def test_a_stream_without_length_is_cut_off() -> None:
    read = []

    async def endless() -> Any:
        while True:
            read.append(1)
            yield b"x" * 1000

    net = Net(lambda request: httpx.Response(200, content=endless()))
    with pytest.raises(ImageFetchError, match="more than 10000 bytes"):
        net.fetch("/data/upload/2/a.png", max_image_bytes=10_000)
    assert len(read) < 100


def test_data_urls() -> None:
    net = Net()
    url = "data:image/png;base64," + base64.b64encode(b"inline").decode()
    assert net.fetch(url) == b"inline"
    with pytest.raises(ImageFetchError, match="more than 2 bytes"):
        net.fetch(url, max_image_bytes=2)
    with pytest.raises(ImageFetchError, match="cannot be read"):
        net.fetch("data:image/png;base64,@@@")
    assert not net.sent


def test_the_key_and_signatures_stay_out_of_messages() -> None:
    net = Net(lambda request: httpx.Response(500))
    with pytest.raises(ImageFetchError) as caught:
        net.fetch("/data/upload/2/a.png?token=SECRET")
    assert "SECRET" not in str(caught.value) and "kkkk" not in str(caught.value)


def test_images_are_kept_up_to_a_number_of_bytes_and_fetched_once_at_a_time() -> None:
    async def work() -> None:
        net = Net(lambda request: httpx.Response(200, content=b"x" * 40))
        transport = httpx.MockTransport(net.handle)
        async with Images(settings(image_cache_bytes=100), transport=transport) as images:
            await asyncio.gather(*(images.fetch("/data/upload/1") for _ in range(5)))
            assert len(net.sent) == 1
            for name in ("2", "1", "3", "1", "2"):
                await images.fetch(f"/data/upload/{name}")
            # 3 pushed out 2, which was used longer ago than 1.
            assert [u[-1] for u in net.urls] == ["1", "2", "3", "2"]

    asyncio.run(work())


def test_a_failure_is_not_kept() -> None:
    async def work() -> None:
        answers = [httpx.Response(500), httpx.Response(200, content=b"picture")]
        transport = httpx.MockTransport(lambda request: answers.pop(0))
        async with Images(settings(), transport=transport) as images:
            with pytest.raises(ImageFetchError):
                await images.fetch("/data/upload/1")
            assert await images.fetch("/data/upload/1") == b"picture"

    asyncio.run(work())


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1",
        "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "ff02::1",
    ],
)  # fmt: skip
def test_private_addresses(address: str) -> None:
    assert security.is_private(address)


@pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"])
def test_public_addresses(address: str) -> None:
    assert not security.is_private(address)
