"""COCO's compressed run-length code of a mask, both ways: `{"size": [H, W], "counts": "..."}`.

Runs alternate false and true, down the columns. Each is written in base 32, low digits first, as
ASCII from "0", with the difference from the run before last instead of the run itself from the
fourth on (pycocotools, maskApi.c). Reading is done here and not by pycocotools because that
trusts the counts to fit the size. Knows nothing of regions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from regiontext.geometry import MAX_PIXELS

__all__ = ["coco_to_mask", "mask_to_coco"]


def mask_to_coco(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """A mask bool[H, W] as pycocotools encodes it, but with `counts` as text, fit for JSON."""
    code = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    height, width = mask.shape
    return {"size": [height, width], "counts": code["counts"].decode("ascii")}


def coco_to_mask(code: Mapping[str, Any]) -> NDArray[np.bool_]:
    """The mask bool[H, W] of a code whose counts are text, bytes or a list of run lengths.

    Raises ValueError when the size is none, a count is no such code, or the runs do not add up to
    H * W pixels.
    """
    if not isinstance(code, Mapping):
        raise ValueError(f"it is {code!r:.60}, no object with size and counts")
    size = code.get("size")
    if not isinstance(size, list | tuple) or len(size) != 2 or not all(_is_side(n) for n in size):
        raise ValueError(f"its size is {size!r:.60}, not [height, width]")
    height, width = size
    if height * width > MAX_PIXELS:
        raise ValueError(f"its size {height} x {width} is above {MAX_PIXELS} pixels")
    counts = code.get("counts")
    if isinstance(counts, str | bytes):
        runs = _unpack(counts, height * width)
    elif isinstance(counts, list | tuple):
        runs = _listed(counts, height * width)
    else:
        raise ValueError(f"its counts are {type(counts).__name__}, neither text nor a list")
    fits = runs.min(initial=0) >= 0 and runs.max(initial=0) <= height * width
    if not fits or int(runs.sum()) != height * width:
        raise ValueError(
            f"its {len(runs)} counts do not add up to {height} x {width} = {height * width} pixels"
        )
    values = np.zeros(len(runs), dtype=bool)
    values[1::2] = True
    mask = np.repeat(values, runs).reshape(width, height).T
    return np.ascontiguousarray(mask)


def _is_side(side: object) -> bool:
    return isinstance(side, int) and not isinstance(side, bool) and 0 < side <= MAX_PIXELS


def _listed(counts: Sequence[Any], pixels: int) -> NDArray[np.int64]:
    if len(counts) > pixels + 1 or set(map(type, counts)) - {int}:
        raise ValueError(f"its {len(counts)} counts are no list of whole numbers")
    if counts and (min(counts) < 0 or max(counts) > pixels):
        raise ValueError(f"its counts reach from {min(counts):.6g} to {max(counts):.6g} pixels")
    return np.array(counts, dtype=np.int64)


def _unpack(counts: str | bytes, pixels: int) -> NDArray[np.int64]:
    text = counts.encode("ascii", "replace") if isinstance(counts, str) else counts
    # A run of an image this size has 6 digits of 5 bits at most, and no pixel has two runs.
    if len(text) > 6 * (pixels + 2):
        raise ValueError(f"its counts have {len(text)} characters, too many for {pixels} pixels")
    digits = np.frombuffer(text, dtype=np.uint8).astype(np.int64) - ord("0")
    if digits.size and (digits.min() < 0 or digits.max() > 63):
        raise ValueError("its counts hold a character outside '0' to 'o'")
    last = np.flatnonzero((digits & 32) == 0)
    if digits.size and (not last.size or last[-1] != len(digits) - 1):
        raise ValueError("its counts end in the middle of a number")
    start = np.concatenate([[0], last[:-1] + 1]).astype(np.int64)[: len(last)]
    length = last - start + 1
    if length.size and length.max() > 7:
        raise ValueError(f"its counts hold a number of {length.max()} digits")
    place = np.arange(len(digits)) - np.repeat(start, length)
    values = np.add.reduceat((digits & 31) << (5 * place), start) if len(start) else start
    # The highest bit of the last digit is the sign.
    values = values - (((digits[last] & 16) != 0).astype(np.int64) << (5 * length))
    # From the fourth on, each run is told as the difference from the run two before.
    runs: NDArray[np.int64] = values
    for first in (1, 2):
        runs[first::2] = np.cumsum(runs[first::2])
    return runs
