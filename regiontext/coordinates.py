"""How a model counts and writes boxes: pixels to its numbers and its text, and back.

A convention says over what the numbers run (the image, the image padded to a square, the image as
its processor resizes it), how far (to 1, 1000, 1023, the side in pixels), how they are rounded and
ordered, and how they are written; `regiontext.conventions` has those of the models. Knows nothing
of regions, images or models' code.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from regiontext.geometry import Box

__all__ = ["Convention", "Patches", "Size", "smart_resize"]

Size = tuple[int, int]
"""W, H in pixels."""


@dataclass(frozen=True)
class Convention:
    """How one family of models counts and writes boxes.

    name, source: whose it is, and where it is stated. extent: the number at the far side, None for
    pixels. decimals: how many the numbers have, None for unrounded. rounding: to the nearest number
    or down, in which case a number stands for the middle of its bin. top: the largest number if it
    is below `extent`. y_first: y0, x0, y1, x1. padded: over the square that holds the image in its
    middle. resize: over the size that this makes of the image's (W, H). layout: the text, "{}" for
    each number, "" when there is none. wrap: what the model writes before and after, which answers
    may lack. digits: numbers are written with zeros up to this width.
    """

    name: str
    source: str
    extent: float | None = None
    decimals: int | None = None
    rounding: Literal["nearest", "down"] = "nearest"
    top: float | None = None
    y_first: bool = False
    padded: bool = False
    resize: Callable[[Size], Size] | None = None
    layout: str = ""
    wrap: tuple[str, str] = ("", "")
    digits: int = 0

    def encode(self, box: Box, size: Size) -> tuple[float, ...]:
        """A box in pixels of an image of `size` (W, H), cut at the image, as the model's numbers.

        Whole numbers come as int. ValueError when no part of the box lies on the image.
        """
        x0, y0, x1, y1 = _on_image(box, size)
        left, top, right, bottom = (
            self._number(side, axis, size) for side, axis in ((x0, 0), (y0, 1), (x1, 0), (y1, 1))
        )
        return (top, left, bottom, right) if self.y_first else (left, top, right, bottom)

    def decode(self, values: Sequence[float], size: Size) -> Box:
        """The model's numbers as a box in pixels of an image of `size` (W, H), inside the image.

        x0 <= x1 and y0 <= y1, whichever corner came first; a box thinner than a bin may come back
        without area. ValueError when there are not four finite numbers.
        """
        _check_values(self.name, values, 4)
        numbers = [values[i] for i in ((1, 0, 3, 2) if self.y_first else (0, 1, 2, 3))]
        xs = sorted(self._pixel(number, 0, size) for number in numbers[::2])
        ys = sorted(self._pixel(number, 1, size) for number in numbers[1::2])
        return xs[0], ys[0], xs[1], ys[1]

    def text(self, box: Box, size: Size) -> str:
        """The box as the model reads and writes it; ValueError when it has no text form."""
        if not self.layout:
            raise ValueError(f"{self.name} has no text form of a box; use its numbers, from encode")
        numbers = [self._written(value) for value in self.encode(box, size)]
        return self.wrap[0] + self.layout.replace("{}", "%s") % tuple(numbers) + self.wrap[1]

    def parse(self, text: str, size: Size) -> list[Box]:
        """Every box written in `text`, in pixels of an image of `size` (W, H).

        Spaces may differ from `text`'s and `wrap` may be missing; boxes without area are left out.
        """
        if not self.layout:
            raise ValueError(f"{self.name} has no text form of a box; decode its numbers instead")
        boxes = [
            self.decode([float(number) for number in found.groups()], size)
            for found in re.finditer(_pattern(self.layout), text)
        ]
        return [box for box in boxes if box[0] < box[2] and box[1] < box[3]]

    def _frame(self, axis: int, size: Size) -> tuple[float, float, float]:
        """Along one axis: where the image begins in its frame, px; the frame's side, px; the
        number at its far side.
        """
        if self.padded:
            side = max(size)
            return float((side - size[axis]) // 2), side, self.extent or side
        if self.resize is not None:
            return 0.0, size[axis], self.extent or self.resize(size)[axis]
        return 0.0, size[axis], self.extent or size[axis]

    def _number(self, pixel: float, axis: int, size: Size) -> float:
        start, side, extent = self._frame(axis, size)
        number = (pixel + start) / side * extent
        if self.decimals is None:
            return number
        if self.rounding == "down":
            scale = 10**self.decimals
            number = math.floor(number * scale) / scale
        number = round(number, self.decimals)
        number = min(max(number, 0), self.top if self.top is not None else extent)
        return number if self.decimals else int(number)

    def _pixel(self, number: float, axis: int, size: Size) -> float:
        start, side, extent = self._frame(axis, size)
        if self.rounding == "down":
            number += 0.5 / 10 ** (self.decimals or 0)
        return float(min(max(number / extent * side - start, 0.0), size[axis]))

    def _written(self, value: float) -> str:
        if self.decimals is None:
            return f"{value:.6g}"
        return (
            f"{value:0{self.digits}.{self.decimals}f}"
            if self.digits
            else (f"{value:.{self.decimals}f}")
        )


@dataclass(frozen=True)
class Patches(Convention):
    """Two patch indices, y * side + x: the patch of the first corner and that of the last."""

    side: int = 32

    def encode(self, box: Box, size: Size) -> tuple[float, ...]:
        """The patches that hold the box's corners, the far sides exclusive."""
        x0, y0, x1, y1 = (
            edge / size[axis % 2] * self.side for axis, edge in enumerate(_on_image(box, size))
        )
        last = self.side - 1
        left, top = min(math.floor(x0), last), min(math.floor(y0), last)
        right, bottom = max(math.ceil(x1 - 1), left), max(math.ceil(y1 - 1), top)
        return top * self.side + left, bottom * self.side + right

    def decode(self, values: Sequence[float], size: Size) -> Box:
        """From centre to centre of the two patches; their outer edges if they share a row or column."""
        _check_values(self.name, values, 2)
        count = self.side * self.side
        first, last = (min(max(int(value), 0), count - 1) for value in values)
        (y0, x0), (y1, x1) = divmod(first, self.side), divmod(last, self.side)
        (x0, x1), (y0, y1) = sorted((x0, x1)), sorted((y0, y1))
        near, far = (0.0, 1.0) if x0 == x1 or y0 == y1 else (0.5, 0.5)
        width, height = (side / self.side for side in size)
        return (x0 + near) * width, (y0 + near) * height, (x1 + far) * width, (y1 + far) * height


def smart_resize(
    size: Size, *, factor: int = 28, min_pixels: int = 3136, max_pixels: int = 12_845_056
) -> Size:
    """The (W, H) to which Qwen2-VL's processor, and those after it, resize an image of `size`.

    Both sides are multiples of `factor` px (patch times merge size) and the area lies within
    `min_pixels` and `max_pixels`, the aspect ratio kept as far as that allows. The defaults are
    Qwen2.5-VL's checkpoints'. Source: `smart_resize` in transformers' qwen2_vl image processing,
    which refuses aspect ratios above 200, as this does with ValueError.
    """
    width, height = size
    if max(size) > 200 * min(size):
        raise ValueError(f"an image of {width} x {height} is more than 200 times as long as wide")
    sides = [round(side / factor) * factor for side in size]
    area = sides[0] * sides[1]
    if area > max_pixels:
        shrink = math.sqrt(width * height / max_pixels)
        sides = [max(factor, math.floor(side / shrink / factor) * factor) for side in size]
    elif area < min_pixels:
        grow = math.sqrt(min_pixels / (width * height))
        sides = [math.ceil(side * grow / factor) * factor for side in size]
    return sides[0], sides[1]


def _on_image(box: Box, size: Size) -> Box:
    x0, y0, x1, y1 = box
    width, height = size
    cut = max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))
    # Written so that a side that is not a number fails too.
    if not (cut[0] < cut[2] and cut[1] < cut[3]):
        raise ValueError(
            f"no part of the box {box} lies on an image of {width} x {height}; its order is "
            "x0, y0, x1, y1 in pixels"
        )
    return cut


def _check_values(name: str, values: Sequence[float], count: int) -> None:
    if len(values) != count or not all(math.isfinite(value) for value in values):
        raise ValueError(f"{list(values)} is no box of {name}; it needs {count} finite numbers")


def _pattern(layout: str) -> str:
    """A regular expression for `layout` with any spacing."""
    pieces = re.findall(r"\{\}|\w+|[^\w\s]", layout)
    number = r"(-?\d+(?:\.\d+)?)"
    return r"\s*".join(number if piece == "{}" else re.escape(piece) for piece in pieces)
