"""Regions that are malformed, hostile or nonsense: named with their fault, and at little cost."""

from __future__ import annotations

import contextlib
import copy
import random
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regiontext.errors import RegionError
from regiontext.labelstudio.brush import encode_rle
from regiontext.labelstudio.checks import SHAPE_KEYS
from regiontext.labelstudio.decode import SHAPE_TYPES, decode_region, is_shape
from tests.regiontext.labelstudio.payloads import png_url, recorded, shape, touch


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (shape("textarea", {"text": ["x"]}), "no shape"),
        (shape("rectangle", {"x": 1, "y": 1, "width": 5}), "height is missing"),
        (shape("rectangle", {"x": 1, "y": 1, "width": -5, "height": 5}), "width is -5"),
        (shape("rectangle", {"x": 1, "y": 1, "width": 0, "height": 5}), "width is 0"),
        (shape("rectangle", {"x": float("nan"), "y": 1, "width": 5, "height": 5}), "x is nan"),
        (shape("rectangle", {"x": 1, "y": float("inf"), "width": 5, "height": 5}), "y is inf"),
        (shape("rectangle", {"x": "1", "y": 1, "width": 5, "height": 5}), "x is '1', no number"),
        (shape("rectangle", {"x": True, "y": 1, "width": 5, "height": 5}), "x is True"),
        (
            shape("rectangle", {"x": 10**400, "y": 1, "width": 5, "height": 5}),
            "x is a whole number",
        ),
        (shape("rectangle", {"x": 1, "y": 1, "width": 1e300, "height": 5}), "no usable number"),
        (
            shape("rectangle", {"x": 1, "y": 1, "width": 5, "height": 5, "rotation": "a"}),
            "rotation",
        ),
        (
            shape("rectangle", {"x": 150, "y": 1, "width": 5, "height": 5}),
            "outside the image of 200 x 100",
        ),
        (shape("rectangle", None), "value is None"),
        (shape("rectangle", [1]), "value is a list"),
        (
            shape("rectangle", {"x": 1, "y": 1, "width": 5, "height": 5}, original_width=0),
            "no size",
        ),
        (
            shape("rectangle", {"x": 1, "y": 1, "width": 5, "height": 5}, original_width=10.5),
            "no size",
        ),
        (
            shape("rectangle", {"x": 1, "y": 1, "width": 5, "height": 5}, original_width="9"),
            "no number",
        ),
        (
            shape("rectangle", {"x": 1, "y": 1, "width": 5, "height": 5}, original_height=None),
            "no image to measure",
        ),
        (
            shape(
                "rectangle",
                {"x": 1, "y": 1, "width": 5, "height": 5},
                original_width=99_999,
                original_height=99_999,
            ),
            "above 100000000 pixels",
        ),
        (
            shape("rectangle", {"x": 1, "y": 1, "width": 5, "height": 5}, item_index=-1),
            "item_index",
        ),
        (
            shape("rectangle", {"x": 1, "y": 1, "width": 5, "height": 5, "rectanglelabels": [1]}),
            "rectanglelabels",
        ),
        (shape("ellipse", {"x": 1, "y": 1, "radiusX": 0, "radiusY": 4}), "radiusX"),
        (shape("ellipse", {"x": 1, "y": 1, "radiusX": 4}), "radiusY is missing"),
        (shape("polygon", {"points": []}), "empty"),
        (shape("polygon", {"points": [[1, 1], [2, 2]]}), "at least 3"),
        (shape("polygon", {"points": [[1, 1], [2, 2], [3]]}), r"no \[x, y\]"),
        (shape("polygon", {"points": [[1, 1], [2, 2], "34"]}), r"no \[x, y\]"),
        (shape("polygon", {"points": [[1, 1], [2, 2], [3, None]]}), "y of a point is None"),
        (shape("polygon", {"points": "no"}), "no list"),
        (shape("polygon", {"points": [[1, 1]] * 100_001}), "100001 entries"),
        (shape("polygon", {"points": [[1, 1], [2, 2], [3, 1e6]]}), "y of a point is 1000000.0"),
        (shape("polygon", {"points": [[1, 1], [2, 2], [10**400, 1]]}), "x of a point is a whole"),
        (shape("polygon", {"points": [[1, 1], [2, 2], [3, True]]}), "y of a point is True"),
        (shape("vector", {"vertices": [{"x": 1, "y": 1}] * 20_001}), "20001 entries"),
        (
            shape("brush", {"rle": [0]}, original_width=9000, original_height=9000),
            "few for its header",
        ),
        (shape("polygon", {"points": [[-9, -9], [-5, -9], [-5, -5]]}), "outside"),
        (shape("keypoint", {"x": 101, "y": 50, "width": 1}), "outside"),
        (shape("keypoint", {"x": 50, "y": 50, "width": -1}), "width is -1"),
        (shape("vector", {"vertices": []}), "empty"),
        (shape("vector", {"vertices": [3]}), "no object"),
        (shape("vector", {"vertices": [{"x": 1}]}), "y is missing"),
        (shape("vector", {"vertices": [{"x": 1, "y": 1}], "closed": "yes"}), "closed"),
        (shape("vector", {"vertices": [{"x": 300, "y": 1}, {"x": 400, "y": 1}]}), "outside"),
        (
            shape(
                "vector",
                {
                    "vertices": [
                        {"x": 1, "y": 1},
                        {"x": 9, "y": 9, "isBezier": True, "controlPoint1": 5},
                    ]
                },
            ),
            "controlPoint1",
        ),
        (shape("brush", {"format": "png", "rle": [1]}), "format"),
        (shape("brush", {"format": "rle"}), "neither"),
        (shape("brush", {"format": "rle", "rle": []}), "neither"),
        (shape("brush", {"format": "rle", "rle": "AAAA"}), "no list"),
        (shape("brush", {"format": "rle", "rle": [0] * 30}), "holds 0 values"),
        (
            shape("brush", {"format": "rle", "rle": encode_rle(np.ones((100, 200), bool))[:-4]}),
            "ends early",
        ),
        (shape("brush", {"format": "rle", "rle": encode_rle(np.ones((9, 9), bool))}), "324 values"),
        (shape("brush", {"format": "rle", "rle": encode_rle(np.zeros((100, 200), bool))}), "empty"),
        (shape("brush", {"touches": [touch([10, 50], 5, type="eraser")]}), "empty"),
        (shape("brush", {"touches": [touch([10, 50], 5, type="spray")]}), "spray"),
        (shape("brush", {"touches": [touch([10, 50, 3], 5)]}), "pairs"),
        (shape("brush", {"touches": [touch([10, None], 5)]}), "relative point"),
        (shape("brush", {"touches": [touch([10, 50], 0)]}), "relativeStrokeWidth"),
        (shape("brush", {"touches": [5]}), "touch"),
        (shape("brush", {"touches": [touch([10, 50], 5)] * 2001}), "2001 entries"),
        (shape("brush", {"touches": [touch([10, 50] * 200, 5)] * 600}), "120000 points"),
        (shape("bitmask", {}), "PNG data URL"),
        (shape("bitmask", {"imageDataURL": "https://example.com/a.png"}), "PNG data URL"),
        (shape("bitmask", {"imageDataURL": "data:image/png;base64,@@@"}), "base64"),
        (shape("bitmask", {"imageDataURL": "data:image/png;base64,AAAA"}), "no readable PNG"),
        (
            shape("bitmask", {"imageDataURL": png_url(np.ones((50, 50, 4), np.uint8))[:-40]}),
            "PNG|base64",
        ),
        (shape("bitmask", {"imageDataURL": png_url(np.zeros((100, 200, 4), np.uint8))}), "empty"),
    ],
)
def test_a_malformed_region_is_named_with_its_fault(item, said):
    with pytest.raises(RegionError, match=said) as caught:
        decode_region(item)
    assert caught.value.region_id == "r1"
    assert "'r1'" in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("id", [None, 5, "", ["a"], {}, b"a", 1.5, 10**400])
def test_a_region_without_an_id(id):
    with pytest.raises(RegionError, match="id is no text"):
        decode_region(shape("rectangle", {"x": 1, "y": 1, "width": 5, "height": 5}, id=id))


def test_an_id_without_end_does_not_flood_the_message():
    with pytest.raises(RegionError, match="1000000 characters") as caught:
        decode_region(shape("rectangle", {}, id="x" * 1_000_000))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("result", [None, 5, "rectangle", [], [{}], b""])
def test_what_is_no_object_is_no_region(result):
    with pytest.raises(RegionError, match="no result object"):
        decode_region(result)


def test_a_brush_that_lies_about_its_size_is_refused_before_it_is_unpacked():
    item = shape("brush", {"rle": [255] * 99}, original_width=9_999, original_height=9_999)
    with pytest.raises(RegionError, match="painted on 9999 x 9999"):
        decode_region(item, size=(800, 600))


def bomb_url() -> str:
    return png_url(np.zeros((4100, 4100), dtype=np.uint8))


def zigzag(count: int) -> list[list[float]]:
    return [[100 * i / count, 100.0 * (i % 2)] for i in range(count)]


@pytest.mark.parametrize(
    "value",
    [
        ("bitmask", {"imageDataURL": bomb_url()}),
        ("polygon", {"points": [[1e5 * (-1) ** i, 1e5 * (i % 3 - 1)] for i in range(20_000)]}),
        ("vector", {"vertices": [{"x": x * 900, "y": y * 900} for x, y in zigzag(20_000)]}),
        ("brush", {"touches": [touch([x for p in zigzag(1000) for x in p], 99_999)]}),
        ("brush", {"rle": [255] * 2_000_000}),
        ("ellipse", {"x": 50, "y": 50, "radiusX": 1e5, "radiusY": 1e-5}),
    ],
    ids=lambda value: value[0],
)
def test_hostile_regions_cost_little_time_and_memory(value):
    item = shape(value[0], value[1], original_width=2000, original_height=1500)
    tracemalloc.start()
    start = time.thread_time()
    with contextlib.suppress(RegionError):
        _ = decode_region(item).mask
    seconds, (_, peak) = time.thread_time() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 10  # under tracemalloc, which slows it several times
    assert peak < 100e6


junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats()
    | st.text(max_size=5)
    | st.just("data:image/png;base64,iVBORw0KGgo="),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(SHAPE_TYPES)), st.data())
def test_whatever_stands_in_a_result_only_region_errors_come_out(type, data):
    keys = sorted((*SHAPE_KEYS, "labels"))
    value = data.draw(st.dictionaries(st.sampled_from(keys), junk) | junk)
    item = shape(type, value) | data.draw(
        st.dictionaries(
            st.sampled_from(["original_width", "original_height", "item_index", "id"]), junk
        )
    )
    try:
        region = decode_region(item, size=data.draw(st.none() | st.just((20, 10))))
    except RegionError:
        return
    assert region.mask.any() and region.mask.shape == (region.size[1], region.size[0])


def test_recorded_regions_with_one_thing_broken_only_raise_region_errors():
    rng = random.Random(0)
    for item in recorded():
        if not is_shape(item):
            continue
        for _ in range(60):
            broken = copy.deepcopy(item)
            key = rng.choice(list(broken["value"]))
            broken["value"][key] = rng.choice(
                [None, -1, "x", [], {}, [[]], [None], 1e99, True, [{}], [[1]]]
            )
            try:
                assert decode_region(broken).area > 0
            except RegionError as fault:
                assert fault.region_id == item["id"]


def test_an_outline_too_intricate_to_fill_is_refused_when_read():
    item = shape(
        "polygon", {"points": zigzag(20_000)}, original_width=10_000, original_height=10_000
    )
    with pytest.raises(RegionError, match="simplify"):
        decode_region(item)
