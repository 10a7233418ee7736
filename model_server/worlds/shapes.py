"""Outlines of the world's shapes, as polygons in a unit square, and their rasterisation.

Coordinates are x right, y down, each outline filling [-1, 1] x [-1, 1]. A shape is a list of rings: the first is the
outside, further ones are holes. Knows nothing of colours, materials or scenes.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

__all__ = ["OUTLINES", "outline", "rasterise"]

Ring = NDArray[np.float64]


def _polar(radii: NDArray[np.float64], start: float = -math.pi / 2) -> Ring:
    """Points at equal angles around the origin with the given radii, the first at the top."""
    angles = start + np.linspace(0, 2 * math.pi, len(radii), endpoint=False)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def _heart() -> Ring:
    t = np.linspace(0, 2 * math.pi, 60, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return np.stack([x, y], axis=1)


def _flower() -> Ring:
    t = np.linspace(0, 2 * math.pi, 120, endpoint=False)
    return _polar(0.74 + 0.26 * np.cos(6 * t))


def _crescent() -> Ring:
    # Two arcs through the horns at +-60 degrees: the moon's own and the bite's.
    outer = np.linspace(math.radians(60), math.radians(300), 40)
    horn = math.sin(math.radians(60))
    inner = np.linspace(math.radians(270), math.radians(90), 30)
    moon = np.stack([np.cos(outer), np.sin(outer)], axis=1)
    bite = np.stack([0.5 + 0.72 * np.cos(inner), horn * np.sin(inner)], axis=1)
    return np.concatenate([moon, bite])


def _fitted(rings: list[Ring]) -> tuple[Ring, ...]:
    """Stretch the rings so that the first one fills the unit square."""
    low, high = rings[0].min(axis=0), rings[0].max(axis=0)
    return tuple((ring - (low + high) / 2) / ((high - low) / 2) for ring in rings)


def _points(*pairs: tuple[float, float]) -> Ring:
    return np.array(pairs, dtype=np.float64)


def _build() -> dict[str, tuple[Ring, ...]]:
    circle = _polar(np.ones(64))
    star = _polar(np.where(np.arange(10) % 2 == 0, 1.0, 0.47))
    cross = _points(
        (-0.36, -1), (0.36, -1), (0.36, -0.36), (1, -0.36), (1, 0.36), (0.36, 0.36),
        (0.36, 1), (-0.36, 1), (-0.36, 0.36), (-1, 0.36), (-1, -0.36), (-0.36, -0.36),
    )  # fmt: skip
    arrow = _points(
        (-1, -0.42), (0.05, -0.42), (0.05, -1), (1, 0), (0.05, 1), (0.05, 0.42), (-1, 0.42)
    )  # fmt: skip
    bolt = _points(
        (-0.25, -1), (0.75, -1), (0.3, -0.28), (1, -0.28), (-0.55, 1), (-0.12, 0.12), (-1, 0.12)
    )  # fmt: skip
    return {
        "circle": (circle,),
        "square": (_points((-1, -1), (1, -1), (1, 1), (-1, 1)),),
        "triangle": (_points((0, -1), (1, 1), (-1, 1)),),
        "star": tuple(_fitted([star])),
        "heart": tuple(_fitted([_heart()])),
        "cross": (cross,),
        "diamond": (_points((0, -1), (1, 0), (0, 1), (-1, 0)),),
        "ring": (circle, circle * 0.5),
        "arrow": (arrow,),
        "flower": tuple(_fitted([_flower()])),
        "bolt": (bolt,),
        "cube": (_polar(np.ones(6)) / np.array([math.sqrt(3) / 2, 1.0]),),
        "crescent": tuple(_fitted([_crescent()])),
    }


OUTLINES: dict[str, tuple[Ring, ...]] = _build()


def outline(shape: str, width: float, height: float, angle: float) -> tuple[Ring, ...]:
    """Return the rings of a shape, float64[N, 2] in px around (0, 0).

    The shape is stretched to aspect width : height, turned clockwise by `angle` degrees and then
    scaled so that its tight bounding box has about the area width * height.
    Raises KeyError for an unknown shape.
    """
    turn = math.radians(angle)
    rotation = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    rings = [ring * (width / 2, height / 2) @ rotation for ring in OUTLINES[shape]]
    low, high = rings[0].min(axis=0), rings[0].max(axis=0)
    scale = math.sqrt(width * height / float(np.prod(high - low)))
    return tuple((ring - (low + high) / 2) * scale for ring in rings)


def rasterise(
    rings: tuple[Ring, ...], offset: tuple[float, float], size: tuple[int, int]
) -> NDArray[np.float32]:
    """Return the coverage float32[H, W] in 0..1 of rings moved by `offset`, on a canvas of `size` (W, H) px."""
    factor = 3
    canvas = Image.new("L", (size[0] * factor, size[1] * factor), 0)
    pen = ImageDraw.Draw(canvas)
    for index, ring in enumerate(rings):
        flat = ((ring + offset) * factor).ravel().tolist()
        pen.polygon(flat, fill=0 if index else 255)
    return np.asarray(canvas.reduce(factor), dtype=np.float32) / 255.0
