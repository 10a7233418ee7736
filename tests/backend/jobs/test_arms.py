"""Control and holdout are pre-filled by no path; each path is tried here, on the same terms."""

from __future__ import annotations

import ast
import asyncio
import copy
import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

import backend
from backend.arms import TRAP, draw_into_arm
from backend.jobs.collect import collect
from backend.jobs.effect import compare_arms, measured
from backend.jobs.prelabel import prelabel
from backend.jobs.records import load_records
from backend.running import running_backend
from backend.settings import Settings
from backend.store import ImageRow, OutcomeRow, Store, SuggestionRow, open_store
from regiontext.labelstudio.results import read_results
from tests.backend import test_assist
from tests.backend import test_label_studio_ml as adapters
from tests.backend.calls import calling, drafted, rectangle
from tests.backend.conftest import SetStage, Stage
from tests.backend.jobs.fakes import FakeLabelStudio, FakeModelServer, picture, two_boxes
from tests.backend.stubs import StubHost, StubModel

Payload = Callable[[str], Any]
SECRET = test_assist.SECRET

both_arms = pytest.mark.parametrize("arm", ["control", "holdout"])


def only(arm: str) -> dict[str, float]:
    return {"control": 0.0, "holdout": 0.0} | {arm: 1.0}


def written(results: Any) -> list[Any]:
    """Fields and relations in results of Label Studio, wherever they are nested."""
    if isinstance(results, dict):
        nested = [found for value in results.values() for found in written(value)]
        filled = results.get("type") in ("textarea", "choices", "relation")
        filled = filled and results.get("from_name") != "prompt"
        return [results, *nested] if filled else nested
    return [f for item in results for f in written(item)] if isinstance(results, list) else []


def nothing_suggested(store: Store, arm: str) -> None:
    with store.read() as session:
        assert session.scalars(select(SuggestionRow)).all() == []
        assert {row.arm for row in session.scalars(select(ImageRow))} == {arm}


def drawing(payload: Payload) -> dict[str, Any]:
    body = payload("request_predict_interactive_with_draft")["body"]
    return calling(drafted(body), rectangle("new", x=5, y=60))


def clicking(payload: Payload) -> dict[str, Any]:
    """A smart keypoint on the polygon that is there."""
    body: dict[str, Any] = payload("request_predict_interactive_keypoint")["body"]
    return body


def asking_for_all(payload: Payload) -> dict[str, Any]:
    """The prompt text area: every region that the draft has."""
    body = payload("request_predict_interactive_with_draft")["body"]
    shapes = [rectangle("one"), rectangle("two", x=60.0)]
    prompt = {
        "type": "textarea",
        "from_name": "prompt",
        "to_name": "img",
        "value": {"text": ["go"]},
    }
    return calling(drafted(body, *shapes), prompt | {"id": "p"})


def batch(payload: Payload) -> dict[str, Any]:
    body = copy.deepcopy(payload("request_predict_batch")["body"])
    found = {"model_version": "detector", "result": [rectangle("a"), rectangle("b", x=60.0)]}
    body["tasks"] = [body["tasks"][0] | {"predictions": [found]}]
    return body  # type: ignore[no-any-return]


CALLS = [drawing, clicking, asking_for_all, batch]


def told_of(stage: Stage, body: dict[str, Any]) -> list[Any]:
    response = stage.http.post("/predict", json=body)
    assert response.status_code == 200, response.text
    return written(response.json()["results"])


@both_arms
def test_predict(set_stage: SetStage, payload: Payload, arm: str) -> None:
    stage = set_stage(**only(arm))
    for call in CALLS:
        assert told_of(stage, call(payload)) == [], call.__name__
    assert not stage.model.asked
    nothing_suggested(stage.store, arm)


def test_the_same_calls_fill_the_assist_arm(set_stage: SetStage, payload: Payload) -> None:
    """Else the test above would hold for calls that ask for nothing."""
    stage = set_stage()
    for call in CALLS:
        assert told_of(stage, call(payload)), call.__name__


@both_arms
def test_the_assistant_in_the_page(set_stage: SetStage, arm: str) -> None:
    stage = set_stage(assist_secret=SECRET, **only(arm))
    events = test_assist.ask(stage, fields=["caption"]) + test_assist.ask(stage, relations=True)
    assert {event["event"] for event in events} == {"done"}
    assert not stage.model.asked
    nothing_suggested(stage.store, arm)


@both_arms
def test_the_job(
    studio: FakeLabelStudio,
    model_server: FakeModelServer,
    settings: Settings,
    store: Store,
    arm: str,
) -> None:
    project = studio.add_project()
    for number in range(2):
        studio.add_prediction(studio.add_task(project, picture(number)), two_boxes())
    annotated = studio.add_task(project, picture(9))
    studio.add_annotation(annotated, two_boxes("a"))
    drawn = settings.model_copy(update=only(arm))
    found = asyncio.run(prelabel(drawn, project, include_annotated=True))
    assert (found.created, found.unassisted) == (0, 3)
    assert model_server.asked == []
    assert written([prediction["result"] for prediction in studio.predictions.values()]) == []
    assert any(read_results(p["result"]).shapes for p in studio.predictions.values())
    nothing_suggested(store, arm)


@pytest.fixture(params=["Base1", "Base2"])
def adapter(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[tuple[Any, StubModel]]:
    """The model for label-studio-ml, of either line."""
    stub, host = StubModel(), StubHost()
    given = adapters.settings(tmp_path, "http://label-studio:8080", "http://model/v1")
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    base = getattr(adapters, request.param)
    module = adapters.imported(monkeypatch, base)
    opening = functools.partial(
        running_backend,
        model_transport=stub.transport(),
        image_transport=host.transport(),
        processor=lambda *_: None,
    )
    monkeypatch.setattr(module, "running_backend", opening)
    adapters.Base2.cache.clear()
    yield module.RegiontextModel, stub
    module.RegiontextModel.backends.close()


@both_arms
def test_label_studio_ml(
    adapter: tuple[Any, StubModel],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    payload: Payload,
    arm: str,
) -> None:
    for name, share in only(arm).items():
        monkeypatch.setenv(f"REGIONTEXT_{name.upper()}", str(share))
    model, stub = adapter
    for call in (drawing, batch):
        assert written(json.loads(json.dumps(model.serve(call(payload))))) == []
    assert not stub.asked
    store = open_store(f"sqlite:///{tmp_path / 'data' / 'regiontext.db'}")
    nothing_suggested(store, arm)
    store.close()


def test_what_a_path_suggests_is_made_in_one_place_only() -> None:
    """A new path cannot go past the arms: only `assistant.answer` makes suggestions, and it looks at the arm first."""
    folder = Path(backend.__file__).parent
    makers = set()
    for path in folder.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if "SuggestionRow(" in text else ():
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "SuggestionRow":
                makers.add(str(path.relative_to(folder)))
    assert makers == {"assistant.py"}


@both_arms
def test_an_image_stays_in_its_arm_whatever_the_shares_become(
    settings: Settings, store: Store, arm: str
) -> None:
    digest = "ab" * 32

    def drawn(**shares: float) -> str:
        changed = settings.model_copy(update={"control": 0.0, "holdout": 0.0} | shares)
        return draw_into_arm(changed, store, digest, (80, 60), project=1, task=1).arm

    assert drawn(**{arm: 1.0}) == arm
    other = "control" if arm == "holdout" else "holdout"
    assert drawn(**{other: 1.0}) == arm
    assert drawn() == "assist"
    # It may have been suggested about since.
    assert drawn(**{arm: 1.0}) == "assist"


def test_traps_are_off_and_where_they_are_on_each_is_wrong_and_known(
    set_stage: SetStage, payload: Payload
) -> None:
    told = json.dumps(told_of(set_stage(), drawing(payload)))
    assert "a red car" in told
    body = drawing(payload)
    stage = set_stage(trap_share=0.5)
    for number in range(12):
        told_of(stage, calling(body, rectangle(f"n{number}", x=5 + number)))
    with stage.store.read() as session:
        rows = list(session.scalars(select(SuggestionRow)))
    traps = [row for row in rows if TRAP in row.decoding]
    assert 0 < len(traps) < len(rows)
    for row in rows:
        right = ["a red car"] if row.field == "caption" else ["clear"]
        assert (row.value != right) == (row in traps)
        assert row.decoding.get(TRAP, right) == right


def test_an_accepted_trap_is_counted_and_never_learnt_from(
    studio: FakeLabelStudio, model_server: FakeModelServer, settings: Settings, store: Store
) -> None:
    project = studio.add_project()
    tasks = [studio.add_task(project, picture(number)) for number in range(6)]
    for task in tasks:
        studio.add_prediction(task, two_boxes())
    asyncio.run(prelabel(settings.model_copy(update={"trap_share": 0.5}), project))
    for task in tasks:
        (made,) = [p for p in studio.predictions_of(task) if p["model_version"] != "detector"]
        studio.add_annotation(task, made["result"], parent_prediction=made["id"])
    asyncio.run(collect(settings, project))
    with store.read() as session:
        rows = list(session.scalars(select(OutcomeRow)))
    assert {row.outcome for row in rows} == {"accepted"}
    traps = sum(row.trap for row in rows)
    assert 0 < traps < len(rows)
    found = compare_arms(measured(store), samples=50).over_reliance
    assert (found.traps, found.accepted) == (traps, traps)
    assert len(load_records(store, project)) == len(rows) - traps
