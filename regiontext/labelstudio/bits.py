"""Strings of bits in numpy arrays: read bytes at any bit, write numbers of any width.

The first bit of a byte is its most significant one. Knows nothing of what the bits mean.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ints", "bytes_at", "bytes_at_every_bit", "write"]

Ints = NDArray[np.int64]

_EVEN = np.uint64(1 | 1 << 18 | 1 << 36 | 1 << 54)
_ODD = np.uint64(1 << 1 | 1 << 19 | 1 << 37 | 1 << 55)
_EVEN_BYTES = np.uint64(0x00FF00FF00FF00FF)
_ODD_BYTES = np.uint64(0xFF00FF00FF00FF00)


def bytes_at_every_bit(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The eight bits from each bit on: uint8[8 * (N - 1)] of uint8[N].

    Of two neighbouring bytes as one number of 16 bits, the eight bits from the k-th on go to byte
    k of a little-endian number of 64 bits. A product with four bits set puts four copies there,
    two bytes apart and each two bits further on: one product makes the even bytes, one the odd.
    """
    pair = data[:-1].astype(np.uint64) << np.uint64(8) | data[1:]
    even = (pair * _EVEN) >> np.uint64(8) & _EVEN_BYTES
    odd = pair * _ODD & _ODD_BYTES
    return (even | odd).astype("<u8", copy=False).view(np.uint8)


def bytes_at(data: NDArray[np.uint8], bits: Ints) -> NDArray[np.uint8]:
    """The eight bits from each of the given bits on: uint8[K].

    No bit may lie in the last byte of data.
    """
    byte = bits >> 3
    pair = data[byte].astype(np.int64) << 8 | data[byte + 1]
    words: NDArray[np.uint8] = (pair >> (8 - (bits & 7)) & 255).astype(np.uint8)
    return words


def write(out: NDArray[np.uint64], at: int, numbers: Ints, widths: Ints) -> int:
    """Write numbers one after the other from bit `at` on; returns the bit after the last one.

    out: bits by 64, zero from `at` on, at least one element longer than the bits need. numbers are
    at least 0 and below 2 ** width, widths 1 to 63; no element of out may be skipped, that is, it
    must hold the begin of a number unless it is after the last.
    """
    ends = at + np.cumsum(widths)
    begins = ends - widths
    element = begins >> 6
    room = 64 - (begins & 63) - widths
    unsigned = numbers.view(np.uint64)
    placed = unsigned << np.maximum(room, 0).view(np.uint64)
    over = np.flatnonzero(room < 0)
    placed[over] = unsigned[over] >> (-room[over]).view(np.uint64)
    firsts = np.flatnonzero(np.diff(element, prepend=-1))
    out[element[firsts]] |= np.bitwise_or.reduceat(placed, firsts)
    # At most one number passes the end of each element, so none of these is met twice.
    out[element[over] + 1] |= unsigned[over] << (64 + room[over]).view(np.uint64)
    return int(ends[-1])
