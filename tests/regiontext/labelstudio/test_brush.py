"""The brush code against the SDK's own, both ways, and against hostile bytes."""

from __future__ import annotations

import json
import random
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from label_studio_sdk.converter import brush as sdk

from regiontext.labelstudio import brush
from regiontext.labelstudio.brush import decode_rle, decode_values, encode_rle, encode_values
from tests.regiontext.labelstudio.payloads import load

VECTORS = json.loads((Path(__file__).parents[2] / "fixtures" / "rle" / "vectors.json").read_text())
SIZES = (3, 4, 8, 16)

masks = arrays(np.bool_, st.tuples(st.integers(1, 24), st.integers(1, 24)))
few_bytes = st.sampled_from([1, 2, 5, 32768])
few_runs = st.sampled_from([1, 2, 5, 16384])

Field = tuple[int, int]
"""A number and its width in bits."""


def sdk_rle(mask: np.ndarray) -> list[int]:
    return sdk.mask2rle(mask.astype(np.uint8) * 255)


def bits_of(fields: list[Field]) -> str:
    return "".join(format(value, f"0{width}b") for value, width in fields)


def pack(fields: list[Field], then: str = "") -> list[int]:
    bits = bits_of(fields) + then
    bits += "0" * (-len(bits) % 8)
    return list(int(bits, 2).to_bytes(len(bits) // 8, "big"))


def header(count: int, word: int = 8, sizes: tuple[int, ...] = SIZES) -> list[Field]:
    return [(count, 32), (word - 1, 5), *((size - 1, 4) for size in sizes)]


def repeat(value: int, length: int, kind: int = 3) -> list[Field]:
    return [(1, 1), (kind, 2), (length - 1, SIZES[kind]), (value, 8)]


def literal(values: list[int], kind: int = 3) -> list[Field]:
    return [(0, 1), (kind, 2), (len(values) - 1, SIZES[kind]), *((value, 8) for value in values)]


def plain_records(rle: list[int]) -> Iterator[list[int]]:
    """The values of each whole record, read bit by bit."""
    bits = "".join(format(byte, "08b") for byte in rle)
    at = 53

    def read(width: int) -> int:
        nonlocal at
        at += width
        if at > len(bits):
            raise EOFError
        return int(bits[at - width : at], 2)

    with suppress(EOFError):
        while True:
            repeated = read(1)
            length = read(SIZES[read(2)]) + 1
            yield [read(8)] * length if repeated else [read(8) for _ in range(length)]


def plain_decode(rle: list[int]) -> list[int] | None:
    """The values the header promises, or None where no records end there."""
    count, values = int.from_bytes(bytes(rle[:4]), "big"), []
    for record in plain_records(rle):
        values += record
        if len(values) >= count:
            break
    return values if len(values) == count else None


# Encoding


@settings(max_examples=200, deadline=None)
@given(masks, few_runs)
def test_masks_encode_byte_for_byte_as_by_the_sdk(mask, runs):
    with mock.patch.object(brush, "_CHUNK_RUNS", runs):
        assert encode_rle(mask) == sdk_rle(mask)


lengths = st.one_of(
    st.integers(1, 20),
    st.sampled_from([255, 256, 257, 258, 65535, 65536, 65537, 131071, 131072, 131073, 196609]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 255), lengths), min_size=1, max_size=12), few_runs)
def test_values_encode_byte_for_byte_as_by_the_sdk(runs, chunk):
    values = np.repeat(*np.array(runs).T).astype(np.uint8)
    with mock.patch.object(brush, "_CHUNK_RUNS", chunk):
        rle = encode_values(values)
    assert rle == sdk.encode_rle(values)
    assert np.array_equal(decode_values(rle, expected=len(values)), values)


@pytest.mark.parametrize("pixels", [2, 3, 4, 5, 64, 65, 16383, 16384, 16385, 32768, 40000])
def test_every_length_class_as_by_the_sdk(pixels):
    mask = np.zeros((1, pixels + 3), dtype=bool)
    mask[0, 1 : 1 + pixels] = True
    assert encode_rle(mask) == sdk_rle(mask)
    assert np.array_equal(decode_rle(encode_rle(mask), (pixels + 3, 1)), mask)


def test_full_last_bytes_are_followed_by_a_byte_of_zeros_as_by_the_sdk():
    # 53 bits of header and one record of 27 bits fill ten bytes.
    assert encode_rle(np.ones((30, 40), dtype=bool))[-2:] == [255, 0]
    # Every rest of bits in the last byte, over 14 bits a pixel.
    for pixels in range(1, 9):
        mask = np.arange(pixels)[None] % 2 == 1
        rle = encode_rle(mask)
        assert rle == sdk_rle(mask)
        assert len(rle) == (53 + 14 * pixels) // 8 + 1


def test_any_memory_layout_and_kind_of_mask_encodes_alike():
    mask = np.random.default_rng(2).random((30, 41)) < 0.4
    rle = sdk_rle(mask)
    assert encode_rle(np.asfortranarray(mask)) == rle
    assert encode_rle(np.repeat(mask, 2, axis=1)[:, ::2]) == rle
    assert encode_rle(mask.astype(np.uint8) * 255) == rle


@pytest.mark.parametrize("shape", [(0, 5), (5, 0)])
def test_masks_without_pixels_have_no_code(shape):
    with pytest.raises(ValueError, match="0 pixels"):
        encode_rle(np.zeros(shape, dtype=bool))


def test_masks_beyond_the_count_of_the_code_are_refused():
    with pytest.raises(ValueError, match="1073741824 pixels of 4 values have no run-length code"):
        encode_rle(np.broadcast_to(np.zeros(1, dtype=bool), (1, 2**30)))


# Decoding


@settings(max_examples=100, deadline=None)
@given(masks, few_bytes)
@example(np.ones((1, 1), dtype=bool), 1)
@example(np.zeros((777, 1), dtype=bool), 1)
@example(np.ones((1, 16385), dtype=bool), 1)
def test_there_and_back(mask, chunk):
    height, width = mask.shape
    with mock.patch.object(brush, "_CHUNK_BYTES", chunk):
        back = decode_rle(encode_rle(mask), (width, height))
    assert back.dtype == np.bool_
    assert np.array_equal(back, mask)


@settings(max_examples=100, deadline=None)
@given(arrays(np.uint8, st.integers(1, 300), elements=st.sampled_from([0, 0, 0, 1, 90, 255])))
def test_decodes_what_the_sdk_encodes(values):
    rle = sdk.encode_rle(values)
    assert np.array_equal(decode_values(rle, expected=len(values)), values)
    assert np.array_equal(sdk.decode_rle(rle), values)


@st.composite
def records(draw) -> tuple[list[Field], int]:
    """One record of any kind, and its number of values."""
    kind = draw(st.integers(0, 3))
    length = draw(st.integers(1, min(1 << SIZES[kind], 600)))
    if draw(st.booleans()):
        return repeat(draw(st.integers(0, 255)), length, kind), length
    return literal(list(draw(st.binary(min_size=length, max_size=length))), kind), length


@st.composite
def codes(draw) -> list[int]:
    """Records of any kind whose values make whole pixels, perhaps with a few bytes spoilt."""
    many = draw(st.lists(records(), max_size=12))
    count = sum(length for _, length in many)
    fields = [field for record, _ in many for field in record]
    rle = pack([*header(count + 4 - count % 4), *fields, *repeat(200, 4 - count % 4)])
    for place in draw(st.one_of(st.just([]), st.lists(st.integers(7, len(rle) - 1), max_size=3))):
        rle[place] = draw(st.integers(0, 255))
    return rle[: len(rle) - draw(st.sampled_from([0, 0, 0, 1, 3]))] + draw(
        st.sampled_from([[], [0], [255, 7]])
    )


def check(rle: list[int], chunk: int) -> None:
    """Decodes exactly what is whole, and then as the SDK."""
    count = int.from_bytes(bytes(rle[:4]), "big")
    plain = plain_decode(rle)
    with mock.patch.object(brush, "_CHUNK_BYTES", chunk):
        if plain is None:
            with pytest.raises(ValueError, match=r"ends early|passes the end"):
                decode_values(rle, expected=count)
            with pytest.raises(ValueError, match=r"ends early|passes the end|the image needs"):
                decode_rle(rle, (count // 4, 1))
            return
        values = decode_values(rle, expected=count)
        assert values.tolist() == plain
        assert np.array_equal(values, sdk.decode_rle(rle))
        if count % 4 == 0:
            assert np.array_equal(decode_rle(rle, (1, count // 4))[:, 0], values[3::4] > 127)


@settings(max_examples=120, deadline=None)
@given(codes(), few_bytes)
def test_any_records_decode_as_by_the_sdk_or_are_refused(rle, chunk):
    check(rle, chunk)


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=1, max_size=60), few_bytes, st.data())
def test_any_bytes_decode_as_by_the_sdk_or_are_refused(body, chunk, draw):
    rest = [248 | (body[0] & 7), *body[1:]]
    ends = accumulate(map(len, plain_records([*pack(header(0))[:6], *rest])))
    count = draw.draw(st.sampled_from([4, *(end for end in ends if end < 200_000)]))
    check([*pack(header(count))[:6], *rest], chunk)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 255), max_size=60), st.integers(1, 9), st.integers(1, 9))
def test_bytes_without_a_header_are_refused(rle, width, height):
    with pytest.raises(ValueError, match="run-length code"):
        decode_rle(rle, (width, height))


def test_literals_of_many_values_across_chunks():
    values = np.random.default_rng(8).integers(0, 256, 65536 + 300 + 2000).astype(np.uint8)
    parts = [values[:65536], values[65536:65836], *np.split(values[65836:], 500)]
    fields = [field for part in parts for field in literal(part.tolist())]
    rle = pack([*header(len(values)), *fields])
    assert np.array_equal(decode_values(rle, expected=len(values)), values)
    assert np.array_equal(decode_rle(rle, (len(values) // 4, 1))[0], values[3::4] > 127)


@pytest.mark.parametrize("kind", range(4))
@pytest.mark.parametrize("length", [1, 2, 3, 8])
def test_literals_of_few_values(kind, length):
    values = [250 - 50 * (i % 5) for i in range(4 * length)]
    parts = [values[low : low + length] for low in range(0, len(values), length)]
    check(pack([*header(len(values)), *(f for part in parts for f in literal(part, kind))]), 5)


def test_a_pixel_counts_from_alpha_128_whatever_its_colour():
    pixels = [[255, 255, 255, 127], [0, 0, 0, 128], [9, 9, 9, 0], [0, 0, 0, 255]]
    rle = encode_values(np.array(pixels, dtype=np.uint8))
    assert decode_rle(rle, (2, 2)).tolist() == [[False, True], [False, True]]


def test_a_brush_painted_in_label_studio_decodes_as_by_the_sdk():
    result = load("region_brush.json")
    rle = result["value"]["rle"]
    flat = sdk.decode_rle(rle)
    assert np.array_equal(decode_values(rle, expected=800 * 600 * 4), flat)
    assert np.array_equal(decode_rle(rle, (800, 600)), flat.reshape(600, 800, 4)[:, :, 3] > 127)
    assert decode_rle(rle, (800, 600)).sum() == 4744
    assert encode_values(flat) == rle


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=[v["id"] for v in VECTORS["vectors"]])
def test_recorded_codes(vector):
    values = np.repeat(*np.array(vector["runs"]).T).astype(np.uint8)
    assert encode_values(values) == vector["rle"]
    assert np.array_equal(decode_values(vector["rle"], expected=len(values)), values)


# What is no code

good = encode_rle(np.eye(4, dtype=bool))


@pytest.mark.parametrize(
    ("rle", "said"),
    [
        ([], "0 bytes, too few"),
        (good[:6], "6 bytes, too few"),
        (good[:-3], "ends early: 44 of 64 values"),
        (pack(header(64)), "ends early: 0 of 64"),
        ([256, 1], "0..255"),
        ([-1] * 20, "0..255"),
        ([0.5] * 20, "0..255"),
        ([None] * 20, "0..255"),
        ([10**30] * 20, "0..255"),
        ([[1]] * 20, "0..255"),
        ("AAAA", "str, not a list of bytes"),
        ({"0": 1}, "dict, not a list of bytes"),
        (None, "NoneType, not a list of bytes"),
        ([255] * 40, "4294967295 values, the image needs 64"),
        (pack([*header(60), *repeat(1, 60)]), "60 values, the image needs 64"),
        (pack([*header(64, word=1), (0, 40)]), "words of 1 bits; Label Studio writes 8"),
        (pack([*header(64, word=9), (0, 40)]), "words of 9 bits; Label Studio writes 8"),
        (pack([*header(64, sizes=(2, 4, 8, 16)), (0, 40)]), r"lengths of \[2, 4, 8, 16\] bits"),
        (pack([*header(64), *repeat(0, 65)]), "a run of 65 values passes the end of the 64"),
        (pack([*header(64), *literal([7] * 65)]), "a run of 65 values passes the end of the 64"),
        (pack([*header(64), *literal([7] * 64)[:-2]]), "ends early: 0 of 64"),
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


# Time and memory


def test_a_large_mask_is_quick_both_ways():
    mask = np.hypot(*np.ogrid[-1500:1500, -2000:2000]) < 900
    start = time.perf_counter()
    assert np.array_equal(decode_rle(encode_rle(mask), (4000, 3000)), mask)
    assert time.perf_counter() - start < 3


@pytest.mark.parametrize(
    "record",
    [literal([9], 0), literal([9], 2), literal([9], 3), literal([9, 200], 0), repeat(9, 1, 0)],
    ids=["literal", "literal of 8 bits", "literal of 16 bits", "two values", "repeat"],
)
def test_a_megabyte_of_tiny_records_takes_no_minutes(record):
    bits = bits_of(record)
    rle = pack(header(400_000_000), then=bits * (8_000_000 // len(bits)))
    start = time.perf_counter()
    with pytest.raises(ValueError, match=r"ends early|passes the end"):
        decode_rle(rle, (10_000, 10_000))
    assert time.perf_counter() - start < 2


def peak_of(function) -> int:
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_is_that_of_the_mask():
    mask = np.zeros((2000, 2000), dtype=bool)
    mask[500:1500, 500:1500] = True
    rle = encode_rle(mask)
    assert peak_of(lambda: decode_rle(rle, (2000, 2000))) < 2 * mask.size


def test_a_lying_count_takes_no_memory():
    rle = pack([*header(400_000_000), *repeat(1, 65536)])

    def refused() -> None:
        with pytest.raises(ValueError, match="ends early: 65536 of 400000000"):
            decode_rle(rle, (10_000, 10_000))

    assert peak_of(refused) < 1_000_000
