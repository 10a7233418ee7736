"""What is wrong with one result, by the labeling config: one short reason, or None.

Knows the config and the JSON; which results stay is decided in `results`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regiontext.labelstudio.answers import FIELD_KEYS, value_fault
from regiontext.labelstudio.config import LabelingConfig
from regiontext.labelstudio.decode import is_shape
from regiontext.labelstudio.values import is_finite, is_texts, short, text, value_of

__all__ = ["DIRECTIONS", "SHAPE_KEYS", "is_regional", "item_fault", "place_fault"]

DIRECTIONS = ("left", "right", "bi")

_OUTLINE_KEYS = ("x", "y", "width", "height", "rotation", "radiusX", "radiusY", "points", "closed")
_MASK_KEYS = ("vertices", "format", "rle", "touches", "maskDataURL", "imageDataURL")

SHAPE_KEYS = frozenset((*_OUTLINE_KEYS, *_MASK_KEYS))
"""Keys of value that draw a shape; a region's field results repeat them."""


def is_regional(item: Mapping[str, Any]) -> bool:
    """Whether a result repeats a shape, so belongs to a region rather than the whole image."""
    return not SHAPE_KEYS.isdisjoint(value_of(item))


def item_fault(item: Mapping[str, Any], config: LabelingConfig) -> str | None:
    """What is wrong with a result on its own: names, type, labels, options, values."""
    kind = item.get("type")
    if kind == "relation":
        return _relation_fault(item, config)
    id, name, value = item.get("id"), item.get("from_name"), item.get("value")
    if not isinstance(id, str) or not id:
        return f"its id is {short(id)}, no text"
    control = next((c for c in config.controls if c.name == name), None)
    if control is None:
        return f"from_name {short(name)} is not in the labeling config"
    if item.get("to_name") != control.to_name:
        return f"to_name {short(item.get('to_name'))} is not {control.to_name!r}"
    if kind != control.type:
        return f"type {short(kind)} does not match <{control.tag}>, which writes {control.type!r}"
    if not isinstance(value, Mapping):
        return f"its value is {short(value)}, no object"
    score = item.get("score")
    if score is not None and not is_finite(score):
        return f"its score is {short(score)}, no number"
    if control.type in FIELD_KEYS:
        return value_fault(control.type, value, config.field(control.name))
    if control.type.endswith("labels"):
        return _labels_fault(value, control.type, control.labels)
    return None


def _labels_fault(value: Mapping[str, Any], kind: str, labels: tuple[str, ...]) -> str | None:
    given = value.get(kind)
    if given is None:
        return None
    if not is_texts(given):
        return f"its {kind} is {short(given)}, no list of texts"
    # A control without labels takes them from the task's data.
    unknown = [label for label in given if labels and label not in labels]
    return (
        f"{short(unknown[0])} is no label of the control ({', '.join(labels)})" if unknown else None
    )


def _relation_fault(item: Mapping[str, Any], config: LabelingConfig) -> str | None:
    known = {relation.value for relation in config.relations}
    labels = item.get("labels", [])
    if not is_texts(labels):
        return f"its labels are {short(labels)}, no list of texts"
    if item.get("direction", "right") not in DIRECTIONS:
        return f"direction {short(item.get('direction'))} is none of {', '.join(DIRECTIONS)}"
    unknown = [label for label in labels if label not in known]
    return f"{short(unknown[0])} is no relation of the labeling config" if unknown else None


def place_fault(
    item: Mapping[str, Any], shapes: set[str], seen: set[tuple[str, str]], config: LabelingConfig
) -> str | None:
    """What is wrong with a result among the others: no shape for it, or one like it already.

    shapes: ids of the regions. seen: (id, from_name) of the results before it; grows.
    """
    if item.get("type") == "relation":
        for end in ("from_id", "to_id"):
            if text(item, end) not in shapes:
                return f"{end} {short(item.get(end))} is not among the regions"
        return None
    id, name = text(item, "id"), text(item, "from_name")
    if (id, name) in seen:
        return f"{short(name)} of {short(id)} is there twice"
    field = config.field(name)
    per_region = field.per_region if field else is_regional(item)
    if per_region and not is_shape(item) and id not in shapes:
        return f"the region {short(id)} has no shape among the results and would lose its label"
    if not per_region and id in shapes and not is_shape(item):
        return f"{short(name)} belongs to the whole image, not to the region {short(id)}"
    seen.add((id, name))
    return None
