"""Our masks against the pixels that the real editor inked, for every shape drawn in it by mouse.

tests/fixtures/editor is a recording of Label Studio 1.23.2: `python -m tests.browser.record_shapes` makes it, and says
what is in it.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regiontext.images import load_image
from regiontext.labelstudio.decode import decode_region
from tests.regiontext.labelstudio.agreement import assert_as_seen, overlap

FOLDER = Path(__file__).parents[2] / "fixtures" / "editor"
SCENES = sorted(path.stem for path in FOLDER.glob("*.json"))


@cache
def _scene(name: str) -> dict[str, Any]:
    scene: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return scene


@cache
def _map(name: str, image: int) -> np.ndarray:
    return np.asarray(Image.open(FOLDER / f"{name}-{image}-seen.png"))


def _recorded(*, draft: bool = False) -> list[Any]:
    return [
        pytest.param(name, number, region, id=f"{name}: {region['gesture']}")
        for name in SCENES
        for number, region in enumerate(_scene(name)["regions"], 1)
        if not draft or "draft" in region
    ]


def test_the_recording_has_every_shape_with_and_without_labels():
    types = {region.values[2]["result"]["type"] for region in _recorded()}
    shapes = {"rectangle", "ellipse", "polygon", "keypoint", "brush", "vector"}
    assert types == shapes | {f"{one}labels" for one in shapes} | {"bitmasklabels"}


@pytest.mark.parametrize(("name", "number", "recorded"), _recorded())
def test_a_region_is_what_the_editor_shows(name: str, number: int, recorded: dict[str, Any]):
    scene, result = _scene(name), recorded["result"]
    seen = _map(name, recorded["image"]) == number
    region = assert_as_seen(result, seen, recorded["mouse"])
    assert region.size == tuple(scene["pictures"][recorded["image"]]["size"])
    assert region.item_index == recorded["image"]
    # Coordinates are those of the upright image however the annotator has turned the view.
    assert result["image_rotation"] == scene["view_turned"]


@pytest.mark.parametrize(("name", "number", "recorded"), _recorded())
def test_a_region_lies_where_the_mouse_was(name: str, number: int, recorded: dict[str, Any]):
    region = decode_region(recorded["result"])
    mouse = np.array(recorded["mouse"], dtype=float)
    if recorded["gesture"] == "rectangle":
        expected = (*mouse.min(axis=0), *mouse.max(axis=0))
    elif recorded["gesture"] == "ellipse":
        radii = np.abs(mouse[1] - mouse[0])
        expected = (*(mouse[0] - radii), *(mouse[0] + radii))
    elif region.shape == "polygon":
        expected = (*mouse.min(axis=0), *mouse.max(axis=0))
        assert np.abs(region.polygons[0] - mouse).max() <= 1
    else:
        # Of the others the mouse's points are somewhere on the region, within the editor's whole screen pixels.
        x0, y0, x1, y1 = region.box
        x, y = mouse.mean(axis=0)
        assert x0 - 1 <= x <= x1 + 1 and y0 - 1 <= y <= y1 + 1
        return
    assert region.box == pytest.approx(expected, abs=1.3)


@pytest.mark.parametrize(("name", "number", "recorded"), _recorded(draft=True))
def test_the_strokes_of_a_draft_are_the_mask_that_is_submitted(
    name: str, number: int, recorded: dict[str, Any]
):
    draft, stored = recorded["draft"], recorded["result"]
    assert draft["id"] == stored["id"] and "rle" not in draft["value"]
    ours, theirs = decode_region(draft).mask, decode_region(stored).mask
    least = 0.96 if theirs.sum() > 100 else 0.92
    assert overlap(ours, theirs) >= least
    assert overlap(ours, _map(name, recorded["image"]) == number) >= least


@pytest.mark.parametrize("name", SCENES)
def test_pictures_are_as_large_as_label_studio_says(name: str):
    for picture in _scene(name)["pictures"]:
        assert load_image((FOLDER / picture["file"]).read_bytes()).size == tuple(picture["size"])


@pytest.mark.parametrize(
    "name", ["exif-3", "exif-6", "exif-8", "exif-6-turned-90", "palette", "several"]
)
def test_a_box_drawn_around_the_dark_square_has_its_pixels(name: str):
    """EXIF orientation, palette and second pictures: our pixels are those the annotator drew on."""
    scene = _scene(name)
    boxes = [region for region in scene["regions"] if region["gesture"] == "rectangle"]
    assert [box["image"] for box in boxes] == list(range(len(scene["pictures"])))
    for box, picture in zip(boxes, scene["pictures"], strict=True):
        image = load_image((FOLDER / picture["file"]).read_bytes()).convert("L")
        x0, y0, x1, y1 = (int(side) for side in decode_region(box["result"]).box)
        inside = np.asarray(image.crop((x0 + 2, y0 + 2, x1 - 2, y1 - 2)))
        assert inside.max() < 120
        around = np.asarray(image.crop((x0 - 4, y0 - 4, x1 + 4, y1 + 4))).astype(int)
        assert min(around[0].min(), around[-1].min(), around[:, 0].min(), around[:, -1].min()) > 120
