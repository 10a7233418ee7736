"""From the clicks of a smart keypoint to the mask that stands for them, with what its fields hold already.

The mask is a brush stroke where the labeling config has a brush, else a bitmask, else a polygon around it. Words that
somebody wrote into the mask or into a waiting point go with it; a mask that was painted over by hand is left alone.
Knows results, config and pixels; when a click is about a mask is `clicks` and `gestures`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely import Polygon

from backend.clicks import CLICKS, Click, ClickMask, clicks_of, noted_clicks
from backend.known import bundle, marked
from regiontext.errors import RegionError
from regiontext.labelstudio.config import LabelingConfig, ShapeControl
from regiontext.labelstudio.decode import SHAPE_TYPES, decode_region, is_shape
from regiontext.labelstudio.encode import encode_region
from regiontext.labelstudio.results import Result
from regiontext.region import Region

__all__ = ["click_in", "fields_for", "is_untouched", "known_mask", "mask_control", "mask_shape"]

_KINDS = ("brush", "bitmask", "polygon")
# A brush mask is drawn anew by the page when it is saved, which moves its edge a little.
_SAME_AREA = 0.05
_TOLERANCE_PX = 1.0


def click_in(shape: Mapping[str, Any]) -> Click | None:
    """The click that a keypoint is; None for any other shape, or a malformed one."""
    if SHAPE_TYPES.get(str(shape.get("type"))) != "keypoint":
        return None
    value = shape.get("value")
    try:
        x, y = float(value["x"]) / 100, float(value["y"]) / 100  # type: ignore[index]
    except (TypeError, KeyError, ValueError):
        return None
    if not (0 <= x <= 1 and 0 <= y <= 1):
        return None
    return Click(str(shape.get("id")), x, y, shape.get("is_positive") is not False)


def mask_control(config: LabelingConfig, shape: Mapping[str, Any]) -> ShapeControl | None:
    """The control that a mask for this keypoint is drawn with; None if the config has none that could.

    A brush before a bitmask before a polygon; among several, one that has the point's label, then one without labels,
    then the first.
    """
    labels = _labels(shape)
    for kind in _KINDS:
        fitting = [c for c in config.shapes if c.type in (kind, f"{kind}labels")]
        if fitting:
            return min(
                fitting, key=lambda c: 0 if labels & set(c.labels) else 1 if not c.labels else 2
            )
    return None


def mask_shape(
    mask: NDArray[np.bool_],
    clicked: ClickMask,
    control: ShapeControl,
    point: Mapping[str, Any],
) -> Result:
    """The result that draws a mask bool[H, W] with the control, labelled as the point is where the control can.

    Raises RegionError when the mask cannot be drawn so.
    """
    label = [name for name in control.labels if name in _labels(point)] or control.labels[:1]
    region = Region.from_mask(clicked.id, mask, label)
    if SHAPE_TYPES[control.type] == "polygon":
        region = _outlined(region, clicked.clicks)
    shape = encode_region(
        region, from_name=control.name, to_name=control.to_name, type=control.type
    )
    if clicked.item_index or "item_index" in point:
        shape["item_index"] = clicked.item_index
    return shape | {"meta": {CLICKS: noted_clicks(clicked.clicks, float(region.mask.mean()))}}


def fields_for(
    shape: Mapping[str, Any],
    clicked: ClickMask,
    known: Sequence[Mapping[str, Any]],
    points: Sequence[Sequence[Mapping[str, Any]]],
) -> list[Result]:
    """The mask's results, its shape first: what its fields hold by Label Studio, else by our last answer.

    What was typed into a waiting point (points: the results of each, the shape first) wins, and becomes the mask's.
    """
    there = bundle(known, clicked.id) or [dict(item) for item in clicked.results]
    fields = {str(item.get("from_name")): item for item in there if not is_shape(item)}
    for results in points:
        for item in results[1:]:
            fields[str(item.get("from_name"))] = dict(item)
    drawn = shape["value"]
    own = {key: shape[key] for key in ("original_width", "original_height", "image_rotation")}
    moved: list[Result] = []
    for item in fields.values():
        said = {k: v for k, v in item.get("value", {}).items() if k in _SAID}
        moved.append(item | own | {"id": clicked.id, "value": _bare(drawn) | said})
    return [marked(shape), *moved]


def known_mask(shape: Mapping[str, Any], item_index: int = 0) -> ClickMask | None:
    """The mask that a shape of Label Studio's was made of clicks as, by what its meta says; None if it was not."""
    noted = clicks_of(shape)
    if noted is None:
        return None
    return ClickMask(str(shape.get("id")), noted[0], item_index, (dict(shape),), changed=False)


def is_untouched(now: Mapping[str, Any], size: tuple[int, int] | None = None) -> bool:
    """Whether nobody painted on a mask since we made it, by the share of the image it covers."""
    noted, value = clicks_of(now), now.get("value")
    if noted is None or not isinstance(value, Mapping) or value.get("touches"):
        return False
    try:
        mask = decode_region(now, size=size).mask
    except RegionError:
        return False
    return abs(float(mask.mean()) - noted[1]) <= _SAME_AREA * noted[1]


_SAID = frozenset({"text", "choices", "taxonomy", "rating", "number"})


def _bare(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if not key.endswith("labels")}


def _labels(shape: Mapping[str, Any]) -> set[str]:
    value = shape.get("value")
    if not isinstance(value, Mapping):
        return set()
    given = value.get(str(shape.get("type"))) or value.get("labels") or ()
    return {str(name) for name in given} if isinstance(given, list | tuple) else set()


def _outlined(region: Region, clicks: Sequence[Click]) -> Region:
    """The part that was clicked on (else the largest), without its holes, with as few corners as its shape takes."""
    width, height = region.size
    places = [(int(c.x * width), int(c.y * height)) for c in clicks if c.positive]

    def rank(number: int) -> tuple[int, float]:
        polygon = Polygon(region.outlines[number].outer)
        box = polygon.bounds
        held = sum(box[0] <= x < box[2] and box[1] <= y < box[3] for x, y in places)
        return held, polygon.area

    ring = region.outlines[max(range(len(region.outlines)), key=rank)].outer
    simple = Polygon(ring).simplify(_TOLERANCE_PX)
    corners = np.asarray(simple.exterior.coords, dtype=np.float64)[:-1]
    if len(corners) < 3:
        corners = ring
    return Region(region.id, "polygon", region.size, labels=region.labels, polygons=(corners,))
