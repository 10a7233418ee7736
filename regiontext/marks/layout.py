"""From a region and a style to concrete vertices and widths in pixels.

Without a generator every choice is fixed, so that the same region always carries the same mark;
with one, vertices are drawn as ViP-LLaVA's prompt generator draws them in training (arXiv
2312.00784). Every pixel size is a factor times s = max(W, H) / 336, truncated, at least 1. Knows
nothing of pixels' colours; it draws nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from regiontext.marks.parts import (
    Bounds,
    Oval,
    Part,
    Path,
    Points,
    Polygon,
    Raster,
    Rectangle,
    Rings,
)
from regiontext.marks.sampling import deepest_point, farthest_points, random_points, shrink
from regiontext.marks.style import Style
from regiontext.region import Region

__all__ = ["Layout", "Mark", "bezier", "lay_out", "scale_of", "scaled"]

_ANCHOR: Final = 336
_ARROW_LENGTH: Final = 50.0
_ARROW_HEAD: Final = 6.0
# Sixty degrees clockwise as seen (y down).
_WING_TURN: Final = np.array([[0.5, -math.sqrt(0.75)], [math.sqrt(0.75), 0.5]])
_WIDEST_ANGLE: Final = math.radians(150)
_SAMPLES: Final = 1000


@dataclass(frozen=True, eq=False)
class Layout:
    """The concrete geometry of one mark, in the pixels of the image that will be drawn on.

    parts: drawn in the style's colour. inset: drawn over the parts in black or white, whichever
    stands out from that colour; the digits on a number's plate.
    """

    parts: tuple[Part, ...]
    inset: tuple[Part, ...] = ()

    @property
    def bounds(self) -> Bounds:
        """x0, y0, x1, y1 that hold every pixel touched (inclusive); may leave the image."""
        boxes = [part.bounds for part in (*self.parts, *self.inset)]
        return (
            min(b[0] for b in boxes),
            min(b[1] for b in boxes),
            max(b[2] for b in boxes),
            max(b[3] for b in boxes),
        )


@dataclass(frozen=True, eq=False)
class Mark:
    """A visual prompt: how it looks and where it lies."""

    style: Style
    layout: Layout


def scale_of(size: tuple[int, int]) -> float:
    """The factor s of every pixel size on an image of `size` (W, H)."""
    return max(size) / _ANCHOR


def scaled(factor: float, size: tuple[int, int]) -> int:
    """`factor` in whole pixels of an image of `size` (W, H): truncated, at least 1."""
    return max(1, int(factor * scale_of(size)))


def bezier(control: Points, samples: int) -> Points:
    """The cubic Bezier curve through float64[4, 2] control points at `samples` equally spaced t in
    0..1.
    """
    t = np.linspace(0.0, 1.0, samples)[:, None]
    u = 1.0 - t
    a, b, c, d = control
    # Products, not powers: a power's last bit differs between machines, and so would the pixels.
    curve: Points = u * u * u * a + 3 * (u * u) * t * b + 3 * u * (t * t) * c + t * t * t * d
    return curve


def lay_out(region: Region, style: Style, *, rng: np.random.Generator | None = None) -> Layout:
    """Where the mark of `style` on `region` runs, in pixels of an image of `region.size`.

    Deterministic without `rng`. Point, triangle, scribble, arrow and dots aim at the region's own
    pixels, so they need no polygons and never miss a ring or a crescent; mask, contour and patch
    keep its holes.
    """
    return Layout(_LAYOUTS[style.kind](_Place(region), style, rng))


class _Place:
    """A region as the layouts need it: its box, and its pixels only when asked for."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self.size = region.size
        self.box = region.box
        self.s = scale_of(region.size)

    @property
    def origin(self) -> tuple[int, int]:
        return max(0, math.floor(self.box[0])), max(0, math.floor(self.box[1]))

    @property
    def pixels(self) -> NDArray[np.bool_]:
        """The region's mask within its box, bool[h, w]."""
        x, y = self.origin
        window: NDArray[np.bool_] = self.region.mask[
            y : math.ceil(self.box[3]), x : math.ceil(self.box[2])
        ]
        return window

    @property
    def extent(self) -> tuple[float, float]:
        x0, y0, x1, y1 = self.box
        return x1 - x0, y1 - y0

    def anchor(self) -> tuple[float, float]:
        """The centre of the box if it belongs to the region, else the point deepest inside."""
        x0, y0, x1, y1 = self.box
        centre = ((x0 + x1) / 2, (y0 + y1) / 2)
        if self.region.shape in ("rectangle", "ellipse"):
            return centre
        (left, top), pixels = self.origin, self.pixels
        column, row = int(centre[0]) - left, int(centre[1]) - top
        inside = 0 <= row < pixels.shape[0] and 0 <= column < pixels.shape[1]
        if inside and pixels[row, column]:
            return centre
        x, y = deepest_point(pixels)
        return left + x, top + y

    def shift(self, points: Points) -> Points:
        return points + np.asarray(self.origin, dtype=np.float64)

    def holds(self, x: float, y: float) -> bool:
        (left, top), pixels = self.origin, self.pixels
        row, column = math.floor(y) - top, math.floor(x) - left
        inside = 0 <= row < pixels.shape[0] and 0 <= column < pixels.shape[1]
        return inside and bool(pixels[row, column])


_Rng = np.random.Generator | None


def _rectangle(place: _Place, style: Style, rng: _Rng) -> tuple[Part, ...]:
    x0, y0, x1, y1 = place.box
    box = (x0, y0, max(x0, x1 - 1), max(y0, y1 - 1))
    return (Rectangle(box, scaled(style.width, place.size)),)


def _ellipse(place: _Place, style: Style, rng: _Rng) -> tuple[Part, ...]:
    x0, y0, x1, y1 = place.box
    cx, cy = (x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2
    # A region one pixel wide still needs an outline around it.
    rx = max((x1 - x0 - 1) * style.grow, 2.0) / 2
    ry = max((y1 - y0 - 1) * style.grow, 2.0) / 2
    return (Oval((cx - rx, cy - ry, cx + rx, cy + ry), scaled(style.width, place.size)),)


def _point(place: _Place, style: Style, rng: _Rng) -> tuple[Part, ...]:
    x, y = place.anchor() if rng is None else _point_near_centre(place, rng)
    radius = scaled(style.width, place.size)
    rx, ry = radius * style.aspect, radius / style.aspect
    return (Oval((x - rx, y - ry, x + rx, y + ry)),)


def _point_near_centre(place: _Place, rng: np.random.Generator) -> tuple[float, float]:
    x0, y0, x1, y1 = place.box
    spread = np.sqrt(np.array(place.extent) / 8)
    for x, y in rng.normal(((x0 + x1) / 2, (y0 + y1) / 2), spread, size=(10, 2)):
        if place.holds(x, y):
            return float(x), float(y)
    return place.anchor()


def _triangle(place: _Place, style: Style, rng: _Rng) -> tuple[Part, ...]:
    corners = None
    if rng is None:
        spread = place.shift(farthest_points(place.pixels, 4))[1:]
        corners = spread if len(spread) == 3 and _widest_angle(spread) <= _WIDEST_ANGLE else None
    else:
        tries = place.shift(random_points(place.pixels, 3 * 50, rng)).reshape(50, 3, 2)
        corners = next((t for t in tries if _widest_angle(t) <= _WIDEST_ANGLE), None)
    if corners is None:
        x0, y0, x1, y1 = place.box
        # A right angle stays drawable however thin the box is.
        corners = np.array([(x0, y0), (x0, y1 - 1), (x1 - 1, y1 - 1)], dtype=np.float64)
    closed = np.concatenate([corners, corners[:1]])
    return (Path(closed, scaled(style.width, place.size), curved=True),)


def _widest_angle(corners: Points) -> float:
    widest = 0.0
    for i in range(3):
        a, b = corners[i - 2] - corners[i], corners[i - 1] - corners[i]
        lengths = math.hypot(*a) * math.hypot(*b)
        if lengths == 0.0:
            return math.pi
        widest = max(widest, math.acos(max(-1.0, min(1.0, float(a @ b) / lengths))))
    return widest


def _scribble(place: _Place, style: Style, rng: _Rng) -> tuple[Part, ...]:
    pixels = place.pixels
    control = place.shift(_zigzag(pixels) if rng is None else random_points(pixels, 4, rng))
    samples = max(2, int(_SAMPLES * place.s))
    return (Path(bezier(control, samples), scaled(style.width, place.size)),)


def _zigzag(pixels: NDArray[np.bool_]) -> Points:
    """Four foreground points along the longer side, alternately on either flank: an S through the
    region.
    """
    along_x = pixels.shape[1] >= pixels.shape[0]
    grid = pixels if along_x else pixels.T
    columns = np.flatnonzero(grid.any(axis=0))
    points = []
    for share, flank in ((0.1, 0.25), (0.4, 0.95), (0.6, 0.05), (0.9, 0.75)):
        column = columns[min(len(columns) - 1, int(share * len(columns)))]
        rows = np.flatnonzero(grid[:, column])
        row = rows[min(len(rows) - 1, int(flank * len(rows)))]
        points.append((column, row) if along_x else (row, column))
    return np.array(points, dtype=np.float64) + 0.5


def _mask(place: _Place, style: Style, rng: _Rng) -> tuple[Part, ...]:
    return (Raster(place.pixels, place.origin),)


def _contour(place: _Place, style: Style, rng: _Rng) -> tuple[Part, ...]:
    half = scaled(style.width, place.size)
    rings = place.region.polygons
    # A vertex far outside costs Pillow a walk to it, pixel by pixel; the raster has no such
    # trouble.
    reach = 2 * max(place.size)
    if rings and place.region.raster is None and all(np.abs(r).max() <= reach for r in rings):
        return (Rings(rings, half),)
    pixels = place.pixels
    edge = pixels & ~shrink(pixels)
    x, y = place.origin
    return (Raster(_thicken(np.pad(edge, half), half), (x - half, y - half)),)


def _thicken(mask: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """`mask` dilated by a square of side 2 * reach + 1."""
    for axis in (0, 1):
        grown = mask.copy()
        for shift in range(1, reach + 1):
            ahead = [slice(None), slice(None)]
            behind = [slice(None), slice(None)]
            ahead[axis], behind[axis] = slice(shift, None), slice(None, -shift)
            grown[tuple(ahead)] |= mask[tuple(behind)]
            grown[tuple(behind)] |= mask[tuple(ahead)]
        mask = grown
    return mask


def _arrow(place: _Place, style: Style, rng: _Rng) -> tuple[Part, ...]:
    s, (width, height) = place.s, place.extent
    longest = max(int(_ARROW_LENGTH * s), 1)
    if rng is None:
        tip = np.array(place.anchor())
        length = float(longest)
        direction = _roomiest_diagonal(tip, length, place.size)
        head = max(0.25 * length, int(_ARROW_HEAD * s))
    else:
        x0, y0, x1, y1 = place.box
        jitter = rng.uniform(-0.25, 0.25, size=2) * (width, height)
        tip = np.array([(x0 + x1) / 2, (y0 + y1) / 2]) + jitter
        shortest = 0.8 * min(width, height)
        length = float(shortest + rng.random() * (longest - shortest))
        theta = float(rng.uniform(0, 2 * math.pi))
        direction = np.array([math.cos(theta), math.sin(theta)])
        head = max(float(rng.uniform(0.2, 0.5)) * length, int(_ARROW_HEAD * s))
    tail = tip + (length - head) * direction
    shaft = [tip, tail]
    if style.bend and rng is not None:
        shaft.insert(1, (tip + tail) / 2 + rng.uniform(-5, 5, size=2) * int(s))
    wings = [tip + head * (turn @ direction) for turn in (_WING_TURN.T, _WING_TURN)]
    corners = np.array([wings[0], tip, wings[1]])
    stroke = scaled(style.width, place.size)
    point: Part = Polygon(corners) if style.solid_head else Path(corners, stroke)
    return Path(np.array(shaft), stroke), point


def _roomiest_diagonal(tip: Points, length: float, size: tuple[int, int]) -> Points:
    """The diagonal unit vector along which the arrow's tail stays farthest from the border."""

    def room(direction: Points) -> float:
        x, y = tip + length * direction
        return round(float(min(x, y, size[0] - x, size[1] - y)), 3)

    side = math.sqrt(0.5)
    diagonals = [np.array([x, y]) for x, y in ((-side, -side), (side, -side), (side, side))]
    return max([*diagonals, np.array([-side, side])], key=room)


def _dots(place: _Place, style: Style, rng: _Rng) -> tuple[Part, ...]:
    """Geometry-agnostic points: equal discs spread over the foreground, whatever the region's shape
    was.
    """
    radius = scaled(style.width, place.size)
    pixels = place.pixels
    # Dots keep clear of the border while there is anything left to put them on.
    for _ in range(radius):
        inner = shrink(pixels)
        if not inner.any():
            break
        pixels = inner
    centres = place.shift(farthest_points(pixels, style.dots, rng=rng))
    return tuple(Oval((x - radius, y - radius, x + radius, y + radius)) for x, y in centres)


_LAYOUTS: Final[dict[str, Callable[[_Place, Style, _Rng], tuple[Part, ...]]]] = {
    "rectangle": _rectangle,
    "ellipse": _ellipse,
    "point": _point,
    "triangle": _triangle,
    "scribble": _scribble,
    "mask": _mask,
    "contour": _contour,
    "arrow": _arrow,
    "patch": _mask,
    "dots": _dots,
}
