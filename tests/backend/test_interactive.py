"""What an annotator gets back while drawing: recorded Label Studio 1.23.2 payloads against a whole backend."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest

from backend.fill import META
from backend.known import SEEN
from backend.store import ImageRow, SuggestionRow
from regiontext.labelstudio.decode import is_shape
from regiontext.labelstudio.results import read_results, text_of
from tests.backend.calls import (
    Payload,
    calling,
    captions,
    drafted,
    notes,
    rectangle,
    same_shape,
    text,
)
from tests.backend.conftest import SetStage
from tests.backend.stubs import StubModel

# --- drawing -----------------------------------------------------------------------------------


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


# --- what a human wrote ------------------------------------------------------------------------


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


# --- pointing at existing regions --------------------------------------------------------------


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


# --- arms --------------------------------------------------------------------------------------


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


# --- the model ---------------------------------------------------------------------------------


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
