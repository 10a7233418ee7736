"""One COCO JSON file, written as its entries come: images once each, annotations, categories at the end.

Knows what a region looks like there; knows nothing of captions or splits.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from regiontext.records.example import Example, ExampleRegion
from regiontext.records.formats.files import JsonObject
from regiontext.records.formats.format import xywh

__all__ = ["CocoFile", "segmentation"]

NO_LABEL = "object"


def segmentation(region: ExampleRegion) -> Any:
    """A list with the one ring that is the region, or its run-length code.

    COCO unites rings, so that a hole needs the code; so does what was painted.
    """
    ring = region.polygons[0] if len(region.polygons) == 1 else ()
    return [list(ring)] if len(ring) >= 6 else dict(region.rle)


class CocoFile:
    """`put` annotations; ids count from 1. Memory holds an id per image and category."""

    def __init__(self, path: Path, *, categories: bool) -> None:
        lists = ["images", "annotations", *(["categories"] if categories else [])]
        self._file = JsonObject(
            path,
            lists,
            info={"description": "region texts, written by regiontext", "version": "1"},
            licenses=[],
        )
        self._images: dict[str, int] = {}
        self._categories: dict[str, int] = {}
        self._last = 0

    def next_id(self) -> int:
        """The next annotation's id."""
        self._last += 1
        return self._last

    def image_of(self, example: Example) -> int:
        """The id of the example's image, which is written if it is new."""
        image = example.image
        if image.hash not in self._images:
            self._images[image.hash] = len(self._images) + 1
            entry = {
                "id": self._images[image.hash],
                "file_name": image.path,
                "width": image.width,
                "height": image.height,
                "hash": image.hash,
            }
            self._file.put("images", entry)
        return self._images[image.hash]

    def annotation(self, example: Example) -> dict[str, Any]:
        """A new annotation of the example's first region, not written yet."""
        region = example.regions[0]
        return {
            "id": self.next_id(),
            "image_id": self.image_of(example),
            "category_id": self.category(region.labels[0] if region.labels else NO_LABEL),
            "bbox": xywh(example),
            "area": region.area,
            "iscrowd": 0,
            "segmentation": segmentation(region),
            "labels": list(region.labels),
        }

    def category(self, name: str) -> int:
        """The id of a category."""
        return self._categories.setdefault(name, len(self._categories) + 1)

    def put(self, annotation: dict[str, Any]) -> None:
        """Write one annotation."""
        self._file.put("annotations", annotation)

    def close(self) -> None:
        """Write the categories, and the file."""
        for name, number in self._categories.items():
            self._file.put("categories", {"id": number, "name": name, "supercategory": ""})
        self._file.close()
