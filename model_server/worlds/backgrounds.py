"""What lies behind the objects of a scene: a gradient, things without a name, a texture.

Painted at half the picture's resolution and scaled up. The clutter is no shape of the vocabulary and its colours are
those of the background, a little off. Knows nothing of objects.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from model_server.worlds.scenes import Scene

__all__ = ["background"]

_Field = NDArray[np.float32]


def background(scene: Scene, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return float32[H, W, 3] in about 0..255: the scene without its objects."""
    width, height = scene.size
    half = (-(-width // 2), -(-height // 2))
    corners = np.array(scene.background, dtype=np.uint8).reshape(2, 2, 3)
    picture = Image.fromarray(corners).resize(half, Image.Resampling.BILINEAR)
    _clutter(picture, scene, rng)
    strength = float(rng.uniform(4, 12))
    texture = _TEXTURES[scene.texture](half, rng)
    pixels = np.array(picture, dtype=np.float32)
    if texture is not None:
        texture = texture * np.float32(strength)
        for channel in range(3):  # faster than to broadcast over so short an axis
            pixels[..., channel] += texture if texture.ndim == 2 else texture[..., channel]
    small = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    full = small.resize((width, height), Image.Resampling.BILINEAR)
    return np.array(full, dtype=np.float32)


def _clutter(picture: Image.Image, scene: Scene, rng: np.random.Generator) -> None:
    """Draw lumps and streaks into the picture, in place."""
    width, height = picture.size
    pen = ImageDraw.Draw(picture)
    for _ in range(scene.clutter):
        near = np.array(scene.background[int(rng.integers(len(scene.background)))])
        colour = tuple(int(c) for c in np.clip(near + rng.normal(0, 26, size=3), 0, 255))
        at = rng.random(2) * (width, height)
        reach = float(rng.uniform(0.03, 0.22)) * min(width, height)
        if rng.random() < 0.5:
            count = int(rng.integers(5, 12))
            angles = np.sort(rng.random(count)) * 2 * math.pi
            radii = reach * rng.uniform(0.35, 1.0, size=(count, 1))
            lump = at + radii * np.stack([np.cos(angles), np.sin(angles)], axis=1)
            pen.polygon(lump.ravel().tolist(), fill=colour)
        else:
            turns = at + np.cumsum(rng.normal(0, reach, size=(4, 2)), axis=0)
            pen.line(turns.ravel().tolist(), fill=colour, width=int(rng.integers(1, 5)))


def _axes(size: tuple[int, int]) -> tuple[_Field, _Field]:
    """x of the columns, float32[1, W], and y of the rows, float32[H, 1], as shares of the longer side."""
    width, height = size
    longest = np.float32(max(size))
    x = np.arange(width, dtype=np.float32)[None, :] / longest
    y = np.arange(height, dtype=np.float32)[:, None] / longest
    return x, y


def _plain(size: tuple[int, int], rng: np.random.Generator) -> _Field | None:
    return None


def _lines(size: tuple[int, int], rng: np.random.Generator) -> _Field:
    x, y = _axes(size)
    angle, pitch = rng.uniform(0, math.pi), rng.uniform(12, 40)
    return np.sin(np.float32(2 * np.pi * pitch) * (x * math.cos(angle) + y * math.sin(angle)))


def _tiles(size: tuple[int, int], rng: np.random.Generator) -> _Field:
    x, y = _axes(size)
    pitch = np.float32(rng.uniform(5, 14))
    seams = ((x * pitch) % 1 < 0.05) | ((y * pitch) % 1 < 0.05)
    return np.where(seams, np.float32(-2), np.float32(0))


def _weave(size: tuple[int, int], rng: np.random.Generator) -> _Field:
    x, y = _axes(size)
    pitch = np.float32(2 * np.pi * rng.uniform(10, 30))
    return np.sin(x * pitch) * np.sin(y * pitch)


def _noise(size: tuple[int, int], rng: np.random.Generator, cells: int, channels: int) -> _Field:
    """Smooth noise with mean 0 and deviation about 1: float32[H, W] or float32[H, W, 3]."""
    shape = (cells, cells) if channels == 1 else (cells, cells, 3)
    coarse = (128 + 42 * rng.standard_normal(shape, dtype=np.float32)).clip(0, 255)
    fine = Image.fromarray(coarse.astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
    return (np.asarray(fine, dtype=np.float32) - 128) / 42


def _clouds(size: tuple[int, int], rng: np.random.Generator) -> _Field:
    return _noise(size, rng, 7, 1)


def _grain(size: tuple[int, int], rng: np.random.Generator) -> _Field:
    return _noise(size, rng, 90, 1)


def _photo(size: tuple[int, int], rng: np.random.Generator) -> _Field:
    """Coloured noise of three octaves, coarser ones stronger, as photographs have it (power falls with frequency)."""
    return (
        1.6 * _noise(size, rng, 4, 3)
        + _noise(size, rng, 16, 1)[..., None]
        + (0.6 * _noise(size, rng, 64, 1)[..., None])
    )


_TEXTURES = {
    "plain": _plain,
    "grain": _grain,
    "lines": _lines,
    "clouds": _clouds,
    "tiles": _tiles,
    "photo": _photo,
    "weave": _weave,
}
