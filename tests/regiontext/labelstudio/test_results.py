"""Result lists: sorted, filled, checked."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regiontext.labelstudio.config import parse_config
from regiontext.labelstudio.results import (
    check_results,
    decode_regions,
    field_result,
    image_field_result,
    read_results,
    relation_result,
    text_of,
)
from tests.regiontext.labelstudio.payloads import CONFIG, load, recorded

CONF = parse_config(CONFIG)
BOX = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0}


def rect(id="r1", label="Car", **more):
    result = {
        "id": id,
        "from_name": "rect",
        "to_name": "img",
        "type": "rectanglelabels",
        "origin": "manual",
    }
    value = BOX | {"rectanglelabels": [label]}
    return (
        result
        | {"original_width": 800, "original_height": 600, "image_rotation": 0, "value": value}
        | more
    )


def field(name):
    found = CONF.field(name)
    assert found is not None
    return found


def test_a_recorded_annotation_is_sorted():
    read = read_results(recorded())
    assert list(read.shapes) == [
        "sYwqVV0hpe",
        "0SSMygR1IZ",
        "YC7Csaanq9",
        "uX9V40qA84",
        "qms9s0Y3ni",
        "BMRLZaCd7N",
        "arMIPctMqK",
        "L2PosXwwCA",
    ]
    assert {id: sorted(fields) for id, fields in read.fields.items()} == {
        "sYwqVV0hpe": ["caption", "quality"]
    }
    assert text_of(read.fields["sYwqVV0hpe"]["caption"]) == ("first caption",)
    assert text_of(read.fields["sYwqVV0hpe"]["quality"]) == ("clear",)
    assert [(r["from_id"], r["to_id"]) for r in read.relations] == [("sYwqVV0hpe", "0SSMygR1IZ")]
    assert read.image_fields == {} and read.others == []


def test_whole_image_text_is_told_from_a_regions():
    read = read_results(load("prompt_filled_existing.json"))
    assert len(read.shapes) == len(read.fields) == 3
    assert text_of(read.image_fields["prompt"]) == ("caption all",)


def test_a_field_without_its_shape_is_another_result():
    caption = field_result(rect(), field("caption"), ["a car"])
    read = read_results(
        [caption, {"type": "rating", "id": "r1", "from_name": "stars", "value": {"rating": 3}}]
    )
    assert read.fields == {} and len(read.others) == 1
    assert set(read.image_fields) == {"stars"}


def test_order_of_shape_and_field_does_not_matter_and_the_last_of_doubles_counts():
    items = [
        field_result(rect(), field("caption"), ["old"]),
        field_result(rect(), field("caption"), ["new"]),
        rect(),
    ]
    assert text_of(read_results(items).fields["r1"]["caption"]) == ("new",)


junk = st.recursive(
    st.none()
    | st.integers()
    | st.text(max_size=4)
    | st.sampled_from(["r1", "rect", "textarea", "relation", "img"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
keys = st.sampled_from(
    [
        "id",
        "type",
        "value",
        "from_name",
        "to_name",
        "labels",
        "from_id",
        "to_id",
        "direction",
        "score",
    ]
)


@given(st.lists(st.dictionaries(keys, junk, max_size=8) | junk, max_size=5))
def test_anything_can_be_read_and_checked(items):
    read_results(items)
    decode_regions(items)
    for item in items:
        if isinstance(item, dict):
            text_of(item)
    kept, dropped = check_results(items, CONF)
    assert len(kept) + len(dropped) == len(items)
    assert all(len(line) < 500 and "\n" not in line for line in dropped)


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"type": "textarea", "value": {"text": ["a", "b"]}}, ("a", "b")),
        ({"type": "textarea", "value": {"text": "a"}}, ("a",)),
        ({"type": "choices", "value": {"choices": ["x"]}}, ("x",)),
        ({"type": "choices", "value": {"choices": [["x", "y"]]}}, ("x > y",)),
        ({"value": {"choices": ["x"]}}, ("x",)),
        ({"type": "textarea", "value": None}, ()),
        ({}, ()),
    ],
)
def test_texts_of_a_field(result, expected):
    assert text_of(result) == expected


def test_a_field_result_is_what_label_studio_writes():
    shape, caption, quality = recorded()[:3]
    config = parse_config(
        load("request_predict_interactive_with_draft.json")["body"]["label_config"]
    )
    for name, values, expected in (
        ("caption", ["first caption"], caption),
        ("quality", ["clear"], quality),
    ):
        made = field_result(shape, config.field(name), values)
        assert {k: v for k, v in made.items() if k != "origin"} == {
            k: v for k, v in expected.items() if k != "origin"
        }


def test_a_field_result_carries_score_meta_and_image_index():
    made = field_result(
        rect(item_index=1), field("caption"), ("a",), score=0.5, meta={"suggestion": "s1"}
    )
    assert (made["score"], made["meta"], made["item_index"]) == (0.5, {"suggestion": "s1"}, 1)
    assert "rectanglelabels" not in made["value"]
    json.dumps(made)


def test_whole_image_and_relation_results():
    assert image_field_result(field("relcaption"), ["a on b"], id="x")["value"] == {
        "text": ["a on b"]
    }
    relation = relation_result("a", "b", ["holds"])
    assert relation == {
        "type": "relation",
        "from_id": "a",
        "to_id": "b",
        "direction": "right",
        "labels": ["holds"],
    }
    assert "labels" not in relation_result("a", "b", [])
    with pytest.raises(ValueError, match="up"):
        relation_result("a", "b", [], "up")


def test_regions_are_decoded_with_the_faults_of_the_others():
    broken = rect("r2")
    broken["value"]["width"] = -1
    regions, faults = decode_regions([rect(), broken], size=(400, 300))
    assert list(regions) == ["r1"] and regions["r1"].size == (400, 300)
    assert [fault.region_id for fault in faults] == ["r2"]


def test_labels_given_by_a_separate_control_reach_the_region():
    shape = rect() | {"type": "rectangle", "value": BOX}
    labels = {
        "id": "r1",
        "from_name": "label",
        "to_name": "img",
        "type": "labels",
        "value": BOX | {"labels": ["Car"]},
    }
    regions, _ = decode_regions([shape, labels])
    assert regions["r1"].labels == ("Car",) and regions["r1"].box == (80, 120, 320, 360)


def test_good_results_all_pass():
    good = [
        rect(),
        field_result(rect(), field("caption"), ["a car"], score=1.0),
        field_result(rect(), field("quality"), ["clear"]),
        field_result(rect(), field("tags"), ["a", "b"]),
        {
            "id": "r1",
            "from_name": "stars",
            "to_name": "img",
            "type": "rating",
            "value": BOX | {"rating": 3},
        },
        rect("r2", "Person"),
        relation_result("r1", "r2", ["next to"]),
        relation_result("r2", "r1", []),
        image_field_result(field("relcaption"), ["r1 next to r2"], id="x"),
    ]
    before = copy.deepcopy(good)
    kept, dropped = check_results(good, CONF)
    assert kept == good == before and dropped == []


def test_recorded_annotations_pass():
    config = parse_config(
        load("request_predict_interactive_with_draft.json")["body"]["label_config"]
    )
    for results in (
        recorded(),
        load("prompt_filled_existing.json"),
        load("multi_image_results.json"),
    ):
        kept, dropped = check_results(results, config)
        assert kept == results and dropped == []


def caption(**more):
    return field_result(rect(), field("caption"), ["a car"]) | more


def quality(*choices):
    return field_result(rect(), field("quality"), choices)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (5, "no object"),
        (caption(id=None), "id is None"),
        (caption(id=""), "id is ''"),
        (caption(from_name="note"), "from_name 'note' is not in"),
        (caption(from_name=None), "from_name None"),
        (caption(to_name="image"), "to_name 'image' is not 'img'"),
        (caption(type="choices"), "type 'choices' does not match <TextArea>"),
        (caption(type=["textarea"]), "does not match"),
        (caption(value=None), "value is None"),
        (caption(value=BOX | {"text": "a car"}), "no list of texts"),
        (caption(value=BOX | {"text": [1]}), "no list of texts"),
        (caption(value=BOX), "text is None"),
        (caption(score=float("nan")), "score is nan"),
        (caption(score="high"), "score is 'high'"),
        (caption(id="r9"), "no shape"),
        (quality("blurry"), "'blurry' is no option of 'quality' (clear, occluded)"),
        (quality("clear", "occluded"), "one choice"),
        (field_result(rect(), field("tags"), ["a", "c"]), "'c' is no option"),
        (rect("r2", "Truck"), "'Truck' is no label of the control (Car, Person)"),
        (rect("r2") | {"from_name": "ell"}, "does not match <EllipseLabels>"),
        (rect("r2", value=BOX | {"rectanglelabels": "Car"}), "no list of texts"),
        (image_field_result(field("relcaption"), ["x"], id="r1"), "whole image"),
        (relation_result("r1", "r9", ["next to"]), "to_id 'r9'"),
        (relation_result("r9", "r1", ["next to"]), "from_id 'r9'"),
        (relation_result("r1", "r2", ["under"]), "'under' is no relation"),
        (relation_result("r1", "r1", ["next to"]) | {"direction": "up"}, "direction 'up'"),
        (relation_result("r1", "r1", []) | {"labels": "next to"}, "no list of texts"),
        (relation_result("r1", "r1", []) | {"to_id": ["r1"]}, "to_id"),
    ],
)
def test_what_label_studio_would_choke_on_is_dropped_with_a_line(item, said):
    kept, dropped = check_results([rect(), item], CONF)
    assert kept == [rect()]
    assert len(dropped) == 1 and said in dropped[0]


def test_doubles_are_dropped():
    kept, dropped = check_results([rect(), caption(), caption(value=BOX | {"text": ["b"]})], CONF)
    assert len(kept) == 2 and "twice" in dropped[0]


def test_with_a_refused_shape_go_its_fields_and_relations():
    items = [
        rect("r1", "Truck"),
        field_result(rect("r1", "Truck"), field("caption"), ["a"]),
        rect("r2"),
        relation_result("r1", "r2", ["next to"]),
    ]
    kept, dropped = check_results(items, CONF)
    assert kept == [rect("r2")] and len(dropped) == 3


def test_dynamic_labels_are_taken_as_they_come():
    config = parse_config(
        CONFIG.replace('<Label value="Tree"/>', "").replace(
            'name="ell"', 'name="ell" value="$labels"'
        )
    )
    item = rect(value={"x": 5, "y": 5, "radiusX": 2, "radiusY": 2, "ellipselabels": ["Anything"]})
    item |= {"from_name": "ell", "type": "ellipselabels"}
    assert check_results([item], config) == ([item], [])


def test_huge_values_make_short_lines():
    item = caption(from_name="x" * 10_000, id="y" * 10_000)
    _, dropped = check_results([item], CONF)
    assert len(dropped[0]) < 400
