"""Breaks Label Studio's region results: their structure, their values, the bytes they carry.

Everything follows from the generator that is passed in. Knows nothing of what reads the results.
"""

from __future__ import annotations

import base64
import copy
import io
import struct
import zlib
from random import Random
from typing import Any

import numpy as np
from PIL import Image

__all__ = ["mutate"]

_PNG = "data:image/png;base64,"

JUNK: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -0.0,
    1,
    -1,
    0.5,
    99.999,
    100,
    100.0001,
    1e-300,
    5e-324,
    1e5,
    1e6,
    1e300,
    -1e300,
    float("nan"),
    float("inf"),
    float("-inf"),
    2**31,
    2**63,
    10**400,
    "",
    "0",
    "x" * 5_000,
    "\ud800",
    "\0",
    b"bytes",
    (),
    [],
    {},
    [[]],
    [None],
    [{}],
    {"x": 1},
    {"": None},
    [[0, 0]] * 3,
    list(range(256)),
    object,
    1j,
    {1, 2},
)

LARGE: tuple[Any, ...] = (
    "x" * 1_000_000,
    [[50, 50]] * 1_000_000,
    [[0, 0], [100, 100]] * 20_000,
    [255] * 1_000_000,
    ["a"] * 100_000,
)

TYPES = ("rectangle", "ellipse", "polygon", "brush", "bitmask", "keypoint", "vector", "magicwand")


def mutate(item: dict[str, Any], rng: Random, others: list[dict[str, Any]]) -> dict[str, Any]:
    """A result broken in one to six places; `others` lend it their parts."""
    broken = copy.deepcopy(item)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        rng.choice(_MUTATIONS)(broken, rng, others)
    return broken


def _places(node: Any, found: list[tuple[Any, Any]], depth: int = 0) -> list[tuple[Any, Any]]:
    """Every (container, key) in a result; of long lists, a few."""
    if isinstance(node, dict):
        keys: list[Any] = list(node)
    elif isinstance(node, list):
        keys = list(range(len(node))) if len(node) < 30 else [0, 1, len(node) // 2, len(node) - 1]
    else:
        return found
    for key in keys:
        found.append((node, key))
        if depth < 6:
            _places(node[key], found, depth + 1)
    return found


def _any_place(item: dict[str, Any], rng: Random) -> tuple[Any, Any]:
    return rng.choice(_places(item, []) or [(item, "id")])


def _value(item: dict[str, Any]) -> dict[str, Any]:
    value = item.get("value")
    return value if isinstance(value, dict) else {}


def _replace(item: dict[str, Any], rng: Random, others: list[dict[str, Any]]) -> None:
    node, key = _any_place(item, rng)
    node[key] = rng.choice(LARGE) if rng.random() < 0.01 else copy.deepcopy(rng.choice(JUNK))


def _remove(item: dict[str, Any], rng: Random, others: list[dict[str, Any]]) -> None:
    node, key = _any_place(item, rng)
    if key in node if isinstance(node, dict) else key < len(node):
        del node[key]


def _scale(item: dict[str, Any], rng: Random, others: list[dict[str, Any]]) -> None:
    spots = [
        (node, key)
        for node, key in _places(item, [])
        if (key in node if isinstance(node, dict) else True) and type(node[key]) in (int, float)
    ]
    if spots:
        node, key = rng.choice(spots)
        value = node[key]
        way = rng.randrange(6) if abs(value) < 1e9 else 5
        if way == 0:
            node[key] = -value
        elif way == 1:
            node[key] = value + rng.choice((-1e-9, 1e-9, 0.5, -50, 50))
        elif way == 2:
            node[key] = rng.uniform(-20, 120)
        elif way == 3:
            node[key] = rng.choice((0, 50, 100, 360, 90, 1e4, -1e4))
        elif way == 4:
            node[key] = value * rng.choice((0.001, 2, 10, 1000))
        else:
            node[key] = struct.unpack(">d", rng.randbytes(8))[0]


def _graft(item: dict[str, Any], rng: Random, others: list[dict[str, Any]]) -> None:
    other = rng.choice(others)
    theirs = _value(other)
    if isinstance(item.get("value"), dict) and theirs and rng.random() < 0.7:
        for key in rng.sample(sorted(theirs, key=str), rng.randint(1, len(theirs))):
            item["value"][key] = copy.deepcopy(theirs[key])
    else:
        key = rng.choice(sorted(other, key=str))
        item[key] = copy.deepcopy(other[key])


def _retype(item: dict[str, Any], rng: Random, others: list[dict[str, Any]]) -> None:
    item["type"] = rng.choice(TYPES) + rng.choice(("", "labels", "Labels"))


def _resize(item: dict[str, Any], rng: Random, others: list[dict[str, Any]]) -> None:
    sizes = (0, 1, 2, 3, 37, 800, 801, 4000, 9999, 10_000, 10_001, 100_000_000)
    for key in ("original_width", "original_height"):
        if rng.random() < 0.6:
            item[key] = rng.choice(sizes)


def _nest(item: dict[str, Any], rng: Random, others: list[dict[str, Any]]) -> None:
    deep: Any = 1
    for _ in range(rng.choice((3, 50, 400))):
        deep = [deep] if rng.random() < 0.5 else {"x": deep, "value": deep}
        if isinstance(deep, dict):
            deep.popitem()
    node, key = _any_place(item, rng)
    node[key] = deep


def _points(item: dict[str, Any], rng: Random, others: list[dict[str, Any]]) -> None:
    count = rng.choice((1, 2, 3, 3, 5, 8, 13, 50, 50, 300, 3000))
    if rng.random() < 0.03:
        count = rng.choice((30_000, 90_000, 120_000))
    reach = rng.choice((1, 100, 100, 1e5))
    style = rng.randrange(3)
    if style == 0:
        points = [[rng.uniform(0, reach), rng.uniform(0, reach)] for _ in range(min(count, 3000))]
    elif style == 1:
        points = [[reach * i / count, reach * (i % 2)] for i in range(count)]
    else:
        points = [[reach / 2, reach / 2]] * count
    value = item.setdefault("value", {})
    if not isinstance(value, dict):
        return
    shape = rng.randrange(3)
    if shape == 0:
        item["type"], value["points"] = "polygonlabels", points
    elif shape == 1:
        item["type"] = "vectorlabels"
        value["closed"] = rng.random() < 0.5
        bent = rng.random() < 0.3
        value["vertices"] = [
            {"id": str(i), "prevPointId": str(i - 1), "x": x, "y": y, "isBezier": bent}
            | ({"controlPoint2": {"x": y, "y": x}} if bent else {})
            for i, (x, y) in enumerate(points)
        ]
    else:
        item["type"] = "brushlabels"
        flat = [number for point in points for number in point]
        pen = rng.choice((1e-9, 0.1, 2, 50, 1e5))
        kinds = ("add", "eraser")
        value["touches"] = [
            {"type": kinds[i % 2], "relativePoints": flat, "relativeStrokeWidth": pen}
            for i in range(rng.choice((1, 2, 50)))
        ]


def _flip(data: bytes, rng: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 2, 8, 64))):
        if not changed:
            break
        at = rng.randrange(len(changed))
        way = rng.randrange(5)
        if way == 0:
            changed[at] ^= 1 << rng.randrange(8)
        elif way == 1:
            changed[at] = rng.choice((0, 1, 127, 128, 255))
        elif way == 2:
            del changed[at : at + rng.choice((1, 4, 100))]
        elif way == 3:
            changed[at:at] = rng.randbytes(rng.choice((1, 4, 100)))
        else:
            changed = changed[:at] if rng.random() < 0.3 else changed
    return bytes(changed)


def _break_rle(item: dict[str, Any], rng: Random, others: list[dict[str, Any]]) -> None:
    rle = _value(item).get("rle")
    if (
        isinstance(rle, list)
        and rle
        and set(map(type, rle)) == {int}
        and max(rle) < 256 > min(rle) >= 0
    ):
        changed = list(_flip(bytes(rle), rng))
        if rng.random() < 0.1:
            changed[rng.randrange(len(changed)) if changed else 0 :] = [
                rng.choice((-1, 256, 0.5, None))
            ]
        item["value"]["rle"] = changed


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _hostile_png(rng: Random) -> bytes:
    side = rng.choice((1, 100, 1000, 4000, 20_000, 2**31 - 1))
    depth, colour = rng.choice(((8, 6), (1, 0), (16, 6), (8, 3), (8, 2), (16, 0)))
    header = struct.pack(
        ">IIBBBBB", side, rng.choice((1, side)), depth, colour, 0, 0, rng.randrange(2)
    )
    zeros = zlib.compress(bytes(rng.choice((0, 1000, 3_000_000))), 9)
    extra = rng.choice(
        (
            b"",
            _chunk(b"zTXt", b"a\0\0" + zeros),
            _chunk(b"iCCP", b"a\0\0" + zeros),
            _chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)),
            _chunk(b"tRNS", rng.randbytes(3)),
            _chunk(b"PLTE", rng.randbytes(rng.choice((3, 4, 768)))),
        )
    )
    body = _chunk(b"IHDR", header) + extra + _chunk(b"IDAT", zeros) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def _other_png(rng: Random) -> bytes:
    mode = rng.choice(("1", "L", "P", "LA", "RGB", "RGBA", "I;16"))
    width, height = rng.choice(((800, 600), (1, 1), (300, 7), (1600, 1200)))
    pixels = np.frombuffer(rng.randbytes(64 * 64), dtype=np.uint8).reshape(64, 64)
    picture = Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST)
    file = io.BytesIO()
    picture.convert(mode).save(file, format="PNG")
    return file.getvalue()


def _break_png(item: dict[str, Any], rng: Random, others: list[dict[str, Any]]) -> None:
    value = item.setdefault("value", {})
    if not isinstance(value, dict):
        return
    url = value.get("imageDataURL")
    if not isinstance(url, str) or not url.startswith(_PNG):
        item["type"] = rng.choice(("bitmask", "brush"))
        url = ""
    way = rng.randrange(4)
    if way == 0:
        data = _hostile_png(rng)
    elif way == 1 or not url:
        data = _other_png(rng)
    elif way == 2:
        try:
            data = _flip(base64.b64decode(url[len(_PNG) :]), rng)
        except ValueError:
            data = b""
    else:
        value["imageDataURL"] = _flip(url.encode("ascii", "replace"), rng).decode("latin-1")
        return
    made = _PNG + base64.b64encode(data).decode()
    value["imageDataURL" if item.get("type") != "brush" else "maskDataURL"] = made


_MUTATIONS = (
    *(_scale,) * 8,
    *(_break_rle,) * 5,
    *(_replace,) * 3,
    *(_points,) * 3,
    *(_break_png,) * 2,
    _remove,
    _graft,
    _retype,
    _resize,
    _nest,
)
