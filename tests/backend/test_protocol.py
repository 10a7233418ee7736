"""The routes as Label Studio 1.23.2 calls them: health, setup, versions, webhooks, authorisation, batch predictions."""

from __future__ import annotations

import base64
import copy
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from backend.events import keep_event
from backend.security import WEBHOOK_SECRET_HEADER
from backend.settings import Settings
from backend.store import EventRow, ModelVersionRow, Store, open_store
from backend.store import queries as stored
from regiontext.labelstudio.results import read_results, text_of
from tests.backend.calls import captions, rectangle, text
from tests.backend.conftest import SetStage, Stage
from tests.backend.stubs import ENTRY, VIEW, StubHost, StubModel
from tests.backend.waiting import wait_for

Payload = Callable[[str], Any]


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


# --- health, setup, versions -------------------------------------------------------------------


def test_health_answers_without_a_model(set_stage: SetStage) -> None:
    stage = set_stage(stub=StubModel(down=True))
    response = stage.http.get("/health?")
    assert response.status_code == 200 and response.json()["status"] == "UP"


def set_up(stage: Stage, payload: Payload) -> str:
    response = stage.http.post("/setup?", json=payload("request_setup")["body"])
    assert response.status_code == 200
    version: str = response.json()["model_version"]
    return version


def announced(stage: Stage) -> bool:
    with stage.store.read() as session:
        return bool(stored.served_models(session))


def test_setup_names_model_view_and_questions(set_stage: SetStage, payload: Payload) -> None:
    stage = set_stage()
    wait_for(lambda: announced(stage))
    version = set_up(stage, payload)
    assert version.startswith("stub-model@base+r")
    body = copy.deepcopy(payload("request_setup")["body"])
    body["schema"] = body["schema"].replace('name="caption"', 'name="colour"')
    other = stage.http.post("/setup", json=body).json()["model_version"]
    assert other.split("+q")[0] == version.split("+q")[0] and other != version


def test_setup_knows_the_model_from_last_time_while_the_server_is_away(
    set_stage: SetStage, payload: Payload
) -> None:
    stage = set_stage()
    wait_for(lambda: announced(stage))
    version = set_up(stage, payload)
    again = set_stage(stub=StubModel(down=True))
    started = time.monotonic()
    assert set_up(again, payload) == version
    assert time.monotonic() - started < 1.0


def test_setup_with_nothing_known_and_with_a_config_that_cannot_be_read(
    set_stage: SetStage, payload: Payload
) -> None:
    stage = set_stage(stub=StubModel(down=True), model="named")
    assert set_up(stage, payload).startswith("named@base+r")
    body = payload("request_setup")["body"] | {"schema": "<View/>"}
    response = stage.http.post("/setup", json=body)
    assert response.status_code == 200 and response.json()["model_version"] == "named"


def test_another_view_is_another_version(set_stage: SetStage, payload: Payload) -> None:
    stage = set_stage()
    wait_for(lambda: announced(stage))
    version = set_up(stage, payload)
    with stage.store.begin() as session:
        entry = ENTRY | {"id": "stub-model", "view": VIEW | {"kind": "ellipse"}, "parent": None}
        stored.replace_served_models(session, [entry])
    assert set_up(stage, payload) != version


def test_versions_lists_the_promoted_models(set_stage: SetStage) -> None:
    stage = set_stage()
    wait_for(lambda: announced(stage))
    with stage.store.begin() as session:
        for run in ("0001", "0002", "0003"):
            row = ModelVersionRow(
                name=f"stub-model:{run}",
                base="stub-model",
                adapter_path=f"/runs/{run}",
                status="challenger",
                metrics={},
            )
            stored.upsert(session, row)
        stored.promote(session, "stub-model:0001")
        stored.promote(session, "stub-model:0002")
    found = stage.http.get("/versions").json()["versions"]
    assert found[0] == "stub-model:0002" and set(found) == {"stub-model:0001", "stub-model:0002"}


# --- who may call -----------------------------------------------------------------------------


def test_basic_auth_guards_everything_but_health_and_webhook(
    set_stage: SetStage, payload: Payload
) -> None:
    stage = set_stage(basic_auth_user="ann", basic_auth_password="s3cret")
    predict = payload("request_predict_batch")["body"]
    for headers in (
        {},
        basic("ann", "wrong"),
        basic("bob", "s3cret"),
        {"Authorization": "Basic %"},
    ):
        assert stage.http.post("/predict", json=predict, headers=headers).status_code == 401
        assert stage.http.post("/setup", json={}, headers=headers).status_code == 401
        assert stage.http.get("/versions", headers=headers).status_code == 401
        assert stage.http.get("/health", headers=headers).status_code == 200
    good = basic("ann", "s3cret")
    assert stage.http.post("/predict", json=predict, headers=good).status_code == 200
    assert stage.http.get("/versions", headers=good).status_code == 200


def test_a_webhook_needs_the_secret(set_stage: SetStage, payload: Payload) -> None:
    stage = set_stage(webhook_secret="open sesame")
    body = payload("webhook_ANNOTATION_CREATED")
    for headers in ({}, {WEBHOOK_SECRET_HEADER: "open"}, {WEBHOOK_SECRET_HEADER: "ö"}):
        sent = {k: v.encode("latin-1") for k, v in headers.items()}
        assert stage.http.post("/webhook", json=body, headers=sent).status_code == 401
    good = {WEBHOOK_SECRET_HEADER: "open sesame"}
    assert stage.http.post("/webhook", json=body, headers=good).status_code == 200
    with stage.store.read() as session:
        assert stored.count(session, EventRow) == 1


def test_start_training_comes_with_basic_auth_instead_of_the_secret(
    set_stage: SetStage, payload: Payload
) -> None:
    stage = set_stage(
        webhook_secret="open sesame", basic_auth_user="ann", basic_auth_password="s3cret"
    )
    body = payload("webhook_START_TRAINING")
    assert stage.http.post("/webhook", json=body).status_code == 401
    assert stage.http.post("/webhook", json=body, headers=basic("ann", "no")).status_code == 401
    good = basic("ann", "s3cret")
    assert stage.http.post("/webhook", json=body, headers=good).status_code == 200


# --- webhooks ----------------------------------------------------------------------------------


def test_webhooks_are_kept_at_once_and_worked_off_in_order(
    set_stage: SetStage, payload: Payload
) -> None:
    gate, seen = threading.Event(), []

    def process(settings: Settings, store: Store, event: EventRow) -> None:
        gate.wait(10)
        seen.append((event.action, event.payload["project"]["id"]))
        if event.action == "ANNOTATION_UPDATED":
            raise ValueError("cannot be understood")

    stage = set_stage(processor=process)
    actions = ["ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED", "START_TRAINING"]
    stage.http.get("/health")
    for action in actions:
        started = time.perf_counter()
        response = stage.http.post("/webhook", json=payload(f"webhook_{action}"))
        assert time.perf_counter() - started < 0.5
        assert response.json()["status"] == "kept"
    assert not seen
    gate.set()
    wait_for(lambda: len(seen) == len(actions))
    assert seen == [(action, 3) for action in actions]

    def done() -> bool:
        with stage.store.read() as session:
            return not stored.open_events(session)

    wait_for(done)
    with stage.store.read() as session:
        rows = session.query(EventRow).order_by(EventRow.id).all()
    assert [row.error for row in rows] == [None, "ValueError: cannot be understood", None, None]
    # Label Studio sends the project's sharing token along; it is nobody's business here.
    assert all("token" not in row.payload["project"] for row in rows)


def test_a_hundred_webhooks_take_less_than_a_tenth_of_a_second_each(
    set_stage: SetStage, payload: Payload
) -> None:
    stage = set_stage()
    body = payload("webhook_ANNOTATION_CREATED")
    took = []
    for _ in range(100):
        started = time.perf_counter()
        assert stage.http.post("/webhook", json=body).status_code == 200
        took.append(time.perf_counter() - started)
    assert sorted(took)[50] < 0.1


def test_events_left_behind_are_worked_off_by_the_next_process(
    set_stage: SetStage, payload: Payload, database_url: str
) -> None:
    store = open_store(database_url)
    keep_event(store, payload("webhook_ANNOTATION_CREATED"))
    store.close()
    seen: list[str] = []
    set_stage(processor=lambda settings, store, event: seen.append(event.action))
    wait_for(lambda: "ANNOTATION_CREATED" in seen)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"action": 7}'])
def test_a_webhook_that_is_none(set_stage: SetStage, body: bytes) -> None:
    assert set_stage().http.post("/webhook", content=body).status_code == 400


# --- batch ------------------------------------------------------------------------------------


@pytest.fixture
def batch(payload: Payload) -> dict[str, Any]:
    """A recorded batch call, cut to one task, which has a detector's boxes as its prediction."""
    body: dict[str, Any] = copy.deepcopy(payload("request_predict_batch")["body"])
    del body["tasks"][1:]
    boxes = [rectangle("a"), rectangle("b", "Person", x=60.0)]
    body["tasks"][0]["predictions"] = [{"id": 1, "model_version": "detector", "result": boxes}]
    return body


def entries(stage: Stage, body: dict[str, Any]) -> list[Any]:
    response = stage.http.post("/predict", json=body)
    assert response.status_code == 200
    found: list[Any] = response.json()["results"]
    return found


def related(prompt: str, options: list[str]) -> str:
    if "holds" in options:
        return "holds"
    return options[0] if options else "a red car"


def test_a_prediction_has_regions_fields_arrows_and_sentences(
    set_stage: SetStage, batch: dict[str, Any]
) -> None:
    stage = set_stage(stub=StubModel(say=related))
    (entry,) = entries(stage, batch)
    read = read_results(entry["result"])
    assert set(read.shapes) == {"a", "b"}
    assert captions(entry["result"]) == {"a": ("a red car",), "b": ("a red car",)}
    assert [(r["from_id"], r["to_id"], r["labels"]) for r in read.relations] == [
        ("a", "b", ["holds"])
    ]
    assert text_of(read.image_fields["relcaption"]) == ("a red car",)
    assert 0 < entry["score"] <= 1
    number = int(batch["project"].split(".")[0])
    with stage.store.read() as session:
        rows = stored.suggestions_of_task(session, number, batch["tasks"][0]["id"])
    assert {row.path for row in rows} == {"batch"}
    assert {row.model_version for row in rows} == {entry["model_version"]}
    pair = next(row for row in rows if row.region_to == "b")
    assert pair.field == "relations" and "no relation" in pair.options


def test_sentences_of_a_model_that_cannot_phrase_a_pair_are_composed(
    set_stage: SetStage, batch: dict[str, Any]
) -> None:
    stub = StubModel(say=related)
    stub.served[0]["relation_sentences"] = "composed"
    stage = set_stage(stub=stub)
    (entry,) = entries(stage, batch)
    read = read_results(entry["result"])
    assert text_of(read.image_fields["relcaption"]) == ("The red car holds the red car.",)
    assert not [asked for asked in stage.model.asked if "Describe how" in str(asked)]


@pytest.mark.parametrize(
    ("label", "arrows"), [("left of", [("a", "b")]), ("right of", [("b", "a")]), ("inside", [])]
)
def test_a_relation_that_the_regions_contradict_is_left_out_and_counted(
    set_stage: SetStage, batch: dict[str, Any], label: str, arrows: list[tuple[str, str]]
) -> None:
    batch["label_config"] = batch["label_config"].replace("next to", label)

    def say(prompt: str, options: list[str]) -> str:
        return label if label in options else options[0] if options else "the car stands inside"

    stage = set_stage(stub=StubModel(say=say))
    (entry,) = entries(stage, batch)
    read = read_results(entry["result"])
    assert [(r["from_id"], r["to_id"]) for r in read.relations] == arrows
    assert "relcaption" not in read.image_fields
    counted = 'regiontext_questions_total{path="batch",result="contradicted"}'
    assert counted in stage.http.get("/metrics").text


def test_a_task_without_regions_stores_nothing(set_stage: SetStage, payload: Payload) -> None:
    body = payload("request_predict_batch")["body"]
    stage = set_stage()
    assert entries(stage, body) == [[], [], []]
    assert not stage.model.asked


def test_a_task_with_a_prediction_of_this_version_is_left_alone(
    set_stage: SetStage, batch: dict[str, Any]
) -> None:
    stage = set_stage()
    (entry,) = entries(stage, batch)
    batch["tasks"][0]["predictions"].append({"id": 2} | entry)
    before = len(stage.model.asked)
    assert entries(stage, batch) == [[]]
    assert len(stage.model.asked) == before


def test_an_older_prediction_of_ours_is_renewed(set_stage: SetStage, batch: dict[str, Any]) -> None:
    stage = set_stage(stub=StubModel(say=related))
    (old,) = entries(stage, batch)
    batch["tasks"][0]["predictions"] = [{"id": 2} | old | {"model_version": "stub-model@base+old"}]
    stage.model.say = lambda prompt, options: options[-1] if options else "a blue car"
    (new,) = entries(stage, batch)
    assert captions(new["result"]) == {"a": ("a blue car",), "b": ("a blue car",)}
    read = read_results(new["result"])
    assert read.relations == [] and "relcaption" not in read.image_fields


def test_what_stands_in_an_annotation_stays(set_stage: SetStage, batch: dict[str, Any]) -> None:
    box = rectangle("mine")
    other = rectangle("other", x=60.0)
    result = [box, text(box, ["a human's words"]), other]
    result += [{"type": "relation", "from_id": "mine", "to_id": "other", "direction": "left"}]
    batch["tasks"][0]["annotations"] = [{"id": 5, "result": result}]
    (entry,) = entries(set_stage(stub=StubModel(say=related)), batch)
    assert captions(entry["result"]) == {"mine": ("a human's words",), "other": ("a red car",)}
    assert read_results(entry["result"]).relations == result[-1:]


def test_labels_outside_the_config_are_not_sent(set_stage: SetStage, batch: dict[str, Any]) -> None:
    batch["tasks"][0]["predictions"][0]["result"].append(rectangle("ufo", "Spaceship"))
    (entry,) = entries(set_stage(), batch)
    assert set(read_results(entry["result"]).shapes) == {"a", "b"}


@pytest.mark.parametrize(
    "given",
    [
        {"stub": StubModel(down=True)},
        {"stub": StubModel(delay=30), "budget_s": 0.7},
        {"host": StubHost(status=404)},
        {"host": StubHost(data=b"no image")},
        {"host": StubHost(delay=30), "budget_s": 0.7},
        {"holdout": 1.0},
        {"control": 1.0},
    ],
)
def test_nothing_is_stored_when_a_prediction_cannot_be_whole(
    set_stage: SetStage, batch: dict[str, Any], given: dict[str, Any]
) -> None:
    stage = set_stage(**given)
    started = time.monotonic()
    assert entries(stage, batch) == [[]]
    assert time.monotonic() - started < 3


def test_one_entry_makes_label_studio_ask_for_many_tasks_one_by_one(
    set_stage: SetStage, batch: dict[str, Any]
) -> None:
    batch["tasks"] = [batch["tasks"][0] | {"id": number} for number in range(1, 6)]
    stage = set_stage()
    stage.http.app.state.hand_over = None  # type: ignore[attr-defined]
    assert entries(stage, batch) == [[]] and not stage.model.asked
    del batch["tasks"][4:]
    found = entries(stage, batch)
    assert len(found) == 4 and all(entry["result"] for entry in found)


def test_a_batch_call_with_a_config_that_cannot_be_read(
    set_stage: SetStage, batch: dict[str, Any]
) -> None:
    assert entries(set_stage(), batch | {"label_config": "<View/>"}) == [[]]
    assert entries(set_stage(), batch | {"project": "?"}) == [[]]
