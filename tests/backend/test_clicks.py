"""Clicks of a smart keypoint that become masks: the recorded call against a whole backend with a stub segmenter."""

from __future__ import annotations

import asyncio
import copy
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from backend.clicks import CLICKS, Click, ClickBook, ClickMask, clicks_of, mask_id, noted_clicks
from backend.errors import ModelError
from backend.known import NOTE
from backend.masking import is_untouched, mask_control, mask_shape
from backend.model_client import ModelClient
from backend.segment import NoSegmenter, Segmenter
from regiontext.labelstudio.config import parse_config
from regiontext.labelstudio.decode import decode_region, is_shape
from regiontext.labelstudio.results import check_results, read_results, text_of
from tests.backend.conftest import SetStage, Stage
from tests.backend.stub_sam import H, StubSam, W
from tests.backend.stubs import StubHost, photo

Payload = Callable[[str], Any]
Results = list[dict[str, Any]]


@pytest.fixture
def open_click(payload: Payload) -> dict[str, Any]:
    """The recorded smart keypoint, moved to where no region is."""
    body: dict[str, Any] = copy.deepcopy(payload("request_predict_interactive_keypoint")["body"])
    body["params"]["context"]["result"][0]["value"] |= {"x": 20.0, "y": 75.0}
    return body


def point(body: dict[str, Any], id: str, x: float, y: float, positive: bool = True) -> Any:
    made = copy.deepcopy(body["params"]["context"]["result"][0])
    made["value"] |= {"x": x, "y": y}
    return made | {"id": id, "is_positive": positive}


def calling(body: dict[str, Any], *context: dict[str, Any]) -> dict[str, Any]:
    made = copy.deepcopy(body)
    made["params"]["context"]["result"] = list(context)
    return made


def drafted(body: dict[str, Any], results: Results, age: float = 0.0) -> dict[str, Any]:
    made = copy.deepcopy(body)
    when = datetime.now(UTC) - timedelta(seconds=age)
    made["tasks"][0]["drafts"] = [
        {
            "id": 1,
            "user": "admin@example.com",
            "result": results,
            "updated_at": when.isoformat(),
        }
    ]
    return made


def masks(results: Results) -> dict[str, np.ndarray]:
    return {r["id"]: decode_region(r).mask for r in results if r["type"].startswith("brush")}


def notes(results: Results) -> dict[str, list[str]]:
    shapes = [item for item in results if is_shape(item) and "text" in item.get("meta", {})]
    return {item["id"]: item["meta"]["text"] for item in shapes}


def captions(results: Results) -> dict[str, tuple[str, ...]]:
    fields = read_results(results).fields
    return {id: text_of(by["caption"]) for id, by in fields.items() if "caption" in by}


def first_click(set_stage: SetStage, body: dict[str, Any], **given: Any) -> tuple[Stage, Results]:
    stage = set_stage(stub=StubSam(), **given)
    return stage, stage.predict(body)


M = mask_id("l2PlCsyeFk")


def test_a_click_on_nothing_becomes_a_mask_with_its_caption(
    set_stage: SetStage, open_click: dict[str, Any]
) -> None:
    stage, back = first_click(set_stage, open_click)
    assert set(read_results(back).shapes) == {M} and M != "l2PlCsyeFk"
    mask = masks(back)[M]
    assert mask.sum() == 120 * 120 and mask[450, 160] and not mask[0, 0]
    assert captions(back) == {M: ("a red car",)} and is_shape(back[0])
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
    assert set(read_results(back).shapes) == {M}
    assert stage.model.clicked[-1]["labels"] == [1, 0]
    assert masks(back)[M].sum() == 120 * 120 - 40 * 40
    assert captions(back) == {M: ("a red car",)}


def test_a_negative_click_beside_every_mask_mends_the_last_one(
    set_stage: SetStage, open_click: dict[str, Any]
) -> None:
    stage, _ = first_click(set_stage, open_click)
    back = stage.predict(calling(open_click, point(open_click, "minus", 50, 20, positive=False)))
    assert set(read_results(back).shapes) == {M}


def test_clicks_that_wait_together_are_one_mask(
    set_stage: SetStage, open_click: dict[str, Any]
) -> None:
    """Auto-accept off: the points of the unaccepted mask come again with each click."""
    stage, first = first_click(set_stage, open_click)
    one, two = open_click["params"]["context"]["result"][0], point(open_click, "plus", 35, 75)
    back = stage.predict(calling(open_click, one, two))
    assert set(masks(back)) == {M} and stage.model.clicked[-1]["labels"] == [1, 1]
    assert masks(back)[M].sum() > masks(first)[M].sum()
    three = point(open_click, "minus", 24, 75, positive=False)
    back = stage.predict(calling(open_click, one, two, three))
    assert set(read_results(back).shapes) == {M}
    assert stage.model.clicked[-1]["labels"] == [1, 1, 0] and len(stage.model.clicked) == 3
    assert len([item for item in back if is_shape(item)]) == 1


def test_after_the_mask_was_accepted_a_click_elsewhere_is_another_mask(
    set_stage: SetStage, open_click: dict[str, Any]
) -> None:
    """Accepted on the canvas, Label Studio leaves the point behind: it stands for its mask, and takes in no more."""
    stage, first = first_click(set_stage, open_click)
    one, two = open_click["params"]["context"]["result"][0], point(open_click, "plus", 60, 75)
    back = stage.predict(drafted(calling(open_click, one, two), [one, *first]))
    assert set(masks(back)) == {M, mask_id("plus")}
    assert np.array_equal(masks(back)[M], masks(first)[M])


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
    assert captions(back) == {M: ("my own words",)} and len(stage.model.clicked) == 1
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
    back = stage.predict(drafted(calling(open_click, minus), corrected))
    assert captions(back) == {M: ("a human's words",)}
    assert masks(back)[M].sum() < masks(first)[M].sum()


def test_a_mask_that_was_painted_by_hand_is_left_alone(
    set_stage: SetStage, open_click: dict[str, Any]
) -> None:
    stage, first = first_click(set_stage, open_click)
    painted = copy.deepcopy(first)
    stroke = {"type": "add", "points": [1.0, 1.0, 5.0, 5.0], "relativePoints": [1.0, 1.0, 5.0, 5.0]}
    painted[0]["value"]["touches"] = [stroke | {"strokeWidth": 10, "relativeStrokeWidth": 2.0}]
    minus = point(open_click, "minus", 24, 75, positive=False)
    back = stage.predict(drafted(calling(open_click, minus), painted))
    assert back[0]["id"] == M and back[0]["value"] == painted[0]["value"]
    assert "by hand" in notes(back)[M][0] and len(stage.model.clicked) == 1


def test_the_clicks_are_known_from_the_mask_after_a_restart(
    set_stage: SetStage, open_click: dict[str, Any]
) -> None:
    _, first = first_click(set_stage, open_click)
    assert first[0]["meta"][CLICKS]["points"] == [[20.0, 75.0, 1]]
    again = set_stage(stub=StubSam())
    minus = point(open_click, "minus", 24, 75, positive=False)
    back = again.predict(drafted(calling(open_click, minus), first))
    assert again.model.clicked[0]["labels"] == [1, 0] and set(masks(back)) == {M}


def test_control_click_on_a_mask_that_is_not_saved_yet_fills_it(
    set_stage: SetStage, open_click: dict[str, Any]
) -> None:
    stage, _ = first_click(set_stage, open_click)
    stage.model.text = "better words"
    back = stage.predict(calling(open_click, point(open_click, "again", 21, 76)))
    assert captions(back) == {M: ("better words",)} and set(read_results(back).shapes) == {M}
    assert len(stage.model.clicked) == 1


def test_a_deleted_mask_does_not_come_back(set_stage: SetStage, open_click: dict[str, Any]) -> None:
    stage, _ = first_click(set_stage, open_click)
    minus = point(open_click, "minus", 50, 20, positive=False)
    back = stage.predict(drafted(calling(open_click, minus), [], age=-10))
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
    assert set(masks(back)) == {M, mask_id("two")} == set(read_results(back).shapes)
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
    assert np.array_equal(masks(back)[M], masks(first)[M])
    assert "stays as it was" in notes(back)[M][0] and set(read_results(back).shapes) == {M}


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
    assert set(masks(stage.predict(open_click))) == {M}
    assert ("sam", "/v1/segment", "Bearer shapes") in sent
    assert ("model", "/v1/chat/completions", "Bearer words") in sent
    assert not any(path.endswith("/segment") for host, path, _ in sent if host != "sam")
    assert {path for host, path, _ in sent if host == "sam"} == {"/v1/segment"}


# --- where it is drawn --------------------------------------------------------------------------


def config(*controls: str) -> Any:
    field = '<TextArea name="caption" toName="img" perRegion="true"/>'
    return parse_config(
        f'<View><Image name="img" value="$image"/>{"".join(controls)}'
        f'<KeyPointLabels name="kp" toName="img" smart="true"><Label value="Car"/></KeyPointLabels>{field}</View>'
    )


def labels(tag: str, name: str, *values: str) -> str:
    inner = "".join(f'<Label value="{value}"/>' for value in values)
    return f'<{tag} name="{name}" toName="img">{inner}</{tag}>'


CAR = {"id": "k", "type": "keypointlabels", "value": {"x": 1, "y": 1, "keypointlabels": ["Car"]}}


@pytest.mark.parametrize(
    ("controls", "name"),
    [
        ([labels("BrushLabels", "b", "Road")], "b"),
        ([labels("BrushLabels", "b", "Road"), labels("BrushLabels", "c", "Road", "Car")], "c"),
        ([labels("BrushLabels", "b", "Road"), '<Brush name="c" toName="img"/>'], "c"),
        ([labels("BitmaskLabels", "m", "Car"), labels("BrushLabels", "b", "Road")], "b"),
        ([labels("PolygonLabels", "p", "Car"), labels("BitmaskLabels", "m", "Road")], "m"),
        ([labels("PolygonLabels", "p", "Car")], "p"),
        ([labels("RectangleLabels", "r", "Car")], None),
    ],
)
def test_which_control_draws_the_mask(controls: list[str], name: str | None) -> None:
    found = mask_control(config(*controls), CAR)
    assert (found.name if found else None) == name


@pytest.mark.parametrize(
    "tag", ["BrushLabels", "Brush", "BitmaskLabels", "PolygonLabels", "Polygon"]
)
def test_every_control_draws_the_same_mask(tag: str) -> None:
    known = config(
        labels(tag, "c", "Car") if "Labels" in tag else f'<{tag} name="c" toName="img"/>'
    )
    control = mask_control(known, CAR)
    assert control is not None
    mask = np.zeros((60, 80), dtype=bool)
    mask[10:40, 20:60] = True
    mask[50:52, 70:72] = True
    clicked = ClickMask("m1", (Click("k", 0.3, 0.3, True),), item_index=1)
    shape = mask_shape(mask, clicked, control, CAR)
    assert check_results([shape], known) == ([shape], [])
    assert shape["item_index"] == 1 and shape["type"] == tag.lower()
    assert shape["value"].get(tag.lower()) == (["Car"] if "Labels" in tag else None)
    back = decode_region(shape)
    if "Polygon" in tag:
        # A polygon is one part: the one that was clicked on.
        mask[50:52, 70:72] = False
        assert len(shape["value"]["points"]) == 4
    assert np.array_equal(back.mask, mask)
    noted = clicks_of(shape)
    assert noted is not None and [(c.x, c.y, c.positive) for c in noted[0]] == [(0.3, 0.3, True)]
    assert is_untouched(shape)


# --- which clicks belong together ---------------------------------------------------------------

PAGE = (1, 2, "a@b.c")


def join(book: ClickBook, click: Click, *waiting: str, page: Any = PAGE, now: float = 0.0) -> Any:
    return book.joined(
        page, click, 0, waiting=frozenset(waiting), settled=lambda _: False,
        under=lambda _: None, now=now,
    )  # fmt: skip


def test_a_click_before_the_first_answer_means_another_thing() -> None:
    book = ClickBook()
    one = join(book, Click("a", 0.1, 0.1, True), "a")
    two = join(book, Click("b", 0.2, 0.2, True), "a", "b")
    assert one.id != two.id
    book.answered(PAGE, one, [{"id": one.id}], now=0)
    assert join(book, Click("c", 0.3, 0.3, True), "a", "b", "c").id == one.id
    minus = join(book, Click("d", 0.2, 0.3, False), "a", "b", "c", "d")
    assert minus.id == one.id and [c.id for c in minus.clicks] == ["a", "c", "d"]


def test_an_answer_that_a_click_overtook_is_not_noted() -> None:
    book = ClickBook()
    one = join(book, Click("a", 0.1, 0.1, True), "a")
    join(book, Click("b", 0.2, 0.2, False), "a", "b")
    book.answered(PAGE, one, [{"id": one.id}], now=0)
    assert book.masks(PAGE)[-1].changed and not book.masks(PAGE)[-1].results


def test_masks_stay_on_their_page_and_are_forgotten_in_the_end() -> None:
    book = ClickBook()
    one = join(book, Click("a", 0.1, 0.1, True), "a", page=(1, 2, None))
    book.answered((1, 2, None), one, [{"id": one.id}], now=0)
    minus = Click("b", 0.2, 0.2, False)
    assert join(book, minus, "b", page=(1, 3, None)) is None
    assert join(book, minus, "b", page=(1, 2, "someone"), now=100) is None
    assert join(book, minus, "b", page=(1, 2, "someone"), now=10).id == one.id
    for number in range(300):
        join(book, Click(f"n{number}", 0.1, 0.1, True), f"n{number}")
    assert len(book.masks(PAGE)) <= 256


@pytest.mark.parametrize(
    "meta",
    [None, {}, {CLICKS: 3}, {CLICKS: {"points": [[1]]}}, {CLICKS: {"points": [], "area": 1}}],
)
def test_meta_that_notes_no_clicks(meta: Any) -> None:
    assert clicks_of({"id": "a", "meta": meta}) is None


def test_clicks_are_noted_and_read() -> None:
    clicks = (Click("a", 0.25, 0.5, True), Click("b", 0.125, 1.0, False))
    back = clicks_of({"id": "m", "meta": {CLICKS: noted_clicks(clicks, 0.25)}})
    assert back is not None and back[1] == 0.25
    assert [(c.x, c.y, c.positive) for c in back[0]] == [(0.25, 0.5, True), (0.125, 1.0, False)]


# --- several images, and a draft that is behind ---------------------------------------------------


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
    assert set(read_results(back).shapes) == {M, made}
    assert len(stage.model.clicked) == asked
