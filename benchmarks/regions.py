"""Reading regions: a thousand of all shapes to masks, beside label_studio_sdk where it can.

    python -m benchmarks.regions [--quick]

The regions are as annotators make them on images of 1280 x 960: turned boxes, ellipses, polygons
of 8 to 80 points, brush strokes with soft edges, bitmasks, keypoints, open and closed vectors.
`label_studio_sdk` turns one shape into a mask, the brush (`converter.brush`, alpha above 127); of
turned boxes it has the corners (`converter.utils.convert_annotation_to_yolo_obb`), which Pillow
fills here. What both can do is done by both in turn, and the masks are compared.
"""

from __future__ import annotations

import argparse
import base64
import time
from collections.abc import Callable
from typing import Any
from zlib import compress, crc32

import numpy as np
from label_studio_sdk.converter.brush import decode_rle as sdk_decode_rle
from label_studio_sdk.converter.utils import convert_annotation_to_yolo_obb
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from benchmarks.report import Claim, report
from regiontext.labelstudio.brush import encode_values
from regiontext.labelstudio.decode import decode_region

SIZE = (1280, 960)
SHARES = (
    ("rectangle", 26),
    ("polygon", 24),
    ("ellipse", 10),
    ("brush", 14),
    ("bitmask", 8),
    ("keypoint", 8),
    ("vector", 10),
)

Result = dict[str, Any]


def _result(shape: str, value: Result, index: int) -> Result:
    return {
        "id": f"r{index}",
        "from_name": shape,
        "to_name": "img",
        "type": f"{shape}labels",
        "original_width": SIZE[0],
        "original_height": SIZE[1],
        "image_rotation": 0,
        "value": value | {f"{shape}labels": ["Thing"]},
    }


def _star(rng: np.random.Generator, points: int) -> NDArray[np.float64]:
    """A ring of so many points around a place, in percent."""
    angle = np.sort(rng.uniform(0, 2 * np.pi, points))
    radius = rng.uniform(4, 22) * rng.uniform(0.6, 1.0, points)
    x, y = rng.uniform(15, 85, 2)
    return np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1)


def _painted(rng: np.random.Generator) -> NDArray[np.uint8]:
    """The alpha of one to four strokes of a pen, uint8[H, W], with the soft edge of a canvas."""
    layer = Image.new("L", SIZE)
    pen = ImageDraw.Draw(layer)
    for _ in range(rng.integers(1, 5)):
        steps = rng.normal(0, 14, (rng.integers(10, 80), 2))
        line = np.cumsum(steps, axis=0) + rng.uniform(200, 760, 2)
        width = int(rng.integers(10, 50))
        path = [(float(x), float(y)) for x, y in line]
        pen.line(path, fill=255, width=width, joint="curve")
        for x, y in (path[0], path[-1]):
            pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=255)
    return np.asarray(layer.filter(ImageFilter.GaussianBlur(0.6)))


def _rgba(alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(alpha[:, :, None], 4, axis=2)


def _rectangle(rng: np.random.Generator) -> Result:
    x, y, width, height = (*rng.uniform(5, 60, 2), *rng.uniform(3, 40, 2))
    turn = float(rng.choice([0.0, 0.0, rng.uniform(0, 360)]))
    return {"x": x, "y": y, "width": width, "height": height, "rotation": turn}


def _ellipse(rng: np.random.Generator) -> Result:
    x, y, across, down = (*rng.uniform(15, 85, 2), *rng.uniform(2, 22, 2))
    return {"x": x, "y": y, "radiusX": across, "radiusY": down, "rotation": rng.uniform(0, 360)}


def _polygon(rng: np.random.Generator) -> Result:
    return {"points": _star(rng, int(rng.integers(8, 81))).tolist(), "closed": True}


def _brush(rng: np.random.Generator) -> Result:
    return {"format": "rle", "rle": encode_values(_rgba(_painted(rng)))}


def _bitmask(rng: np.random.Generator) -> Result:
    pixels = np.zeros((SIZE[1], SIZE[0], 4), dtype=np.uint8)
    pixels[..., 3] = _painted(rng)
    return {"imageDataURL": "data:image/png;base64," + base64.b64encode(_png(pixels)).decode()}


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """RGBA uint8[H, W, 4] as Chromium's canvas writes it: every row as its change from the last."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + kind + body + crc32(kind + body).to_bytes(4, "big")

    height, width, _ = pixels.shape
    rows = pixels.reshape(height, -1)
    above = np.concatenate([np.zeros_like(rows[:1]), rows[:-1]])
    filtered = np.concatenate([np.full((height, 1), 2, np.uint8), rows - above], axis=1)
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 6, 0, 0, 0])
    body = chunk(b"IHDR", header) + chunk(b"IDAT", compress(filtered.tobytes()))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def _keypoint(rng: np.random.Generator) -> Result:
    x, y = rng.uniform(5, 95, 2)
    return {"x": x, "y": y, "width": rng.uniform(0.2, 2)}


def _vector(rng: np.random.Generator) -> Result:
    closed = bool(rng.random() < 0.5)
    ring = _star(rng, int(rng.integers(4, 20)))
    bent = rng.random() < 0.3
    vertices = [
        {"id": str(index), "x": x, "y": y, "isBezier": bool(bent)}
        | ({"prevPointId": str((index - 1) % len(ring))} if index or closed else {})
        | ({"controlPoint2": {"x": x + 2, "y": y + 1}} if bent else {})
        for index, (x, y) in enumerate(ring.tolist())
    ]
    return {"vertices": vertices, "closed": closed}


MAKE: dict[str, Callable[[np.random.Generator], Result]] = {
    "rectangle": _rectangle,
    "ellipse": _ellipse,
    "polygon": _polygon,
    "brush": _brush,
    "bitmask": _bitmask,
    "keypoint": _keypoint,
    "vector": _vector,
}


def regions(count: int) -> list[Result]:
    """So many results, the shapes mixed."""
    rng = np.random.default_rng(0)
    names = [name for name, share in SHARES for _ in range(count * share // 100)]
    rng.shuffle(names)
    return [_result(name, MAKE[name](rng), index) for index, name in enumerate(names)]


def ours(result: Result) -> NDArray[np.bool_]:
    """The mask, box, area and centre of a result; the mask is returned."""
    region = decode_region(result)
    _ = region.box, region.area, region.centre
    return region.mask


def mask_of(result: Result) -> NDArray[np.bool_]:
    """The mask of a result alone, which is what the peer makes."""
    return decode_region(result).mask


def peer(result: Result) -> NDArray[np.bool_]:
    """The mask by label_studio_sdk, with numpy or Pillow where the SDK stops short of one."""
    width, height = result["original_width"], result["original_height"]
    value = result["value"]
    if "rle" in value:
        alpha = sdk_decode_rle(value["rle"]).reshape(height, width, 4)[:, :, 3]
        return np.asarray(alpha > 127)
    corners = convert_annotation_to_yolo_obb(value | result, normalize=False)
    canvas = Image.new("1", (width, height))
    ImageDraw.Draw(canvas).polygon(corners, fill=1)
    return np.asarray(canvas)


def _times(
    results: list[Result], repeats: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[float]]:
    """The best time of each result in seconds, ours and the peer's, and the masks' agreement."""
    took = np.full((2, len(results)), np.inf)
    same = []
    for repeat in range(repeats):
        for index, result in enumerate(results):
            masks = []
            for side, read in enumerate((mask_of, peer)):
                start = time.thread_time()
                masks.append(read(result))
                took[side, index] = min(took[side, index], time.thread_time() - start)
            if repeat == 0:
                both, either = masks[0] & masks[1], masks[0] | masks[1]
                same.append(float(both.sum() / either.sum()))
    return took[0], took[1], same


def main() -> None:
    """Print the table and the claims."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the regions, fewer rounds")
    quick = parser.parse_args().quick
    results = regions(100 if quick else 1000)
    best = np.full(len(results), np.inf)
    for _ in range(3 if quick else 5):
        for index, result in enumerate(results):
            start = time.thread_time()
            ours(result)
            best[index] = min(best[index], time.thread_time() - start)
    shapes = np.array([result["type"].removesuffix("labels") for result in results])
    claims = []
    brushes = [result for result in results if result["type"] == "brushlabels"]
    boxes = [result for result in results if result["type"] == "rectanglelabels"]
    own, theirs, same = _times(brushes, 1 if quick else 2)
    box_own, box_theirs, box_same = _times(boxes, 3)
    claims.append(
        Claim(
            "decode_mixed",
            float((theirs.sum() + box_theirs.sum()) / (own.sum() + box_own.sum())),
            "x",
            f"{len(own)} brushes and {len(box_own)} boxes to masks, label_studio_sdk / ours",
            bar=10,
        )
    )
    claims.append(
        Claim(
            "decode_mixed_ms",
            float(best.mean() * 1e3),
            "ms",
            f"each of {len(results)} regions of all shapes, with box, area and centre",
            bar=2,
            at_most=True,
        )
    )
    for shape, _ in SHARES:
        part = best[shapes == shape]
        claims.append(
            Claim(f"decode_{shape}_ms", float(part.mean() * 1e3), "ms", f"{len(part)} of them")
        )
    claims.append(
        Claim("decode_brush_sdk_ms", float(theirs.mean() * 1e3), "ms", "a brush by the SDK")
    )
    claims.append(
        Claim("decode_brush_same", min(same), "IoU", "lowest of our masks with the SDK's")
    )
    claims.append(
        Claim("decode_rectangle_mask_ms", float(box_own.mean() * 1e3), "ms", "its mask alone, ours")
    )
    claims.append(
        Claim(
            "decode_rectangle_sdk_ms",
            float(box_theirs.mean() * 1e3),
            "ms",
            "a turned box by the SDK and Pillow",
        )
    )
    claims.append(
        Claim("decode_rectangle_same", min(box_same), "IoU", "lowest; Pillow draws the edge too")
    )
    report("Regions of Label Studio to masks", claims)


if __name__ == "__main__":
    main()
