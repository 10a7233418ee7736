"""Clicks on one of several images, and while the draft is behind what is on the page."""

from __future__ import annotations

import copy
from typing import Any

import httpx
import pytest

from regiontext.labelstudio.results import read_results
from tests.backend.calls import CLICKED, Payload, calling, captions, first_click, point
from tests.backend.conftest import SetStage
from tests.backend.stub_sam import StubSam


@pytest.fixture
def on_second(payload: Payload) -> dict[str, Any]:
    """A click inside a polygon of the second image, of which the draft has the first of four corners."""
    body: dict[str, Any] = copy.deepcopy(payload("request_predict_interactive_multi_image"))
    return body


def saved(monkeypatch: pytest.MonkeyPatch, drafts: Any) -> list[str]:
    """From now on Label Studio has these drafts; the addresses it is asked for."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200, json=drafts)

    def client(settings: Any) -> httpx.AsyncClient:
        transport = httpx.MockTransport(answer)
        return httpx.AsyncClient(transport=transport, base_url="http://label-studio:8080")

    monkeypatch.setattr("backend.fresh.async_client", client)
    return asked


def test_a_polygon_that_was_saved_half_drawn_is_waited_for(
    set_stage: SetStage, on_second: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    drafts = on_second["next_drafts"]
    asked = saved(monkeypatch, drafts)
    stage, back = first_click(set_stage, on_second["body"])
    half = on_second["body"]["tasks"][0]["drafts"][0]["result"][-1]
    whole = drafts[0]["result"][1]
    assert asked and half["id"] == whole["id"]
    assert (len(half["value"]["points"]), len(whole["value"]["points"])) == (1, 4)
    assert read_results(back).shapes[whole["id"]]["value"] == whole["value"]
    assert set(captions(back)) == {whole["id"]}
    assert not stage.model.clicked


def test_a_half_drawn_polygon_is_never_sent_back(
    set_stage: SetStage, on_second: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing newer comes in time: the page has the whole polygon, and would lose corners."""
    saved(monkeypatch, [])
    # Of thirty seconds, one for the draft: a busy machine needs the rest.
    monkeypatch.setattr("backend.interactive._FOR_THE_REST_S", 28.7)
    monkeypatch.setattr("backend.interactive._LAST_LOOK_S", 28.5)
    body = on_second["body"]
    half = body["tasks"][0]["drafts"][0]["result"][-1]
    half["value"]["points"] = [[25.0, 25.0], [50.0, 25.0], [50.0, 60.0]]
    area = {"id": "p", "from_name": "prompt", "to_name": "image", "type": "textarea"}
    prompt = area | {"origin": "manual", "value": {"text": ["caption all"]}}
    stage, back = first_click(set_stage, calling(body, prompt), budget_s=30.0)
    assert set(captions(back)) == {body["tasks"][0]["drafts"][0]["result"][0]["id"]}
    click = body["params"]["context"]["result"][0]
    click["value"] |= {"x": 45.0, "y": 35.0}
    back = stage.predict(calling(body, click))
    assert half["id"] not in read_results(back).shapes and back


def test_a_click_that_waits_on_one_image_is_nothing_to_a_mask_on_another(
    set_stage: SetStage, open_click: dict[str, Any]
) -> None:
    """Pointing at the mask that was just made on the second image fills it, whatever waits on the first."""
    body = copy.deepcopy(open_click)
    body["label_config"] = body["label_config"].replace('value="$image"', 'valueList="$images"')
    image = body["tasks"][0]["data"].pop("image")
    body["tasks"][0]["data"]["images"] = [image, image]
    stage = set_stage(stub=StubSam())
    one = body["params"]["context"]["result"][0] | {"item_index": 0}
    two = point(body, "two", 60, 75) | {"item_index": 1}
    stage.predict(calling(body, one))
    (made,) = read_results(stage.predict(calling(body, two))).shapes
    asked = len(stage.model.clicked)
    on_it = point(body, "again", 62, 76) | {"item_index": 1}
    back = stage.predict(calling(body, one, on_it))
    assert set(read_results(back).shapes) == {CLICKED, made}
    assert len(stage.model.clicked) == asked
