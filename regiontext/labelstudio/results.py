"""Lists of Label Studio results: sorting them, writing fields into regions, checking them.

A region's shape and its fields are separate results that share the region's id. Knows the JSON
and the labeling config; knows nothing of pixels beyond handing shapes to `decode`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from regiontext.errors import RegionError
from regiontext.labelstudio.config import Field, LabelingConfig
from regiontext.labelstudio.decode import decode_region, is_shape
from regiontext.region import Region

__all__ = [
    "DIRECTIONS",
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

DIRECTIONS = ("left", "right", "bi")

_FIELD_KEYS = {"textarea": "text", "choices": "choices"}
_SHAPE_KEYS = frozenset(
    (
        "x",
        "y",
        "width",
        "height",
        "rotation",
        "radiusX",
        "radiusY",
        "points",
        "closed",
        "vertices",
        "format",
        "rle",
        "imageDataURL",
    )
)
_IMAGE_KEYS = ("original_width", "original_height", "image_rotation", "item_index")


@dataclass(frozen=True)
class Results:
    """A result list, sorted.

    shapes: region id -> its shape. fields: region id -> field name -> the field's result.
    image_fields: field name -> the whole image's result. relations, others: as they came; others
    holds fields whose region has no shape, and results of any other control.
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
    for item in items:
        if is_shape(item):
            sorted_.shapes[_text(item, "id")] = item
    for item in items:
        region, name = _text(item, "id"), _text(item, "from_name")
        if is_shape(item):
            continue
        if item.get("type") == "relation":
            sorted_.relations.append(item)
        elif item.get("type") not in _FIELD_KEYS:
            sorted_.others.append(item)
        elif region in sorted_.shapes:
            sorted_.fields.setdefault(region, {})[name] = item
        elif _is_regional(item):
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
            given[_text(item, "id")] = _strings(_value(item).get("labels"))
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
    """The texts or choices of a field's result; empty when it has none."""
    value = _value(field_result)
    key = _FIELD_KEYS.get(str(field_result.get("type")))
    if key is None:
        key = "choices" if "choices" in value else "text"
    return _strings(value.get(key))


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
    shape = {key: value for key, value in _value(shape_result).items() if key in _SHAPE_KEYS}
    result: Result = {key: shape_result[key] for key in _IMAGE_KEYS if key in shape_result}
    result |= {
        "id": shape_result["id"],
        "from_name": field.name,
        "to_name": field.to_name,
        "type": field.type,
        "origin": "prediction",
        "value": shape | {_FIELD_KEYS[field.type]: list(values)},
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
        "value": {_FIELD_KEYS[field.type]: list(values)},
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
        fault = _fault(item, config) if isinstance(item, Mapping) else "is no object"
        if fault is None:
            valid.append(dict(item))
        else:
            dropped.append(f"{_name(index, item)}: {fault}")
    shapes = {_text(item, "id") for item in valid if is_shape(item)}
    seen: set[tuple[str, str]] = set()
    kept: list[Result] = []
    for index, item in enumerate(valid):
        fault = _orphan(item, shapes, seen, config)
        if fault is None:
            kept.append(item)
        else:
            dropped.append(f"{_name(index, item)}: {fault}")
    return kept, dropped


def _fault(item: Mapping[str, Any], config: LabelingConfig) -> str | None:
    kind = item.get("type")
    if kind == "relation":
        return _relation_fault(item, config)
    id, name, value = item.get("id"), item.get("from_name"), item.get("value")
    if not isinstance(id, str) or not id:
        return f"its id {id!r} is no text"
    control = next((c for c in config.controls if c.name == name), None)
    if control is None:
        return f"from_name {name!r} is not in the labeling config"
    if item.get("to_name") != control.to_name:
        return f"to_name {item.get('to_name')!r} is not {control.to_name!r}"
    if kind != control.type:
        return f"type {kind!r} does not match <{control.tag}>, which writes {control.type!r}"
    if not isinstance(value, Mapping):
        return f"its value {value!r} is no object"
    if control.type in _FIELD_KEYS:
        return _field_fault(value, control.type, config.field(control.name))
    if control.type.endswith("labels"):
        return _labels_fault(value, control.type, control.labels)
    return None


def _field_fault(value: Mapping[str, Any], kind: str, field: Field | None) -> str | None:
    key = _FIELD_KEYS[kind]
    given = value.get(key)
    if not isinstance(given, list) or not all(isinstance(entry, str) for entry in given):
        # Nested choices are lists of lists; such a field is not ours to fill, only to echo.
        if field is None and kind == "choices" and isinstance(given, list):
            return None
        return f"its {key} {_short(given)} is no list of texts"
    if field is None or kind == "textarea":
        return None
    for option in given:
        if option not in field.options:
            return f"{option!r} is no option of {field.name!r} ({', '.join(field.options)})"
    if len(given) > 1 and not field.multiple:
        return f"{field.name!r} takes one choice, not {len(given)}"
    return None


def _labels_fault(value: Mapping[str, Any], kind: str, labels: tuple[str, ...]) -> str | None:
    given = value.get(kind)
    if given is None:
        return None
    if not isinstance(given, list) or not all(isinstance(label, str) for label in given):
        return f"its {kind} {_short(given)} is no list of texts"
    # A control without labels takes them from the task's data.
    unknown = [label for label in given if labels and label not in labels]
    return f"{unknown[0]!r} is no label of the control ({', '.join(labels)})" if unknown else None


def _relation_fault(item: Mapping[str, Any], config: LabelingConfig) -> str | None:
    known = {relation.value for relation in config.relations}
    labels = item.get("labels", [])
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        return f"its labels {_short(labels)} are no list of texts"
    if item.get("direction", "right") not in DIRECTIONS:
        return f"direction {item.get('direction')!r} is none of {', '.join(DIRECTIONS)}"
    unknown = [label for label in labels if label not in known]
    return f"{unknown[0]!r} is no relation of the labeling config" if unknown else None


def _orphan(
    item: Result, shapes: set[str], seen: set[tuple[str, str]], config: LabelingConfig
) -> str | None:
    if item.get("type") == "relation":
        for end in ("from_id", "to_id"):
            if item.get(end) not in shapes:
                return f"{end} {item.get(end)!r} is not among the regions"
        return None
    id, name = _text(item, "id"), _text(item, "from_name")
    if (id, name) in seen:
        return f"{name!r} of {id!r} is there twice"
    field = config.field(name)
    per_region = field.per_region if field else _is_regional(item)
    if per_region and not is_shape(item) and id not in shapes:
        return f"the region {id!r} has no shape among the results and would lose its label"
    if not per_region and id in shapes and not is_shape(item):
        return f"{name!r} belongs to the whole image, not to the region {id!r}"
    seen.add((id, name))
    return None


def _is_regional(item: Mapping[str, Any]) -> bool:
    return not _SHAPE_KEYS.isdisjoint(_value(item))


def _name(index: int, item: object) -> str:
    if not isinstance(item, Mapping):
        return f"result {index}"
    if item.get("type") == "relation":
        return f"relation {_short(item.get('from_id'))} to {_short(item.get('to_id'))}"
    return f"{_short(item.get('from_name'))} of {_short(item.get('id'))}"


def _value(item: Mapping[str, Any]) -> Mapping[str, Any]:
    value = item.get("value")
    return value if isinstance(value, Mapping) else {}


def _text(item: Mapping[str, Any], key: str) -> str:
    value = item.get(key)
    return value if isinstance(value, str) else ""


def _strings(value: object) -> tuple[str, ...]:
    return tuple(_iterate(value))


def _iterate(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        yield from (entry for entry in value if isinstance(entry, str))


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
