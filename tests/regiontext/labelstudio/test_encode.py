"""Regions written for Label Studio draw the same region again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from regiontext.errors import RegionError
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
        if not is_shape(item) or item["type"] == "vectorlabels":
            continue
        region, again = there_and_back(item)
        assert {key: again[key] for key in again if key not in ("value", "origin")} == {
            key: item[key] for key in item if key not in ("value", "origin")
        }
        assert again["value"][item["type"]] == item["value"][item["type"]]
        assert np.array_equal(decode_region(again).mask, region.mask)


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
        (Region.from_mask("r", np.ones((4, 4), dtype=bool)), "polygon", "a raster"),
        (Region.from_box("r", (1, 1, 5, 5), (9, 9)), "textarea", "'textarea' is none of"),
    ],
)
def test_what_cannot_be_written_is_said(region, type, said):
    with pytest.raises(RegionError, match=said):
        encode_region(region, from_name="c", to_name="img", type=type)
