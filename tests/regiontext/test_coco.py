"""COCO's run-length code beside pycocotools, and codes that lie."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask

from regiontext.coco import coco_to_mask, mask_to_coco
from regiontext.errors import RegionError
from regiontext.region import Region

masks = arrays(np.bool_, st.tuples(st.integers(1, 30), st.integers(1, 30)))


@settings(max_examples=200)
@given(masks)
def test_pycocotools_reads_the_same_mask_area_and_box(mask):
    code = json.loads(json.dumps(mask_to_coco(mask)))
    assert np.array_equal(coco_mask.decode(code).astype(bool), mask)
    assert np.array_equal(coco_to_mask(code), mask)
    assert np.array_equal(coco_to_mask(code | {"counts": code["counts"].encode()}), mask)
    if mask.any():
        region = Region.from_coco_rle("r", code, ["Car"])
        assert np.array_equal(region.mask, mask) and region.labels == ("Car",)
        assert region.coco_rle == code
        assert coco_mask.area(code) == region.area
        x, y, width, height = coco_mask.toBbox(code)
        assert (x, y, x + width, y + height) == region.box


@given(masks)
def test_uncompressed_counts_are_read_too(mask):
    flat = mask.T.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    code = {"size": list(mask.shape), "counts": [0, *runs] if flat[0] else runs}
    assert np.array_equal(coco_to_mask(code), mask)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (None, "no object"),
        ({}, "size"),
        ({"size": [3], "counts": "9"}, "size"),
        ({"size": [3, -3], "counts": "9"}, "size"),
        ({"size": [3, True], "counts": "9"}, "size"),
        ({"size": [10**6, 10**6], "counts": "9"}, "above"),
        ({"size": [3, 3]}, "neither text nor a list"),
        ({"size": [3, 3], "counts": "8"}, "do not add up"),
        ({"size": [3, 3], "counts": "o"}, "middle of a number"),
        ({"size": [3, 3], "counts": "\u00e9"}, "add up|outside"),
        ({"size": [3, 3], "counts": "ooooooooo0"}, "digits"),
        ({"size": [3, 3], "counts": "0" * 10_000}, "too many"),
        ({"size": [3, 3], "counts": "M" + "9"}, "do not add up"),
        ({"size": [3, 3], "counts": [4, 6]}, "do not add up"),
        ({"size": [3, 3], "counts": [10, -1]}, "reach"),
        ({"size": [3, 3], "counts": [10**30]}, "reach"),
        ({"size": [3, 3], "counts": [4.0, 5.0]}, "whole numbers"),
        ({"size": [3, 3], "counts": [9]}, "empty"),
    ],
)
def test_a_code_that_lies_is_a_region_error(code, said):
    with pytest.raises(RegionError, match=said):
        Region.from_coco_rle("r", code)


@given(st.binary(max_size=40), st.integers(1, 50), st.integers(1, 50))
def test_any_bytes_are_a_mask_of_the_size_or_a_value_error(counts, height, width):
    try:
        mask = coco_to_mask({"size": [height, width], "counts": counts})
    except ValueError:
        return
    assert mask.shape == (height, width)
