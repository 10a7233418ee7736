"""The brush code against the SDK's own, both ways, and against hostile bytes."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from label_studio_sdk.converter import brush as sdk

from regiontext.labelstudio import brush
from regiontext.labelstudio.brush import decode_rle, decode_values, encode_rle
from tests.regiontext.labelstudio.payloads import load

masks = arrays(np.bool_, st.tuples(st.integers(1, 24), st.integers(1, 24)))


def sdk_rle(mask: np.ndarray) -> list[int]:
    return sdk.mask2rle(mask.astype(np.uint8) * 255)


@settings(max_examples=200, deadline=None)
@given(masks)
def test_encodes_bit_for_bit_as_the_sdk(mask):
    assert encode_rle(mask) == sdk_rle(mask)


@settings(max_examples=100, deadline=None)
@given(masks)
def test_there_and_back(mask):
    height, width = mask.shape
    assert np.array_equal(decode_rle(encode_rle(mask), (width, height)), mask)


@settings(max_examples=100, deadline=None)
@given(arrays(np.uint8, st.integers(1, 300), elements=st.sampled_from([0, 0, 0, 1, 90, 255])))
def test_decodes_what_the_sdk_encodes(values):
    rle = sdk.encode_rle(values)
    assert np.array_equal(decode_values(rle, expected=len(values)), values)
    assert np.array_equal(sdk.decode_rle(rle), values)


@pytest.mark.parametrize("pixels", [2, 3, 4, 5, 64, 65, 16383, 16384, 16385, 32768, 40000])
def test_every_run_length_class_as_the_sdk(pixels):
    mask = np.zeros((1, pixels + 3), dtype=bool)
    mask[0, 1 : 1 + pixels] = True
    assert encode_rle(mask) == sdk_rle(mask)
    assert np.array_equal(decode_rle(encode_rle(mask), (pixels + 3, 1)), mask)


def test_chunks_join_without_a_seam(monkeypatch):
    mask = np.random.default_rng(3).random((40, 50)) < 0.5
    monkeypatch.setattr(brush, "_CHUNK", 7)
    assert encode_rle(mask) == sdk_rle(mask)


def test_a_brush_painted_in_label_studio_decodes_as_by_the_sdk():
    result = load("region_brush.json")
    rle = result["value"]["rle"]
    flat = sdk.decode_rle(rle)
    assert np.array_equal(decode_values(rle, expected=800 * 600 * 4), flat)
    assert np.array_equal(decode_rle(rle, (800, 600)), flat.reshape(600, 800, 4)[:, :, 3] > 127)
    assert decode_rle(rle, (800, 600)).sum() == 4744


def pack(values: list[tuple[int, int]]) -> list[int]:
    bits = "".join(format(value, f"0{width}b") for value, width in values)
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


def header(
    count: int, word: int = 8, sizes: tuple[int, ...] = (3, 4, 8, 16)
) -> list[tuple[int, int]]:
    return [(count, 32), (word - 1, 5), *((size - 1, 4) for size in sizes)]


def test_literal_runs_as_the_editor_writes_them():
    values = [3, 200, 7, 255, 0, 9, 128, 127]
    rle = pack([*header(8), (0, 1), (0, 2), (7, 3), *((value, 8) for value in values)])
    assert decode_values(rle, expected=8).tolist() == values
    assert sdk.decode_rle(rle).tolist() == values
    assert decode_rle(rle, (2, 1)).tolist() == [[True, False]]


def test_other_word_and_run_sizes():
    rle = pack(
        [
            *header(6, word=3, sizes=(1, 2, 3, 4)),
            (1, 1),
            (2, 2),
            (3, 3),
            (5, 3),
            (0, 1),
            (0, 2),
            (1, 1),
            (6, 3),
            (1, 3),
        ]
    )
    assert (
        decode_values(rle, expected=6).tolist()
        == [5, 5, 5, 5, 6, 1]
        == sdk.decode_rle(rle).tolist()
    )


good = encode_rle(np.eye(4, dtype=bool))


@pytest.mark.parametrize(
    ("rle", "said"),
    [
        ([], "too few"),
        (good[:5], "too few"),
        (good[:-3], "ends early"),
        (pack(header(64)), "ends early"),
        ([256, 1], "0..255"),
        ([-1] * 20, "0..255"),
        ([0.5] * 20, "0..255"),
        ([None] * 20, "0..255"),
        ("AAAA", "list of bytes"),
        ({"0": 1}, "list of bytes"),
        (None, "list of bytes"),
        ([255] * 40, "4294967295 values"),
        (pack([*header(64, word=9), (0, 20)]), "9 bits"),
        (pack([*header(64), (1, 1), (3, 2), (64, 16), (0, 8)]), "passes the end"),
    ],
)
def test_what_is_no_code_is_a_value_error(rle, said):
    with pytest.raises(ValueError, match=said):
        decode_rle(rle, (4, 4))


def test_corrupt_codes_decode_or_raise_value_error_and_nothing_else():
    rng = random.Random(5)
    mask = np.random.default_rng(5).random((12, 12)) < 0.3
    code = encode_rle(mask)
    for _ in range(500):
        broken = list(code)
        for _ in range(rng.randint(1, 4)):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        try:
            assert decode_rle(broken, (12, 12)).shape == (12, 12)
        except ValueError:
            continue


def test_masks_without_pixels_have_no_code():
    with pytest.raises(ValueError, match="0 pixels"):
        encode_rle(np.zeros((0, 5), dtype=bool))


def test_a_large_mask_is_quick_both_ways():
    y, x = np.mgrid[:3000, :4000]
    mask = (x - 2000) ** 2 + (y - 1500) ** 2 < 900**2
    start = time.perf_counter()
    assert np.array_equal(decode_rle(encode_rle(mask), (4000, 3000)), mask)
    assert time.perf_counter() - start < 3
