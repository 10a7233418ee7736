"""The answers for the assistant inside Label Studio: who may ask, and what comes, event by event."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from backend.assist_stream import WISHES
from backend.errors import ModelError, ModelUnavailable
from backend.model_client import ModelClient
from backend.relate import ARROW
from backend.security import ASSIST_SECRET_HEADER
from backend.store import SuggestionRow
from tests.backend.conftest import SetStage, Stage
from tests.backend.stubs import StubModel, pictures

SECRET = "only the plugin knows"
CONFIG = """
<View>
  <Relations><Relation value="left of"/><Relation value="above"/></Relations>
  <Image name="image" value="$image"/>
  <RectangleLabels name="box" toName="image"><Label value="Object"/></RectangleLabels>
  <TextArea name="caption" toName="image" perRegion="true" ask="Describe the object {mark}."/>
  <Choices name="material" toName="image" perRegion="true" ask="What is the object {mark} made of?">
    <Choice value="wood"/><Choice value="stone"/>
  </Choices>
</View>
"""


def box(id: str = "r1", x: float = 10, **more: Any) -> dict[str, Any]:
    return {
        "id": id,
        "from_name": "box",
        "to_name": "image",
        "type": "rectanglelabels",
        "original_width": 800,
        "original_height": 600,
        "image_rotation": 0,
        "value": {
            "x": x,
            "y": 10,
            "width": 20,
            "height": 20,
            "rotation": 0,
            "rectanglelabels": ["Object"],
        },
    } | more


def text(value: str, id: str = "r1") -> dict[str, Any]:
    return box(id) | {
        "from_name": "caption",
        "type": "textarea",
        "value": box()["value"] | {"text": [value]},
    }


def ask(stage: Stage, secret: str | None = SECRET, **given: Any) -> list[dict[str, Any]]:
    body = {
        "project": "7.1795236743",
        "task": {"id": 3, "data": {"image": "/data/upload/7/a.png"}},
        "label_config": CONFIG,
        "user": {"id": 1},
        "region": "r1",
        "results": [box()],
    } | given
    headers = {ASSIST_SECRET_HEADER: secret} if secret is not None else {}
    response = stage.http.post("/assist", json=body, headers=headers)
    if response.status_code != 200:
        return [{"status": response.status_code}]
    return [json.loads(line) for line in response.text.splitlines()]


def named(events: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == name]


def stored(stage: Stage) -> list[SuggestionRow]:
    with stage.store.read() as session:
        return list(session.scalars(select(SuggestionRow)))


@pytest.fixture
def stage(set_stage: SetStage) -> Stage:
    return set_stage(assist_secret=SECRET)


@pytest.mark.parametrize("secret", [None, "", "another"])
def test_only_the_plugin_may_ask(stage: Stage, secret: str | None) -> None:
    assert ask(stage, secret) == [{"status": 401}]
    assert not stage.model.asked


def test_nobody_may_ask_while_no_secret_is_set(set_stage: SetStage) -> None:
    assert ask(set_stage(), "") == [{"status": 401}]


def test_basic_auth_of_label_studio_is_not_asked_of_the_plugin(set_stage: SetStage) -> None:
    stage = set_stage(assist_secret=SECRET, basic_auth_user="u", basic_auth_password="p")
    assert named(ask(stage), "done")
    for what in ("drawn", "unseen"):
        body, headers = {"task": 3, "ids": []}, {ASSIST_SECRET_HEADER: SECRET}
        answer = stage.http.post(f"/assist/{what}", json=body, headers=headers)
        assert answer.status_code == 200


def test_an_empty_region_is_filled_and_stored_before_it_is_told(stage: Stage) -> None:
    events = ask(stage)
    (asking,) = named(events, "asking")
    assert asking["fields"] == {"caption": "open", "material": "closed"}
    answers = {event["field"]: event for event in named(events, "answer")}
    assert answers["caption"]["value"] == ["a red car"]
    assert 0 < answers["caption"]["confidence"] < 1
    assert answers["material"]["options"] == [["wood", 0.6], ["stone", 0.4]]
    assert {row.id for row in stored(stage)} == {event["id"] for event in answers.values()}
    assert {(row.task, row.project, row.path) for row in stored(stage)} == {(3, 7, "interactive")}
    (picture,) = named(events, "picture")
    assert picture["url"].startswith("data:image/jpeg;base64,")
    assert events[-1] == {"event": "done"}


def test_what_a_human_wrote_is_not_asked_about(stage: Stage) -> None:
    events = ask(stage, results=[box(), text("my own words")])
    assert set(named(events, "asking")[0]["fields"]) == {"material"}


def test_our_own_text_is_renewed(stage: Stage) -> None:
    ask(stage)
    events = ask(stage, results=[box(x=30), text("a red car")])
    assert set(named(events, "asking")[0]["fields"]) == {"caption", "material"}


def test_a_named_field_is_asked_about_whatever_stands_in_it(stage: Stage) -> None:
    events = ask(stage, results=[box(), text("my own words")], fields=["caption"])
    assert [event["field"] for event in named(events, "answer")] == ["caption"]


@pytest.mark.parametrize(
    ("wish", "words"), [*WISHES.items(), ("is it {old}?", "is it (old)?"), ("again", "")]
)
def test_wishes_are_added_to_open_questions(stage: Stage, wish: str, words: str) -> None:
    ask(stage, fields=["caption"], wish=wish)
    assert stage.model.prompts[-1].endswith(words) or words in stage.model.prompts[-1]
    assert (stage.model.asked[-1]["temperature"] > 0) == (wish == "again")
    assert stored(stage)[-1].decoding["temperature"] == stage.model.asked[-1]["temperature"]


@pytest.mark.parametrize("arm", ["holdout", "control"])
def test_other_arms_get_nothing_and_are_not_told_why(set_stage: SetStage, arm: str) -> None:
    stage = set_stage(assist_secret=SECRET, **{arm: 1.0})
    assert ask(stage) == [{"event": "done"}]
    assert ask(stage, relations=True) == [{"event": "done"}]
    assert not stored(stage) and not stage.model.asked


def test_a_model_that_is_away_is_one_line(set_stage: SetStage) -> None:
    stage = set_stage(stub=StubModel(down=True), assist_secret=SECRET)
    events = ask(stage)
    assert events[-1]["event"] == "away" and "does not answer" in events[-1]["reason"]
    stage.model.down = False
    assert named(ask(stage), "answer")


def test_a_model_that_goes_away_fails_the_fields(stage: Stage) -> None:
    ask(stage)
    stage.model.down = True
    failed = named(ask(stage, region="r2", results=[box("r2")]), "failed")
    assert {event["field"] for event in failed} == {"caption", "material"}
    assert all(event["temporary"] for event in failed)


def test_relations_are_between_the_region_and_its_neighbours_only(stage: Stage) -> None:
    results = [box("r1", 10), box("r2", 40), box("r3", 70)]
    arrow = {"type": "relation", "from_id": "r1", "to_id": "r3", "direction": "right"}
    stage.model.say = lambda words, options: "left of" if "left of" in options else options[0]
    events = ask(stage, results=[*results, arrow], relations=True)
    assert [(e["from"], e["to"], e["label"]) for e in named(events, "relation")] == [
        ("r1", "r2", "left of")
    ]
    assert all(len(pictures(request)) >= 1 for request in stage.model.asked)


def test_relations_are_kept_as_offered_and_then_as_drawn(stage: Stage) -> None:
    stage.model.say = lambda words, options: "left of" if "left of" in options else options[0]
    events = ask(stage, results=[box("r1", 10), box("r2", 40)], relations=True)
    (offer,) = named(events, "relation")
    noted = {row.id: row.decoding.get(ARROW) for row in stored(stage)}
    # The other way round it is contradicted by where the regions are, and never told.
    assert (
        noted == {id: "offered" if id == offer["id"] else None for id in noted} and len(noted) == 2
    )
    headers = {ASSIST_SECRET_HEADER: SECRET}
    body = {"task": 3, "ids": [offer["id"]]}
    assert stage.http.post("/assist/drawn", json=body).status_code == 401
    kept = [
        stage.http.post("/assist/drawn", json=body | more, headers=headers).json()
        for more in ({"task": 4}, {})
    ]
    assert kept == [{"kept": 0}, {"kept": 1}]
    (row,) = [row for row in stored(stage) if row.id == offer["id"]]
    assert row.decoding[ARROW] == "drawn" and "temperature" in row.decoding


@pytest.mark.parametrize(
    "given",
    [
        {"task": 3},
        {"task": {"id": "x"}},
        {"region": None},
        {"results": "none"},
        {"project": "?"},
        {"label_config": "<View"},
    ],
)
def test_a_malformed_request_is_refused(stage: Stage, given: dict[str, Any]) -> None:
    assert ask(stage, **given) == [{"status": 400}]


@pytest.mark.parametrize("given", [{"region": "gone"}, {"results": [box(value={"x": "?"})]}])
def test_a_region_that_cannot_be_read_is_one_line(stage: Stage, given: dict[str, Any]) -> None:
    (event,) = ask(stage, **given)
    assert event["event"] == "refused" and "region" in event["reason"]


def test_what_was_never_seen_is_forgotten(stage: Stage) -> None:
    events = ask(stage)
    caption, material = (event["id"] for event in named(events, "answer"))
    headers = {ASSIST_SECRET_HEADER: SECRET}

    def forget(**body: Any) -> httpx.Response:
        return stage.http.post("/assist/unseen", json=body, headers=headers)

    assert stage.http.post("/assist/unseen", json={"task": 3, "ids": [caption]}).status_code == 401
    assert forget(task="3", ids=[caption]).status_code == 400
    assert forget(task=4, ids=[caption]).json() == {"forgotten": 0}
    assert forget(task=3, ids=[caption]).json() == {"forgotten": 1}
    assert [row.id for row in stored(stage)] == [material]


def _events(*events: object) -> httpx.Response:
    lines = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    return httpx.Response(200, text=lines, headers={"Content-Type": "text/event-stream"})


def _grown(text: str, logprob: float = -0.1) -> dict[str, Any]:
    choice = {"delta": {"content": text}, "logprobs": {"content": [{"logprob": logprob}]}}
    return {"model": "m", "choices": [choice]}


@pytest.mark.anyio
async def test_an_answer_is_told_as_it_grows() -> None:
    sent: list[dict[str, Any]] = []

    def reply(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        return _events(_grown("a red"), {"choices": []}, _grown(" car"))

    heard: list[str] = []
    async with ModelClient("http://m/v1", transport=httpx.MockTransport(reply)) as client:
        said = await client.ask([], "what?", model="m", told=heard.append)
    assert heard == ["a red", "a red car"] and sent[0]["stream"] is True
    assert said.text == "a red car" and said.confidence == pytest.approx(0.8187, abs=1e-3)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (_events({"error": {"message": "no memory"}}), ModelError),
        (_events(), ModelError),
        (httpx.Response(503, json={"error": {"message": "loading"}}), ModelUnavailable),
    ],
)
async def test_a_stream_that_fails_is_told_apart(
    reply: httpx.Response, fault: type[Exception]
) -> None:
    transport = httpx.MockTransport(lambda _: reply)
    async with ModelClient("http://m/v1", transport=transport) as client:
        with pytest.raises(fault):
            await client.ask([], "what?", model="m", told=lambda _: None)
