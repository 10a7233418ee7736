"""Label Studio's brush run-length code, both ways.

A brush mask travels as the RGBA values of its pixels, row by row, packed by thi.ng's rle-pack
(github.com/thi-ng/umbrella, packages/rle-pack). Bits, most significant first: 32 bits number of
values, 5 bits word size - 1, four times 4 bits length size - 1; then records of 1 bit "repeat?",
2 bits which length size, that many bits of length - 1, and one word (repeat) or length words.
Label Studio and its SDK always use words of 8 bits and lengths of 3, 4, 8 or 16 bits. A pixel is
in the mask where its alpha is above 127, which halves the soft edge of a stroke; its colour does
not count. Knows nothing of regions or results.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from regiontext.labelstudio.bits import Ints, bytes_at, bytes_at_every_bit, write

__all__ = ["decode_rle", "decode_values", "encode_rle", "encode_values"]

_WORD_BITS = 8
_LENGTH_BITS = (3, 4, 8, 16)
_LONGEST = 1 << _LENGTH_BITS[-1]
_COUNT_BITS, _SETUP_BITS = 32, 5 + 4 * 4
_HEADER_BITS = _COUNT_BITS + _SETUP_BITS
_SETUP = (_WORD_BITS - 1) << 16 | sum(
    (bits - 1) << shift for bits, shift in zip(_LENGTH_BITS, (12, 8, 4, 0), strict=True)
)

_CHUNK_BYTES = 1 << 15
"""Bytes of code that are decoded at once."""
_CHUNK_RUNS = 1 << 14
"""Runs that are encoded at once."""


def decode_rle(rle: Sequence[int], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Bytes (ints 0..255) to the mask bool[H, W]: where the alpha channel is above 127.

    Size is (W, H) of the image the mask was painted on. Time and memory are O(bytes + W * H) for
    any bytes; what follows the last value is ignored. Raises ValueError when the bytes are no such
    code, use other word or length sizes than Label Studio, end early, or hold another number of
    values than W * H * 4.
    """
    width, height = size
    alpha = _decode(rle, width * height * 4, every=4)
    return np.greater(alpha, 127, out=alpha.view(np.bool_)).reshape(height, width)


def decode_values(rle: Sequence[int], *, expected: int) -> NDArray[np.uint8]:
    """Bytes to all values uint8[expected], R, G, B, A of each pixel. Raises as `decode_rle`."""
    return _decode(rle, expected, every=1)


def encode_rle(mask: NDArray[np.bool_]) -> list[int]:
    """The mask bool[H, W] as Label Studio's brush bytes: RGBA values of 255 where true, else 0.

    Byte for byte what label_studio_sdk.converter.brush.mask2rle makes of `mask * 255`. Raises
    ValueError for a mask without pixels or too large for the code's 32-bit count.
    """
    return _encode(np.asarray(mask, dtype=bool), full=255, channels=4)


def encode_values(values: NDArray[np.uint8]) -> list[int]:
    """Any values uint8[N] as brush bytes: the inverse of `decode_values`.

    Byte for byte what label_studio_sdk.converter.brush.encode_rle makes of them. Raises as
    `encode_rle`.
    """
    return _encode(np.asarray(values, dtype=np.uint8), full=1, channels=1)


def _bytes(rle: Sequence[int]) -> bytes:
    if isinstance(rle, str) or not isinstance(rle, Sequence):
        raise ValueError(f"the run-length code is {type(rle).__name__}, not a list of bytes")
    try:
        return bytes(rle)
    except (TypeError, ValueError) as fault:
        raise ValueError("the run-length code is not a list of whole numbers 0..255") from fault


def _check_header(data: bytes, expected: int) -> None:
    if len(data) * 8 < _HEADER_BITS:
        raise ValueError(f"the run-length code has {len(data)} bytes, too few for its header")
    header = int.from_bytes(data[:7], "big") >> 3
    count, setup = header >> _SETUP_BITS, header & ((1 << _SETUP_BITS) - 1)
    if count != expected:
        raise ValueError(
            f"the run-length code holds {count} values, the image needs {expected} "
            "(width * height * 4)"
        )
    word = (setup >> 16) + 1
    if word != _WORD_BITS:
        raise ValueError(
            f"the run-length code has words of {word} bits; Label Studio writes {_WORD_BITS}"
        )
    if setup != _SETUP:
        lengths = [(setup >> shift & 15) + 1 for shift in (12, 8, 4, 0)]
        raise ValueError(
            f"the run-length code has lengths of {lengths} bits; Label Studio writes "
            f"{list(_LENGTH_BITS)}"
        )


def _short(head: int) -> int:
    """Values of a record, if its length takes 3 or 4 bits, by its first eight bits."""
    return ((head & 31) >> max(0, 5 - _LENGTH_BITS[head >> 5 & 3])) + 1


def _step(head: int) -> int:
    """Bits of a record by its first eight; 0 for literals whose length takes 8 or 16 bits."""
    bits = _LENGTH_BITS[head >> 5 & 3]
    if head < _REPEAT:
        return 3 + bits + _WORD_BITS * _short(head) if bits <= 5 else 0
    return 3 + bits + _WORD_BITS


_REPEAT = 128
_STEPS = bytes(map(_step, range(256)))
_LENGTHS = np.array([_short(head) for head in range(256)])
_LEADS = np.array([3 + _LENGTH_BITS[head >> 5 & 3] for head in range(256)])


def _decode(rle: Sequence[int], expected: int, *, every: int) -> NDArray[np.uint8]:
    """The last of each `every` values: uint8[expected // every]."""
    data = _bytes(rle)
    _check_header(data, expected)
    padded = np.frombuffer(data + bytes(8), dtype=np.uint8)
    pieces: list[NDArray[np.uint8]] = [np.empty(0, dtype=np.uint8)]
    at, done, total = _HEADER_BITS, 0, 8 * len(data)
    while done < expected:
        base = at >> 3
        words = bytes_at_every_bit(padded[base : base + _CHUNK_BYTES + 4])
        starts, after = _follow(words, at & 7, 8 * min(_CHUNK_BYTES, len(data) - base))
        first, lengths, literal = _read(words, starts)
        ends = done + np.cumsum(lengths)
        used = slice(int(np.searchsorted(ends, expected)) + 1)
        first, lengths, literal, ends = first[used], lengths[used], literal[used], ends[used]
        bits = 8 * base + first
        if not len(bits) or bits[-1] + _WORD_BITS * (lengths[-1] if literal[-1] else 1) > total:
            whole = ends[-1] - lengths[-1] if len(ends) else done
            raise ValueError(
                f"the run-length code ends early: {whole} of {expected} values in {len(data)} bytes"
            )
        if ends[-1] > expected:
            raise ValueError(
                f"a run of {lengths[-1]} values passes the end of the {expected} values"
            )
        low, high = (ends - lengths) // every, ends // every
        piece = np.repeat(words[first], high - low)
        if literal.any():
            # Where the word of a literal's place 0 in the whole would be.
            zero = bits - _WORD_BITS * (ends - lengths - every + 1)
            place, bit = _spread(low[literal], high[literal], zero[literal], _WORD_BITS * every)
            piece[place - low[0]] = bytes_at(padded, bit)
        pieces.append(piece)
        at, done = 8 * base + after, int(ends[-1])
    return pieces[-1] if len(pieces) < 3 else np.concatenate(pieces)


def _follow(words: NDArray[np.uint8], at: int, size: int) -> tuple[Ints, int]:
    """Where the records begin that begin in the bits from `at` to size; where the next one would.

    One record leads to the next, so this is a loop; all it does is look up how far each reaches.
    """
    heads = words.tobytes()
    # Zeros stop the inner loop after the last bit, which no step passes by 256.
    steps = heads[:size].translate(_STEPS) + bytes(256)
    marks = bytearray(size)
    while at < size:
        while step := steps[at]:
            marks[at] = 1
            at += step
        if at < size:
            marks[at] = 1
            if heads[at] & 32:
                at += 3 + 16 + _WORD_BITS * ((heads[at + 3] << 8 | heads[at + 11]) + 1)
            else:
                at += 3 + 8 + _WORD_BITS * (heads[at + 3] + 1)
    return np.flatnonzero(np.frombuffer(marks, dtype=bool)), at


def _read(words: NDArray[np.uint8], starts: Ints) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """Of each record: where its first word is, its number of values, whether they are literal.

    A single literal value counts as repeated once.
    """
    head = words[starts]
    lengths = _LENGTHS[head]
    long = np.flatnonzero(head & 64)
    if len(long):
        where, wide = starts[long] + 3, (head[long] & 32) > 0
        length = words[where].astype(np.int64)
        lengths[long] = 1 + np.where(wide, length << 8 | words[where + 8], length)
    return starts + _LEADS[head], lengths, (head < _REPEAT) & (lengths > 1)


def _spread(low: Ints, high: Ints, zero: Ints, stride: int) -> tuple[Ints, Ints]:
    """Each place from low to high of each literal, and its bit, zero + stride * place."""
    counts = high - low
    place = np.arange(int(counts.sum())) + np.repeat(high - np.cumsum(counts), counts)
    return place, np.repeat(zero, counts) + stride * place


# Of lengths up to 257, which stands for all above: the bits before the length - 1, and of all.
_CLASSES = np.searchsorted([1 << bits for bits in _LENGTH_BITS[:-1]], np.arange(258))
_KINDS = np.array(
    [0 if length == 1 else (4 | c) << _LENGTH_BITS[c] for length, c in enumerate(_CLASSES)]
)
_WIDTHS = 3 + np.array(_LENGTH_BITS)[_CLASSES] + _WORD_BITS


def _encode(
    pixels: NDArray[np.uint8] | NDArray[np.bool_], *, full: int, channels: int
) -> list[int]:
    """Each pixel times `full`, `channels` times over, as brush bytes."""
    count = pixels.size * channels
    if not 0 < count < 1 << _COUNT_BITS:
        raise ValueError(
            f"{pixels.size} pixels of {channels} values have no run-length code; it holds "
            f"1 to {(1 << _COUNT_BITS) - 1} values"
        )
    flat = pixels.ravel()
    edges = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1, [flat.size]])
    most = _HEADER_BITS + int(_WIDTHS[-1]) * (len(edges) + count // _LONGEST)
    out = np.zeros(most // 64 + 2, dtype=np.uint64)
    at = write(out, 0, np.array([count, _SETUP]), np.array([_COUNT_BITS, _SETUP_BITS]))
    for low in range(0, len(edges) - 1, _CHUNK_RUNS):
        part = edges[low : low + _CHUNK_RUNS + 1]
        values = flat[part[:-1]].astype(np.int64) * full
        at = write(out, at, *_codes(values, np.diff(part) * channels))
    # The SDK pads a whole byte when the bits already fill the last one.
    return list(out[: at // 64 + 1].astype(">u8").tobytes()[: at // 8 + 1])


def _codes(values: Ints, lengths: Ints) -> tuple[Ints, Ints]:
    """The record of each run, as a number and its width in bits."""
    entry = np.minimum(lengths, 257)
    if int(lengths.max()) > _LONGEST:
        # A run too long for one record is split, and its rest keeps the longest kind, as in the SDK.
        pieces = (lengths - 1) // _LONGEST + 1
        rest = lengths - (pieces - 1) * _LONGEST
        entry = np.repeat(entry, pieces)
        values = np.repeat(values, pieces)
        lengths = np.full(len(values), _LONGEST)
        lengths[np.cumsum(pieces) - 1] = rest
    return (_KINDS[entry] | (lengths - 1)) << _WORD_BITS | values, _WIDTHS[entry]
