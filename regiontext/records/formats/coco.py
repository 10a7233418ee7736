"""COCO: instances with their attributes, and captions of regions; and GPT4RoI's kin of it, a caption per annotation.

instances_SPLIT.json: images, annotations (bbox, area, segmentation, iscrowd 0; our own `labels`, `records` and, from
closed fields, `attributes`), categories (a region's first label). captions_SPLIT.json: annotations with `caption`, and
the `annotation_id` of the region that it is about. A region is a polygon where one ring says it, else a code of runs.
GPT4RoI (00273ad) reads Visual Genome as one such file with a `caption` in each annotation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from regiontext.records.example import Example
from regiontext.records.formats.coco_file import CocoFile
from regiontext.records.formats.files import each_split, per_split, read_json
from regiontext.records.formats.format import (
    Add,
    Carried,
    Format,
    Item,
    Options,
    box_of,
    said,
)
from regiontext.records.splits import Split

__all__ = ["COCO", "GPT4ROI", "only_captions", "region_carried"]

INSTANCES = "instances_{split}.json"
CAPTIONS = "captions_{split}.json"
GPT4ROI_NAME = "{split}.json"


class _Coco:
    """The two files of one split. Regions of one image are held until the next image comes."""

    def __init__(self, folder: Path, split: Split) -> None:
        self.instances = CocoFile(folder / INSTANCES.replace("{split}", split), categories=True)
        self.captions = CocoFile(folder / CAPTIONS.replace("{split}", split), categories=False)
        self._held: dict[tuple[int, str], dict[str, Any]] = {}
        self._image = ""

    def add(self, example: Example) -> None:
        if example.image.hash != self._image:
            self.flush()
            self._image = example.image.hash
        key = example.provenance.annotation, example.regions[0].id
        if key not in self._held:
            self._held[key] = self.instances.annotation(example) | {"attributes": {}, "records": {}}
        entry = self._held[key]
        if example.kind == "closed":
            entry["attributes"][example.field] = example.text
            entry["records"][example.field] = example.id
            return
        self.captions.put(
            {
                "id": self.captions.next_id(),
                "image_id": self.captions.image_of(example),
                "caption": example.text,
                "annotation_id": entry["id"],
                "field": example.field,
                "record": example.id,
            }
        )

    def flush(self) -> None:
        for entry in self._held.values():
            self.instances.put(entry)
        self._held.clear()

    def close(self) -> None:
        self.flush()
        self.instances.close()
        self.captions.close()


@contextmanager
def _opened(folder: Path, split: Split) -> Iterator[_Coco]:
    files = _Coco(folder, split)
    yield files
    files.close()


@contextmanager
def _write(folder: Path, options: Options) -> Iterator[Add]:
    with each_split(partial(_opened, folder)) as of:
        yield lambda example: of(example.split).add(example)


def _read(folder: Path, options: Options) -> Iterator[Item]:
    captions = dict(read_json(folder, CAPTIONS))
    for split, data in read_json(folder, INSTANCES):
        images = {image["id"]: image for image in data["images"]}
        regions = {entry["id"]: entry for entry in data["annotations"]}
        for entry in data["annotations"]:
            for field, record in entry["records"].items():
                text = entry["attributes"][field]
                yield Item(record, split, (images[entry["image_id"]], entry, text))
        for caption in captions.get(split, {}).get("annotations", ()):
            entry = regions[caption["annotation_id"]]
            what = (images[caption["image_id"]], entry, caption["caption"])
            yield Item(caption["record"], split, what)


def region_carried(item: Any, beside: Mapping[str, Any], options: Options) -> Carried:
    """The part of a record that (image, annotation, text) holds."""
    image, entry, text = item
    region: Carried = {
        "box": box_of(*entry["bbox"]),
        "area": entry["area"],
        "labels": entry["labels"],
    }
    shape = entry["segmentation"]
    region |= {"rle": shape} if isinstance(shape, dict) else {"polygons": shape}
    return {
        "image": {"path": image["file_name"], "width": image["width"], "height": image["height"]},
        "regions": [region],
        "turns": said(beside, text),
    }


def _no_pair(example: Example, options: Options) -> str | None:
    return (
        "a relation is between two regions, which the format cannot say" if example.pair else None
    )


def only_captions(example: Example, options: Options) -> str | None:
    """Whether a record is a caption of one region."""
    if example.pair:
        return "a relation is between two regions, which the format cannot say"
    if example.kind == "closed":
        return "a choice is no caption, and the format holds nothing else"
    return None


COCO = Format(
    name="coco",
    about="COCO: instances with attributes, and captions of regions",
    pictures="plain",
    write=_write,
    read=_read,
    carried=region_carried,
    unfit=_no_pair,
    holds="image path and size, boxes, areas, polygons or masks, labels, answers",
    lacks="relations, questions, options, image hash, marks, provenance",
)


@contextmanager
def _opened_gpt4roi(path: Path) -> Iterator[CocoFile]:
    file = CocoFile(path, categories=True)
    yield file
    file.close()


@contextmanager
def _write_gpt4roi(folder: Path, options: Options) -> Iterator[Add]:
    with per_split(folder, GPT4ROI_NAME, _opened_gpt4roi) as of:

        def add(example: Example) -> None:
            file = of(example.split)
            file.put(file.annotation(example) | {"caption": example.text, "record": example.id})

        yield add


def _read_gpt4roi(folder: Path, options: Options) -> Iterator[Item]:
    for split, data in read_json(folder, GPT4ROI_NAME):
        images = {image["id"]: image for image in data["images"]}
        for entry in data["annotations"]:
            what = (images[entry["image_id"]], entry, entry["caption"])
            yield Item(entry["record"], split, what)


GPT4ROI = Format(
    name="gpt4roi",
    about="GPT4RoI: COCO with a caption in each annotation",
    pictures="plain",
    write=_write_gpt4roi,
    read=_read_gpt4roi,
    carried=region_carried,
    unfit=only_captions,
    holds="image path and size, boxes, areas, polygons or masks, labels, captions",
    lacks="relations, choices, questions, image hash, marks, provenance",
)
