"""The small pure parts: pointing, merging lines, versions, settings, the log."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from backend.cache import BoundedCache
from backend.gestures import pointed_at
from backend.known import marked
from backend.logs import JsonFormatter, request_context, request_id
from backend.relate import merged_lines
from backend.serving import Served, Serving, choose, unknown_yet
from backend.settings import Settings
from backend.store import ModelVersionRow
from backend.versions import model_version
from regiontext.labelstudio.config import parse_config
from regiontext.marks.view import View
from regiontext.region import Region

SIZE = (200, 100)
XML = """<View><Image name="img" value="$image"/>
<RectangleLabels name="rect" toName="img" smart="true"><Label value="Car"/></RectangleLabels>
<TextArea name="caption" toName="img" perRegion="true"/></View>"""


def box(id: str, x0: float, y0: float, x1: float, y1: float, label: str = "Car") -> Region:
    return Region.from_box(id, (x0, y0, x1, y1), SIZE, [label])


def point(x: float, y: float) -> Region:
    ring = [[x, y], [x + 1, y], [x, y + 1]]
    import numpy as np

    return Region("p", "keypoint", SIZE, polygons=(np.array(ring, dtype=float),), point=(x, y))


def dot(id: str, x: float, y: float) -> Region:
    return replace(point(x, y), id=id)


def full(id: str) -> bool:
    return False


def empty(id: str) -> bool:
    return True


@pytest.mark.parametrize(
    ("prompt", "others", "is_empty", "hit"),
    [
        (point(20, 20), [box("a", 10, 10, 90, 90), box("b", 15, 15, 30, 30)], full, "b"),
        (point(95, 95), [box("a", 10, 10, 90, 90)], full, None),
        (point(200, 100), [box("a", 150, 50, 200, 100)], full, "a"),
        (point(20, 20), [dot("a", 21, 21), dot("b", 19, 20)], empty, "b"),
        (point(20, 20), [dot("a", 20, 21)], full, None),
        (point(20, 20), [dot("a", 24, 20)], empty, None),
        (point(20, 20), [dot("a", 20, 21), box("b", 10, 10, 60, 60)], empty, "b"),
        (box("p", 10, 10, 60, 60), [box("a", 10, 10, 59, 60, "Dog")], full, None),
        (box("p", 10, 10, 60, 60), [box("a", 10, 10, 59, 60, "Dog")], empty, "a"),
        (box("p", 10, 10, 60, 60), [box("a", 10, 10, 59, 60)], full, None),
        (box("p", 10, 10, 60, 60), [box("a", 20, 20, 50, 50)], empty, "a"),
        (box("p", 10, 10, 60, 60), [box("a", 20, 20, 50, 50)], full, None),
        (box("p", 0, 0, 100, 100), [box("a", 40, 40, 60, 60)], empty, None),
        (
            box("p", 10, 10, 60, 60),
            [box("a", 15, 15, 40, 45), box("b", 30, 20, 58, 50)],
            empty,
            None,
        ),
        (box("p", 10, 10, 60, 60), [box("a", 40, 10, 90, 60)], empty, None),
        (box("p", 10, 10, 60, 60), [box("p", 10, 10, 60, 60)], empty, None),
        (box("p", 10, 10, 60, 60), [], empty, None),
    ],
)
def test_pointing(prompt: Region, others: list[Region], is_empty: Any, hit: str | None) -> None:
    assert pointed_at(prompt, others, is_empty) == hit


def test_pointing_stays_on_its_image() -> None:
    other = box("a", 10, 10, 60, 60)
    here = Region("a", "rectangle", SIZE, polygons=other.polygons, item_index=1)
    assert pointed_at(point(20, 20), [here], empty) is None


def test_lines_are_appended_once() -> None:
    human = ["The car  is red.", "mine"]
    assert merged_lines(human, ["the car is red.", "New one.", "new ONE."]) == [*human, "New one."]
    assert merged_lines([], []) == []


def test_a_mark_keeps_what_a_human_noted() -> None:
    shape = {"id": "a", "meta": {"text": ["mine", "regiontext: old"], "other": 1}}
    assert marked(shape, "new")["meta"]["text"] == ["mine", "regiontext: new"]
    assert marked(shape)["meta"] == {"text": ["mine"], "other": 1, "regiontext_seen": 1}
    assert marked({"meta": {"text": "one line"}}, "new")["meta"]["text"][0] == "one line"
    assert shape["meta"] == {"text": ["mine", "regiontext: old"], "other": 1}


def test_versions_change_with_each_of_their_parts() -> None:
    config, view = parse_config(XML), View()
    versions = {
        model_version("m", None, view, config),
        model_version("n", None, view, config),
        model_version("m", "m:0001", view, config),
        model_version("m", None, View(scope="crop"), config),
        model_version("m", None, view, parse_config(XML.replace("caption", "colour"))),
    }
    assert len(versions) == 5
    first = model_version("m", "m:0001", view, config)
    assert first == f"m@0001+r{view.hash[:7]}+q{first[-7:]}"
    assert model_version("m", None, view, parse_config(XML + " ")) in versions


def test_the_champion_speaks_for_its_base_only() -> None:
    crop = {"id": "m:1", "parent": "m", "view": {"scope": "crop"}, "max_regions": 1}
    announced = [{"id": "m", "view": None}, crop]
    champion = ModelVersionRow(name="m:1", base="m", adapter_path="/a", status="champion")
    found = choose(announced, "m", None, champion)
    assert (found.model, found.adapter, found.adapter_path) == ("m:1", "m:1", "/a")
    assert found.view.scope == "crop" and found.max_regions == 1
    assert choose(announced, "m", None, None).view == View()
    broken = [{"id": "m", "view": {"scope": "upside down"}}]
    assert choose(broken, "m", None, None).view == View()


def test_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "LABEL_STUDIO_URL": "http://ls/",
        "REGIONTEXT_LABEL_STUDIO_API_KEY": "key",
        "REGIONTEXT_ALLOWED_IMAGE_HOSTS": " A.example, b.example ,",
        "REGIONTEXT_WEBHOOK_SECRET": "",
        "REGIONTEXT_HOLDOUT": "0",
    }.items():
        monkeypatch.setenv(name, value)
    settings = Settings(_env_file=None)
    assert settings.label_studio_url == "http://ls" and settings.webhook_secret is None
    assert settings.allowed_image_hosts == ("a.example", "b.example") and settings.holdout == 0
    assert settings.database_url == "sqlite:///regiontext-data/regiontext.db"
    assert settings.reachable_url == "http://127.0.0.1:9090"


@pytest.mark.parametrize(
    "wrong",
    [
        {"holdout": 0.7, "control": 0.4},
        {"label_studio_url": "localhost:8080"},
        {"basic_auth_user": "ann"},
        {"budget_s": 0},
        {"port": 99999},
    ],
)
def test_settings_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings(**wrong, _env_file=None)


KEYS = ("label_studio_api_key", "model_api_key")


@pytest.mark.parametrize("name", KEYS)
def test_white_space_around_a_key_is_not_part_of_it(name: str) -> None:
    settings = Settings(**{name: " secret\r\n"}, _env_file=None)
    assert getattr(settings, name).get_secret_value() == "secret"
    assert getattr(Settings(**{name: " \n"}, _env_file=None), name) is None


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("wrong", ["sec\nret", "sécret", "sec ret"])
def test_a_key_that_cannot_be_sent_is_refused_without_showing_it(name: str, wrong: str) -> None:
    """The HTTP client would quote it in its error, which goes to annotators as a note."""
    with pytest.raises(ValidationError) as caught:
        Settings(**{name: wrong}, _env_file=None)
    assert wrong not in str(caught.value) and repr(wrong) not in str(caught.value)


def line(message: str, **extra: Any) -> str:
    record = logging.makeLogRecord({"msg": message, "name": "n", "levelname": "INFO"} | extra)
    return JsonFormatter().format(record)


def test_the_log_is_json_with_the_request_and_what_was_added() -> None:
    with request_context("abc-1") as name:
        entry = json.loads(line("said %s", args=("hello",), task=7))
        assert name == request_id() == "abc-1"
    assert entry["message"] == "said hello" and entry["task"] == 7 and entry["request"] == "abc-1"
    assert request_id() is None


@pytest.mark.parametrize("given", [None, "", "x" * 65, "a b", "a\nb", "ä" * 70])
def test_request_ids_of_others_are_taken_only_if_plain(given: str | None) -> None:
    with request_context(given) as name:
        assert name != given and name.isalnum()


@pytest.mark.parametrize(
    "secret",
    [
        "Token 0123456789abcdef0123456789abcdef01234567",
        "authorization: Bearer abcdefghijk.lmnop",
        "Basic Ym9iOnMzY3JldA==",
        "eyJhbGciOiJIUzI1NiJ9.eyJ0b2tlbl90eXBlIjoi.c2ln",
        "https://b/a.png?X-Amz-Signature=0123456789&x=1",
        "http://h/?api_key=0123456789",
    ],
)
def test_keys_are_masked_in_the_log(secret: str) -> None:
    written = line(f"called with {secret}")
    json.loads(written)
    assert "[secret]" in written
    assert not any(part in written for part in ("0123456789", "Ym9i", "eyJ0", "abcdefghijk"))


def test_a_cache_holds_what_was_used_last_up_to_its_bound() -> None:
    cache: BoundedCache[str] = BoundedCache(10)
    for name in "abc":
        cache.put(name, name.upper(), 3)
    assert cache.get("a") == "A"
    cache.put("d", "D", 4)
    assert [cache.get(name) for name in "abcd"] == ["A", None, "C", "D"]
    cache.put("a", "new", 9)
    assert [cache.get(name) for name in "acd"] == ["new", None, None]
    cache.put("a", "too large", 11)
    assert cache.get("a") is None


def test_a_view_in_the_settings_wins_over_the_announced_one(tmp_path: Path) -> None:
    from backend.serving import pick
    from backend.store import open_store

    announced = [{"id": "m", "parent": None, "view": {"scope": "whole"}}]
    store = open_store(f"sqlite:///{tmp_path / 'x.db'}")
    wanted = {"scope": "crop", "evidence": ["size word", "colours"]}
    with store.read() as session:
        theirs = pick(session, Settings(_env_file=None), announced)
        ours = pick(session, Settings(_env_file=None, view=wanted), announced)
    store.close()
    assert theirs is not None and ours is not None
    assert (theirs.view.scope, ours.view.scope) == ("whole", "crop")
    assert ours.view.facts == ("size word", "colours")


def test_a_view_that_cannot_be_drawn_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REGIONTEXT_VIEW", '{"kind": "cloud"}')
    with pytest.raises(ValueError, match="cloud"):
        Settings(_env_file=None)
    monkeypatch.setenv("REGIONTEXT_VIEW", "")
    assert Settings(_env_file=None).view is None


def test_the_model_is_looked_up_again_after_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, looks = [100.0], []
    model = unknown_yet(Settings(data_dir=tmp_path, _env_file=None))
    found: list[Served | None] = [None, model, model]

    def look(*_: object) -> Served | None:
        looks.append(now[0])
        return found[min(len(looks), 3) - 1]

    monkeypatch.setattr("backend.serving.served", look)
    serving = Serving(Settings(_env_file=None), None, clock=lambda: now[0])  # type: ignore[arg-type]
    assert serving.at_hand() is None and serving.look() is None
    assert serving.at_hand() is None  # That none is known is not remembered.
    assert serving.look() is model and serving.at_hand() is model
    now[0] += 1.9
    assert serving.at_hand() is model
    now[0] += 0.2
    assert serving.at_hand() is None
    serving.look()
    serving.forget()
    assert serving.at_hand() is None
