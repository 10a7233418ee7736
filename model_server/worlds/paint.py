"""Paint a scene: pixels of the picture and the visible mask of every object.

Pure: the same scene gives the same bytes. Each object is drawn inside its own box only. Knows nothing of text or
models.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from model_server.worlds.backgrounds import background
from model_server.worlds.materials import surface_tones
from model_server.worlds.scenes import Object, Scene
from model_server.worlds.shapes import outline, rasterise

__all__ = ["paint", "paint_labels"]

Canvas = NDArray[np.float32]


def paint(scene: Scene) -> tuple[Image.Image, list[NDArray[np.bool_]]]:
    """Return the picture (RGB, scene.size) and every object's visible part, bool[H, W] each, in the objects' order."""
    picture, labels = paint_labels(scene)
    return picture, [labels == index + 1 for index in range(len(scene.objects))]


def paint_labels(scene: Scene) -> tuple[Image.Image, NDArray[np.uint8]]:
    """Return the picture (RGB, scene.size) and uint8[H, W]: 0 behind, else 1 + index of the object seen there."""
    rng = np.random.default_rng(scene.seed)
    canvas = background(scene, rng)
    labels = np.zeros(canvas.shape[:2], dtype=np.uint8)
    for index, thing in enumerate(scene.objects):
        _paint_object(canvas, labels, thing, index + 1)
    noise = rng.normal(0, rng.uniform(1.0, 5.0), size=(64, 256)).astype(np.float32)
    height, width = labels.shape
    tiled = np.tile(noise, (-(-height // 64), -(-width // 256)))[:height, :width]
    for channel in range(3):  # see _scale
        canvas[..., channel] += tiled
    pixels = np.clip(canvas, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels), labels


def _paint_object(canvas: Canvas, labels: NDArray[np.uint8], thing: Object, label: int) -> None:
    """Blend one object and its shadow into the canvas, in place, and note its pixels."""
    rings = outline(thing.shape, thing.width, thing.height, thing.angle)
    low, high = rings[0].min(axis=0) + thing.centre, rings[0].max(axis=0) + thing.centre
    pad = 2 + int(0.06 * max(thing.width, thing.height))
    height, width = labels.shape
    x0, y0 = max(0, math.floor(low[0]) - pad), max(0, math.floor(low[1]) - pad)
    x1, y1 = min(width, math.ceil(high[0]) + pad), min(height, math.ceil(high[1]) + pad)
    if x1 <= x0 or y1 <= y0:
        return
    offset = (thing.centre[0] - x0, thing.centre[1] - y0)
    cover = rasterise(rings, offset, (x1 - x0, y1 - y0))
    shadow = Image.fromarray((cover * 255).astype(np.uint8)).filter(ImageFilter.BoxBlur(pad / 3))
    drop = max(1, pad // 2)
    behind = 1 - cover
    shade = np.asarray(shadow, dtype=np.float32)[:-drop, :-drop] * np.float32(-0.35 / 255)
    behind[drop:, drop:] *= 1 + shade
    u, v = _surface_coordinates(thing, x0, y0, x1, y1)
    weights, tones = surface_tones(
        thing.colour, thing.material, u, v, phase=thing.phase, tint=thing.tint
    )
    _scale(weights, cover * _cube_light(u, v) if thing.shape == "cube" else cover)
    patch = canvas[y0:y1, x0:x1]
    _scale(patch, behind)
    patch += weights @ tones
    labels[y0:y1, x0:x1][cover >= 0.5] = label


def _scale(values: Canvas, factor: NDArray[np.float32]) -> None:
    """Multiply every channel of [H, W, C] by [H, W], in place: faster than to broadcast over so short an axis."""
    for channel in range(values.shape[2]):
        values[..., channel] *= factor


def _surface_coordinates(
    thing: Object, x0: int, y0: int, x1: int, y1: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pixel centres of a box in the object's own frame, about -1..1 over its longer side."""
    x = (np.arange(x0, x1, dtype=np.float32) + 0.5 - thing.centre[0])[None, :]
    y = (np.arange(y0, y1, dtype=np.float32) + 0.5 - thing.centre[1])[:, None]
    turn = math.radians(thing.angle)
    half = max(thing.width, thing.height) / 2
    u = (x * math.cos(turn) + y * math.sin(turn)) / half
    v = (y * math.cos(turn) - x * math.sin(turn)) / half
    return u.astype(np.float32), v.astype(np.float32)


def _cube_light(u: NDArray[np.float32], v: NDArray[np.float32]) -> NDArray[np.float32]:
    """Brightness of a cube's three visible faces: top, left, right."""
    top = v < -0.5 * np.abs(u)
    left = ~top & (u < 0)
    return np.where(top, 1.12, np.where(left, 0.85, 0.6)).astype(np.float32)
