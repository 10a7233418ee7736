"""Geometry-agnostic points: whatever an annotator drew, equal dots on it and nothing of its shape."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from regiontext.labelstudio.decode import decode_region
from regiontext.marks.layout import lay_out, scaled
from regiontext.marks.parts import Oval
from regiontext.marks.style import inference_style
from regiontext.region import Region
from tests.regiontext.marks.regions import SIZE, box, ring

STYLE = inference_style("dots")


def drawn(kind: str, **value: Any) -> Region:
    original = {"original_width": SIZE[0], "original_height": SIZE[1]}
    return decode_region({"id": kind, "type": kind, "value": value, **original})


SOURCES = {
    "mask": ring(),
    "box": box(40, 30, 120, 110),
    "ellipse": drawn("ellipse", x=50, y=50, radiusX=20, radiusY=30),
    "polygon": drawn("polygon", points=[[10, 10], [80, 20], [40, 90]]),
    "point": drawn("keypoint", x=50, y=50, width=1),
    "path": drawn("vector", vertices=[{"x": 10, "y": 10}, {"x": 80, "y": 20}, {"x": 40, "y": 90}]),
}


def centres(region: Region, count: int = 9, seed: int | None = None) -> np.ndarray:
    rng = None if seed is None else np.random.default_rng(seed)
    parts = lay_out(region, replace(STYLE, dots=count), rng=rng).parts
    ovals = [part for part in parts if isinstance(part, Oval)]
    assert len(ovals) == len(parts)
    assert {part.width for part in ovals} == {0}
    radius = scaled(STYLE.width, SIZE)
    assert {
        round(side) for part in ovals for side in np.subtract(*np.split(np.array(part.box), 2))
    } == {-2 * radius}
    return np.array([((p.box[0] + p.box[2]) / 2, (p.box[1] + p.box[3]) / 2) for p in ovals])


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("seed", [None, 0, 1])
def test_dots_are_equal_distinct_and_on_the_region(source: str, seed: int | None) -> None:
    region = SOURCES[source]
    points = centres(region, seed=seed)
    columns, rows = np.floor(points).astype(int).T
    assert region.mask[rows, columns].all()
    assert len({tuple(point) for point in points.tolist()}) == len(points)
    assert len(points) == 9 or source == "point"


@pytest.mark.parametrize("count", [1, 4, 16])
def test_the_number_of_dots_is_the_styles(count: int) -> None:
    assert len(centres(SOURCES["box"], count)) == count


def test_a_point_gets_no_more_dots_than_it_has_room_for() -> None:
    points = centres(SOURCES["point"])
    assert 1 <= len(points) <= 9
    assert np.ptp(points, axis=0).max() <= 2 * 2


def test_a_path_is_sampled_along_its_length() -> None:
    points = centres(SOURCES["path"])
    assert np.ptp(points[:, 0]) > 0.6 * 140 and np.ptp(points[:, 1]) > 0.7 * 120


def test_a_box_and_its_filled_mask_get_the_same_dots() -> None:
    region = SOURCES["box"]
    assert (centres(region) == centres(Region.from_mask("m", region.mask))).all()
