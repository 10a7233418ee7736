"""Label Studio's brush run-length code, both ways.

A brush mask travels as the bits of an RGBA buffer packed by thi.ng's rle-pack: 32 bits number of
values, 5 bits word size - 1, four times 4 bits run-size - 1; then records of 1 bit "repeat?",
2 bits which run-size, that many bits of length - 1, and one word (repeat) or length words.
Knows nothing of regions or results.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["decode_rle", "decode_values", "encode_rle"]

_HEADER_BITS = 32 + 5 + 4 * 4
_RUN_BITS = (3, 4, 8, 16)
_WORD_BITS = 8
_CHUNK = 1 << 18


def decode_rle(rle: Sequence[int], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Bytes (ints 0..255) to the mask bool[H, W]: where the alpha channel is above 127.

    Size is (W, H) of the image the mask was painted on. Raises ValueError when the bytes are no
    such code, end early, or hold another number of values than W * H * 4.
    """
    width, height = size
    values = decode_values(rle, expected=width * height * 4)
    return values.reshape(height, width, 4)[:, :, 3] > 127


def decode_values(rle: Sequence[int], *, expected: int) -> NDArray[np.uint8]:
    """Unpack to the flat buffer uint8[expected]. Raises ValueError as `decode_rle` does."""
    data = _bytes(rle)
    total = len(data) * 8
    if total < _HEADER_BITS:
        raise ValueError(f"the run-length code has {len(data)} bytes, too few for its header")
    header = int.from_bytes(data[:7], "big") >> 3
    count, word = header >> 21, ((header >> 16) & 31) + 1
    sizes = [((header >> shift) & 15) + 1 for shift in (12, 8, 4, 0)]
    if count != expected:
        raise ValueError(
            f"the run-length code holds {count} values, the image needs {expected} "
            "(width * height * 4)"
        )
    if word > _WORD_BITS:
        raise ValueError(f"the run-length code has words of {word} bits; known are up to 8")
    masks = [(1 << size) - 1 for size in sizes]
    padded = data + bytes(8)
    out = np.zeros(count, dtype=np.uint8)
    at, done = _HEADER_BITS, 0
    while done < count:
        start = at >> 3
        window = int.from_bytes(padded[start : start + 8], "big") << (at & 7)
        kind = (window >> 61) & 3
        length = ((window >> (61 - sizes[kind])) & masks[kind]) + 1
        repeat = window & (1 << 63)
        at += 3 + sizes[kind]
        until = done + length
        after = at + (word if repeat else word * length)
        if after > total:
            raise ValueError(
                f"the run-length code ends early: {done} of {count} values in {len(data)} bytes"
            )
        if until > count:
            raise ValueError(f"a run of {length} values passes the end of the {count} values")
        if repeat:
            value = (window >> (61 - sizes[kind] - word)) & ((1 << word) - 1)
            if value:
                out[done:until] = value
        else:
            out[done:until] = _words(data, at, length, word)
        at, done = after, until
    return out


def encode_rle(mask: NDArray[np.bool_]) -> list[int]:
    """The mask bool[H, W] as Label Studio's brush bytes: RGBA values of 255 where true, else 0.

    Bit for bit what label_studio_sdk.converter.brush.mask2rle makes of `mask * 255`. Raises
    ValueError for a mask without pixels or too large for the code's 32-bit count.
    """
    flat = np.asarray(mask, dtype=bool).ravel()
    count = flat.size * 4
    if not flat.size or count >= 2**32:
        raise ValueError(f"a mask of {flat.size} pixels has no run-length code")
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = np.concatenate([[0], edges])
    lengths = np.diff(np.concatenate([starts, [flat.size]])) * 4
    values = np.where(flat[starts], 255, 0)
    longest = 1 << _RUN_BITS[3]
    pieces = (lengths - 1) // longest + 1
    last = np.cumsum(pieces) - 1
    values = np.repeat(values, pieces)
    run = np.full(len(values), longest, dtype=np.int64)
    run[last] = lengths - (pieces - 1) * longest
    # A run too long for one record is split, and its rest keeps the longest kind, as in the SDK.
    kind = np.searchsorted([1 << bits for bits in _RUN_BITS], run)
    kind[np.repeat(pieces, pieces) > 1] = len(_RUN_BITS) - 1
    bits = np.asarray(_RUN_BITS)[kind]
    code = ((((4 | kind) << bits) | (run - 1)) << _WORD_BITS) | values
    header = (count << 21) | ((_WORD_BITS - 1) << 16) | _pack_sizes()
    return list(_pack(header, code, bits + 3 + _WORD_BITS))


def _bytes(rle: Sequence[int]) -> bytes:
    if isinstance(rle, str) or not isinstance(rle, Sequence):
        raise ValueError(f"the run-length code is {type(rle).__name__}, not a list of bytes")
    try:
        return bytes(rle)
    except (TypeError, ValueError) as fault:
        raise ValueError("the run-length code is not a list of whole numbers 0..255") from fault


def _words(data: bytes, at: int, length: int, word: int) -> NDArray[np.uint8]:
    first, last = at >> 3, (at + length * word + 7) >> 3
    bits = np.unpackbits(np.frombuffer(data[first:last], dtype=np.uint8))
    bits = bits[at & 7 :][: length * word].reshape(length, word)
    words: NDArray[np.uint8] = np.packbits(bits, axis=1)[:, 0] >> np.uint8(8 - word)
    return words


def _pack_sizes() -> int:
    packed = 0
    for bits in _RUN_BITS:
        packed = (packed << 4) | (bits - 1)
    return packed


def _pack(header: int, code: NDArray[np.int64], widths: NDArray[np.int64]) -> bytes:
    """Codes of given bit widths, most significant bit first, after the header and zero-padded."""
    tail = np.array([(header >> bit) & 1 for bit in reversed(range(_HEADER_BITS))], dtype=np.uint8)
    packed = []
    for low in range(0, len(code), _CHUNK):
        part, width = code[low : low + _CHUNK], widths[low : low + _CHUNK]
        ends = np.cumsum(width)
        record = np.repeat(np.arange(len(part)), width)
        shift = ends[record] - 1 - np.arange(int(ends[-1]))
        bits = np.concatenate([tail, ((part[record] >> shift) & 1).astype(np.uint8)])
        whole = len(bits) // 8 * 8
        packed.append(np.packbits(bits[:whole]).tobytes())
        tail = bits[whole:]
    # The SDK pads a whole byte when the bits already fill the last one.
    return b"".join(packed) + np.packbits(np.append(tail, np.uint8(0))).tobytes()
