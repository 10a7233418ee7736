"""Labels that Label Studio's page has written where they do not belong, and results without them.

When the page accepts an answer it writes every label that happens to be chosen (for the next drawing, or because a
region with it is selected) into everything the answer holds. On a region of another shape that is a label item of the
wrong type, which repeats the region's own geometry; on a text about the whole image it is one without any. No click of
an annotator makes either: a label can be put only on regions of its control's shape. Knows the JSON; knows no config.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from regiontext.labelstudio.checks import SHAPE_KEYS
from regiontext.labelstudio.decode import SHAPE_TYPES, is_shape
from regiontext.labelstudio.values import text, value_of

__all__ = ["is_bare", "leaked", "without_leaks"]


def is_bare(item: Mapping[str, Any]) -> bool:
    """Whether a result gives labels of a region and no geometry: such a region there is not."""
    value = value_of(item)
    if not is_shape(item) or not SHAPE_KEYS.isdisjoint(value):
        return False
    return bool(value) and all(isinstance(key, str) and key.endswith("labels") for key in value)


def leaked(results: Iterable[Mapping[str, Any]]) -> list[int]:
    """Which results are such labels, by their place: the bare ones, and those of another shape than their region.

    The only item of a region is never among them, whatever it says of itself: without it the region would be lost.
    """
    items = list(results)
    at_home = {text(item, "id") for item in items if is_shape(item) and _is_at_home(item)}
    return [
        place
        for place, item in enumerate(items)
        if is_bare(item)
        or (
            is_shape(item)
            and str(item.get("type")).endswith("labels")
            and text(item, "id") in at_home
            and not _is_at_home(item)
            and _drawn_by(item) is not None
        )
    ]


def without_leaks(results: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Copies of the results, in their order, without those labels."""
    items = list(results)
    gone = set(leaked(items))
    return [dict(item) for place, item in enumerate(items) if place not in gone]


def _is_at_home(item: Mapping[str, Any]) -> bool:
    return SHAPE_TYPES[str(item.get("type"))] == _drawn_by(item)


def _drawn_by(item: Mapping[str, Any]) -> str | None:
    """The shape whose geometry a result's value holds, as the page tells them apart; None without any."""
    value = value_of(item)
    for keys, shape in _GEOMETRY:
        if any(key in value for key in keys):
            return shape
    return None


_GEOMETRY = (
    (("rle", "touches", "maskDataURL"), "brush"),
    (("imageDataURL",), "bitmask"),
    (("vertices",), "vector"),
    (("points",), "polygon"),
    (("radiusX", "radiusY"), "ellipse"),
    (("height",), "rectangle"),
    (("x", "y"), "keypoint"),
)
"""By the keys of a value, from those that only one shape has to those that others have too."""
