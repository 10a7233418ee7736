"""Bits in numpy arrays, beside the same done with strings of 0 and 1."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from regiontext.labelstudio.bits import bytes_at, bytes_at_every_bit, write

some_bytes = st.binary(min_size=2, max_size=40)


def text(data: bytes) -> str:
    return "".join(format(byte, "08b") for byte in data)


@given(some_bytes)
def test_the_eight_bits_from_every_bit_on(data):
    every = bytes_at_every_bit(np.frombuffer(data, dtype=np.uint8))
    bits = text(data)
    assert every.dtype == np.uint8
    assert every.tolist() == [int(bits[at : at + 8], 2) for at in range(8 * (len(data) - 1))]


@given(some_bytes, st.data())
def test_the_eight_bits_from_some_bits_on(data, draw):
    at = draw.draw(st.lists(st.integers(0, 8 * (len(data) - 1) - 1), max_size=20))
    words = bytes_at(np.frombuffer(data, dtype=np.uint8), np.array(at, dtype=np.int64))
    assert words.dtype == np.uint8
    assert words.tolist() == [int(text(data)[bit : bit + 8], 2) for bit in at]


numbers = st.integers(1, 63).flatmap(
    lambda width: st.tuples(st.integers(0, 2**width - 1), st.just(width))
)


@given(st.lists(st.lists(numbers, min_size=1, max_size=30), min_size=1, max_size=4))
def test_numbers_written_in_parts_follow_each_other(parts):
    bits = "".join(format(number, f"0{width}b") for part in parts for number, width in part)
    out = np.zeros(len(bits) // 64 + 2, dtype=np.uint64)
    at = 0
    for part in parts:
        at = write(out, at, *np.array(part, dtype=np.int64).T)
    assert at == len(bits)
    assert text(out.astype(">u8").tobytes())[:at] == bits
    assert "1" not in text(out.astype(">u8").tobytes())[at:]
