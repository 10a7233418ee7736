"""Labels that the page wrote where they do not belong are told from those that an annotator gave."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regiontext.labelstudio.decode import SHAPE_TYPES, is_shape
from regiontext.labelstudio.leaks import is_bare, leaked, without_leaks
from regiontext.labelstudio.results import decode_regions, read_results

GEOMETRY: dict[str, dict[str, Any]] = {
    "rectangle": {"x": 1.0, "y": 2.0, "width": 30.0, "height": 40.0, "rotation": 0},
    "ellipse": {"x": 50.0, "y": 50.0, "radiusX": 3.0, "radiusY": 4.0, "rotation": 0},
    "polygon": {"points": [[1, 1], [20, 1], [20, 30]], "closed": True},
    "brush": {"format": "rle", "rle": [0, 0, 0, 8, 1]},
    "bitmask": {"imageDataURL": "data:image/png;base64,AA=="},
    "vector": {"vertices": [{"id": "a", "x": 1, "y": 1}], "closed": False},
    "keypoint": {"x": 5.0, "y": 6.0, "width": 0.5},
}
SHAPES = st.sampled_from(sorted(GEOMETRY))


def shape(kind: str, id: str = "r", drawn: str | None = None) -> dict[str, Any]:
    """A label item of one shape's control, on a region of another if `drawn` says so; "" for no geometry."""
    name = f"{kind}labels"
    geometry = GEOMETRY.get(kind if drawn is None else drawn, {})
    return {
        "id": id,
        "from_name": kind,
        "to_name": "img",
        "type": name,
        "original_width": 100,
        "original_height": 100,
        "value": {**geometry, name: ["Car"]},
    }


def words(id: str, drawn: str = "") -> dict[str, Any]:
    value = {**GEOMETRY.get(drawn, {}), "text": ["a car"]}
    return {"id": id, "from_name": "t", "to_name": "img", "type": "textarea", "value": value}


@given(SHAPES, SHAPES)
def test_a_label_of_another_shape_is_a_leak_and_the_regions_own_is_not(
    own: str, other: str
) -> None:
    items = [shape(own), words("r", own), shape(other, drawn=own)]
    expected = items if own == other else items[:2]
    assert without_leaks(items) == expected
    # The page may have written it first.
    assert without_leaks(items[::-1]) == expected[::-1]
    assert read_results(items).shapes == {"r": shape(own)}


@given(SHAPES)
def test_a_label_on_a_text_about_the_whole_image_is_a_leak(kind: str) -> None:
    bare = shape(kind, "prompt", drawn="")
    items = [bare, words("prompt"), shape(kind)]
    assert is_bare(bare) and not is_bare(shape(kind))
    assert without_leaks(items) == items[1:]
    read = read_results(items)
    assert set(read.shapes) == {"r"} and set(read.image_fields) == {"t"} and read.others == [bare]


@given(SHAPES, SHAPES)
def test_the_only_item_of_a_region_stays_whatever_it_says(own: str, other: str) -> None:
    items = [shape(other, drawn=own), words("r", own)]
    assert without_leaks(items) == items


@pytest.mark.parametrize(
    "value", [None, {}, [], {"x": 1}, {"rectanglelabels": ["Car"], "width": 3}]
)
def test_a_damaged_region_is_not_taken_for_a_leak(value: Any) -> None:
    item = shape("rectangle") | {"value": value}
    assert without_leaks([item]) == [item]


def test_labels_of_a_control_of_their_own_and_two_of_the_same_shape_stay() -> None:
    plain = shape("rectangle") | {"type": "rectangle", "value": dict(GEOMETRY["rectangle"])}
    labels = plain | {"type": "labels", "value": plain["value"] | {"labels": ["Car"]}}
    second = shape("rectangle") | {"from_name": "more"}
    for items in ([plain, labels], [shape("rectangle"), second]):
        assert without_leaks(items) == items


def test_a_region_with_a_leak_is_decoded_as_what_it_is() -> None:
    regions, faults = decode_regions([shape("polygon"), shape("rectangle", drawn="polygon")])
    assert regions["r"].shape == "polygon" and not faults


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
ITEMS = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["a", "b"]) | JSON,
        "type": st.sampled_from([*SHAPE_TYPES, "textarea", "labels"]) | JSON,
        "value": JSON
        | st.dictionaries(
            st.sampled_from(["x", "y", "rle", "points", "text", "brushlabels"]), JSON
        ),
    },
)


@given(st.lists(ITEMS, max_size=6))
def test_whatever_comes_no_region_loses_its_last_item(items: list[dict[str, Any]]) -> None:
    kept = without_leaks(items)
    assert len(kept) + len(leaked(items)) == len(items)
    assert without_leaks(kept) == kept

    def drawn(results: list[dict[str, Any]]) -> set[str]:
        return {repr(i.get("id")) for i in results if is_shape(i) and not is_bare(i)}

    assert drawn(kept) == drawn(items)
