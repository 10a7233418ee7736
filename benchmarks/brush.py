"""Brush masks decoded and encoded, beside label_studio_sdk.converter.brush.

    python -m benchmarks.brush [--quick]

Every case is checked to be equal value by value and byte by byte, then ours and the SDK's are timed
in turn, the best of each counts. A claim is the SDK's sum over ours over all cases, so the cases of
many records weigh most; the table has each. To a mask means alpha above 127, for both.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
from label_studio_sdk.converter import brush as sdk
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table

from benchmarks.report import Claim, report
from regiontext.labelstudio.brush import decode_rle, decode_values, encode_rle

__all__ = ["Case", "cases", "main", "measure"]

Mask = NDArray[np.bool_]

SIZE = 1280, 960
QUICK_SIZE = 320, 240
PAINTED = Path(__file__).parents[1] / "tests" / "fixtures" / "label_studio" / "region_brush.json"


@dataclass(frozen=True)
class Case:
    """A code of an image of size (W, H), and the mask to encode; None where there is none."""

    name: str
    size: tuple[int, int]
    rle: list[int]
    mask: Mask | None = None


@dataclass(frozen=True)
class Timing:
    """Milliseconds, the best of several rounds."""

    what: str
    case: str
    ours: float
    theirs: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller images, fewer rounds")
    quick = parser.parse_args().quick
    size, rounds = (QUICK_SIZE, 2) if quick else (SIZE, 3)
    timings = [timing for case in cases(size) for timing in measure(case, rounds)]
    _table(timings)
    report(
        f"brush code of {size[0]} x {size[1]} pixels, beside label_studio_sdk",
        [
            Claim("brush_decode", _ratio(timings, "decode"), "x", "to a mask", bar=12),
            Claim("brush_encode", _ratio(timings, "encode"), "x", "from a mask", bar=8),
            Claim(
                "brush_decode_values", _ratio(timings, "decode values"), "x", "to all RGBA values"
            ),
        ],
    )


def cases(size: tuple[int, int]) -> Iterator[Case]:
    """Masks as annotators paint them and worse, and two codes as the editor writes them."""
    rng = np.random.default_rng(11)
    strokes = _strokes(size, rng)
    masks = {
        "strokes": strokes,
        "polygon": _polygon(size),
        "blobs": _blobs(size, rng),
        "speckle": rng.random(size[::-1]) < 0.5,
        "full": np.ones(size[::-1], dtype=bool),
    }
    for name, mask in masks.items():
        yield Case(name, size, sdk.mask2rle(mask.astype(np.uint8) * 255), mask)
    small = size[0] // 4, size[1] // 4
    noise = rng.integers(0, 256, 4 * small[0] * small[1]).astype(np.uint8)
    yield Case("records of one value", small, sdk.encode_rle(noise))
    yield Case("RGBA of a coloured brush", size, _editor_code(_coloured(strokes, rng)))
    painted = json.loads(PAINTED.read_text())
    original = painted["original_width"], painted["original_height"]
    yield Case("painted in the editor", original, painted["value"]["rle"])


def measure(case: Case, rounds: int) -> Iterator[Timing]:
    """Both codecs on one case. Raises AssertionError where they differ."""
    width, height = case.size
    rle, mask, expected = case.rle, case.mask, width * height * 4

    def sdk_mask() -> Mask:
        alpha: NDArray[np.uint8] = np.reshape(sdk.decode_rle(rle), [height, width, 4])[:, :, 3]
        return alpha > 127

    def timed(what: str, ours: Callable[[], object], theirs: Callable[[], object]) -> Timing:
        return Timing(what, case.name, *_best(ours, theirs, rounds))

    values = sdk.decode_rle(rle)
    assert np.array_equal(decode_values(rle, expected=expected), values), case.name
    assert np.array_equal(decode_rle(rle, case.size), values[3::4].reshape(height, width) > 127)
    yield timed("decode", lambda: decode_rle(rle, case.size), sdk_mask)
    yield timed(
        "decode values",
        lambda: decode_values(rle, expected=expected),
        lambda: sdk.decode_rle(rle),
    )
    if mask is not None:
        painted = mask.astype(np.uint8) * 255
        assert encode_rle(mask) == rle == sdk.mask2rle(painted), case.name
        yield timed("encode", lambda: encode_rle(mask), lambda: sdk.mask2rle(painted))


def _best(
    ours: Callable[[], object], theirs: Callable[[], object], rounds: int
) -> tuple[float, float]:
    best = [float("inf"), float("inf")]
    for _ in range(rounds):
        for which, run in enumerate((ours, theirs)):
            start = time.perf_counter()
            run()
            best[which] = min(best[which], 1000 * (time.perf_counter() - start))
    return best[0], best[1]


def _ratio(timings: list[Timing], what: str) -> float:
    chosen = [timing for timing in timings if timing.what == what]
    return sum(timing.theirs for timing in chosen) / sum(timing.ours for timing in chosen)


def _table(timings: list[Timing]) -> None:
    table = Table("", "case", "ours, ms", "SDK, ms", "ratio", title="milliseconds per mask")
    for timing in sorted(timings, key=lambda timing: timing.what):
        ratio = f"{timing.theirs / timing.ours:.1f} x"
        table.add_row(timing.what, timing.case, f"{timing.ours:.2f}", f"{timing.theirs:.1f}", ratio)
    Console().print(table)


def _strokes(size: tuple[int, int], rng: np.random.Generator) -> Mask:
    """Five curved strokes, 3 % of the image wide."""
    image = Image.new("1", size)
    draw = ImageDraw.Draw(image)
    pen = round(0.03 * size[0])
    for _ in range(5):
        a, b, c = rng.random((3, 2)) * size
        t = np.linspace(0, 1, 60)[:, None]
        line = (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c
        for (x0, y0), (x1, y1) in pairwise(line.tolist()):
            draw.line((x0, y0, x1, y1), fill=1, width=pen)
            draw.ellipse((x1 - pen / 2, y1 - pen / 2, x1 + pen / 2, y1 + pen / 2), fill=1)
    return np.asarray(image)


def _polygon(size: tuple[int, int]) -> Mask:
    """A star of 30 points over most of the image."""
    angle = np.linspace(0, 2 * np.pi, 30, endpoint=False)
    reach = np.where(np.arange(30) % 2, 0.45, 0.3)
    ring = 0.5 + np.stack([reach * np.cos(angle), reach * np.sin(angle)], axis=1)
    image = Image.new("1", size)
    ImageDraw.Draw(image).polygon([(x, y) for x, y in (ring * size).tolist()], fill=1)
    return np.asarray(image)


def _blobs(size: tuple[int, int], rng: np.random.Generator) -> Mask:
    """Soft noise above its middle, as a segmentation model's mask may be."""
    coarse = Image.fromarray(rng.random((size[1] // 24, size[0] // 24)).astype(np.float32))
    return np.asarray(coarse.resize(size, Image.Resampling.BICUBIC)) > 0.5


def _coloured(mask: Mask, rng: np.random.Generator) -> NDArray[np.uint8]:
    """RGBA values as of a canvas: one colour, of an alpha that differs from pixel to pixel."""
    rgba = np.zeros((*mask.shape, 4), dtype=np.uint8)
    rgba[mask] = 214, 39, 140, 0
    rgba[mask, 3] = rng.integers(1, 255, int(mask.sum()))
    return rgba.ravel()


def _editor_code(values: NDArray[np.uint8]) -> list[int]:
    """Values as thi.ng's rle-pack writes them in the editor: unlike the SDK, with literals.

    Equal neighbours are repeated, the values between them are put out as they are.
    """
    sizes = (3, 4, 8, 16)
    bits = [f"{values.size:032b}", f"{7:05b}", *(f"{size - 1:04b}" for size in sizes)]

    def put(repeated: bool, length: int, words: list[int]) -> None:
        kind = next(i for i, size in enumerate(sizes) if length <= 1 << size)
        bits.append(f"{repeated:b}{kind:02b}{length - 1:0{sizes[kind]}b}")
        bits.extend(f"{word:08b}" for word in words)

    edges = np.flatnonzero(np.diff(values)) + 1
    starts = np.concatenate([[0], edges])
    lengths = np.diff(np.concatenate([starts, [values.size]]))
    runs = zip(values[starts].tolist(), lengths.tolist(), strict=True)
    for single, group in groupby(runs, key=lambda run: run[1] == 1):
        if single:
            words = [value for value, _ in group]
            for low in range(0, len(words), 1 << 16):
                put(False, len(words[low : low + (1 << 16)]), words[low : low + (1 << 16)])
            continue
        for value, length in group:
            while length:
                put(True, min(length, 1 << 16), [value])
                length -= min(length, 1 << 16)
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))


if __name__ == "__main__":
    main()
