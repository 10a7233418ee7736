"""Labels that the page wrote where they do not belong: none is sent back, and no region is lost by it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from regiontext.labelstudio.checks import SHAPE_KEYS
from regiontext.labelstudio.leaks import leaked
from tests.backend.calls import (
    Payload,
    asking,
    calling,
    captions,
    drafted,
    rectangle,
    same_shape,
)
from tests.backend.conftest import SetStage


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
