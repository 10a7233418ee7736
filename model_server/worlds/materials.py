"""What the world's colours and materials look like: a base colour and a pattern make the pixels of a surface.

Surface coordinates u (right) and v (down) are fixed to the object, about -1..1 over its longer side, so that a pattern
has as many periods on a small object as on a large one and survives a small crop. Knows nothing of shapes or scenes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["PALETTE", "surface_tones"]

Field = NDArray[np.float32]

PALETTE: Mapping[str, tuple[int, int, int]] = {
    "red": (208, 34, 40),
    "orange": (243, 128, 22),
    "yellow": (244, 214, 40),
    "green": (52, 158, 54),
    "blue": (38, 82, 208),
    "purple": (126, 52, 172),
    "pink": (246, 140, 184),
    "brown": (118, 72, 36),
    "black": (38, 38, 42),
    "white": (240, 240, 238),
    "teal": (12, 148, 146),
}


def _second_tone(base: NDArray[np.float32]) -> NDArray[np.float32]:
    """A clearly lighter or darker tone of the same hue."""
    luminance = float(base @ np.array([0.3, 0.59, 0.11], dtype=np.float32))
    return base * 0.5 if luminance > 120 else base + (255 - base) * 0.5


def _smooth_step(value: Field, edge: float, softness: float) -> Field:
    return np.clip((value - edge) / softness + 0.5, 0, 1)


def _striped(u: Field, v: Field, phase: Field) -> Field:
    angle = phase[0] * np.pi
    along = u * np.cos(angle) + v * np.sin(angle)
    return _smooth_step(np.sin(2 * np.pi * (2.4 * along + phase[1])), 0, 0.5)


def _dotted(u: Field, v: Field, phase: Field) -> Field:
    cell = 0.42
    x = (u / cell + phase[0]) % 1 - 0.5
    y = (v / cell + phase[1]) % 1 - 0.5
    return _smooth_step(-np.hypot(x, y), -0.3, 0.12)


def _checkered(u: Field, v: Field, phase: Field) -> Field:
    cell = 0.36
    parity = (np.floor(u / cell + phase[0]) + np.floor(v / cell + phase[1])) % 2
    return parity.astype(np.float32)


def _wooden(u: Field, v: Field, phase: Field) -> Field:
    # Growth rings around an off-centre knot, stretched along the board.
    x = (u - (phase[0] - 0.5)) * 0.32
    y = v - (phase[1] - 0.5) * 1.2
    rings = np.hypot(x, y) * 5.5 + 0.12 * np.sin(7 * u + 6 * phase[2])
    return ((rings % 1) ** 2).astype(np.float32)


def _brick(u: Field, v: Field, phase: Field) -> Field:
    height, width, joint = 0.34, 0.72, 0.065
    row = v / height + phase[0]
    column = u / width + phase[1] + 0.5 * (np.floor(row) % 2)
    bed = np.minimum(row % 1, 1 - row % 1) * height
    head = np.minimum(column % 1, 1 - column % 1) * width
    return (np.minimum(bed, head) < joint / 1.6).astype(np.float32)


def _woven(u: Field, v: Field, phase: Field) -> Field:
    cell = 0.34
    x, y = u / cell + phase[0], v / cell + phase[1]
    across = np.where((np.floor(x) + np.floor(y)) % 2 == 0, x % 1, y % 1)
    # Three strands to a cell, shaded as if round.
    return np.abs(np.sin(np.pi * 2 * across)).astype(np.float32) ** 2


def _marble(u: Field, v: Field, phase: Field) -> Field:
    p, q, r = 6 * phase
    warp_x = u + 0.45 * np.sin(2.3 * v + p) + 0.2 * np.sin(5.1 * u - 3 * v + q)
    warp_y = v + 0.45 * np.sin(2.1 * u + r) + 0.2 * np.sin(4.7 * v + 2.5 * u + p)
    veins = np.abs(np.sin(4.6 * warp_x + 2.8 * warp_y + 1.4 * np.sin(2.6 * warp_y + q)))
    return (1 - np.clip(veins / 0.35, 0, 1)).astype(np.float32)


_PATTERNS: Mapping[str, Callable[[Field, Field, Field], Field]] = {
    "striped": _striped,
    "dotted": _dotted,
    "checkered": _checkered,
    "wooden": _wooden,
    "brick": _brick,
    "woven": _woven,
    "marble": _marble,
}


def surface_tones(
    colour: str,
    material: str,
    u: Field,
    v: Field,
    *,
    phase: tuple[float, float, float] = (0.3, 0.3, 0.3),
    tint: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> tuple[Field, NDArray[np.float32]]:
    """Return a lit surface as a mix of two tones: weights float32[H, W, 2] and tones float32[2, 3] in 0..255.

    The surface is `weights @ tones`, a little outside 0..255 in places. `u`, `v`: surface coordinates, float32[H, W];
    `phase` (three numbers in 0..1) moves the pattern; `tint` is added to the base colour.
    Raises KeyError for an unknown colour or material.
    """
    base = np.clip(np.array(PALETTE[colour], dtype=np.float32) + np.float32(tint), 0, 255)
    weights = np.empty((*u.shape, 2), dtype=np.float32)
    light = np.float32(1) - np.float32(0.12) * (u + v)
    if material == "plastic":
        # A glint is a share of white laid over the lit base.
        glint = np.float32(0.75) * np.exp(
            ((u + np.float32(0.3)) ** 2 + (v + np.float32(0.34)) ** 2) * np.float32(-20)
        )
        weights[..., 0] = light + np.float32(0.06) - glint
        weights[..., 1] = glint
        return weights, np.stack([base, np.full(3, 255, dtype=np.float32)])
    other = _second_tone(base)
    if material == "brick":
        other = base * 0.25 + 255 * 0.6  # mortar
    elif material == "marble":
        other = base * 0.3 + 255 * 0.68 if float(base.mean()) < 200 else base * 0.55
    np.multiply(light, _PATTERNS[material](u, v, np.float32(phase)), out=weights[..., 1])
    np.subtract(light, weights[..., 1], out=weights[..., 0])
    return weights, np.stack([base, other]).astype(np.float32)
