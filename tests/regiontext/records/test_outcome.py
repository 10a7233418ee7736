from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regiontext.labelstudio.config import parse_config
from regiontext.records.outcome import compare, compare_relations, compare_values, tidy

CONFIG = parse_config(
    """<View><Relations><Relation value="next to"/><Relation value="holds"/></Relations>
    <Image name="img" value="$image"/>
    <RectangleLabels name="rect" toName="img"><Label value="Car"/></RectangleLabels>
    <TextArea name="caption" toName="img" perRegion="true"/>
    <Choices name="quality" toName="img" perRegion="true" choice="multiple">
      <Choice value="clear"/><Choice value="occluded"/></Choices></View>"""
)


def shape(region: str) -> dict[str, Any]:
    value = {"x": 1, "y": 1, "width": 5, "height": 5, "rotation": 0, "rectanglelabels": ["Car"]}
    return {
        "id": region, "from_name": "rect", "to_name": "img", "type": "rectanglelabels",
        "original_width": 80, "original_height": 60, "value": value,
    }  # fmt: skip


def text(region: str, *entries: str) -> dict[str, Any]:
    return {
        "id": region, "from_name": "caption", "to_name": "img", "type": "textarea",
        "value": {"x": 1, "y": 1, "width": 5, "height": 5, "text": list(entries)},
    }  # fmt: skip


def choice(region: str, *entries: str) -> dict[str, Any]:
    return {
        "id": region, "from_name": "quality", "to_name": "img", "type": "choices",
        "value": {"x": 1, "y": 1, "width": 5, "height": 5, "choices": list(entries)},
    }  # fmt: skip


def arrow(a: str, b: str, *labels: str, direction: str = "right") -> dict[str, Any]:
    return {
        "type": "relation", "from_id": a, "to_id": b, "direction": direction,
        "labels": list(labels),
    }  # fmt: skip


def outcomes(suggested: dict[tuple[str, str], list[str]], results: list[dict[str, Any]]) -> Any:
    return {(c.region, c.field): c.outcome for c in compare(suggested, results, CONFIG)}


@pytest.mark.parametrize(
    ("suggested", "final", "expected"),
    [
        (["a red car"], ["a red car"], "accepted"),
        (["a red car"], ["  a  red car \n"], "accepted"),
        (["caf\u00e9"], ["cafe\u0301"], "accepted"),
        (["a red car"], ["A red car"], "edited"),
        (["a red car"], ["a red car."], "edited"),
        (["a red car"], ["a red car", "parked"], "edited"),
        (["a", "b"], ["b", "a"], "edited"),
        (["a red car"], [], "cleared"),
        (["a red car"], ["  "], "cleared"),
        (None, ["a red car"], "added"),
        ([""], ["a red car"], "added"),
        (None, [], None),
        ([" "], [" "], None),
    ],
)
def test_values(suggested: list[str] | None, final: list[str], expected: str | None) -> None:
    assert compare_values(suggested, final) == expected


def test_the_order_of_choices_means_nothing() -> None:
    assert compare_values(["a", "b"], ["b", "a"], ordered=False) == "accepted"
    assert compare_values(["a", "b"], ["a"], ordered=False) == "edited"


@given(st.lists(st.text()), st.lists(st.text()))
def test_accepting_is_symmetric_and_tidying_settles(a: list[str], b: list[str]) -> None:
    assert (compare_values(a, b) == "accepted") == (compare_values(b, a) == "accepted")
    assert tidy(tidy(a)) == tidy(a)
    if tidy(a):
        assert compare_values(a, a) == "accepted"


def test_each_field_of_each_region() -> None:
    suggested = {
        ("r1", "caption"): ["a red car"],
        ("r1", "quality"): ["clear"],
        ("r2", "caption"): ["a tree"],
        ("gone", "caption"): ["a ghost"],
        ("gone", "quality"): [],
    }
    results = [
        shape("r1"), text("r1", "a red car"), choice("r1", "occluded"),
        shape("r2"),
        shape("r3"), text("r3", "my own words"),
    ]  # fmt: skip
    assert outcomes(suggested, results) == {
        ("r1", "caption"): "accepted",
        ("r1", "quality"): "edited",
        ("r2", "caption"): "cleared",
        ("r3", "caption"): "added",
        ("gone", "caption"): "discarded",
    }


def test_nothing_suggested_is_none_not_empty() -> None:
    (comparison,) = compare({}, [shape("r"), text("r", "words")], CONFIG)
    assert comparison.suggested is None
    assert comparison.final == ("words",)


def test_an_edited_prediction_of_a_real_label_studio(payload: Callable[[str], Any]) -> None:
    # Label Studio leaves origin "prediction" on the edited caption: only the text tells.
    results = payload("annotation_from_prediction_edited")[0]["result"]
    assert {item["origin"] for item in results if "origin" in item} == {"prediction"}
    suggested = {
        ("reg1", "caption"): ["batch caption for rect"],
        ("reg1", "quality"): ["clear"],
        ("reg2", "caption"): ["batch caption for ellipse"],
    }
    assert outcomes(suggested, results) == {
        ("reg1", "caption"): "edited",
        ("reg1", "quality"): "accepted",
        ("reg2", "caption"): "accepted",
    }


def relations(suggested: dict[tuple[str, str], list[str]], results: list[dict[str, Any]]) -> Any:
    found = compare_relations(suggested, results, field="relations", nothing="no relation")
    return {c.region: (c.outcome, c.suggested, c.final) for c in found}


def test_relations() -> None:
    suggested = {
        ("a", "b"): ["next to"],
        ("b", "c"): ["holds"],
        ("c", "a"): ["next to"],
        ("a", "c"): ["no relation"],
        ("b", "a"): ["no relation"],
        ("a", "gone"): ["holds"],
    }
    results = [
        shape("a"), shape("b"), shape("c"),
        arrow("a", "b", "next to"),
        arrow("b", "c", "next to"),
        arrow("a", "c", "holds"),
    ]  # fmt: skip
    assert relations(suggested, results) == {
        ("a", "b"): ("accepted", ("next to",), ("next to",)),
        ("b", "c"): ("edited", ("holds",), ("next to",)),
        ("a", "c"): ("added", None, ("holds",)),
        ("c", "a"): ("cleared", ("next to",), ()),
        ("a", "gone"): ("discarded", ("holds",), ()),
    }


def test_the_direction_of_an_arrow_counts() -> None:
    ends = [shape("a"), shape("b")]
    turned = [*ends, arrow("a", "b", "holds", direction="left")]
    assert relations({}, turned) == {("b", "a"): ("added", None, ("holds",))}
    both = [*ends, arrow("a", "b", "next to", direction="bi")]
    assert set(relations({}, both)) == {("a", "b"), ("b", "a")}


def test_an_arrow_without_a_label_says_nothing() -> None:
    assert relations({}, [shape("a"), shape("b"), arrow("a", "b")]) == {}
