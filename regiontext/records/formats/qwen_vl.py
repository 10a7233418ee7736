"""Qwen-VL's own fine-tuning format: plain images, boxes written into the text in the model's numbers.

`{"image", "conversations": [{"from", "value"}]}` (qwen-vl-finetune's README). Coordinates: "qwen2.5-vl" (pixels of the
image as its processor resizes it) unless another convention is named; "qwen3-vl" counts to 1000.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from regiontext.conventions import convention
from regiontext.records.example import Example
from regiontext.records.formats.boxes_in_text import asked_with_boxes, read_boxes
from regiontext.records.formats.files import json_list, per_split, read_json
from regiontext.records.formats.format import Add, Carried, Format, Item, Options, reserved

__all__ = ["QWEN_VL", "qwen_vl_item"]

NAME = "{split}.json"
DEFAULT = "qwen2.5-vl"


def qwen_vl_item(example: Example, coordinates: str = DEFAULT) -> dict[str, Any]:
    """One item; ValueError as `convention` and its `text` raise it."""
    asked = asked_with_boxes(example, convention(coordinates))
    return {
        "id": example.id,
        "image": example.image.path,
        "conversations": [
            {"from": "human", "value": f"<image>\n{asked}"},
            {"from": "gpt", "value": example.text},
        ],
    }


@contextmanager
def _write(folder: Path, options: Options) -> Iterator[Add]:
    name = options.coordinates or DEFAULT
    with per_split(folder, NAME, json_list) as put_of:
        yield lambda example: put_of(example.split)(qwen_vl_item(example, name))


def _read(folder: Path, options: Options) -> Iterator[Item]:
    for split, items in read_json(folder, NAME):
        for item in items:
            yield Item(item["id"], split, item)


def _carried(item: Any, beside: Mapping[str, Any], options: Options) -> Carried:
    human, gpt = item["conversations"]
    text = human["value"].removeprefix("<image>\n")
    asked = read_boxes(text, beside, convention(options.coordinates or DEFAULT))
    return {"image": {"path": item["image"]}, "turns": [asked, {"text": gpt["value"]}]}


QWEN_VL = Format(
    name="qwen-vl",
    about="Qwen-VL's fine-tuning: plain images, boxes in the text",
    pictures="plain",
    write=_write,
    read=_read,
    carried=_carried,
    unfit=reserved("<image>", "<video>"),
    holds="id, image path, turns with boxes",
    lacks="image size and hash, exact boxes, polygons, masks, labels, options, marks, provenance",
    coordinates=DEFAULT,
)
