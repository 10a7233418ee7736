"""Osprey: plain images, masks as COCO segmentations, regions named `<region1>` in the conversation.

`{"file_name", "height", "width", "annotation": [{"segmentation", "bbox", "area"}], "conversations"}`, as its 724K files
(Osprey deb0e57, osprey/datasets/osprey_724k.py), which put the picture and the regions before the first turn
themselves, so no `<image>` stands in the text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from regiontext.records.example import Example
from regiontext.records.formats.files import json_list, per_split, read_json
from regiontext.records.formats.format import (
    Add,
    Carried,
    Format,
    Item,
    Options,
    box_of,
    places_named,
    reserved,
    xywh,
)

__all__ = ["OSPREY", "osprey_item"]

NAME = "{split}.json"


def osprey_item(example: Example) -> dict[str, Any]:
    """One item. Every mask is a run-length code: a polygon cannot have holes there."""
    return {
        "id": example.id,
        "file_name": example.image.path,
        "height": example.image.height,
        "width": example.image.width,
        "annotation": [
            {
                "segmentation": dict(region.rle),
                "bbox": xywh(example, number),
                "area": region.area,
                "name": region.labels[0] if region.labels else "object",
                "labels": list(region.labels),
            }
            for number, region in enumerate(example.regions)
        ],
        "conversations": [
            {
                "from": "human",
                "value": example.question.naming(lambda region: f"in <region{region + 1}>"),
            },
            {"from": "gpt", "value": example.text},
        ],
    }


@contextmanager
def _write(folder: Path, options: Options) -> Iterator[Add]:
    with per_split(folder, NAME, json_list) as put_of:
        yield lambda example: put_of(example.split)(osprey_item(example))


def _read(folder: Path, options: Options) -> Iterator[Item]:
    for split, items in read_json(folder, NAME):
        for item in items:
            yield Item(item["id"], split, item)


def _carried(item: Any, beside: Mapping[str, Any], options: Options) -> Carried:
    phrases = list((beside["marking"] or {}).get("phrases", ()))
    human, gpt = item["conversations"]
    asked = places_named(human["value"], r"in <region(\d)>", phrases, lambda text: int(text) - 1)
    return {
        "image": {"path": item["file_name"], "width": item["width"], "height": item["height"]},
        "regions": [
            {
                "box": box_of(*entry["bbox"]),
                "rle": entry["segmentation"],
                "area": entry["area"],
                "labels": entry["labels"],
            }
            for entry in item["annotation"]
        ],
        "turns": [asked, {"text": gpt["value"]}],
    }


OSPREY = Format(
    name="osprey",
    about="Osprey: plain images and masks",
    pictures="plain",
    write=_write,
    read=_read,
    carried=_carried,
    unfit=reserved("<image>", "<region1>", "<region2>", "<mask>", "<pos>"),
    holds="id, image path and size, masks, boxes, areas, labels, turns with placeholders",
    lacks="image hash, polygons as drawn, options, marks, provenance",
)
