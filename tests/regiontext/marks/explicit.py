"""Explicit layouts, anywhere in and around a small image, that the tests of drawing share."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from regiontext.marks.layout import Layout, Mark
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
from regiontext.marks.style import Style

SIZE = (60, 40)

channel = st.integers(0, 255)


def mark(
    *parts: Part,
    rgb: tuple[int, int, int] = (255, 0, 0),
    alpha: int = 128,
    inset: tuple[Part, ...] = (),
) -> Mark:
    return Mark(Style("rectangle", None, rgb, alpha, 1.0), Layout(parts, inset))


@st.composite
def points(draw: st.DrawFn, least: int = 2) -> Points:
    along = draw(st.sampled_from((st.integers(-90, 150), st.floats(-90, 150))))
    corners = draw(st.lists(st.tuples(along, along), min_size=least, max_size=7))
    return np.array(corners, dtype=np.float64)


@st.composite
def boxes(draw: st.DrawFn) -> Bounds:
    (x0, y0), (x1, y1) = draw(points())[:2].tolist()
    if draw(st.booleans()):  # thinner than most strokes
        x1, y1 = x0 + draw(st.integers(0, 9)), y0 + draw(st.integers(0, 9))
    return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)


@st.composite
def rasters(draw: st.DrawFn) -> Raster:
    shape = (draw(st.integers(0, 50)), draw(st.integers(0, 70)))
    mask = np.random.default_rng(draw(st.integers(0, 9))).random(shape) < 0.5
    return Raster(mask, (draw(st.integers(-60, 60)), draw(st.integers(-45, 45))))


widths = st.integers(0, 24)
parts = st.one_of(
    st.builds(Rectangle, boxes(), widths),
    st.builds(Oval, boxes(), widths),
    st.builds(Path, points(), widths, st.booleans()),
    st.builds(Polygon, points()),
    st.builds(Rings, st.lists(points(), min_size=1, max_size=2).map(tuple), st.integers(0, 4)),
    rasters(),
)
marks = st.builds(
    lambda drawn, rgb, alpha, inset: mark(*drawn, rgb=rgb, alpha=alpha, inset=tuple(inset)),
    st.lists(parts, min_size=1, max_size=3),
    st.tuples(channel, channel, channel),
    st.sampled_from((0, 1, 64, 96, 127, 128, 200, 254, 255)),
    st.lists(parts, max_size=1),
)
