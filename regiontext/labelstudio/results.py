"""Lists of Label Studio results: sorting them, writing fields into regions, checking them.

A region's shape and its fields are separate results that share the region's id. Knows the JSON
and the labeling config; knows nothing of pixels beyond handing shapes to `decode`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from regiontext.errors import RegionError
from regiontext.labelstudio.answers import FIELD_KEYS, answer_of, value_for
from regiontext.labelstudio.checks import (
    DIRECTIONS,
    SHAPE_KEYS,
    is_regional,
    item_fault,
    place_fault,
)
from regiontext.labelstudio.config import Field, LabelingConfig
from regiontext.labelstudio.decode import decode_region, is_shape
from regiontext.labelstudio.leaks import leaked
from regiontext.labelstudio.values import short, text, texts, value_of
from regiontext.region import Region

__all__ = [
    "Result",
    "Results",
    "check_results",
    "decode_regions",
    "field_result",
    "image_field_result",
    "read_results",
    "relation_result",
    "text_of",
]

Result = dict[str, Any]

_IMAGE_KEYS = ("original_width", "original_height", "image_rotation", "item_index")


@dataclass(frozen=True)
class Results:
    """A result list, sorted.

    shapes: region id -> its shape. fields: region id -> field name -> the field's result.
    image_fields: field name -> the whole image's result. relations, others: as they came; others
    holds fields whose region has no shape, labels that are not the region's own (see `leaks`), and
    results of any other control.
    """

    shapes: dict[str, Result] = field(default_factory=dict)
    fields: dict[str, dict[str, Result]] = field(default_factory=dict)
    image_fields: dict[str, Result] = field(default_factory=dict)
    relations: list[Result] = field(default_factory=list)
    others: list[Result] = field(default_factory=list)


def read_results(results: Sequence[Mapping[str, Any]]) -> Results:
    """Sort a result list; order is kept, of doubles the last counts, non-objects are left out."""
    items = [dict(item) for item in results if isinstance(item, Mapping)]
    sorted_ = Results()
    gone = set(leaked(items))
    sorted_.others.extend(item for place, item in enumerate(items) if place in gone)
    items = [item for place, item in enumerate(items) if place not in gone]
    for item in items:
        if is_shape(item) and text(item, "id"):
            sorted_.shapes[text(item, "id")] = item
    for item in items:
        region, name = text(item, "id"), text(item, "from_name")
        kind = text(item, "type")
        if is_shape(item) and region:
            continue
        if kind == "relation":
            sorted_.relations.append(item)
        elif kind not in FIELD_KEYS:
            sorted_.others.append(item)
        elif region in sorted_.shapes:
            sorted_.fields.setdefault(region, {})[name] = item
        elif is_regional(item):
            sorted_.others.append(item)
        else:
            sorted_.image_fields[name] = item
    return sorted_


def decode_regions(
    results: Sequence[Mapping[str, Any]], *, size: tuple[int, int] | None = None
) -> tuple[dict[str, Region], list[RegionError]]:
    """Every shape of a result list as a Region by id, and the faults of those that are malformed.

    Labels that a separate `<Labels>` control gave to a shape are added to it.
    """
    read = read_results(results)
    given: dict[str, tuple[str, ...]] = {}
    for item in read.others:
        if item.get("type") == "labels":
            given[text(item, "id")] = texts(value_of(item).get("labels"))
    regions: dict[str, Region] = {}
    faults: list[RegionError] = []
    for id, shape in read.shapes.items():
        try:
            region = decode_region(shape, size=size)
        except RegionError as fault:
            faults.append(fault)
            continue
        extra = tuple(label for label in given.get(id, ()) if label not in region.labels)
        regions[id] = replace(region, labels=region.labels + extra) if extra else region
    return regions, faults


def text_of(field_result: Mapping[str, Any]) -> tuple[str, ...]:
    """The answer in a field's result, as texts (see `answers`); empty when it has none."""
    return answer_of(text(field_result, "type"), value_of(field_result))


def field_result(
    shape_result: Mapping[str, Any],
    field: Field,
    values: Sequence[str],
    *,
    score: float | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Result:
    """The result that fills `field` of the region that `shape_result` draws.

    It carries the region's id and the shape's own keys, as Label Studio writes it itself.
    """
    shape = {key: value for key, value in value_of(shape_result).items() if key in SHAPE_KEYS}
    result: Result = {key: shape_result[key] for key in _IMAGE_KEYS if key in shape_result}
    result |= {
        "id": shape_result["id"],
        "from_name": field.name,
        "to_name": field.to_name,
        "type": field.type,
        "origin": "prediction",
        "value": shape | value_for(field, values),
    }
    if score is not None:
        result["score"] = float(score)
    if meta is not None:
        result["meta"] = dict(meta)
    return result


def image_field_result(field: Field, values: Sequence[str], *, id: str) -> Result:
    """The result that fills a whole-image field; `id` is the result's own."""
    return {
        "id": id,
        "from_name": field.name,
        "to_name": field.to_name,
        "type": field.type,
        "origin": "prediction",
        "value": value_for(field, values),
    }


def relation_result(
    from_id: str, to_id: str, labels: Sequence[str], direction: str = "right"
) -> Result:
    """A relation between two regions; only for batch predictions, never interactively."""
    if direction not in DIRECTIONS:
        raise ValueError(f"direction {direction!r} is none of {', '.join(DIRECTIONS)}")
    result: Result = {
        "type": "relation",
        "from_id": from_id,
        "to_id": to_id,
        "direction": direction,
    }
    if labels:
        result["labels"] = list(labels)
    return result


def check_results(
    results: Sequence[Mapping[str, Any]], config: LabelingConfig
) -> tuple[list[Result], list[str]]:
    """The results that Label Studio will take, and one line per result that is dropped.

    Label Studio stores anything and fails later in the browser, so all is checked here: names,
    types, labels and options against the config, values, and that every region has its shape.
    """
    valid: list[Result] = []
    dropped: list[str] = []
    for index, item in enumerate(results):
        fault = item_fault(item, config) if isinstance(item, Mapping) else "is no object"
        if fault is None:
            valid.append(dict(item))
        else:
            dropped.append(f"{_name(index, item)}: {fault}")
    shapes = {text(item, "id") for item in valid if is_shape(item)}
    seen: set[tuple[str, str]] = set()
    kept: list[Result] = []
    for index, item in enumerate(valid):
        fault = place_fault(item, shapes, seen, config)
        if fault is None:
            kept.append(item)
        else:
            dropped.append(f"{_name(index, item)}: {fault}")
    return kept, dropped


def _name(index: int, item: object) -> str:
    if not isinstance(item, Mapping):
        return f"result {index}"
    if item.get("type") == "relation":
        return f"relation {short(item.get('from_id'))} to {short(item.get('to_id'))}"
    return f"{short(item.get('from_name'))} of {short(item.get('id'))}"
