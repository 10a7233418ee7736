"""Clicks of a smart keypoint that become masks: the recorded call against a whole backend with a stub segmenter."""

from __future__ import annotations

import asyncio
import copy
import threading
import time
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from backend.clicks import CLICKS, mask_id
from backend.errors import ModelError
from backend.known import NOTE
from backend.model_client import ModelClient
from backend.segment import NoSegmenter, Segmenter
from regiontext.labelstudio.config import parse_config
from regiontext.labelstudio.decode import decode_region, is_shape
from regiontext.labelstudio.results import check_results, read_results
from tests.backend.calls import (
    CLICKED,
    Results,
    calling,
    captions,
    drafted,
    first_click,
    notes,
    point,
)
from tests.backend.conftest import SetStage
from tests.backend.stub_sam import H, StubSam, W
from tests.backend.stubs import StubHost, photo


def masks(results: Results) -> dict[str, np.ndarray]:
    return {r["id"]: decode_region(r).mask for r in results if r["type"].startswith("brush")}


def test_a_click_on_nothing_becomes_a_mask_with_its_caption(
    set_stage: SetStage, open_click: dict[str, Any]
) -> None:
    stage, back = first_click(set_stage, open_click)
    assert set(read_results(back).shapes) == {CLICKED} and CLICKED != "l2PlCsyeFk"
    mask = masks(back)[CLICKED]
    assert mask.sum() == 120 * 120 and mask[450, 160] and not mask[0, 0]
    assert captions(back) == {CLICKED: ("a red car",)} and is_shape(back[0])
    assert back[0]["from_name"] == "brush" and back[0]["value"]["brushlabels"] == ["Road"]
    (asked,) = stage.model.clicked
    assert asked["points"] == [[160.0, 450.0]] and asked["labels"] == [1]
    valid, dropped = check_results(back, parse_config(open_click["label_config"]))
    assert valid == back and not dropped


def test_the_label_of_the_point_is_that_of_the_mask(
    set_stage: SetStage, open_click: dict[str, Any]
) -> None:
    open_click["label_config"] = open_click["label_config"].replace(
        '<Label value="Road" background="gray"/>',
        '<Label value="Road" background="gray"/><Label value="Point"/>',
    )
    _, back = first_click(set_stage, open_click)
    assert back[0]["value"]["brushlabels"] == ["Point"]


def test_a_negative_click_that_comes_alone_mends_the_mask_under_it(
    set_stage: SetStage, open_click: dict[str, Any]
) -> None:
    """Auto-accept on: the point is gone from the page when the second click comes."""
    stage, _ = first_click(set_stage, open_click)
    stage.predict(calling(open_click, point(open_click, "other", 60, 80)))
    back = stage.predict(calling(open_click, point(open_click, "minus", 24, 75, positive=False)))
    assert set(read_results(back).shapes) == {CLICKED}
    assert stage.model.clicked[-1]["labels"] == [1, 0]
    assert masks(back)[CLICKED].sum() == 120 * 120 - 40 * 40
    assert captions(back) == {CLICKED: ("a red car",)}


def test_a_negative_click_beside_every_mask_mends_the_last_one(
    set_stage: SetStage, open_click: dict[str, Any]
) -> None:
    stage, _ = first_click(set_stage, open_click)
    back = stage.predict(calling(open_click, point(open_click, "minus", 50, 20, positive=False)))
    assert set(read_results(back).shapes) == {CLICKED}


def test_clicks_that_wait_together_are_one_mask(
    set_stage: SetStage, open_click: dict[str, Any]
) -> None:
    """Auto-accept off: the points of the unaccepted mask come again with each click."""
    stage, first = first_click(set_stage, open_click)
    one, two = open_click["params"]["context"]["result"][0], point(open_click, "plus", 35, 75)
    back = stage.predict(calling(open_click, one, two))
    assert set(masks(back)) == {CLICKED} and stage.model.clicked[-1]["labels"] == [1, 1]
    assert masks(back)[CLICKED].sum() > masks(first)[CLICKED].sum()
    three = point(open_click, "minus", 24, 75, positive=False)
    back = stage.predict(calling(open_click, one, two, three))
    assert set(read_results(back).shapes) == {CLICKED}
    assert stage.model.clicked[-1]["labels"] == [1, 1, 0] and len(stage.model.clicked) == 3
    assert len([item for item in back if is_shape(item)]) == 1


def test_after_the_mask_was_accepted_a_click_elsewhere_is_another_mask(
    set_stage: SetStage, open_click: dict[str, Any]
) -> None:
    """Accepted on the canvas, Label Studio leaves the point behind: it stands for its mask, and takes in no more."""
    stage, first = first_click(set_stage, open_click)
    one, two = open_click["params"]["context"]["result"][0], point(open_click, "plus", 60, 75)
    back = stage.predict(drafted(calling(open_click, one, two), one, *first, age=0.0))
    assert set(masks(back)) == {CLICKED, mask_id("plus")}
    assert np.array_equal(masks(back)[CLICKED], masks(first)[CLICKED])


def test_what_was_typed_into_the_waiting_point_goes_into_the_mask(
    set_stage: SetStage, open_click: dict[str, Any]
) -> None:
    stage, _ = first_click(set_stage, open_click)
    one = open_click["params"]["context"]["result"][0]
    words = {k: one[k] for k in ("original_width", "original_height", "image_rotation", "id")} | {
        "from_name": "caption",
        "to_name": "img",
        "type": "textarea",
        "origin": "manual",
        "value": {"x": 20.0, "y": 75.0, "width": 0.2, "text": ["my own words"]},
    }
    back = stage.predict(calling(open_click, one, words))
    assert captions(back) == {CLICKED: ("my own words",)} and len(stage.model.clicked) == 1
    said = next(item for item in back if item["from_name"] == "caption")
    assert said["value"]["rle"] == back[0]["value"]["rle"]


def test_a_corrected_caption_survives_the_next_click(
    set_stage: SetStage, open_click: dict[str, Any]
) -> None:
    stage, first = first_click(set_stage, open_click)
    corrected = copy.deepcopy(first)
    for item in corrected:
        if item["from_name"] == "caption":
            item["value"]["text"] = ["a human's words"]
    minus = point(open_click, "minus", 24, 75, positive=False)
    back = stage.predict(drafted(calling(open_click, minus), *corrected, age=0.0))
    assert captions(back) == {CLICKED: ("a human's words",)}
    assert masks(back)[CLICKED].sum() < masks(first)[CLICKED].sum()


def test_a_mask_that_was_painted_by_hand_is_left_alone(
    set_stage: SetStage, open_click: dict[str, Any]
) -> None:
    stage, first = first_click(set_stage, open_click)
    painted = copy.deepcopy(first)
    stroke = {"type": "add", "points": [1.0, 1.0, 5.0, 5.0], "relativePoints": [1.0, 1.0, 5.0, 5.0]}
    painted[0]["value"]["touches"] = [stroke | {"strokeWidth": 10, "relativeStrokeWidth": 2.0}]
    minus = point(open_click, "minus", 24, 75, positive=False)
    back = stage.predict(drafted(calling(open_click, minus), *painted, age=0.0))
    assert back[0]["id"] == CLICKED and back[0]["value"] == painted[0]["value"]
    assert "by hand" in notes(back)[CLICKED][0] and len(stage.model.clicked) == 1


def test_the_clicks_are_known_from_the_mask_after_a_restart(
    set_stage: SetStage, open_click: dict[str, Any]
) -> None:
    _, first = first_click(set_stage, open_click)
    assert first[0]["meta"][CLICKS]["points"] == [[20.0, 75.0, 1]]
    again = set_stage(stub=StubSam())
    minus = point(open_click, "minus", 24, 75, positive=False)
    back = again.predict(drafted(calling(open_click, minus), *first, age=0.0))
    assert again.model.clicked[0]["labels"] == [1, 0] and set(masks(back)) == {CLICKED}


def test_control_click_on_a_mask_that_is_not_saved_yet_fills_it(
    set_stage: SetStage, open_click: dict[str, Any]
) -> None:
    stage, _ = first_click(set_stage, open_click)
    stage.model.text = "better words"
    back = stage.predict(calling(open_click, point(open_click, "again", 21, 76)))
    assert captions(back) == {CLICKED: ("better words",)} and set(read_results(back).shapes) == {
        CLICKED
    }
    assert len(stage.model.clicked) == 1


def test_a_deleted_mask_does_not_come_back(set_stage: SetStage, open_click: dict[str, Any]) -> None:
    stage, _ = first_click(set_stage, open_click)
    minus = point(open_click, "minus", 50, 20, positive=False)
    back = stage.predict(drafted(calling(open_click, minus), age=-10))
    assert [item["id"] for item in back] == ["minus"] and len(stage.model.clicked) == 1


def test_two_quick_clicks_are_two_masks_and_both_are_in_the_last_answer(
    set_stage: SetStage, open_click: dict[str, Any]
) -> None:
    stage = set_stage(stub=StubSam(sam_delay=0.6))
    one, two = open_click["params"]["context"]["result"][0], point(open_click, "two", 60, 75)
    first = threading.Thread(target=stage.predict, args=(open_click,))
    first.start()
    while not stage.model.clicked:
        time.sleep(0.01)
    back = stage.predict(calling(open_click, one, two))
    first.join()
    assert set(masks(back)) == {CLICKED, mask_id("two")} == set(read_results(back).shapes)
    assert len(stage.model.clicked) == 2
    # The page took both; a click beside them mends the one clicked last.
    minus = point(open_click, "minus", 95, 5, positive=False)
    assert set(masks(stage.predict(calling(open_click, minus)))) == {mask_id("two")}


# --- whatever fails ----------------------------------------------------------------------------


def stays_a_point(back: Results, why: str, id: str = "l2PlCsyeFk") -> None:
    assert set(read_results(back).shapes) == {id}
    (note,) = notes(back)[id]
    assert note.startswith(NOTE) and "stays a point" in note and why in note and "\n" not in note
    assert captions(back) == {id: ("a red car",)}


def test_a_server_without_a_segmenter_is_left_alone_for_a_minute(
    set_stage: SetStage, open_click: dict[str, Any]
) -> None:
    stage = set_stage(stub=StubSam(status=404))
    stays_a_point(stage.predict(open_click), "no segmenter")
    again = calling(open_click, point(open_click, "again", 20, 75))
    stays_a_point(stage.predict(again), "no segmenter", "again")
    assert len(stage.model.clicked) == 1


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ({"status": 500}, "HTTP 500"),
        ({"status": 503}, "not ready"),
        ({"empty": True}, "finds nothing"),
    ],
)
def test_a_segmenter_that_fails(
    set_stage: SetStage, open_click: dict[str, Any], fault: dict[str, Any], why: str
) -> None:
    stage = set_stage(stub=StubSam(**fault))
    stays_a_point(stage.predict(open_click), why)
    stage.model.status, stage.model.empty = 200, False
    again = point(open_click, "again", 20, 75)
    assert set(masks(stage.predict(calling(open_click, again)))) == {mask_id("again")}


def test_a_slow_segmenter_leaves_time_for_the_caption(
    set_stage: SetStage, open_click: dict[str, Any]
) -> None:
    stage = set_stage(stub=StubSam(sam_delay=20.0), budget_s=2.6)
    stays_a_point(stage.predict(open_click), "too slow")


def test_a_mask_that_cannot_be_mended_stays_as_it_was(
    set_stage: SetStage, open_click: dict[str, Any]
) -> None:
    stage, first = first_click(set_stage, open_click)
    stage.model.status = 500
    back = stage.predict(calling(open_click, point(open_click, "minus", 24, 75, positive=False)))
    assert np.array_equal(masks(back)[CLICKED], masks(first)[CLICKED])
    assert "stays as it was" in notes(back)[CLICKED][0] and set(read_results(back).shapes) == {
        CLICKED
    }


def test_a_large_picture_travels_small_and_the_mask_comes_back_large(
    set_stage: SetStage, open_click: dict[str, Any]
) -> None:
    stage = set_stage(stub=StubSam(), host=StubHost(data=photo((1600, 1200))))
    stage.predict(open_click)
    assert stage.model.clicked[0]["points"] == [[0.2 * 1024, 0.75 * 768]]


def test_after_a_minute_the_server_is_asked_again_and_nonsense_is_refused() -> None:
    now, stub = [0.0], StubSam(status=404)
    segmenter, image = Segmenter(clock=lambda: now[0]), Image.new("RGB", (W, H))

    async def ask(model: ModelClient) -> Any:
        return await segmenter.mask(model, image, "a", [(0.5, 0.5)], [True], timeout=5)

    async def all_of_it() -> None:
        async with ModelClient("http://model/v1", transport=stub.transport()) as model:
            for at in (0.0, 59.0, 61.0):
                now[0] = at
                with pytest.raises(NoSegmenter):
                    await ask(model)
            assert len(stub.clicked) == 2
            now[0], stub.status = 122.0, 200
            assert (await ask(model))[H // 2, W // 2]
            small = Image.new("RGB", (40, 30))
            with pytest.raises(ModelError, match="800 x 600 pixels for an image of 40 x 30"):
                await segmenter.mask(model, small, "b", [(0.5, 0.5)], [True], timeout=5)

    asyncio.run(all_of_it())


POLYGONS = """<View><Image name="img" value="$image"/>
<KeyPointLabels name="kp" toName="img" smart="true"><Label value="Point"/></KeyPointLabels>
<PolygonLabels name="poly" toName="img"><Label value="Point"/></PolygonLabels>
<TextArea name="caption" toName="img" perRegion="true"/></View>"""


def test_a_config_that_asks_for_no_masks_hears_nothing_of_a_missing_segmenter(
    set_stage: SetStage, open_click: dict[str, Any]
) -> None:
    """Polygons are drawn by hand: there the point is a point, without a word."""
    stage = set_stage(stub=StubSam(status=404))
    open_click["label_config"] = POLYGONS
    back = stage.predict(open_click)
    assert captions(back) == {"l2PlCsyeFk": ("a red car",)} and notes(back) == {}


def test_a_segmenter_that_was_named_and_is_none_is_told_in_any_config(
    set_stage: SetStage, open_click: dict[str, Any]
) -> None:
    stage = set_stage(stub=StubSam(status=404), segmenter_url="http://sam:9300/v1/")
    open_click["label_config"] = POLYGONS
    stays_a_point(stage.predict(open_click), "no segmenter")


def test_masks_from_a_server_of_their_own(
    set_stage: SetStage, open_click: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """vLLM says the words, another server makes the masks; neither gets the other's key."""
    sent: set[tuple[str, str, str | None]] = set()

    class Wires(httpx.AsyncBaseTransport):
        def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
            self._inner = inner

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            path = request.url.path
            sent.add((request.url.host, path, request.headers.get("Authorization")))
            return await self._inner.handle_async_request(request)

    inner = StubSam.transport
    monkeypatch.setattr(StubSam, "transport", lambda self: Wires(inner(self)))
    stage = set_stage(
        stub=StubSam(),
        model_api_key="words",
        segmenter_url="http://sam:9300/v1/",
        segmenter_api_key="shapes",
    )
    assert set(masks(stage.predict(open_click))) == {CLICKED}
    assert ("sam", "/v1/segment", "Bearer shapes") in sent
    assert ("model", "/v1/chat/completions", "Bearer words") in sent
    assert not any(path.endswith("/segment") for host, path, _ in sent if host != "sam")
    assert {path for host, path, _ in sent if host == "sam"} == {"/v1/segment"}
