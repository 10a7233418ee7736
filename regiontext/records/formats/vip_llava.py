"""ViP-LLaVA's region data: plain images, boxes and polygons in pixels; its renderer draws the marks while training.

`{"id", "image", "bboxes", "segmentations", "conversations"}`. The id's first part chooses the renderer's shapes
("refcocog" all eight, "vg_rel" rectangle and ellipse for two regions), the second, "gpt4v", that `<bbox>` (one region)
or `<bbox0>` and `<bbox1>` (two) in the text become the phrase of the mark (ViP-LLaVA 77079b1,
llava/visual_prompt_organizer.py).
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
    places_named,
    reserved,
)

__all__ = ["VIP_LLAVA", "vip_llava_item"]

NAME = "{split}.json"
_ONE, _TWO = "refcocog-gpt4v-", "vg_rel-gpt4v-"


def vip_llava_item(example: Example) -> dict[str, Any]:
    """One item; a region that was painted has no polygon, and its box is drawn."""
    rings = [[list(ring) for ring in region.polygons] for region in example.regions]

    def name(region: int) -> str:
        return f"<bbox{region}>" if example.pair else "<bbox>"

    return {
        "id": (_TWO if example.pair else _ONE) + example.id,
        "image": example.image.path,
        "bboxes": [list(region.box) for region in example.regions],
        "segmentations": rings if all(rings) else None,
        "conversations": [
            {"from": "human", "value": "<image>\n" + example.question.naming(name)},
            {"from": "gpt", "value": example.text},
        ],
    }


@contextmanager
def _write(folder: Path, options: Options) -> Iterator[Add]:
    with per_split(folder, NAME, json_list) as put_of:
        yield lambda example: put_of(example.split)(vip_llava_item(example))


def _read(folder: Path, options: Options) -> Iterator[Item]:
    for split, items in read_json(folder, NAME):
        for item in items:
            yield Item(item["id"].removeprefix(_ONE).removeprefix(_TWO), split, item)


def _carried(item: Any, beside: Mapping[str, Any], options: Options) -> Carried:
    regions: list[Carried] = [{"box": box} for box in item["bboxes"]]
    for region, rings in zip(regions, item["segmentations"] or (), strict=False):
        region["polygons"] = rings
    human, gpt = item["conversations"]
    pair = len(regions) == 2
    asked = places_named(
        human["value"].removeprefix("<image>\n"),
        r"<bbox(\d)>" if pair else "<(bbox)>",
        _phrases(beside),
        int if pair else lambda _: 0,
    )
    return {
        "image": {"path": item["image"]},
        "regions": regions,
        "turns": [asked, {"text": gpt["value"]}],
    }


def _phrases(beside: Mapping[str, Any]) -> list[str]:
    return list((beside["marking"] or {}).get("phrases", ()))


VIP_LLAVA = Format(
    name="vip-llava",
    about="ViP-LLaVA: plain images, boxes and polygons; it draws the marks itself",
    pictures="plain",
    write=_write,
    read=_read,
    carried=_carried,
    unfit=reserved("<image>", "<bbox>", "<bbox0>", "<bbox1>"),
    holds="id, image path, boxes, polygons, turns with placeholders",
    lacks="image size and hash, masks of painted regions, labels, options, marks, provenance",
)
