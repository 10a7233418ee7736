"""Keys of Label Studio: told apart, refreshed, and sent nowhere else."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from backend.errors import LabelStudioError
from backend.label_studio import TokenAuth, client, image_url, project_id, token_kind, whoami
from backend.settings import Settings

HOME = "http://studio:8080"


def jwt(kind: str, ends: float, number: int = 0) -> str:
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'HS256'})}.{part({'token_type': kind, 'exp': ends, 'n': number})}.c2ln"


class Studio:
    """Label Studio as far as tokens go; access tokens live `life` seconds."""

    def __init__(self, life: float = 300.0) -> None:
        self.life = life
        self.personal = jwt("refresh", time.time() + 1e9)
        self.current = ""
        self.refreshes = 0
        self.seen: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/token/refresh/":
            assert "Authorization" not in request.headers
            if json.loads(request.content) != {"refresh": self.personal}:
                return httpx.Response(401, json={"detail": "Token is blacklisted"})
            self.refreshes += 1
            self.current = jwt("access", time.time() + self.life, self.refreshes)
            return httpx.Response(200, json={"access": self.current})
        self.seen.append(request)
        good = request.headers.get("Authorization") in (
            f"Bearer {self.current}",
            "Token " + "a" * 40,
        )
        return httpx.Response(200 if good else 401, json={"detail": "no"})


def calls(studio: Studio, key: str, n: int = 2, url: str = HOME + "/api/projects") -> list[int]:
    auth = TokenAuth(HOME, key)
    with httpx.Client(transport=httpx.MockTransport(studio), auth=auth) as http:
        return [http.get(url).status_code for _ in range(n)]


def test_kinds() -> None:
    assert token_kind("a" * 40) == "legacy"
    assert token_kind("a.b.c") == "legacy"
    assert token_kind(jwt("refresh", 1e10)) == "personal"
    assert token_kind(jwt("access", 1e10)) == "access"


def test_a_legacy_token_goes_as_token() -> None:
    studio = Studio()
    assert calls(studio, "a" * 40) == [200, 200] and studio.refreshes == 0


def test_a_personal_access_token_is_exchanged_once_while_it_lasts() -> None:
    studio = Studio()
    assert calls(studio, studio.personal, 3) == [200, 200, 200] and studio.refreshes == 1


def test_it_is_renewed_before_it_ends() -> None:
    studio = Studio(life=10.0)
    assert calls(studio, studio.personal, 3) == [200, 200, 200] and studio.refreshes == 3


def test_it_is_renewed_when_label_studio_no_longer_takes_it() -> None:
    studio = Studio()
    auth = TokenAuth(HOME, studio.personal)
    with httpx.Client(transport=httpx.MockTransport(studio), auth=auth) as http:
        assert http.get(HOME + "/a").status_code == 200
        studio.current = "revoked"
        assert http.get(HOME + "/a").status_code == 200
    assert studio.refreshes == 2


def test_an_access_token_goes_as_bearer() -> None:
    studio = Studio()
    studio.current = jwt("access", time.time() + 300)
    assert calls(studio, studio.current) == [200, 200] and studio.refreshes == 0


def test_a_revoked_personal_token_is_told() -> None:
    studio = Studio()
    with pytest.raises(LabelStudioError, match=r"HTTP 401\): Token is blacklisted") as caught:
        calls(studio, jwt("refresh", 1e10, 5))
    assert "c2ln" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["http://elsewhere:8080/x", "https://studio:8080/x", "http://studio:9/x", "http://studio/x"],
)
@pytest.mark.parametrize("kind", ["legacy", "personal"])
def test_the_key_goes_to_label_studio_only(url: str, kind: str) -> None:
    studio = Studio()
    calls(studio, studio.personal if kind == "personal" else "a" * 40, 1, url)
    assert "Authorization" not in studio.seen[0].headers and studio.refreshes == 0


def test_async_and_streamed() -> None:
    studio, read = Studio(), []

    async def body() -> AsyncIterator[bytes]:
        read.append(1)
        yield b"x"

    def answer(request: httpx.Request) -> httpx.Response:
        checked = studio(request)
        home = request.url.path == "/api/token/refresh/"
        return checked if home else httpx.Response(checked.status_code, content=body())

    async def work() -> None:
        auth = TokenAuth(HOME, studio.personal)
        transport = httpx.MockTransport(answer)
        async with (
            httpx.AsyncClient(transport=transport, auth=auth) as http,
            http.stream("GET", HOME + "/a") as response,
        ):
            assert response.status_code == 200 and not read
            assert await response.aread() == b"x"

    asyncio.run(work())
    assert studio.refreshes == 1


def test_a_key_does_not_show() -> None:
    assert "aaaa" not in repr(TokenAuth(HOME, "a" * 40))
    settings = Settings(label_studio_api_key="a" * 40, _env_file=None)
    assert "aaaa" not in repr(settings) and "aaaa" not in settings.model_dump_json()


def answering(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[[httpx.Request], httpx.Response]
) -> Settings:
    plain = httpx.Client.__init__

    def init(self: httpx.Client, **given: Any) -> None:
        plain(self, **(given | {"transport": httpx.MockTransport(answer)}))

    monkeypatch.setattr(httpx.Client, "__init__", init)
    return Settings(label_studio_url=HOME, label_studio_api_key="b" * 40, _env_file=None)


def test_self_test(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = answering(monkeypatch, lambda r: httpx.Response(200, json={"email": "a@b.c"}))
    assert whoami(settings) == {"email": "a@b.c"}
    with client(settings) as http:
        assert http.get("/api/projects").status_code == 200


@pytest.mark.parametrize(
    ("status", "why"),
    [(401, "refuses the key"), (403, "refuses the key"), (404, "is it Label Studio")],
)
def test_self_test_says_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, status: int, why: str
) -> None:
    settings = answering(monkeypatch, lambda r: httpx.Response(status, json={"detail": "nope"}))
    with pytest.raises(LabelStudioError, match=why) as caught:
        whoami(settings)
    assert "bbbb" not in str(caught.value)


def test_self_test_without_label_studio_and_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(LabelStudioError, match="REGIONTEXT_LABEL_STUDIO_URL"):
        whoami(answering(monkeypatch, refuse))
    with pytest.raises(LabelStudioError, match="no key"):
        whoami(Settings(label_studio_url=HOME, _env_file=None))


def test_project_numbers() -> None:
    assert project_id("2.1795236743") == 2 and project_id("14") == 14 and project_id(3) == 3
    for wrong in ("", "x.1", None, "-1"):
        with pytest.raises(LabelStudioError):
            project_id(wrong)


def test_image_urls() -> None:
    assert image_url({"image": "/a.png"}, "image") == "/a.png"
    assert image_url({"pages": ["/a.png", "/b.png"]}, "pages", 1) == "/b.png"
    for data, index in (({}, 0), ({"image": 5}, 0), ({"image": ["/a"]}, 1), ({"image": ""}, 0)):
        with pytest.raises(LabelStudioError, match="image"):
            image_url(data, "image", index)
