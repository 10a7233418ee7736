"""Every shape of Label Studio to pixels: recorded ones, hand-computed ones, malformed ones."""

from __future__ import annotations

import itertools
import json
import math
import time

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from regiontext.errors import RegionError
from regiontext.labelstudio.brush import encode_rle
from regiontext.labelstudio.decode import SHAPE_TYPES, decode_region, is_shape
from tests.regiontext.labelstudio.payloads import FIXTURES, load, png_url, recorded, shape, touch

SIZE = (200, 100)


def test_types_with_and_without_labels():
    assert len(SHAPE_TYPES) == 15
    assert SHAPE_TYPES["rectangle"] == SHAPE_TYPES["rectanglelabels"] == "rectangle"
    assert is_shape({"type": "vectorlabels"})
    for other in ("textarea", "choices", "relation", None, ["rectangle"], {}):
        assert not is_shape({"type": other})


def test_recorded_regions_of_every_shape():
    regions = [decode_region(item) for item in recorded() if is_shape(item)]
    assert [(r.shape, r.labels, r.box) for r in regions] == [
        ("rectangle", ("Car",), (96, 72, 286, 214)),
        ("ellipse", ("Tree",), (431, 271, 613, 442)),
        ("polygon", ("House",), (583, 66, 689, 163)),
        ("brush", ("Road",), (87, 492, 407, 507)),
        ("keypoint", ("Point",), (360, 126, 364, 130)),
        ("bitmask", ("Mask",), (42, 341, 225, 372)),
        ("vector", ("Path",), pytest.approx((322, 298, 441, 389), abs=1)),
        ("rectangle", ("Person",), (349, 186, 476, 268)),
    ]
    assert all(region.size == (800, 600) for region in regions)


def test_rectangle_in_percent():
    region = decode_region(shape("rectanglelabels", {"x": 10, "y": 20, "width": 30, "height": 40}))
    assert region.box == (20, 20, 80, 60) and region.area == 60 * 40
    assert region.labels == () and region.id == "r1"


def test_rectangle_turns_clockwise_about_its_top_left_corner():
    value = {"x": 50, "y": 10, "width": 20, "height": 10, "rotation": 90}
    region = decode_region(shape("rectangle", value))
    # 40 px wide and 10 px high; turned, it hangs down 40 px from (100, 10) and reaches 10 px left.
    assert region.box == (90, 10, 100, 50) and region.area == 400


@given(st.floats(-720, 720))
def test_rotation_keeps_the_area(degrees):
    value = {"x": 45, "y": 45, "width": 10, "height": 10, "rotation": degrees}
    region = decode_region(shape("rectangle", value, original_width=1000, original_height=1000))
    assert region.area == pytest.approx(10_000, rel=0.01)


def test_rect_drawn_by_three_points():
    region = decode_region(next(item for item in recorded() if item["id"] == "L2PosXwwCA"))
    width, height = 14.649065475681343 * 8, 9.26897521679429 * 6
    assert region.area == pytest.approx(width * height, rel=0.005)


def test_ellipse_has_its_centre_and_its_own_radii():
    value = {"x": 50, "y": 50, "radiusX": 10, "radiusY": 30, "rotation": 0}
    region = decode_region(shape("ellipse", value))
    assert region.box == (80, 20, 120, 80)
    assert region.centre == pytest.approx((100, 50), abs=0.05)
    assert region.area == pytest.approx(math.pi * 20 * 30, rel=0.01)
    turned = decode_region(shape("ellipselabels", value | {"rotation": 90}))
    assert turned.box == (70, 30, 130, 70)


@pytest.mark.parametrize("closed", [True, False, None])
def test_polygon_is_filled_closed_or_not(closed):
    value = {"points": [[10, 10], [60, 10], [10, 60]]} | (
        {} if closed is None else {"closed": closed}
    )
    region = decode_region(shape("polygonlabels", value | {"polygonlabels": ["House"]}))
    assert region.area == pytest.approx(100 * 50 / 2, rel=0.03)
    assert region.labels == ("House",)


def test_keypoint_is_a_disc_of_its_width():
    region = decode_region(shape("keypoint", {"x": 50, "y": 50, "width": 5}))
    assert region.point == (100, 50)
    assert region.box == (90, 40, 110, 60)
    small = decode_region(shape("keypointlabels", {"x": 50, "y": 50, "width": 0.1}))
    assert small.box == (98, 48, 102, 52)
    corner = decode_region(shape("keypoint", {"x": 100, "y": 100}))
    assert corner.area >= 1 and corner.box[2:] == (200, 100)


def test_interactive_keypoint_names_its_label_twice_and_has_it_once():
    item = load("request_predict_interactive_keypoint.json")["body"]["params"]["context"]["result"][
        0
    ]
    region = decode_region(item)
    assert region.shape == "keypoint" and region.labels == ("Point",)


def vertices(*points):
    made = [{"id": f"p{i}", "x": x, "y": y, "isBezier": False} for i, (x, y) in enumerate(points)]
    for before, after in itertools.pairwise(made):
        after["prevPointId"] = before["id"]
    return made


def test_open_vector_is_a_stroke():
    item = shape("vector", {"vertices": vertices((10, 20), (80, 20), (80, 90)), "closed": False})
    region = decode_region(item | {"original_width": 200, "original_height": 200})
    y, x = np.mgrid[:200, :200] + 0.5
    path = shapely.LineString([(20, 40), (160, 40), (160, 180)])
    distance = shapely.distance(path, shapely.points(x, y))
    assert np.array_equal(region.mask, distance <= 1)
    large = decode_region(item | {"original_width": 2000, "original_height": 1000})
    assert large.box == (195, 195, 1605, 905)  # a pen of half a hundredth of the longer side


def test_a_closed_vector_as_the_editor_joins_it_is_filled():
    points = vertices((10, 10), (60, 10), (10, 60))
    points[0]["prevPointId"] = points[-1]["id"]
    region = decode_region(shape("vector", {"vertices": points, "closed": True}))
    plain = shape("vector", {"vertices": points[:1] + points[1:], "closed": True})
    assert region.area == pytest.approx(100 * 50 / 2, rel=0.03)
    assert np.array_equal(region.mask, decode_region(plain).mask)
    assert not decode_region(shape("vector", {"vertices": points, "closed": False})).polygons


def test_vertices_are_joined_by_their_links_and_not_by_their_order():
    points = vertices((10, 10), (60, 10), (60, 60), (10, 60))
    points[0]["prevPointId"] = points[-1]["id"]
    mask = decode_region(shape("vector", {"vertices": points, "closed": True})).mask
    assert mask.sum() == 100 * 50
    for order in itertools.permutations(points):
        again = decode_region(shape("vector", {"vertices": list(order), "closed": True}))
        assert np.array_equal(again.mask, mask)


def test_a_path_closed_without_a_link_is_closed_by_a_straight_line():
    points = vertices((20, 80), (80, 80), (50, 80))
    points[0] |= {"isBezier": True, "controlPoint1": {"x": 20, "y": 0}}
    points[1] |= {"isBezier": True, "controlPoint2": {"x": 80, "y": 10}}
    straight = decode_region(shape("vector", {"vertices": points, "closed": True}))
    points[0]["prevPointId"] = points[-1]["id"]
    curved = decode_region(shape("vector", {"vertices": points, "closed": True}))
    assert curved.area > 1.5 * straight.area


def test_closed_vector_is_filled():
    item = shape(
        "vectorlabels", {"vertices": vertices((10, 10), (60, 10), (10, 60)), "closed": True}
    )
    region = decode_region(item)
    assert region.area == pytest.approx(100 * 50 / 2, rel=0.03) and len(region.polygons) == 1


def test_vector_with_bezier_handles_bulges():
    points = vertices((20, 50), (80, 50))
    points[0] |= {
        "isBezier": True,
        "controlPoint1": {"x": 20, "y": 50},
        "controlPoint2": {"x": 20, "y": 10},
    }
    points[1] |= {
        "isBezier": True,
        "controlPoint1": {"x": 80, "y": 10},
        "controlPoint2": {"x": 80, "y": 50},
    }
    region = decode_region(shape("vector", {"vertices": points, "closed": False}))
    # The curve's highest point is at t = 1/2: (y0 + 3 y1 + 3 y2 + y3) / 8 = 20 %.
    assert region.mask[20, 100] and not region.mask[50, 100]


def test_vector_with_one_handle_and_with_branches():
    points = vertices((20, 50), (80, 50), (80, 90))
    points[1] |= {
        "isBezier": True,
        "controlPoint1": {"x": 60, "y": 10},
        "controlPoint2": {"x": 80, "y": 60},
    }
    points[2]["prevPointId"] = "p0"
    region = decode_region(shape("vector", {"vertices": points, "closed": False}))
    assert region.mask[70, 100]  # on the straight branch from p0 to p2
    assert not region.mask[70, 160]  # nothing joins p1 and p2


def test_vector_without_joints_is_joined_in_order_and_alone_a_dot():
    plain = [{"x": 10, "y": 50}, {"x": 90, "y": 50}]
    assert decode_region(shape("vector", {"vertices": plain})).mask[50, 100]
    lost = [
        vertex | {"id": "a", "prevPointId": name}
        for vertex, name in zip(plain, (5, "b"), strict=True)
    ]
    assert decode_region(shape("vector", {"vertices": lost})).mask[50, 100]
    dot = decode_region(shape("vector", {"vertices": plain[:1]}))
    assert dot.mask[50, 20] and dot.area < 20


def test_brush_goes_by_alpha_and_fits_the_actual_image():
    mask = np.zeros((100, 200), dtype=bool)
    mask[10:40, 20:80] = True
    item = shape("brushlabels", {"format": "rle", "rle": encode_rle(mask), "brushlabels": ["Road"]})
    assert np.array_equal(decode_region(item).mask, mask)
    half = decode_region(item, size=(100, 50))
    assert half.box == (10, 5, 40, 20)
    assert decode_region(item | {"type": "magicwand"}).shape == "brush"


def test_a_brush_of_a_draft_is_painted_from_its_strokes():
    strokes = [touch([10, 50, 90, 50], 10), touch([50, 0, 50, 100], 5, type="eraser")]
    region = decode_region(shape("brushlabels", {"format": "rle", "touches": strokes}))
    assert region.mask[50, 30] and region.mask[50, 170] and not region.mask[50, 100]
    assert region.box == pytest.approx((10, 40, 190, 60), abs=3)


def test_strokes_go_over_what_was_painted_before():
    mask = np.zeros((100, 200), dtype=bool)
    mask[:, :100] = True
    value = {"format": "rle", "rle": encode_rle(mask), "touches": [touch([75, 50], 10)]}
    region = decode_region(shape("brush", value))
    assert region.mask[0, 0] and region.mask[50, 150] and not region.mask[0, 150]


def test_a_brush_as_data_url():
    pixels = np.zeros((100, 200, 4), dtype=np.uint8)
    pixels[5:9, 7:20, 3] = 255
    region = decode_region(shape("brush", {"format": "rle", "maskDataURL": png_url(pixels)}))
    assert region.box == (7, 5, 20, 9)


def test_bitmask_goes_by_alpha():
    pixels = np.zeros((100, 200, 4), dtype=np.uint8)
    pixels[5:9, 7:20, 3] = 255
    pixels[50:, :, :3] = 255
    pixels[9:, :, 3] = 100
    region = decode_region(
        shape("bitmasklabels", {"imageDataURL": png_url(pixels), "bitmasklabels": ["M"]})
    )
    assert region.box == (7, 5, 20, 9) and region.area == 4 * 13 and region.labels == ("M",)
    assert (
        decode_region(shape("bitmask", {"imageDataURL": png_url(pixels)}), size=(400, 200)).area
        == 16 * 13
    )


def test_bitmask_without_alpha_goes_by_brightness():
    pixels = np.zeros((100, 200), dtype=np.uint8)
    pixels[5:9, 7:20] = 255
    assert decode_region(shape("bitmask", {"imageDataURL": png_url(pixels)})).box == (7, 5, 20, 9)


def test_the_actual_size_wins():
    item = shape("rectangle", {"x": 10, "y": 20, "width": 30, "height": 40})
    assert decode_region(item, size=(1000, 500)).box == (100, 100, 400, 300)
    bare = {key: item[key] for key in item if not key.startswith("original")}
    assert decode_region(bare, size=(1000, 500)).box == (100, 100, 400, 300)
    with pytest.raises(RegionError, match="original_width"):
        decode_region(bare)


def test_shapes_reaching_outside_are_cut_at_the_edge():
    region = decode_region(shape("rectangle", {"x": -50, "y": 50, "width": 100, "height": 500}))
    assert region.box == (0, 50, 100, 100)


def test_the_turned_view_of_an_annotator_does_not_turn_the_region():
    # The editor's rotate button turns the canvas and writes image_rotation; percentages stay those
    # of the image as it lies (Image.js, createSerializedResult and rotate).
    plain = shape("rectangle", {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 30})
    for degrees in (0, 90, 180, 270):
        turned = decode_region(plain | {"image_rotation": degrees})
        assert np.array_equal(turned.mask, decode_region(plain).mask)


def test_the_largest_polygon_is_read_quickly():
    turn = np.linspace(0, 2 * np.pi, 100_000, endpoint=False)
    points = np.stack([50 + 40 * np.cos(turn), 50 + 40 * np.sin(turn)], axis=1).tolist()
    start = time.thread_time()
    region = decode_region(shape("polygon", {"points": points}))
    assert region.area == pytest.approx(np.pi * 80 * 40, rel=0.01)
    assert time.thread_time() - start < 2


def test_item_index_of_a_multi_image_task():
    assert decode_region(load("multi_image_results.json")[0]).item_index == 1


def test_results_stay_as_they_were():
    items = recorded()
    before = json.dumps(items)
    for item in items:
        if is_shape(item):
            decode_region(item)
    assert json.dumps(items) == before


def test_strokes_of_a_draft_are_the_mask_that_the_editor_saves_of_them():
    recorded_brushes = json.loads((FIXTURES.parent / "editor" / "painted.json").read_text())
    for drawn in recorded_brushes["regions"]:
        saved, draft = decode_region(drawn["result"]), decode_region(drawn["draft"])
        both, either = saved.mask & draft.mask, saved.mask | draft.mask
        # The canvas counts how much of a pixel is covered, not whether its centre is.
        edge = 0.35 * (saved.box[2] - saved.box[0] + saved.box[3] - saved.box[1])
        assert either.sum() - both.sum() <= max(4, edge)


@pytest.mark.parametrize("missing", [("original_width",), ("original_width", "original_height")])
def test_the_image_at_hand_stands_in_for_a_size_that_is_not_told(missing: tuple[str, ...]) -> None:
    result = {
        "id": "r", "type": "rectangle", "original_width": 10, "original_height": 10,
        "value": {"x": 10, "y": 10, "width": 50, "height": 50, "rotation": 0},
    }  # fmt: skip
    told = {key: value for key, value in result.items() if key not in missing}
    assert decode_region(told, size=(40, 20)).box == (4, 2, 24, 12)
    with pytest.raises(RegionError, match="no image to measure"):
        decode_region(told)
