"""Scenes of the generated world: which objects there are, what they are called and where they lie.

A scene is a value: the same generator state gives the same scene, and painting it gives the same pixels. Sizes are
words for the area that an object's bounding box covers of the image, with wide gaps between them: a mask covers at
least 0.4 of its box, so the word can be told from the covered share of a mask as well as of a box. Knows nothing of
pixels or text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from model_server.worlds import vocabulary

__all__ = ["COMBINATIONS", "SIZE_SHARES", "TEXTURES", "VERSION", "Object", "Scene", "sample_scene"]

# Raised whenever the same seed would no longer give the same scene.
VERSION = 2

# Share of the image's area that the bounding box covers.
SIZE_SHARES: Mapping[str, tuple[float, float]] = {
    "small": (0.0095, 0.0125),
    "medium": (0.050, 0.068),
    "large": (0.22, 0.27),
}

# What may lie behind the objects; model_server.worlds.backgrounds paints them.
TEXTURES: tuple[str, ...] = ("plain", "grain", "lines", "clouds", "tiles", "photo", "weave")

# Which combinations of shape, colour and material occur: those that training sees, those withheld
# from it (wherever the fixed words allow), or all.
COMBINATIONS: tuple[str, ...] = ("trained", "withheld", "all")

# How often an object takes one word from another one of its scene, so that a word alone does not
# tell which object is meant.
_ECHO = 0.3

_SIDES = (224, 512)
_ASPECT = {"arrow": 1.25, "bolt": 0.8, "diamond": 0.85}


@dataclass(frozen=True)
class Object:
    """One object: its words, its bounding box before rotation and its looks.

    centre: (x, y) px, x right, y down; width, height: px of the outline's box; angle: degrees clockwise;
    tint: added to the colour, RGB in -255..255; phase: three numbers in 0..1 that move the pattern.
    """

    shape: str
    colour: str
    material: str
    size: str
    centre: tuple[float, float]
    width: float
    height: float
    angle: float
    tint: tuple[float, float, float]
    phase: tuple[float, float, float]

    @property
    def words(self) -> dict[str, str]:
        """The object's attributes by name."""
        return {name: getattr(self, name) for name in vocabulary.ATTRIBUTES}

    @property
    def caption(self) -> str:
        """The full caption, "a large red wooden star"."""
        return vocabulary.caption(self.words)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """About the bounding box, (x0, y0, x1, y1) px."""
        (x, y), w, h = self.centre, self.width / 2, self.height / 2
        return (x - w, y - h, x + w, y + h)


@dataclass(frozen=True)
class Scene:
    """A picture to be painted: size (W, H) px, what is behind, and the objects from back to front.

    background: the corners' colours (RGB), by rows; texture: one of `TEXTURES`; clutter: how many things without a
    name lie behind the objects; seed: of all that is random in painting.
    """

    size: tuple[int, int]
    background: tuple[tuple[int, int, int], ...]
    texture: str
    seed: int
    objects: tuple[Object, ...]
    clutter: int = 0


# Objects of a scene whose number was not asked for, and how often more are tried where there was no room.
_LEAST, _MORE_TRIES = 3, 20


def sample_scene(
    rng: np.random.Generator,
    *,
    size: tuple[int, int] | None = None,
    objects: int | None = None,
    held_back: bool = False,
    must_have: Mapping[str, str] | None = None,
    combinations: str = "trained",
) -> Scene:
    """Return a random scene.

    `size` (W, H) px, by default two sides in 224..512; `objects` is how many to try to place, by default 3-7;
    `held_back` lets the held-back words occur; `must_have` fixes attributes of one object, held-back words included,
    as in {"material": "marble"}; `combinations` is one of `COMBINATIONS`.
    Raises ValueError for an attribute or word that the world does not know, or an unknown `combinations`.
    """
    if combinations not in COMBINATIONS:
        raise ValueError(f"combinations is {combinations!r}; choose from {', '.join(COMBINATIONS)}")
    wanted = dict(must_have or {})
    for name, word in wanted.items():
        if name not in vocabulary.ATTRIBUTES:
            raise ValueError(
                f"must_have names {name!r}; the attributes are {', '.join(vocabulary.ATTRIBUTES)}"
            )
        if word not in vocabulary.values(name, held_back=True):
            raise ValueError(
                f"must_have asks for {name} {word!r}; known are "
                f"{', '.join(vocabulary.values(name, held_back=True))}"
            )
    extent = size or _sample_extent(rng)
    count = objects if objects is not None else int(rng.integers(3, 8))
    least = 0 if objects is not None else _LEAST
    placed: list[Object] = []
    for index in range(count + _MORE_TRIES):
        if index >= count and len(placed) >= least:
            break
        fixed = wanted if index == 0 else {}
        words = _sample_words(rng, fixed, placed, held_back, combinations)
        large = sum(other.size == "large" for other in placed)
        if "size" not in fixed and words["size"] == "large" and large >= (1 if count > 3 else 2):
            words["size"] = str(rng.choice(["small", "medium"]))
        if index >= count:
            words["size"] = "small"  # there was no room for larger ones
        found = _place(rng, words, extent, placed)
        if found is not None:
            placed.append(found)
    background = tuple(
        tuple(int(c) for c in rng.integers(60, 235, size=3) * 0.55 + 90 * rng.random() * 0.9)
        for _ in range(4)
    )
    texture = TEXTURES[int(rng.integers(len(TEXTURES)))]
    clutter = int(rng.integers(0, 7))
    return Scene(extent, background, texture, int(rng.integers(2**31)), tuple(placed), clutter)


def _sample_words(
    rng: np.random.Generator,
    fixed: Mapping[str, str],
    placed: list[Object],
    held_back: bool,
    combinations: str,
) -> dict[str, str]:
    """The words of one object, now and then one of them taken from an object that is there already."""
    for _ in range(400):
        words = {}
        for name in vocabulary.ATTRIBUTES:
            known = vocabulary.values(name, held_back=held_back)
            words[name] = fixed.get(name) or known[int(rng.integers(len(known)))]
        if placed and rng.random() < _ECHO:
            name = ("colour", "material", "shape")[int(rng.integers(3))]
            if name not in fixed:
                words[name] = getattr(placed[int(rng.integers(len(placed)))], name)
        if combinations == "all" or vocabulary.withheld(words) == (combinations == "withheld"):
            break
    return words


def _sample_extent(rng: np.random.Generator) -> tuple[int, int]:
    """A picture size with sides in `_SIDES`, smaller pictures more often, aspect within 1:2 and 2:1."""
    low, high = _SIDES
    long = math.exp(rng.uniform(math.log(low * 1.1), math.log(high)))
    short = max(low, long * rng.uniform(0.5, 1.0))
    pair = (round(long), round(short))
    return pair if rng.random() < 0.7 else (pair[1], pair[0])


def _place(
    rng: np.random.Generator,
    words: Mapping[str, str],
    extent: tuple[int, int],
    placed: list[Object],
) -> Object | None:
    """Find room for one object, or give up; now and then put a small one on a larger one, or hide part of another."""
    low, high = SIZE_SHARES[words["size"]]
    neighbour = placed[int(rng.integers(len(placed)))] if placed and rng.random() < 0.4 else None
    for _ in range(30):
        area = rng.uniform(low, high) * extent[0] * extent[1]
        aspect = _ASPECT.get(words["shape"], 1.0) * math.exp(rng.normal(0, 0.09))
        width, height = math.sqrt(area * aspect), math.sqrt(area / aspect)
        if width > extent[0] * 0.94 or height > extent[1] * 0.94:
            aspect = 0.94 * extent[1] / height * aspect
            width, height = math.sqrt(area * aspect), math.sqrt(area / aspect)
        hosts = [other for other in placed if other.size == "large"]
        inside = words["size"] == "small" and bool(hosts) and rng.random() < 0.3
        if inside:
            host = hosts[int(rng.integers(len(hosts)))]
            spread = 0.16
            x = host.centre[0] + rng.uniform(-spread, spread) * host.width
            y = host.centre[1] + rng.uniform(-spread, spread) * host.height
        elif neighbour is not None:
            turn, near = rng.uniform(0, 2 * math.pi), rng.uniform(0.3, 0.5)
            x = neighbour.centre[0] + math.cos(turn) * near * (neighbour.width + width)
            y = neighbour.centre[1] + math.sin(turn) * near * (neighbour.height + height)
            x = min(max(x, width / 2), extent[0] - width / 2)
            y = min(max(y, height / 2), extent[1] - height / 2)
        else:
            x = rng.uniform(width / 2 + 2, max(width / 2 + 3, extent[0] - width / 2 - 2))
            y = rng.uniform(height / 2 + 2, max(height / 2 + 3, extent[1] - height / 2 - 2))
        candidate = Object(
            shape=words["shape"],
            colour=words["colour"],
            material=words["material"],
            size=words["size"],
            centre=(float(x), float(y)),
            width=float(width),
            height=float(height),
            angle=float(rng.uniform(-14, 14)),
            tint=tuple(float(t) for t in rng.normal(0, 7, size=3)),  # type: ignore[arg-type]
            phase=tuple(float(p) for p in rng.random(3)),  # type: ignore[arg-type]
        )
        others = [o for o in placed if not (inside and o is host)]
        limit = 0.02 if neighbour is None else 0.35
        if all(_shared(candidate, other) <= limit for other in others):
            return candidate
    return None


def _shared(a: Object, b: Object) -> float:
    """The overlap of two boxes as a share of the smaller box."""
    ax0, ay0, ax1, ay1 = a.box
    bx0, by0, bx1, by1 = b.box
    overlap = max(0.0, min(ax1, bx1) - max(ax0, bx0)) * max(0.0, min(ay1, by1) - max(ay0, by0))
    return overlap / min(a.width * a.height, b.width * b.height)
