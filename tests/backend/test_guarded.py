"""Images and logs as an attacker, or a bad day, would have them: numbers for names, bombs, drips, keys in errors."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from pydantic import SecretStr

from backend import images, security
from backend.app import create_app
from backend.errors import ImageFetchError
from backend.images import Images
from backend.logs import JsonFormatter
from backend.settings import Settings
from tests.backend.mutations import recorded
from tests.backend.stubs import StubHost, StubModel
from tests.backend.waiting import wait_for
from tests.label_studio_server import free_port

HOME = "http://localhost:8080"
PUBLIC = "93.184.216.34"


class Wire(httpx.AsyncBaseTransport):
    """Answers with what `answers` says for a path; everything sent is kept."""

    def __init__(self, **answers: httpx.Response) -> None:
        self.sent: list[httpx.Request] = []
        self._answers = answers

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        return self._answers[request.url.path.rsplit("/", 1)[-1] or "root"]


def fetch(url: str, wire: httpx.AsyncBaseTransport, **given: Any) -> bytes:
    settings = Settings(
        label_studio_url=HOME, label_studio_api_key="k" * 40, _env_file=None, **given
    )

    async def work() -> bytes:
        async with Images(settings, transport=wire) as found:
            return await found.fetch(url, task=1)

    return asyncio.run(work())


def to(location: str) -> httpx.Response:
    return httpx.Response(302, headers={"Location": location})


# --- addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "2130706433", "0x7f000001", "017700000001", "127.1", "0177.0.0.1", "0x7f.1", "127.0.0.1",
        "2852039166", "0xa9fea9fe", "169.254.43518", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]",
        "[::127.0.0.1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::1]", "[fec0::1]", "[fd00:ec2::254]", "0",
    ],
)  # fmt: skip
def test_the_metadata_service_and_we_are_not_reached_however_it_is_written(host: str) -> None:
    """Neither as a host that was allowed nor where Label Studio itself redirects; by the system's own resolver."""
    for url, allowed in ((f"http://{host}/root", (host.strip("[]"),)), ("/data/upload/there", ())):
        wire = Wire(there=to(f"http://{host}/root"), root=httpx.Response(200, content=b"secret"))
        with pytest.raises(ImageFetchError, match=r"private address|cannot be resolved|Invalid"):
            fetch(url, wire, allowed_image_hosts=allowed)
        assert [r.url.host for r in wire.sent] in ([], ["localhost"])


def test_a_name_that_changes_its_address_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: public when it is checked, ours when it is connected to."""
    answers = [PUBLIC, "127.0.0.1", "127.0.0.1"]
    asked = []

    async def look_up(self: object, host: str, port: int, **_: object) -> list[Any]:
        asked.append(host)
        return [(2, 1, 6, "", (answers[len(asked) - 1], port))]

    monkeypatch.setattr("asyncio.base_events.BaseEventLoop.getaddrinfo", look_up)
    wire = Wire(root=httpx.Response(200, content=b"picture"))
    url = "https://rebind.example.org/root"
    assert fetch(url, wire, allowed_image_hosts=("rebind.example.org",)) == b"picture"
    assert asked == ["rebind.example.org"]
    (sent,) = wire.sent
    assert sent.url.host == PUBLIC and sent.headers["Host"] == "rebind.example.org"
    assert sent.extensions["sni_hostname"] == "rebind.example.org"


def test_one_private_address_among_public_ones_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look_up(self: object, host: str, port: int, **_: object) -> list[Any]:
        return [(2, 1, 6, "", (a, port)) for a in (PUBLIC, "10.0.0.1")]

    monkeypatch.setattr("asyncio.base_events.BaseEventLoop.getaddrinfo", look_up)
    with pytest.raises(ImageFetchError, match=r"private address 10\.0\.0\.1"):
        asyncio.run(security.resolve_public("both.example.org", 443))


def test_each_redirect_is_checked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look_up(self: object, host: str, port: int, **_: object) -> list[Any]:
        return [(2, 1, 6, "", (PUBLIC if host == "one.example.org" else "10.0.0.1", port))]

    monkeypatch.setattr("asyncio.base_events.BaseEventLoop.getaddrinfo", look_up)
    hosts = ("one.example.org", "two.example.org")
    wire = Wire(a=to("http://one.example.org/b"), b=to("http://two.example.org/c"))
    with pytest.raises(ImageFetchError, match="private address"):
        fetch("http://one.example.org/a", wire, allowed_image_hosts=hosts)
    assert [r.url.path for r in wire.sent] == ["/a", "/b"]
    assert all("Authorization" not in r.headers for r in wire.sent)


@pytest.mark.parametrize(
    "path",
    [
        "file:///etc/passwd", "/etc/passwd", "etc/passwd", "../../etc/passwd", "/data/../etc/passwd",
        "/data/%2e%2e/api/users", "/data/upload/..%2f..%2fapi/token", "//evil.example.org/data/upload/a.png",
        "C:\\photo.png", "\\\\server\\share\\a.png", "/api/current-user/token", "",
    ],
)  # fmt: skip
def test_no_file_and_no_other_route_is_read_by_its_name_in_a_task(path: str) -> None:
    """Local files come from Label Studio alone, which keeps to its own root; a link there is its business."""
    wire = Wire()
    with pytest.raises(ImageFetchError):
        fetch(path, wire)
    assert not wire.sent


# --- bombs and drips -----------------------------------------------------------------------------


def packed(data: bytes, encoding: str = "gzip") -> httpx.Response:
    async def body() -> AsyncIterator[bytes]:
        yield data

    return httpx.Response(200, headers={"Content-Encoding": encoding}, content=body())


def test_a_packed_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(bytes(64 * 2**20))
    assert len(bomb) < 100_000
    with pytest.raises(ImageFetchError, match="more than 1000000 bytes"):
        fetch("/data/upload/a", Wire(a=packed(bomb)), max_image_bytes=1_000_000)


def test_gzip_is_read_and_what_unpacks_without_bound_is_not() -> None:
    wire = Wire(a=packed(gzip.compress(b"picture")))
    assert fetch("/data/upload/a", wire) == b"picture"
    assert wire.sent[0].headers["Accept-Encoding"] == "identity"
    for encoding in ("br", "zstd", "deflate", "gzip, gzip"):
        with pytest.raises(ImageFetchError, match="encoding"):
            fetch("/data/upload/a", Wire(a=packed(b"x", encoding)))
    with pytest.raises(ImageFetchError, match="no gzip"):
        fetch("/data/upload/a", Wire(a=packed(b"no gzip at all")))


def test_an_image_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_TOTAL_S", 0.3)

    async def body() -> AsyncIterator[bytes]:
        while True:
            yield b"."
            await asyncio.sleep(0.02)

    started = time.monotonic()
    with pytest.raises(ImageFetchError, match=r"does not arrive in 0\.3 s"):
        fetch("/data/upload/a", Wire(a=httpx.Response(200, content=body())))
    assert time.monotonic() - started < 5


# --- the log -------------------------------------------------------------------------------------


def test_no_secret_of_the_settings_is_ever_in_the_log() -> None:
    """Wherever it stands: in the words, in what is added, in an exception and what caused it."""
    secrets = {
        "label_studio_api_key": "0123456789abcdef0123",
        "model_api_key": "sk-plain",
        "model_admin_key": "admin-key",
        "segmenter_api_key": "shapes-key",
        "webhook_secret": 'hook "quoted" secret',
        "assist_secret": "assist-secret",
        "basic_auth_password": "pässwörd",
    }
    settings = Settings(
        **secrets,
        basic_auth_user="bob",
        database_url="postgresql+psycopg://me:p%40ssword@host/db",
        _env_file=None,
    )
    hidden = [
        name for name, info in Settings.model_fields.items() if "SecretStr" in str(info.annotation)
    ]
    assert set(hidden) == set(secrets), "a secret that this test does not know"
    plain = [*secrets.values(), "p%40ssword", "p@ssword"]
    assert set(settings.secrets) == set(plain)
    formatter = JsonFormatter(settings.secrets)
    for secret in plain:
        try:
            try:
                raise ValueError(f"refused {secret!r}")
            except ValueError as cause:
                raise RuntimeError(f"called with {secret}") from cause
        except RuntimeError as error:
            record = logging.makeLogRecord(
                {"msg": f"said {secret}", "added": {"deep": [secret]},
                 "exc_info": (type(error), error, error.__traceback__)}
            )  # fmt: skip
        written = formatter.format(record)
        said = json.loads(written)
        assert "RuntimeError" in said["exception"]
        assert secret not in written and secret not in str(said), written


def test_a_short_secret_does_not_mask_plain_words() -> None:
    assert isinstance(Settings(webhook_secret="a", _env_file=None).webhook_secret, SecretStr)
    record = logging.makeLogRecord({"msg": "a cat"})
    assert json.loads(JsonFormatter(["a"]).format(record))["message"] == "a cat"


# --- shutting down -------------------------------------------------------------------------------


def test_who_is_being_answered_gets_the_answer_when_the_backend_is_told_to_stop(
    tmp_path: Path,
) -> None:
    stub, host = StubModel(delay=1.0), StubHost()
    settings = Settings(
        label_studio_url="http://label-studio:8080", label_studio_api_key=host.token,
        model_url="http://model:9200/v1", data_dir=tmp_path, holdout=0, control=0, _env_file=None,
    )  # fmt: skip
    app = create_app(
        settings,
        model_transport=stub.transport(),
        image_transport=host.transport(),
        processor=lambda *_: None,
    )
    port = free_port()
    config = uvicorn.Config(app, port=port, log_level="warning", timeout_graceful_shutdown=20)
    server = uvicorn.Server(config)
    body = recorded()["request_predict_interactive_with_draft"]
    with ThreadPoolExecutor() as pool:
        running = pool.submit(server.run)
        wait_for(lambda: server.started)
        call = pool.submit(httpx.post, f"http://127.0.0.1:{port}/predict", json=body, timeout=30)
        wait_for(lambda: stub.asked)
        server.should_exit = True
        results = call.result().json()["results"][0]["result"]
        running.result(30)
    assert any(item["type"] == "textarea" for item in results)
