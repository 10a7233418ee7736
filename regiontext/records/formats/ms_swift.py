"""ms-swift: messages over plain images, regions as `objects` that it scales for the model itself.

`{"messages", "images", "objects": {"ref", "bbox", "bbox_type"}}`; each `<bbox>` in the text is filled with the next box
(ms-swift 3602360, docs Custom-dataset, and its 4.6 preprocessor). With coordinates "pixels" (default) and "unit" the
boxes are "real" and "norm1", and ms-swift makes the model's numbers of them; with any other convention the numbers and
their writing are that model's and stand in the text, and `objects` is empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from regiontext.conventions import convention
from regiontext.records.example import Example
from regiontext.records.formats.boxes_in_text import asked_with_boxes, order_of, read_boxes
from regiontext.records.formats.files import json_lines, per_split, read_json_lines
from regiontext.records.formats.format import (
    Add,
    Carried,
    Format,
    Item,
    Options,
    places_named,
    reserved,
)

__all__ = ["MS_SWIFT", "ms_swift_carried", "ms_swift_item"]

NAME = "{split}.jsonl"
_TYPES: Final = {"pixels": "real", "unit": "norm1"}


def ms_swift_item(example: Example, options: Options) -> dict[str, Any]:
    """One row."""
    name = options.coordinates or "pixels"
    if name in _TYPES:
        asked = example.question.naming(lambda region: "in <bbox>")
        size = example.image.width, example.image.height
        boxes = [
            list(convention(name).encode(example.regions[place[2]].box, size))
            for place in example.question.places
        ]
        objects: dict[str, Any] = {"ref": [], "bbox": boxes, "bbox_type": _TYPES[name]}
    else:
        asked = asked_with_boxes(example, convention(name))
        objects = {"ref": [], "bbox": []}
    return {
        "id": example.id,
        "messages": [
            {"role": "user", "content": f"<image>{asked}"},
            {"role": "assistant", "content": example.text},
        ],
        "images": [example.image.path],
        "objects": objects,
    }


def ms_swift_carried(item: Any, beside: Mapping[str, Any], options: Options) -> Carried:
    """The part of a record that a row holds."""
    name = options.coordinates or "pixels"
    user, assistant = item["messages"]
    text = user["content"].removeprefix("<image>")
    found: Carried = {"image": {"path": item["images"][0]}}
    if name not in _TYPES:
        asked = read_boxes(text, beside, convention(name))
    else:
        order = order_of(beside["wording"])
        phrases = (beside["marking"] or {}).get("phrases", ())
        rest = iter(order)
        asked = places_named(text, "in <(bbox)>", phrases, lambda _: next(rest, -1))
        if name == "pixels":
            boxes = dict(zip(order, item["objects"]["bbox"], strict=False))
            regions = [{"box": list(map(float, boxes[i]))} for i in sorted(boxes)]
            found["regions"] = regions
    return found | {"turns": [asked, {"text": assistant["content"]}]}


@contextmanager
def _write(folder: Path, options: Options) -> Iterator[Add]:
    with per_split(folder, NAME, json_lines) as put_of:
        yield lambda example: put_of(example.split)(ms_swift_item(example, options))


def _read(folder: Path, options: Options) -> Iterator[Item]:
    for split, item in read_json_lines(folder, NAME):
        yield Item(item["id"], split, item)


MS_SWIFT = Format(
    name="ms-swift",
    about="ms-swift: plain images, boxes as objects or in a named model's numbers",
    pictures="plain",
    write=_write,
    read=_read,
    carried=ms_swift_carried,
    unfit=reserved("<image>", "<bbox>", "<ref-object>", "<video>", "<audio>"),
    holds="id, image path, boxes (coordinates pixels), turns with placeholders",
    lacks="image size and hash, polygons, masks, labels, options, marks, provenance; boxes in other coordinates",
    coordinates="pixels",
)
