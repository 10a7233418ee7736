"""Two Label Studios on one database: the second is refused with the fix, loses no region, and changes nothing kept."""

from __future__ import annotations

import asyncio
import base64
import copy
import logging
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from backend.doctor import ours
from backend.errors import OtherLabelStudio
from backend.jobs.collect import process_event
from backend.known import NOTE
from backend.origin import Origins, check_origin, created_in, created_of
from backend.store import AnnotationRow, OutcomeRow, ProjectRow, SuggestionRow, open_store
from backend.store import queries as stored
from regiontext.labelstudio.decode import is_shape
from tests.backend.conftest import SetStage, Stage
from tests.backend.mutations import recorded
from tests.backend.stubs import photo
from tests.backend.up_fakes import FakeLabelStudio

FIRST, SECOND = 1_700_000_000, 1_700_000_001


def drawing(created: int, region: str = "r1") -> dict[str, Any]:
    body = copy.deepcopy(recorded()["request_predict_interactive_with_draft"])
    body["project"] = f"3.{created}"
    body["tasks"][0]["drafts"] = []
    body["params"]["context"]["result"] = body["params"]["context"]["result"][:1]
    body["params"]["context"]["result"][0]["id"] = region
    return body


def noted(results: list[dict[str, Any]]) -> list[str]:
    return [
        line
        for item in results
        if is_shape(item)
        for line in item.get("meta", {}).get("text", [])
        if line.startswith(NOTE)
    ]


def rows(stage: Stage, table: type[Any]) -> list[Any]:
    with stage.store.read() as session:
        return list(session.scalars(select(table)))


def test_times_in_uids_and_in_the_api_are_the_same() -> None:
    assert created_in("2.1795236743") == 1795236743 == created_of("2026-11-21T04:52:23.9Z")
    assert created_of("2026-11-21T05:52:23.9+01:00") == created_of("2026-11-21T04:52:23.9")
    assert (
        created_in("2")
        is created_in(None)
        is created_in("2.x")
        is created_in("1." + "9" * 40)
        is None
    )
    assert created_of(None) is created_of("yesterday") is None


def test_the_first_project_of_a_number_is_the_one(database_url: str) -> None:
    store = open_store(database_url)
    check_origin(store, 1, FIRST)
    check_origin(store, 1, FIRST)
    check_origin(store, 1, None)
    check_origin(store, 2, SECOND)
    with pytest.raises(OtherLabelStudio, match=r"REGIONTEXT_DATABASE_URL"):
        check_origin(store, 1, SECOND)
    store.close()


def test_a_drawing_of_another_label_studio_comes_back_with_a_note_and_nothing_is_kept(
    set_stage: SetStage,
) -> None:
    stage = set_stage()
    assert not noted(stage.predict(drawing(FIRST)))
    kept = len(rows(stage, SuggestionRow))
    asked = len(stage.model.asked)
    answer = stage.predict(drawing(SECOND, "r2"))
    assert [item["id"] for item in answer if is_shape(item)] == ["r2"]
    (note,) = noted(answer)
    assert "another Label Studio" in note and "REGIONTEXT_DATABASE_URL" in note
    assert len(rows(stage, SuggestionRow)) == kept and len(stage.model.asked) == asked
    # The first goes on.
    assert not noted(stage.predict(drawing(FIRST, "r3")))


def test_their_pages_do_not_mix(set_stage: SetStage) -> None:
    """Same task, same label, in the same second: neither answer holds the other's region."""
    stage = set_stage()
    first = stage.predict(drawing(FIRST, "r1"))
    other = stage.predict(drawing(SECOND, "r2"))
    again = stage.predict(drawing(FIRST, "r1"))
    for answer, id in ((first, "r1"), (other, "r2"), (again, "r1")):
        assert {item["id"] for item in answer} == {id}


def test_batch_calls_are_answered_with_nothing_to_store(
    set_stage: SetStage, caplog: pytest.LogCaptureFixture
) -> None:
    stage = set_stage()
    body = copy.deepcopy(recorded()["request_predict_batch"])
    del body["tasks"][2:]
    stage.http.post("/predict", json=body | {"project": f"3.{FIRST}"})
    with caplog.at_level(logging.WARNING):
        answer = stage.http.post("/predict", json=body | {"project": f"3.{SECOND}"})
    assert answer.json() == {"results": [[], []]}
    assert "another Label Studio" in caplog.text


def test_connecting_it_is_told_in_the_log(
    set_stage: SetStage, caplog: pytest.LogCaptureFixture
) -> None:
    stage = set_stage()
    schema = recorded()["request_predict_batch"]["label_config"]
    for created in (FIRST, SECOND):
        answer = stage.http.post("/setup", json={"project": f"3.{created}", "schema": schema})
        assert answer.status_code == 200 and answer.json()["model_version"]
    errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert len(errors) == 1 and "database of its own" in errors[0]


def annotation(stage: Stage, id: int, project: int) -> None:
    with stage.store.begin() as session:
        session.add(
            AnnotationRow(
                id=id, project=project, task=1, result=[], source="webhook", deleted=False,
            )
        )  # fmt: skip
        session.add(
            OutcomeRow(
                annotation=id, region="r", field="caption", project=project, task=1, arm="assist",
                outcome="accepted", suggested=[], final=["a"], options=[], question="?", labels=[],
            )
        )  # fmt: skip


@pytest.mark.parametrize(
    ("number", "created"), [(3, "2023-11-14T22:13:21Z"), (4, "2023-11-14T22:13:20Z")]
)
def test_its_webhooks_change_nothing(set_stage: SetStage, number: int, created: str) -> None:
    """Whether its project has a number that is known, or only its annotations do."""
    stage = set_stage()
    annotation(stage, 7, 3)
    with stage.store.begin() as session:
        session.add(ProjectRow(id=3, created=FIRST))
    config = recorded()["request_predict_batch"]["label_config"]
    project = {"id": number, "created_at": created, "label_config": config}
    changed = {"id": 7, "task": 1, "result": [], "updated_at": datetime.now(UTC).isoformat()}
    task = {
        "id": 1,
        "data": {"image": f"data:image/png;base64,{base64.b64encode(photo((40, 30))).decode()}"},
    }
    for action, more in (
        ("ANNOTATIONS_DELETED", {"annotations": [{"id": 7}]}),
        ("ANNOTATION_UPDATED", {"annotation": changed, "task": task}),
    ):
        with stage.store.begin() as session:
            stored.add_event(session, action, {"action": action, "project": project} | more)
        event = rows_of_events(stage)[-1]
        if action == "ANNOTATIONS_DELETED" and number == 4:
            process_event(stage.settings, stage.store, event)
        else:
            with pytest.raises(OtherLabelStudio):
                process_event(stage.settings, stage.store, event)
    (kept,) = rows(stage, AnnotationRow)
    assert (kept.project, kept.deleted, kept.updated_at) == (3, False, None)
    assert len(rows(stage, OutcomeRow)) == 1


def rows_of_events(stage: Stage) -> list[Any]:
    with stage.store.read() as session:
        return list(stored.open_events(session))


def test_texts_of_another_project_are_not_taken_for_ours(set_stage: SetStage) -> None:
    stage = set_stage()
    stage.predict(drawing(FIRST))
    task = drawing(FIRST)["tasks"][0]["id"]
    with stage.store.read() as session:
        assert stored.suggested_values(session, 3, task)
        assert not stored.suggested_values(session, 4, task)
        assert stored.image_of_task(session, 3, task) and not stored.image_of_task(session, 4, task)


def test_the_doctor_says_so(database_url: str) -> None:
    studio = FakeLabelStudio()
    number = studio.add_project()
    store = open_store(database_url)
    client = studio.client()
    assert ours.origin(store, client, number).state in ("works", "doubtful")
    with store.begin() as session:
        session.merge(ProjectRow(id=number, created=5))
    studio.projects[number]["created_at"] = "2026-11-21T05:11:51.672476Z"
    with pytest.raises(OtherLabelStudio, match="database of its own"):
        ours.origin(store, client, number)
    store.close()


def test_a_project_is_looked_up_once(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(database_url)
    origins = Origins(store)
    assert asyncio.run(origins.project(f"1.{FIRST}")) == 1
    monkeypatch.setattr(stored, "project_created", None)
    assert asyncio.run(origins.project(f"1.{FIRST}")) == 1
    store.close()
