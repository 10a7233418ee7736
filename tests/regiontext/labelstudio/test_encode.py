"""Regions written for Label Studio draw the same region again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from regiontext.errors import RegionError
from regiontext.geometry import rectangle_ring
from regiontext.labelstudio.decode import SHAPE_TYPES, decode_region, is_shape
from regiontext.labelstudio.encode import encode_region
from regiontext.region import Region
from tests.regiontext.labelstudio.payloads import recorded, shape

percent = st.floats(5, 60)


def there_and_back(item):
    region = decode_region(item)
    again = encode_region(
        region, from_name=item["from_name"], to_name=item["to_name"], type=item["type"]
    )
    return region, again


@given(percent, percent, percent, percent, st.floats(0, 359.9))
def test_rectangle(x, y, width, height, rotation):
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": rotation}
    _, again = there_and_back(shape("rectangle", value))
    turn = (again["value"].pop("rotation") - value.pop("rotation") + 180) % 360 - 180
    assert turn == pytest.approx(0, abs=1e-6)
    assert again["value"] == pytest.approx(value, abs=1e-6)


@given(percent, percent, st.floats(1, 40), st.floats(1, 40), st.floats(0, 359.9))
def test_ellipse(x, y, radius_x, radius_y, rotation):
    value = {"x": x, "y": y, "radiusX": radius_x, "radiusY": radius_y, "rotation": rotation}
    _, again = there_and_back(shape("ellipse", value))
    turn = (again["value"].pop("rotation") - value.pop("rotation") + 180) % 360 - 180
    assert turn == pytest.approx(0, abs=1e-6)
    assert again["value"] == pytest.approx(value, rel=1e-6, abs=1e-6)


@given(st.lists(st.tuples(percent, percent), min_size=3, max_size=9))
def test_polygon(points):
    _, again = there_and_back(shape("polygon", {"points": [list(point) for point in points]}))
    assert np.allclose(again["value"]["points"], points)
    assert again["value"]["closed"] is True


@given(percent, percent, st.floats(1.5, 20))
def test_keypoint(x, y, width):
    value = {"x": x, "y": y, "width": width}
    _, again = there_and_back(shape("keypoint", value))
    assert again["value"] == pytest.approx(value, abs=1e-6)


@settings(deadline=None)
@given(
    arrays(np.bool_, st.tuples(st.integers(1, 20), st.integers(1, 20))),
    st.sampled_from(["brush", "bitmask"]),
)
def test_masks(mask, type):
    assume(mask.any())
    result = encode_region(Region.from_mask("r", mask), from_name="b", to_name="img", type=type)
    assert np.array_equal(decode_region(result).mask, mask)


def test_recorded_regions_come_back_as_they_were():
    for item in recorded():
        if not is_shape(item):
            continue
        region, again = there_and_back(item)
        assert {key: again[key] for key in again if key not in ("value", "origin")} == {
            key: item[key] for key in item if key not in ("value", "origin")
        }
        assert again["value"][item["type"]] == item["value"][item["type"]]
        assert again["value"].get("closed") == item["value"].get("closed")
        assert np.array_equal(decode_region(again).mask, region.mask)


anywhere = st.floats(-30, 130) | st.integers(-4, 24).map(lambda n: n * 6.25)
extent = st.floats(1e-4, 300) | st.integers(1, 24).map(lambda n: n * 6.25)
turns = st.floats(-400, 400) | st.sampled_from([0, 45, 90, 180, 270, 360, -90])
places = st.tuples(anywhere, anywhere)


@st.composite
def vectors(draw):
    points = draw(st.lists(places, min_size=1, max_size=7))
    made = []
    for index, (x, y) in enumerate(points):
        vertex = {"id": f"v{index}", "x": x, "y": y, "isBezier": draw(st.booleans())}
        if index:
            vertex["prevPointId"] = f"v{draw(st.just(index - 1) | st.integers(0, index - 1))}"
        elif draw(st.booleans()):
            vertex["prevPointId"] = f"v{len(points) - 1}"
        if vertex["isBezier"]:
            for key in draw(st.sets(st.sampled_from(["controlPoint1", "controlPoint2"]))):
                vertex[key] = dict(zip("xy", draw(places), strict=True))
        made.append(vertex)
    return {"vertices": made, "closed": draw(st.booleans())}


DRAWN = {
    "rectangle": st.fixed_dictionaries(
        {"x": anywhere, "y": anywhere, "width": extent, "height": extent, "rotation": turns}
    ),
    "ellipse": st.fixed_dictionaries(
        {"x": anywhere, "y": anywhere, "radiusX": extent, "radiusY": extent, "rotation": turns}
    ),
    "polygon": st.fixed_dictionaries(
        {"points": st.lists(places.map(list), min_size=3, max_size=9), "closed": st.booleans()}
    ),
    "keypoint": st.fixed_dictionaries({"x": anywhere, "y": anywhere, "width": st.floats(0, 20)}),
    "vector": vectors(),
}


@pytest.mark.parametrize("type", list(DRAWN))
@settings(max_examples=120, deadline=None)
@given(st.data(), st.sampled_from([(200, 100), (1, 1), (37, 53), (127, 64), (641, 11)]))
def test_every_shape_is_read_written_and_read_with_the_same_mask(type, data, size):
    value = data.draw(DRAWN[type])
    item = shape(type, value, original_width=size[0], original_height=size[1])
    try:
        region = decode_region(item)
    except RegionError:
        assume(False)
    again = encode_region(region, from_name="c", to_name="img", type=type)
    second = decode_region(again)
    assert np.array_equal(second.mask, region.mask)
    assert np.array_equal(second.mask, decode_region(encode_of(second, type)).mask)
    assert second.point == region.point and len(second.polygons) == len(region.polygons)
    if "closed" in value:
        assert again["value"]["closed"] == value["closed"]


def encode_of(region, type):
    return encode_region(region, from_name="c", to_name="img", type=type)


@given(vectors())
@settings(deadline=None)
def test_a_vector_keeps_its_joints_and_handles(value):
    item = shape("vector", value)
    try:
        _, again = there_and_back(item)
    except RegionError:
        assume(False)
    first, second = value["vertices"], again["value"]["vertices"]
    names = {vertex["id"]: f"r1-{index}" for index, vertex in enumerate(first)}
    linked = any(
        "prevPointId" in vertex and vertex["prevPointId"] != vertex["id"] for vertex in first
    )
    for before, after in zip(first, second, strict=True):
        assert (after["x"], after["y"]) == pytest.approx((before["x"], before["y"]), abs=1e-6)
        if linked and before.get("prevPointId") != before["id"]:
            assert after.get("prevPointId") == names.get(before.get("prevPointId"))
        for key in ("controlPoint1", "controlPoint2"):
            assert (key in after) == (key in before)
            assert after.get(key) == pytest.approx(before.get(key), abs=1e-6)


def holed(x: float) -> Region:
    rings = (
        rectangle_ring((10, 10, 60, 60)),
        rectangle_ring((20, 20, 40, 40)),
        rectangle_ring((x, 10.5, x + 15, 70), 5),
    )
    return Region("r", "polygon", (100, 80), ("House",), polygons=rings)


@pytest.mark.parametrize("type", ["polygon", "vector", "polygonlabels"])
@pytest.mark.parametrize("x", [75, 55])
def test_holes_and_parts_are_written_as_one_ring(type, x):
    region = holed(x)
    again = decode_region(encode_of(region, type))
    assert np.array_equal(again.mask, region.mask)
    assert (len(again.polygons[0]) < 20) == (x == 75)  # rings that cross are traced instead


@settings(deadline=None)
@given(
    arrays(np.bool_, st.tuples(st.integers(1, 20), st.integers(1, 20))),
    st.sampled_from(["polygon", "vector"]),
)
def test_a_mask_is_written_as_its_outline(mask, type):
    assume(mask.any())
    assert np.array_equal(decode_region(encode_of(Region.from_mask("r", mask), type)).mask, mask)


@pytest.mark.parametrize("type", [t for t in SHAPE_TYPES if SHAPE_TYPES[t] in {"brush", "bitmask"}])
def test_any_region_can_be_written_as_its_mask(type):
    region = Region.from_box("r", (10.2, 5, 60, 44.7), (100, 80), ["Car"])
    result = encode_region(region, from_name="b", to_name="img", type=type)
    assert np.array_equal(decode_region(result).mask, region.mask)


def test_a_mask_as_rectangle_is_its_box_and_as_keypoint_a_point_inside():
    mask = np.zeros((80, 100), dtype=bool)
    mask[10:20, 30:50] = True
    region = Region.from_mask("r", mask, ["Car"])
    box = encode_region(region, from_name="rect", to_name="img", type="rectanglelabels")
    assert box["value"]["rectanglelabels"] == ["Car"]
    assert decode_region(box).box == (30, 10, 50, 20)
    point = decode_region(encode_region(region, from_name="kp", to_name="img", type="keypoint"))
    assert point.point is not None and mask[int(point.point[1]), int(point.point[0])]


def test_a_closed_vector_is_written_as_one():
    region = decode_region(shape("polygon", {"points": [[10, 10], [60, 10], [10, 60]]}))
    result = encode_region(region, from_name="v", to_name="img", type="vector")
    assert np.array_equal(decode_region(result).mask, region.mask)


def test_item_index_is_kept():
    region = Region("r", "brush", (4, 4), raster=np.ones((4, 4), dtype=bool), item_index=3)
    assert encode_region(region, from_name="b", to_name="i", type="brush")["item_index"] == 3


@pytest.mark.parametrize(
    ("region", "type", "said"),
    [
        (Region.from_box("r", (1, 1, 5, 5), (9, 9)), "ellipse", "cannot be written as an ellipse"),
        (Region.from_mask("r", np.ones((4, 4), dtype=bool)), "ellipse", "a brush cannot"),
        (Region.from_box("r", (1, 1, 5, 5), (9, 9)), "textarea", "'textarea' is none of"),
    ],
)
def test_what_cannot_be_written_is_said(region, type, said):
    with pytest.raises(RegionError, match=said):
        encode_region(region, from_name="c", to_name="img", type=type)
