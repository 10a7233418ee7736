"""Marks of a moving pen: triangle, scribble, arrow."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from regiontext.geometry import cubic
from regiontext.marks.layouts.place import Place, Rng, scaled
from regiontext.marks.parts import Part, Path, Points, Polygon
from regiontext.marks.sampling import farthest_points, random_points
from regiontext.marks.style import Style

__all__ = ["arrow", "scribble", "triangle"]

_ARROW_LENGTH: Final = 50.0
_ARROW_HEAD: Final = 6.0
# Sixty degrees clockwise as seen (y down).
_WING_TURN: Final = np.array([[0.5, -math.sqrt(0.75)], [math.sqrt(0.75), 0.5]])
_WIDEST_ANGLE: Final = math.radians(150)
_SAMPLES: Final = 1000


def triangle(place: Place, style: Style, rng: Rng) -> tuple[Part, ...]:
    """Three points of the region joined; the widest angle is at most 150 degrees.

    Far apart without `rng`, uniform over the region with it; the corners of the box where fifty
    tries find none.
    """
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


def scribble(place: Place, style: Style, rng: Rng) -> tuple[Part, ...]:
    """A cubic Bezier curve through the region, at int(1000 * s) samples.

    An S along its longer side without `rng`, four uniform control points of the region with it.
    """
    pixels = place.pixels
    control = place.shift(_zigzag(pixels) if rng is None else random_points(pixels, 4, rng))
    samples = max(2, int(_SAMPLES * place.s))
    return (Path(cubic(*control, count=samples - 1), scaled(style.width, place.size)),)


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


def arrow(place: Place, style: Style, rng: Rng) -> tuple[Part, ...]:
    """A shaft and a head whose tip is on the region.

    Without `rng` the tip is the region's anchor, the arrow is 50 * s px long and comes along the
    diagonal that leaves it farthest from the border. With it, ViP-LLaVA's ranges: the tip within a
    quarter of the sides around the middle of the box, any angle, a length between 0.8 times the
    shorter side and 50 * s, a head of 0.2 to 0.5 of that and at least 6 * s.
    """
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
