"""Visual Genome's files: region descriptions, attributes, relationships, and the data of their images.

A caption of one region is a region description, a choice an object's attributes, what is said of a pair a relationship
whose predicate is the label or sentence. Files per split, as `region_descriptions_train.json`; each is a list with one
entry per image (the API's layout: regions, attributes, relationships). `record` is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from regiontext.records.example import Example
from regiontext.records.formats.files import each_split, json_list, read_json
from regiontext.records.formats.format import (
    Add,
    Carried,
    Format,
    Item,
    Options,
    box_of,
    no_reason,
    said,
    xywh,
)
from regiontext.records.splits import Split

__all__ = ["VISUAL_GENOME"]

IMAGES: Final = "image_data_{split}.json"
KINDS: Final = {
    "regions": "region_descriptions_{split}.json",
    "attributes": "attributes_{split}.json",
    "relationships": "relationships_{split}.json",
}


class _Split:
    """The four files of one split. One image's entries are held until the next image comes."""

    def __init__(self, folder: Path, split: Split, stack: ExitStack) -> None:
        self._put: dict[str, Callable[[Any], None]] = {
            kind: stack.enter_context(json_list(folder / name.replace("{split}", split)))
            for kind, name in (*KINDS.items(), ("images", IMAGES))
        }
        self._images: dict[str, int] = {}
        self._hash = ""
        self._objects: dict[tuple[int, str], int] = {}
        self._held: dict[str, list[Any]] = {kind: [] for kind in KINDS}
        self._last = 0

    def add(self, example: Example) -> None:
        image = example.image
        if image.hash != self._hash:
            self.flush()
            self._hash = image.hash
        if image.hash not in self._images:
            number = len(self._images) + 1
            self._images[image.hash] = number
            entry = {"image_id": number, "url": image.path, "coco_id": None, "flickr_id": None}
            self._put["images"](entry | {"width": image.width, "height": image.height})
        self._last += 1
        if example.pair:
            subject, object_ = self._object(example, 0), self._object(example, 1)
            entry = {"relationship_id": self._last, "predicate": example.text, "synsets": []}
            entry |= {"subject": subject, "object": object_, "record": example.id}
            self._held["relationships"].append(entry)
        elif example.kind == "closed":
            entry = self._object(example, 0) | {"attributes": list(example.answer)}
            self._held["attributes"].append(entry | {"record": example.id})
        else:
            x, y, width, height = xywh(example)
            entry = {"region_id": self._last, "image_id": self._images[image.hash]}
            entry |= {"phrase": example.text, "x": x, "y": y, "width": width, "height": height}
            names = list(example.regions[0].labels)
            self._held["regions"].append(entry | {"names": names, "record": example.id})

    def _object(self, example: Example, place: int) -> dict[str, Any]:
        region = example.regions[place]
        key = example.provenance.annotation, region.id
        if key not in self._objects:
            self._last += 1
            self._objects[key] = self._last
        x, y, width, height = xywh(example, place)
        names = list(region.labels)
        found = {"object_id": self._objects[key], "names": names, "x": x, "y": y}
        return found | {"w": width, "h": height}

    def flush(self) -> None:
        """Write what is known of the image that is over."""
        for kind, entries in self._held.items():
            if entries:
                number = self._images[self._hash]
                key = "id" if kind == "regions" else "image_id"
                self._put[kind]({key: number, kind: entries})
                self._held[kind] = []
        self._objects.clear()


@contextmanager
def _opened(folder: Path, split: Split) -> Iterator[_Split]:
    with ExitStack() as stack:
        files = _Split(folder, split, stack)
        yield files
        files.flush()


@contextmanager
def _write(folder: Path, options: Options) -> Iterator[Add]:
    with each_split(partial(_opened, folder)) as of:
        yield lambda example: of(example.split).add(example)


def _read(folder: Path, options: Options) -> Iterator[Item]:
    images = {
        split: {image["image_id"]: image for image in data}
        for split, data in read_json(folder, IMAGES)
    }
    for kind, name in KINDS.items():
        for split, data in read_json(folder, name):
            for group in data:
                image = images[split][group["id" if kind == "regions" else "image_id"]]
                for entry in group[kind]:
                    yield Item(entry["record"], split, (image, kind, entry))


def _carried(item: Any, beside: Mapping[str, Any], options: Options) -> Carried:
    image, kind, entry = item
    found: Carried = {
        "image": {"path": image["url"], "width": image["width"], "height": image["height"]}
    }
    if kind == "relationships":
        regions = [_region(entry["subject"]), _region(entry["object"])]
        return found | {"regions": regions, "turns": said(beside, entry["predicate"])}
    if kind == "attributes":
        turns = said(beside, ", ".join(entry["attributes"]))
        answer = {"answer": entry["attributes"]}
        return found | {"regions": [_region(entry)], "turns": turns} | answer
    box = box_of(entry["x"], entry["y"], entry["width"], entry["height"])
    regions = [{"box": box, "labels": entry["names"]}]
    return found | {"regions": regions, "turns": said(beside, entry["phrase"])}


def _region(entry: Mapping[str, Any]) -> Carried:
    box = box_of(entry["x"], entry["y"], entry["w"], entry["h"])
    return {"box": box, "labels": entry["names"]}


VISUAL_GENOME = Format(
    name="visual-genome",
    about="Visual Genome: region descriptions, attributes, relationships",
    pictures="plain",
    write=_write,
    read=_read,
    carried=_carried,
    unfit=no_reason,
    holds="image path and size, boxes, labels, answers",
    lacks="polygons, masks, questions, options, image hash, marks, provenance",
)
