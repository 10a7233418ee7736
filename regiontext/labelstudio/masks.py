"""Painted regions to masks: brush (run-length code, data URL, strokes of a draft) and bitmask.

A brush in a saved annotation is a run-length code; in a draft Label Studio keeps the strokes of
this session beside it (`touches`), each adding or erasing. Faults are ValueErrors.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regiontext.geometry import Points, from_percent
from regiontext.labelstudio.brush import decode_rle
from regiontext.labelstudio.values import MAX_POINTS, items, number, numbers, short
from regiontext.strokes import paint_strokes

__all__ = ["bitmask_mask", "brush_mask", "fit_mask"]

_PNG = "data:image/png;base64,"
_MAX_URL_CHARS = 64_000_000
_MAX_TOUCHES = 2_000


def brush_mask(value: Mapping[str, Any], size: tuple[int, int]) -> NDArray[np.bool_]:
    """A brush's value to bool[H, W]; size (W, H) is that of the image it was painted on."""
    form = value.get("format", "rle")
    if form != "rle":
        raise ValueError(f"its brush has the format {short(form)}; known is 'rle'")
    touches = value.get("touches")
    if value.get("rle"):
        # A value takes 27 bits at most, so a pixel of four channels takes fewer than 20 bytes.
        mask = decode_rle(items(value, "rle", limit=20 * size[0] * size[1] + 64), size)
    elif value.get("maskDataURL"):
        mask = fit_mask(_data_url(value, "maskDataURL", size), size)
    elif touches:
        mask = np.zeros((size[1], size[0]), dtype=bool)
    else:
        raise ValueError("its brush has neither rle nor touches")
    if touches:
        mask = paint_strokes(mask, _strokes(items(value, "touches", limit=_MAX_TOUCHES), size))
    return mask


def bitmask_mask(value: Mapping[str, Any], size: tuple[int, int]) -> NDArray[np.bool_]:
    """A bitmask's value to bool[h, w] of its own PNG; size (W, H) of the image bounds it."""
    return _data_url(value, "imageDataURL", size)


def fit_mask(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask bool[h, w] at another size (W, H), by nearest pixel centres."""
    width, height = size
    rows, columns = mask.shape
    if (columns, rows) == size:
        return mask
    down = ((np.arange(height) + 0.5) * rows / height).astype(np.int64)
    across = ((np.arange(width) + 0.5) * columns / width).astype(np.int64)
    return mask[np.ix_(down, across)]


def _strokes(touches: Sequence[Any], size: tuple[int, int]) -> list[tuple[Points, float, bool]]:
    strokes = [_stroke(touch, size) for touch in touches]
    count = sum(len(line) for line, _, _ in strokes)
    if count > MAX_POINTS:
        raise ValueError(f"its touches have {count} points, more than {MAX_POINTS}")
    return strokes


def _stroke(touch: object, size: tuple[int, int]) -> tuple[Points, float, bool]:
    if not isinstance(touch, Mapping):
        raise ValueError(f"its touch {short(touch)} is no object")
    kind = touch.get("type", "add")
    if kind not in ("add", "eraser"):
        raise ValueError(f"its touch has the type {short(kind)}; known are 'add' and 'eraser'")
    flat = numbers(items(touch, "relativePoints", limit=2 * MAX_POINTS), "a relative point")
    if len(flat) % 2:
        raise ValueError(f"relativePoints has {len(flat)} numbers, no pairs of x and y")
    width = number(touch, "relativeStrokeWidth") * size[0] / 100
    if width <= 0:
        raise ValueError(f"relativeStrokeWidth is {width:g}; it must be above 0")
    return from_percent(flat.reshape(-1, 2), size), width, kind == "add"


def _data_url(value: Mapping[str, Any], key: str, size: tuple[int, int]) -> NDArray[np.bool_]:
    url = value.get(key)
    if not isinstance(url, str) or not url.startswith(_PNG):
        raise ValueError(f"{key} is {short(url)}, no PNG data URL")
    if len(url) > _MAX_URL_CHARS:
        raise ValueError(f"{key} has {len(url)} characters, more than {_MAX_URL_CHARS}")
    try:
        data = base64.b64decode(url[len(_PNG) :], validate=True)
    except (binascii.Error, ValueError) as fault:
        raise ValueError(f"{key} is no base64: {fault}") from fault
    # A mask that says it is far larger than its image is a bomb or a mistake.
    limit = max(1_000_000, 4 * size[0] * size[1])
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            pixels = image.size[0] * image.size[1]
            if pixels <= limit:
                return _opaque(image)
    except Exception as fault:  # a decoder raises nearly anything on hostile bytes
        raise ValueError(f"{key} is no readable PNG: {fault}") from fault
    raise ValueError(f"{key} has {pixels} pixels, more than {limit}")


def _opaque(image: Image.Image) -> NDArray[np.bool_]:
    if "A" in image.getbands():
        return np.asarray(image.getchannel("A")) > 127
    if "transparency" in image.info:
        return np.asarray(image.convert("RGBA").getchannel("A")) > 127
    return np.asarray(image.convert("L")) > 127
