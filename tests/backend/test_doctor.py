"""The doctor: each hop says what it found, or what is wrong and what to do; what depends on it is not tried."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.connect import connect
from backend.doctor import Finding, Hop, Said, chain, examine, ours
from backend.doctor import studio as checks
from backend.errors import LabelStudioError
from backend.settings import Settings
from backend.store import Store, open_store
from backend.store import queries as stored
from tests.backend.stub_sam import StubSam
from tests.backend.stubs import StubHost, StubModel, photo
from tests.backend.up_fakes import FakeLabelStudio

BACKEND = "http://127.0.0.1:9"
SECRET = "s3cret"


def boom(error: Exception) -> Any:
    def check() -> Said:
        raise error

    return check


def test_what_needs_a_broken_hop_is_not_tried() -> None:
    tried = []

    def fine() -> Said:
        tried.append(1)
        return Said("fine")

    hops = (
        Hop("a", boom(LabelStudioError("a is\n broken: mend it"))),
        Hop("b", fine, ("a",)),
        Hop("c", fine, ("b",)),
        Hop("d", fine),
        Hop("e", boom(httpx.ConnectError("nobody"))),
        Hop("f", lambda: Said("hm", "doubtful")),
        Hop("g", fine, ("f",)),
    )
    found = {f.name: f for f in examine(hops)}
    assert found["a"] == Finding("a", "wrong", "a is broken: mend it")
    assert [found[n].state for n in "bcdefg"] == [
        "unknown", "unknown", "works", "wrong", "doubtful", "works",
    ]  # fmt: skip
    assert "a" in found["b"].words and len(tried) == 2


def test_a_fault_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        list(examine([Hop("a", boom(ZeroDivisionError()))]))


# --- Label Studio's side -----------------------------------------------------------------------


@pytest.fixture
def studio() -> FakeLabelStudio:
    return FakeLabelStudio()


@pytest.fixture
def project(studio: FakeLabelStudio) -> int:
    number = studio.add_project()
    connect(studio.client(), number, BACKEND, secret=SECRET)
    return number


@pytest.mark.parametrize(
    ("release", "state"), [("1.23.2", "works"), ("1.23", "works"), ("1.24.0", "doubtful")]
)
def test_a_version_that_was_not_tested_is_doubtful(
    studio: FakeLabelStudio, release: str, state: str
) -> None:
    studio.release = release
    said = checks.version(studio.client())
    assert said.state == state and release in said.words


def test_another_program_is_not_taken_for_label_studio() -> None:
    transport = httpx.MockTransport(lambda r: httpx.Response(200, json=["hello"]))
    client = httpx.Client(base_url="http://x", transport=transport)
    with pytest.raises(LabelStudioError, match="check the address"):
        checks.version(client)


def token(**claims: Any) -> str:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{body}.sig"


@pytest.mark.parametrize(
    ("key", "state", "words"),
    [
        ("k" * 40, "works", "legacy"),
        (token(token_type="refresh", exp=time.time() + 9e8), "works", "personal"),
        (token(token_type="refresh", exp=time.time() + 86_400), "doubtful", "new one"),
        (token(token_type="access", exp=time.time() + 300), "doubtful", "personal access token"),
    ],
    ids=["legacy", "personal", "ends tomorrow", "of another kind"],
)
def test_the_kind_of_key_and_its_end(
    studio: FakeLabelStudio, key: str, state: str, words: str
) -> None:
    said = checks.key(studio.client(), key)
    assert said.state == state and words in said.words and "anna@example.com" in said.words
    assert key not in said.words


def test_a_connection_that_works(studio: FakeLabelStudio, project: int) -> None:
    assert checks.connection(studio.client(), project, BACKEND).state == "works"
    assert checks.webhook(studio.client(), project, BACKEND, SECRET).state == "works"
    said = checks.project(studio.client(), project)
    assert said.state == "works" and "caption: text for each region" in said.words


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ({"url": "http://elsewhere"}, "no backend at"),
        ({"state": "DI", "error_message": "401: nope"}, "401: nope"),
        ({"is_interactive": False}, "not interactive"),
    ],
)
def test_a_connection_that_is_broken_names_the_command(
    studio: FakeLabelStudio, project: int, damage: dict[str, Any], words: str
) -> None:
    next(iter(studio.backends.values())).update(damage)
    with pytest.raises(LabelStudioError, match=words) as caught:
        checks.connection(studio.client(), project, BACKEND)
    assert f"regiontext connect --project {project}" in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ({"url": "http://elsewhere/webhook"}, "sends no events"),
        ({"is_active": False}, "switched off"),
        ({"send_payload": False}, "no payload"),
        ({"actions": ["ANNOTATION_CREATED"]}, "ANNOTATION_UPDATED"),
        ({"headers": {}}, "another secret"),
    ],
)
def test_a_webhook_that_is_broken_names_the_command(
    studio: FakeLabelStudio, project: int, damage: dict[str, Any], words: str
) -> None:
    next(iter(studio.hooks.values())).update(damage)
    with pytest.raises(LabelStudioError, match=words) as caught:
        checks.webhook(studio.client(), project, BACKEND, SECRET)
    assert f"regiontext connect --project {project}" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_delivery_leaves_everything_as_it_was(studio: FakeLabelStudio, project: int) -> None:
    sent: list[str] = []
    studio.sent = lambda hook, action: sent.append(f"{hook['url']} {action}")
    before = json.dumps([studio.hooks, studio.projects], sort_keys=True)
    said = checks.delivery(studio.client(), project, BACKEND, lambda action, since: bool(sent))
    assert said.state == "works"
    assert sent == [f"{BACKEND}/webhook PROJECT_UPDATED"]
    assert json.dumps([studio.hooks, studio.projects], sort_keys=True) == before


def test_an_event_that_does_not_arrive_is_noticed_and_the_webhook_restored(
    studio: FakeLabelStudio, project: int
) -> None:
    before = json.dumps(studio.hooks, sort_keys=True)
    with pytest.raises(LabelStudioError, match="not in the database"):
        checks.delivery(studio.client(), project, BACKEND, lambda *_: False, seconds=0.2)
    assert json.dumps(studio.hooks, sort_keys=True) == before


# --- the whole chain ----------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path / 'x.db'}")
    yield opened
    opened.close()


def findings(
    studio: FakeLabelStudio,
    store: Store,
    project: int | None,
    *,
    model: StubModel | None = None,
    host: StubHost | None = None,
    **given: Any,
) -> dict[str, Finding]:
    stub, images = model or StubModel(), host or StubHost()
    settings = Settings(
        label_studio_url="http://label-studio:8080",
        label_studio_api_key=images.token,
        model_url="http://model/v1",
        public_url=BACKEND,
        webhook_secret=SECRET,
        _env_file=None,
        **given,
    )

    def sent(hook: dict[str, Any], action: str) -> None:
        with store.begin() as session:
            stored.add_event(session, action, {})

    studio.sent = sent
    hops = chain(
        settings,
        project,
        client=studio.client(),
        store=lambda: store,
        image_transport=images.transport(),
        model_transport=stub.transport(),
    )
    # Nobody listens on that port: what the backend's own hop says is tested with a real one.
    return {f.name: f for f in examine(h for h in hops if h.name != "backend")}


def with_task(studio: FakeLabelStudio) -> None:
    studio.tasks[77] = {"id": 77, "data": {"image": "/data/upload/1/a.png"}}


def test_a_healthy_chain_ends_in_a_caption(
    studio: FakeLabelStudio, project: int, store: Store
) -> None:
    with_task(studio)
    model = StubModel(text="a red car")
    found = findings(studio, store, project, model=model)
    assert {f.state for f in found.values()} == {"works"}, found
    assert "'a red car'" in found["caption"].words and "caption" in found["caption"].words
    assert "800 x 600" in found["image"].words and "task 77" in found["image"].words
    assert len(model.asked) == 1


def test_an_empty_variable_names_no_model() -> None:
    settings = Settings(model_url="http://model/v1", model="", _env_file=None)
    assert "serves" in ours.model(settings, StubModel().transport()).words


def test_a_project_without_tasks_is_no_fault(
    studio: FakeLabelStudio, project: int, store: Store
) -> None:
    found = findings(studio, store, project)
    assert found["image"].state == found["caption"].state == "unknown"
    assert "wrong" not in {f.state for f in found.values()}


@pytest.mark.parametrize(
    ("given", "hop", "words"),
    [
        ({"model": StubModel(down=True)}, "model", "does not answer"),
        ({"model": StubModel(served=[])}, "model", "serves no model"),
        ({"model": StubModel(say=lambda *_: "")}, "caption", "empty answer"),
        ({"host": StubHost(status=404)}, "image", "HTTP 404"),
        ({"host": StubHost(data=b"<html>login</html>")}, "image", "HTML"),
    ],
)
def test_what_is_wrong_is_found_where_it_is(
    studio: FakeLabelStudio,
    project: int,
    store: Store,
    given: dict[str, Any],
    hop: str,
    words: str,
) -> None:
    with_task(studio)
    found = findings(studio, store, project, **given)
    assert [f.name for f in found.values() if f.state == "wrong"] == [hop]
    assert words in found[hop].words


def test_a_picture_that_its_exif_data_turns_is_said(
    studio: FakeLabelStudio, project: int, store: Store
) -> None:
    import io

    from PIL import Image

    turned = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(io.BytesIO(photo((80, 60)))).save(turned, format="JPEG", exif=exif)
    with_task(studio)
    found = findings(studio, store, project, host=StubHost(data=turned.getvalue()))
    assert "60 x 80" in found["image"].words and "EXIF" in found["image"].words


def test_without_a_project_only_the_general_hops(studio: FakeLabelStudio, store: Store) -> None:
    assert set(findings(studio, store, None)) == {"database", "Label Studio", "key", "model"}


@pytest.mark.parametrize(
    ("stub", "words"),
    [
        (StubSam(), None),
        (StubSam(empty=True), None),
        (StubSam(status=404), "REGIONTEXT_SEGMENTER_URL"),
        (StubSam(status=500), "HTTP 500"),
        (StubSam(down=True), "does not answer"),
    ],
)
def test_a_segmenter_that_was_named_is_asked(stub: StubSam, words: str | None) -> None:
    settings = Settings(segmenter_url="http://sam/v1", _env_file=None)
    hop = Hop("segmenter", lambda: ours.segmenter(settings, _small(stub)))
    (found,) = examine([hop])
    assert found.state == ("works" if words is None else "wrong"), found
    assert (words or "makes masks") in found.words


def _small(stub: StubSam) -> httpx.AsyncBaseTransport:
    """Masks of the size of the doctor's picture."""
    stub.size = (64, 64)
    return stub.transport()
