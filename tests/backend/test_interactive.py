"""What an annotator gets back while drawing: recorded Label Studio 1.23.2 payloads against a whole backend."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from backend.fill import META
from backend.known import NOTE, SEEN
from backend.store import ImageRow, SuggestionRow
from regiontext.labelstudio.checks import SHAPE_KEYS
from regiontext.labelstudio.decode import is_shape
from regiontext.labelstudio.leaks import leaked
from regiontext.labelstudio.results import read_results, text_of
from tests.backend.conftest import SetStage
from tests.backend.stubs import StubHost, StubModel, photo
from tests.backend.waiting import wait_for

Payload = Callable[[str], Any]
Results = list[dict[str, Any]]


@pytest.fixture
def drawn(payload: Payload) -> dict[str, Any]:
    """A smart rectangle drawn away from everything else, on a task with a polygon and an ellipse in the draft."""
    body: dict[str, Any] = copy.deepcopy(payload("request_predict_interactive_with_draft")["body"])
    body["params"]["context"]["result"][0]["value"] |= {"x": 5, "y": 60, "width": 20, "height": 20}
    return body


def rectangle(id: str, label: str = "Car", **value: Any) -> dict[str, Any]:
    place = {"x": 10.0, "y": 20.0, "width": 20.0, "height": 25.0, "rotation": 0} | value
    return {
        "original_width": 800,
        "original_height": 600,
        "image_rotation": 0,
        "value": place | {"rectanglelabels": [label]},
        "id": id,
        "from_name": "rect",
        "to_name": "img",
        "type": "rectanglelabels",
        "origin": "manual",
    }


def text(shape: dict[str, Any], words: list[str], name: str = "caption") -> dict[str, Any]:
    value = {k: v for k, v in shape["value"].items() if not k.endswith("labels")}
    return {
        **{k: shape[k] for k in ("original_width", "original_height", "image_rotation", "id")},
        "from_name": name,
        "to_name": "img",
        "type": "textarea",
        "origin": "manual",
        "value": value | {"text": words},
    }


def calling(body: dict[str, Any], *context: dict[str, Any]) -> dict[str, Any]:
    made = copy.deepcopy(body)
    made["params"]["context"]["result"] = list(context)
    return made


def drafted(body: dict[str, Any], *results: dict[str, Any], age: float = 1.0) -> dict[str, Any]:
    made = copy.deepcopy(body)
    when = datetime.now(UTC) - timedelta(seconds=age)
    made["tasks"][0]["drafts"] = [
        {"id": 1, "user": "a@b.c", "result": list(results), "updated_at": when.isoformat()}
    ]
    return made


def captions(results: Results) -> dict[str, tuple[str, ...]]:
    fields = read_results(results).fields
    return {
        id: text_of(by_name["caption"]) for id, by_name in fields.items() if "caption" in by_name
    }


def notes(results: Results) -> dict[str, list[str]]:
    return {
        item["id"]: item["meta"]["text"]
        for item in results
        if is_shape(item) and "text" in item["meta"]
    }


def same_shape(given: dict[str, Any], back: Results) -> bool:
    found = [item for item in back if item.get("id") == given["id"] and is_shape(item)]
    return len(found) == 1 and all(found[0][key] == given[key] for key in given if key != "meta")


# --- drawing ---------------------------------------------------------------------------------


def test_a_drawn_region_comes_back_filled_under_its_id(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    stage = set_stage()
    back = stage.predict(drawn)
    shape = drawn["params"]["context"]["result"][0]
    assert same_shape(shape, back)
    assert is_shape(back[0])
    read = read_results(back)
    assert set(read.shapes) == {shape["id"]}
    fields = read.fields[shape["id"]]
    assert text_of(fields["caption"]) == ("a red car",)
    assert text_of(fields["quality"]) == ("clear",)
    assert fields["quality"]["score"] == pytest.approx(0.6)
    assert fields["caption"]["score"] == pytest.approx(0.9**3)


def test_a_filled_field_says_which_suggestion_it_is_and_the_store_has_all_of_it(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    stage = set_stage()
    back = stage.predict(drawn)
    mark = next(r for r in back if r["from_name"] == "caption")["meta"][META]
    with stage.store.read() as session:
        row = session.get(SuggestionRow, mark["suggestion"])
        assert row is not None
        image = session.get(ImageRow, row.image_hash)
    assert image is not None and image.arm == "assist" and (image.width, image.height) == (800, 600)
    assert row.value == ["a red car"] and row.path == "interactive" and row.task == 2
    assert row.model_version == mark["model_version"]
    assert row.model_version.startswith("stub-model@base+r")
    assert row.prompt in stage.model.prompts
    assert row.view["scope"] == "crop"
    assert len(row.render_hash) == len(row.image_hash) == len(row.question_hash) == 64


def test_the_image_is_read_with_our_key_from_our_address(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    stage = set_stage()
    stage.predict(drawn)
    assert [str(r.url) for r in stage.host.seen] == [
        "http://label-studio:8080/data/upload/2/7a74a6c3-im1.png"
    ]


def test_two_regions_of_one_request_are_both_filled(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    back = set_stage().predict(calling(drawn, rectangle("one"), rectangle("two", x=60.0)))
    assert set(captions(back)) == {"one", "two"}


def test_a_field_for_other_labels_is_not_asked(set_stage: SetStage, drawn: dict[str, Any]) -> None:
    drawn["label_config"] = drawn["label_config"].replace(
        '<Choices name="quality"',
        '<Choices name="quality" whenTagName="rect" whenLabelValue="Person"',
    )
    back = set_stage().predict(calling(drawn, rectangle("one"), rectangle("two", "Person", x=60.0)))
    fields = read_results(back).fields
    assert set(fields["one"]) == {"caption"} and set(fields["two"]) == {"caption", "quality"}


def test_results_of_other_controls_in_the_request_come_back(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    shape = rectangle("one")
    other = text(shape, [], "stars") | {"type": "rating", "value": shape["value"] | {"rating": 3}}
    back = set_stage().predict(calling(drawn, shape, other))
    assert other in back


# --- what a human wrote ----------------------------------------------------------------------


def test_text_typed_into_a_waiting_region_stays(set_stage: SetStage, drawn: dict[str, Any]) -> None:
    shape = rectangle("one")
    stage = set_stage()
    back = stage.predict(calling(drawn, shape, text(shape, ["my own words"])))
    assert captions(back) == {"one": ("my own words",)}
    assert not any("Describe" in prompt for prompt in stage.model.prompts)
    assert "quality" in read_results(back).fields["one"]


@pytest.mark.parametrize("wish", ["what colour is it?", "/what colour is it"])
def test_a_question_typed_into_a_waiting_region_is_asked(
    set_stage: SetStage, drawn: dict[str, Any], wish: str
) -> None:
    shape = rectangle("one")
    stage = set_stage(stub=StubModel(text="red"))
    back = stage.predict(calling(drawn, shape, text(shape, [wish])))
    assert captions(back) == {"one": ("red",)}
    assert any("what colour is it" in p and "Describe" in p for p in stage.model.prompts)
    assert not any("/what" in p for p in stage.model.prompts)


def test_a_wish_that_gets_no_answer_stays_where_it_was_typed(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    shape = rectangle("one")
    stage = set_stage(stub=StubModel(down=True))
    back = stage.predict(calling(drawn, shape, text(shape, ["what colour?"])))
    assert captions(back) == {"one": ("what colour?",)}


# --- pointing at existing regions -------------------------------------------------------------


def test_a_keypoint_on_a_polygon_fills_the_polygon_and_vanishes(
    set_stage: SetStage, payload: Payload
) -> None:
    body = payload("request_predict_interactive_keypoint")["body"]
    back = set_stage().predict(body)
    polygon = body["tasks"][0]["drafts"][0]["result"][0]
    assert same_shape(polygon, back)
    assert captions(back) == {polygon["id"]: ("a red car",)}
    assert set(read_results(back).shapes) == {polygon["id"]}


def test_a_rectangle_around_an_empty_polygon_fills_it_and_vanishes(
    set_stage: SetStage, payload: Payload
) -> None:
    body = payload("request_predict_interactive_with_draft")["body"]
    back = set_stage().predict(body)
    polygon = body["tasks"][0]["drafts"][0]["result"][0]
    assert set(captions(back)) == {polygon["id"]}


def test_a_rectangle_around_a_filled_region_is_a_region_of_its_own(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    inner = rectangle("inner", x=15.0, y=25.0, width=15.0, height=18.0)
    quality = text(inner, [], "quality")
    quality |= {"type": "choices", "value": inner["value"] | {"choices": ["clear"]}}
    body = drafted(drawn, inner, text(inner, ["a hat"]), quality)
    back = set_stage().predict(calling(body, rectangle("outer", "Person")))
    assert set(captions(back)) == {"outer"}


def test_a_rectangle_is_not_taken_for_that_of_another_annotator(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    """Before there is a draft, the one submitted annotation may be somebody else's: this box is the second opinion."""
    theirs = rectangle("theirs")
    body = copy.deepcopy(drawn)
    when = datetime.now(UTC).isoformat()
    body["tasks"][0] |= {
        "drafts": [],
        "predictions": [],
        "annotations": [{"id": 1, "result": [theirs], "updated_at": when}],
    }
    back = set_stage().predict(calling(body, rectangle("mine", x=10.5)))
    assert captions(back) == {"mine": ("a red car",)}
    assert set(read_results(back).shapes) == {"mine"}


def test_a_keypoint_in_the_open_is_a_region_of_its_own(
    set_stage: SetStage, payload: Payload
) -> None:
    body = copy.deepcopy(payload("request_predict_interactive_keypoint")["body"])
    body["params"]["context"]["result"][0]["value"] |= {"x": 5.0, "y": 90.0}
    back = set_stage().predict(body)
    assert same_shape(body["params"]["context"]["result"][0], back)
    assert set(captions(back)) == {"l2PlCsyeFk"}


def test_a_negative_keypoint_is_only_echoed(set_stage: SetStage, payload: Payload) -> None:
    body = copy.deepcopy(payload("request_predict_interactive_keypoint")["body"])
    body["params"]["context"]["result"][0]["is_positive"] = False
    stage = set_stage()
    assert same_shape(body["params"]["context"]["result"][0], stage.predict(body))
    assert not stage.model.asked


def test_pointing_keeps_what_a_human_wrote_and_renews_what_we_wrote(
    set_stage: SetStage, payload: Payload
) -> None:
    body = copy.deepcopy(payload("request_predict_interactive_keypoint")["body"])
    stage = set_stage(stub=StubModel(text="first words"))
    back = stage.predict(body)
    polygon = body["tasks"][0]["drafts"][0]["result"][0]["id"]
    body["tasks"][0]["drafts"][0]["result"] = back
    stage.model.text = "better words"
    body["params"]["context"]["result"][0]["id"] = "second-click"
    assert captions(stage.predict(body)) == {polygon: ("better words",)}
    for item in body["tasks"][0]["drafts"][0]["result"]:
        if item["from_name"] == "caption":
            item["value"]["text"] = ["a human's words"]
    body["params"]["context"]["result"][0]["id"] = "third-click"
    assert captions(stage.predict(body)) == {polygon: ("a human's words",)}


def test_a_region_accepted_before_is_echoed_and_neither_asked_nor_taken_for_a_gesture(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    stage = set_stage()
    accepted = stage.predict(calling(drawn, rectangle("a", x=5.0, y=50.0, width=40.0, height=45.0)))
    asked = len(stage.model.asked)
    inside = rectangle("by hand", x=10.0, y=55.0, width=30.0, height=35.0)
    body = drafted(calling(drawn, *accepted, rectangle("b", x=60.0, y=60.0)), *accepted, inside)
    back = stage.predict(body)
    assert set(captions(back)) == {"a", "b"}
    assert [item for item in back if item["id"] == "a"] == accepted
    assert len(stage.model.asked) == 2 * asked


# --- the prompt area ---------------------------------------------------------------------------


def asking(body: dict[str, Any], *entries: str) -> dict[str, Any]:
    prompt = {
        "id": "prompt1",
        "value": {"text": list(entries)},
        "from_name": "prompt",
        "to_name": "img",
        "type": "textarea",
        "origin": "manual",
    }
    return calling(body, prompt)


def test_the_prompt_area_fills_every_empty_region_and_stays_on_the_page(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    human = rectangle("human")
    body = copy.deepcopy(drawn)
    shapes = body["tasks"][0]["drafts"][0]["result"]
    shapes += [human, text(human, ["mine"])]
    body = asking(body, "caption all")
    back = set_stage().predict(body)
    assert not any(item["id"] == "prompt1" for item in back)
    found = captions(back)
    assert found.pop("human") == ("mine",)
    assert found == {s["id"]: ("a red car",) for s in shapes[:2]}
    assert not any(item["type"] == "relation" for item in back)


def test_asking_for_relations_appends_sentences_and_keeps_the_humans(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    def say(prompt: str, options: list[str]) -> str:
        if "holds" in options:
            return "next to"
        return options[0] if options else "The tree is next to the house."

    there = {
        "id": "rel9",
        "value": {"text": ["The house is old."]},
        "from_name": "relcaption",
        "to_name": "img",
        "type": "textarea",
        "origin": "manual",
    }
    body = asking(drawn, "caption all", "and their relations")
    body["params"]["context"]["result"].append(there)
    back = set_stage(stub=StubModel(say=say)).predict(body)
    lines = [item for item in back if item["from_name"] == "relcaption"]
    assert len(lines) == 1 and lines[0]["id"] == "rel9"
    assert lines[0]["value"]["text"] == ["The house is old.", "The tree is next to the house."]
    assert not any(item["type"] == "relation" for item in back)


def test_the_same_words_in_the_prompt_area_are_not_asked_twice(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    stage = set_stage()
    stage.predict(asking(drawn, "caption all"))
    before = len(stage.model.asked)
    again = stage.predict(asking(drawn, "caption all"))
    assert len(stage.model.asked) == before and again == []
    stage.predict(asking(drawn, "caption all", "once more"))
    assert len(stage.model.asked) > before


def test_any_other_instruction_is_asked_of_every_region_that_no_human_wrote(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    """What we wrote is written anew in the light of it; what a human wrote stays."""
    stage = set_stage(stub=StubModel(text="one"))
    first = stage.predict(asking(drawn, "Caption all the regions, please!"))
    assert not any("please" in prompt for prompt in stage.model.prompts)
    human = rectangle("human")
    body = copy.deepcopy(drawn)
    body["tasks"][0]["drafts"][0]["result"] = [
        *(item for item in first if item["id"] != "prompt1"),
        *(human, text(human, ["mine"])),
    ]
    stage.model.text = "two"
    asked = len(stage.model.prompts)
    back = stage.predict(asking(body, "Caption all the regions, please!", "/in two words"))
    found = captions(back)
    assert found.pop("human", ("mine",)) == ("mine",)
    assert found == {id: ("two",) for id in captions(first)}
    ours = [p for p in stage.model.prompts[asked:] if "Describe" in p]
    assert len(ours) == len(found) and all("in two words" in prompt for prompt in ours)


def test_a_region_with_nothing_left_to_fill_is_not_in_the_answer_to_the_prompt_area(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    """It may have been moved or deleted since the draft was saved."""
    stage = set_stage()
    first = stage.predict(asking(drawn, "caption all"))
    body = copy.deepcopy(drawn)
    full = [item for item in first if item["id"] != "prompt1"]
    body["tasks"][0]["drafts"][0]["result"] = full
    assert stage.predict(asking(body, "caption all", "fill the rest")) == []


# --- labels that the page wrote where they do not belong -----------------------------------------


def leak(shape: dict[str, Any]) -> dict[str, Any]:
    """The label of a rectangle, written onto another region or text as Label Studio's page does."""
    geometry = {k: v for k, v in shape["value"].items() if k in SHAPE_KEYS}
    return shape | {
        "from_name": "rect",
        "type": "rectanglelabels",
        "value": geometry | {"rectanglelabels": ["Car"]},
    }


def test_a_label_of_another_shape_is_not_sent_back_and_its_region_is_still_pointed_at(
    set_stage: SetStage, payload: Payload
) -> None:
    body = copy.deepcopy(payload("request_predict_interactive_keypoint")["body"])
    known = body["tasks"][0]["drafts"][0]["result"]
    polygon = known[0]
    known.append(leak(polygon))
    back = set_stage().predict(body)
    assert same_shape(polygon, back)
    assert captions(back) == {polygon["id"]: ("a red car",)}
    assert not leaked(back)


def test_a_drawn_region_keeps_the_label_of_its_own_shape_only(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    shape = rectangle("one")
    foreign = shape | {
        "from_name": "point",
        "type": "keypointlabels",
        "value": {k: v for k, v in shape["value"].items() if k != "rectanglelabels"}
        | {"keypointlabels": ["Car"]},
    }
    for context in ([shape, foreign], [foreign, shape]):
        back = set_stage().predict(calling(drawn, *context))
        assert same_shape(shape, back)
        assert {item["from_name"] for item in back} == {"rect", "caption", "quality"}


@pytest.mark.parametrize("where", ["request", "draft"])
def test_where_the_page_would_relabel_what_it_accepts_it_is_given_nothing(
    set_stage: SetStage, drawn: dict[str, Any], where: str
) -> None:
    """A label on a text about the whole image is chosen again at each answer: a Person would become a Car."""
    stage = set_stage()
    prompt = asking(drawn, "caption all")["params"]["context"]["result"][0]
    context = [rectangle("one", "Person")]
    body = copy.deepcopy(drawn)
    if where == "draft":
        body = drafted(drawn, prompt, leak(prompt))
    else:
        context = [prompt, leak(prompt)]
    assert stage.predict(calling(body, *context)) == []
    assert not stage.model.asked


@pytest.mark.parametrize("label", ["Person", "Car"])
def test_what_was_drawn_before_the_page_was_mended_is_not_lost_afterwards(
    set_stage: SetStage, drawn: dict[str, Any], label: str
) -> None:
    """It waits still, and the page deletes what waits and is not in the answer that it accepts."""
    stage = set_stage()
    prompt = asking(drawn, "caption all")["params"]["context"]["result"][0]
    first, second = rectangle("one", "Person"), rectangle("two", label, x=60.0)
    assert stage.predict(calling(drafted(drawn, prompt, leak(prompt)), first)) == []
    context = [first, second] if label == "Person" else [second]
    # Saved before either was drawn, however slow the machine: neither was deleted.
    back = stage.predict(calling(drafted(drawn, age=60.0), *context))
    assert same_shape(first, back) and same_shape(second, back)
    asked = {"one", "two"} if label == "Person" else {"two"}
    assert set(captions(back)) == asked


# --- whatever fails ------------------------------------------------------------------------------


def unfilled(given: dict[str, Any], back: Results, why: str) -> None:
    shapes = given["params"]["context"]["result"]
    assert all(same_shape(shape, back) for shape in shapes)
    assert not captions(back)
    lines = notes(back)
    assert set(lines) == {shape["id"] for shape in shapes}
    for line in lines.values():
        assert len(line) == 1 and line[0].startswith(NOTE) and why in line[0]
        assert "\n" not in line[0]


def test_model_down(set_stage: SetStage, drawn: dict[str, Any]) -> None:
    unfilled(drawn, set_stage(stub=StubModel(down=True)).predict(drawn), "does not answer")


def test_model_too_slow_for_the_budget(set_stage: SetStage, drawn: dict[str, Any]) -> None:
    stage = set_stage(stub=StubModel(delay=30.0), budget_s=0.8)
    stage.predict(calling(drawn))
    started = time.monotonic()
    back = stage.predict(drawn)
    assert time.monotonic() - started < 1.5
    unfilled(drawn, back, "out of time")


def test_what_is_answered_in_time_is_kept(set_stage: SetStage, drawn: dict[str, Any]) -> None:
    model = StubModel()

    def say(prompt: str, options: list[str]) -> str:
        model.delay = 30.0  # The next one takes too long.
        return options[0] if options else "a red car"

    model.say = say
    back = set_stage(stub=model, budget_s=2.0, model_concurrency=1).predict(drawn)
    assert len(captions(back)) == 1 and "out of time" in next(iter(notes(back).values()))[0]


def test_image_refused(set_stage: SetStage, drawn: dict[str, Any]) -> None:
    back = set_stage(label_studio_api_key="wrong").predict(drawn)
    unfilled(drawn, back, "REGIONTEXT_LABEL_STUDIO_API_KEY")


def test_image_too_slow(set_stage: SetStage, drawn: dict[str, Any]) -> None:
    unfilled(drawn, set_stage(host=StubHost(delay=30), budget_s=0.6).predict(drawn), "in time")


def test_image_that_is_none(set_stage: SetStage, drawn: dict[str, Any]) -> None:
    unfilled(drawn, set_stage(host=StubHost(data=b"no image")).predict(drawn), "read the image")


def test_image_from_a_foreign_host(set_stage: SetStage, drawn: dict[str, Any]) -> None:
    drawn["tasks"][0]["data"]["image"] = "http://169.254.169.254/latest/meta-data"
    stage = set_stage()
    unfilled(drawn, stage.predict(drawn), "ALLOWED_IMAGE_HOSTS")
    assert not stage.host.seen


def test_a_bad_region_does_not_cost_the_good_one(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    bad = rectangle("bad", width="wide")
    back = set_stage().predict(calling(drawn, bad, rectangle("good")))
    assert set(captions(back)) == {"good"} and same_shape(bad, back)
    assert "width" in notes(back)["bad"][0]


def test_a_label_outside_the_config_is_still_the_annotators(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    shape = rectangle("one", "Spaceship")
    assert same_shape(shape, set_stage().predict(calling(drawn, shape)))


def test_a_config_that_cannot_be_read_echoes_the_request(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    drawn["label_config"] = "<View><Rectangle"
    unfilled(drawn, set_stage().predict(drawn), "labeling config")


def test_a_config_that_changed_meanwhile(set_stage: SetStage, drawn: dict[str, Any]) -> None:
    """The page still has the old one: the region keeps its label, and says why it is empty."""
    config = drawn["label_config"]
    drawn["label_config"] = config.replace('"Car"', '"Lorry"')
    unfilled(drawn, set_stage().predict(drawn), "'Car' is no label")


@pytest.mark.parametrize(
    ("status", "why"),
    [(400, "refuses"), (401, "refuses"), (429, "not ready"), (500, "refuses"), (503, "not ready")],
)
def test_a_model_that_refuses(
    set_stage: SetStage, drawn: dict[str, Any], status: int, why: str
) -> None:
    unfilled(drawn, set_stage(stub=Refusing(status)).predict(drawn), why)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"choices": [{}]}', b"\xff"])
def test_a_model_that_talks_nonsense(
    set_stage: SetStage, drawn: dict[str, Any], body: bytes
) -> None:
    unfilled(drawn, set_stage(stub=Refusing(200, body)).predict(drawn), "gave no answer")


def test_a_database_that_is_gone(
    set_stage: SetStage, drawn: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = set_stage()

    def gone(*_: object) -> None:
        raise OperationalError("INSERT", {}, Exception("disk I/O error"))

    monkeypatch.setattr("backend.assistant.stored.add_suggestions", gone)
    unfilled(drawn, stage.predict(drawn), "internal error (OperationalError)")


class Refusing(StubModel):
    """Announces itself, and answers every question with the same status and body."""

    def __init__(self, status: int, body: bytes = b'{"error": {"message": "no"}}') -> None:
        super().__init__()
        self._said = status, body

    def transport(self) -> httpx.AsyncBaseTransport:
        inner, (status, body) = super().transport(), self._said

        class Wire(httpx.AsyncBaseTransport):
            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                if request.url.path.endswith("/chat/completions"):
                    return httpx.Response(status, content=body)
                return await inner.handle_async_request(request)

        return Wire()


def test_a_region_whose_answer_another_request_waits_for_says_that_it_came_too_late(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    stage = set_stage(stub=StubModel(delay=30.0), budget_s=1.2)
    one, two = rectangle("one", "Car"), rectangle("two", "Person", x=60.0)
    first = threading.Thread(target=stage.predict, args=(calling(drawn, one),))
    first.start()
    while not stage.model.asked:
        time.sleep(0.01)
    back = stage.predict(calling(drawn, two))
    first.join()
    assert same_shape(one, back) and same_shape(two, back)
    assert all("time" in lines[0] for lines in notes(back).values()) and len(notes(back)) == 2


@pytest.mark.parametrize(
    "broken",
    [
        {"tasks": []},
        {"tasks": [{"data": {}}]},
        {"project": None},
        {"tasks": [{"id": 2, "data": None, "drafts": [{"result": None}, 7]}]},
        {"tasks": [{"id": 2, "data": {"image": 5}}]},
    ],
)
def test_a_broken_request_never_loses_its_shapes(
    set_stage: SetStage, drawn: dict[str, Any], broken: dict[str, Any]
) -> None:
    body = drawn | broken
    back = set_stage().predict(body)
    assert same_shape(body["params"]["context"]["result"][0], back)


def test_odd_results_in_the_request_are_survived(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    shape = rectangle("one")
    odd = [{"type": "rectanglelabels"}, {"id": 7, "value": []}, {"id": "x", "type": None}]
    back = set_stage().predict(calling(drawn, *odd, shape))
    assert same_shape(shape, back)
    assert all(item in back for item in odd[1:])


def test_a_note_goes_away_when_the_region_is_filled(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    stage = set_stage(stub=StubModel(down=True))
    first = stage.predict(drawn)[0]
    first["meta"]["text"].insert(0, "a human's note")
    stage.model.down = False
    back = stage.predict(calling(drawn, first))
    assert back[0]["meta"] == {"text": ["a human's note"], SEEN: 1}
    assert len(captions(back)) == 1


def test_an_image_on_which_labels_is_not_the_size_it_says_is_decoded_at_its_own(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    stage = set_stage(host=StubHost(data=photo((400, 300))))
    assert len(captions(stage.predict(drawn))) == 1


# --- arms ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("arm", ["holdout", "control"])
def test_outside_the_assist_arm_shapes_come_back_silently(
    set_stage: SetStage, drawn: dict[str, Any], arm: str
) -> None:
    stage = set_stage(**({"holdout": 0.0, "control": 0.0} | {arm: 1.0}))
    back = stage.predict(drawn)
    assert same_shape(drawn["params"]["context"]["result"][0], back)
    assert len(back) == 1 and back[0]["meta"] == {SEEN: 1}
    assert not stage.model.asked
    with stage.store.read() as session:
        assert session.query(ImageRow).one().arm == arm
        assert not session.query(SuggestionRow).all()


# --- several requests at once --------------------------------------------------------------------


def test_two_quick_drawings_of_different_labels_both_survive(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    stage = set_stage(stub=StubModel(delay=0.5))
    first, second = rectangle("first", "Car"), rectangle("second", "Person", x=60.0)
    answers: dict[str, Results] = {}

    def draw(name: str, *shapes: dict[str, Any]) -> None:
        answers[name] = stage.predict(calling(drawn, *shapes))

    one = threading.Thread(target=draw, args=("first", first))
    one.start()
    wait_for(lambda: bool(stage.model.asked), seconds=60)
    draw("second", second)
    one.join()
    assert set(captions(answers["first"])) == {"first"}
    assert set(captions(answers["second"])) == {"first", "second"}
    assert same_shape(first, answers["second"])
    assert sum("Describe" in prompt for prompt in stage.model.prompts) == 2


def test_two_annotators_who_begin_a_task_at_once(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    """Before the first draft they cannot be told apart; nothing is lost, and what may be another's says so."""
    stage = set_stage(stub=StubModel(delay=0.5))
    drawn["tasks"][0]["drafts"] = []
    drawn["tasks"][0]["annotations"] = [
        {"id": n, "completed_by": {"id": n}, "result": []} for n in (1, 2)
    ]
    first, second = rectangle("first", "Car"), rectangle("second", "Person", x=60.0)
    for pages, expected in (((None, None), {"first", "second"}), (("p", "q"), {"second"})):
        bodies = [calling(drawn, first), calling(drawn, second)]
        for body, page in zip(bodies, pages, strict=True):
            body["tasks"][0]["id"] = 70 + len(expected)
            body["params"]["context"]["regiontext_page"] = page
        with ThreadPoolExecutor() as pool:
            before = len(stage.model.asked)
            one = pool.submit(stage.predict, bodies[0])
            wait_for(lambda before=before: len(stage.model.asked) > before, seconds=60)
            back = stage.predict(bodies[1])
        assert set(captions(one.result())) == {"first"} and not notes(one.result())
        assert set(captions(back)) == expected
        assert set(notes(back)) == expected - {"second"}
        assert all("delete it here" in lines[0] for lines in notes(back).values())


def test_a_region_sent_again_while_it_is_asked_about_is_asked_once(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    stage = set_stage(stub=StubModel(delay=0.5))
    first, second = rectangle("first"), rectangle("second", x=60.0)
    thread = threading.Thread(target=stage.predict, args=(calling(drawn, first),))
    thread.start()
    wait_for(lambda: bool(stage.model.asked), seconds=60)
    back = stage.predict(calling(drawn, first, second))
    thread.join()
    assert set(captions(back)) == {"first", "second"}
    assert sum("Describe" in prompt for prompt in stage.model.prompts) == 2


# --- the model -----------------------------------------------------------------------------------


def test_the_champions_adapter_is_asked_and_loaded_again_when_the_server_forgot_it(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    from backend.store import ModelVersionRow
    from backend.store import queries as stored

    stage = set_stage()
    name = "stub-model:0001"
    with stage.store.begin() as session:
        stored.upsert(
            session,
            ModelVersionRow(
                name=name,
                base="stub-model",
                adapter_path="/runs/1/adapter",
                status="challenger",
                metrics={},
            ),
        )
    assert stage.predict(drawn) and {r["model"] for r in stage.model.asked} == {"stub-model"}
    with stage.store.begin() as session:
        stored.promote(session, name)
    # Noticed within two seconds.
    stage.backend.assistant.serving.forget()
    stage.model.asked.clear()
    back = stage.predict(calling(drawn, rectangle("one")))
    assert {r["model"] for r in stage.model.asked} == {name}
    assert stage.model.loads[0] == {"lora_name": name, "lora_path": "/runs/1/adapter"}
    version = next(r for r in back if r["from_name"] == "caption")["meta"][META]["model_version"]
    assert version.startswith("stub-model@0001+r")


def test_an_answer_outside_the_options_is_not_taken(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    model = StubModel(say=lambda prompt, options: "perfectly fine")
    back = set_stage(stub=model).predict(drawn)
    assert len(captions(back)) == 1
    assert "none of the options" in next(iter(notes(back).values()))[0]
    assert not any(item["from_name"] == "quality" for item in back)
