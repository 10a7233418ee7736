"""Our drawing beside recorded pictures of ViP-LLaVA's prompt generator, from the same geometry."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regiontext.geometry import cubic
from regiontext.marks.coverage import coverage
from regiontext.marks.draw import draw
from regiontext.marks.layout import Layout, Mark
from regiontext.marks.parts import Oval, Part, Polygon, Raster, Rectangle, Rings
from regiontext.marks.parts import Path as Stroke
from regiontext.marks.style import Style

DEFAULT = Path(__file__).resolve().parents[4] / "shared" / "parity" / "marks"
FOLDER = Path(os.environ.get("REGIONTEXT_PARITY_MARKS", DEFAULT))
MANIFEST = FOLDER / "manifest.json"

pytestmark = pytest.mark.skipif(
    not MANIFEST.exists(),
    reason=f"no reference pictures at {FOLDER}; set REGIONTEXT_PARITY_MARKS to their folder",
)

CASES: list[dict[str, Any]] = json.loads(MANIFEST.read_text())["cases"] if MANIFEST.exists() else []


@cache
def base() -> Image.Image:
    return Image.open(FOLDER / "base_1280x960.png").convert("RGB")


def points(rows: list[list[float]]) -> np.ndarray:
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def parts(case: dict[str, Any]) -> tuple[Part, ...]:
    g = case["geometry"]
    match case["kind"]:
        case "rectangle":
            return (Rectangle(tuple(g["xyxy"]), g["line_width"]),)
        case "ellipse":
            return (Oval(tuple(g["ellipse_bbox"]), g["line_width"]),)
        case "point":
            return (Oval(tuple(g["ellipse_bbox"])),)
        case "triangle":
            corners = points(g["vertices"])
            return (Stroke(np.concatenate([corners, corners[:1]]), g["line_width"], curved=True),)
        case "scribble":
            return (
                Stroke(
                    cubic(*points(g["control_points"]), count=g["n_samples"] - 1), g["line_width"]
                ),
            )
        case "mask":
            return tuple(Polygon(points(p)) for p in g["polygons"])
        case "mask contour":
            return (Rings(tuple(points(p) for p in g["polygons"]), g["half_width"]),)
        case "arrow":
            shaft = Stroke(points(g["shaft_polyline"]), g["line_width"])
            head = points(g["head_vertices"])
            if g["head_style"] == "filled":
                return shaft, Polygon(head)
            return shaft, Stroke(head, g["line_width"])
    raise AssertionError(case["kind"])


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_the_same_geometry_gives_the_recorded_pixels(case: dict[str, Any]) -> None:
    c = case["crop_of_base"]
    crop = base().crop((c["x"], c["y"], c["x"] + c["w"], c["y"] + c["h"]))
    kind = "contour" if case["kind"] == "mask contour" else case["kind"]
    style = Style(kind, case["colour_name"], tuple(case["rgb"]), case["alpha"], 1.0)
    layout = Layout(parts(case))
    ours = draw(np.asarray(crop), [Mark(style, layout)])
    theirs = np.asarray(Image.open(FOLDER / case["result"]).convert("RGB"))
    differing = int(np.any(ours != theirs, axis=2).sum())
    assert not differing, f"{differing} of {case['touched_pixels']} touched pixels differ"
    # The same pixels as a mask of their own give the same picture, as a brush region's do.
    stamped = Layout((Raster(*coverage(layout, crop.size)),))
    assert np.array_equal(draw(np.asarray(crop), [Mark(style, stamped)]), ours)
