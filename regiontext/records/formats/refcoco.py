"""RefCOCO (lichengunc/refer): `refs(regiontext).p`, a pickled list of referring expressions, and `instances.json`.

Each reference has one sentence: {ref_id, ann_id, category_id, image_id, file_name, split "train" | "val", sent_ids,
sentences [{sent_id, raw, sent, tokens}]}, and our own `record`. The pickle holds plain data only and is read with an
unpickler that takes nothing else.
"""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from regiontext.errors import RecordError
from regiontext.records.example import Example
from regiontext.records.formats.coco import only_captions, region_carried
from regiontext.records.formats.coco_file import CocoFile
from regiontext.records.formats.files import read_json
from regiontext.records.formats.format import Add, Format, Item, Options
from regiontext.records.splits import Split

__all__ = ["REFCOCO"]

REFS: Final = "refs(regiontext).p"
INSTANCES: Final = "instances.json"
_SPLITS: Final[dict[Split, str]] = {"train": "train", "validation": "val"}

# The pickle of a list, written entry by entry: protocol 2, an empty list, then each entry appended to it.
_HEAD, _APPEND, _STOP = b"\x80\x02]", b"a", b"."


def _pickled(entry: Any) -> bytes:
    """An entry's pickle without head and stop, and without a memo, whose numbers the entries would share."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, protocol=2)
    pickler.fast = True
    pickler.dump(entry)
    return buffer.getvalue()[2:-1]


class _PlainOnly(pickle.Unpickler):
    """Takes lists, objects, texts and numbers; no code."""

    def find_class(self, module: str, name: str) -> Any:
        """Refuse every class."""
        raise RecordError(f"{REFS} wants to load {module}.{name}; it may hold plain data only")


@contextmanager
def _write(folder: Path, options: Options) -> Iterator[Add]:
    instances = CocoFile(folder / INSTANCES, categories=True)
    with (folder / REFS).open("wb") as file:
        file.write(_HEAD)
        count = 0

        def add(example: Example) -> None:
            nonlocal count
            count += 1
            entry = instances.annotation(example)
            instances.put(entry)
            text = example.text
            sent = " ".join(re.findall(r"[\w']+", text.lower()))
            ref = {
                "ref_id": count,
                "ann_id": entry["id"],
                "category_id": entry["category_id"],
                "image_id": entry["image_id"],
                "file_name": example.image.path,
                "split": _SPLITS[example.split],
                "sent_ids": [count],
                "sentences": [
                    {"sent_id": count, "raw": text, "sent": sent, "tokens": sent.split()}
                ],
                "record": example.id,
            }
            file.write(_pickled(ref) + _APPEND)

        yield add
        file.write(_STOP)
    instances.close()


def _read(folder: Path, options: Options) -> Iterator[Item]:
    splits: dict[str, Split] = {name: split for split, name in _SPLITS.items()}
    for _, data in read_json(folder, INSTANCES):
        images = {image["id"]: image for image in data["images"]}
        regions = {entry["id"]: entry for entry in data["annotations"]}
        with (folder / REFS).open("rb") as file:
            refs = _PlainOnly(file).load()
        for ref in refs:
            what = (images[ref["image_id"]], regions[ref["ann_id"]], ref["sentences"][0]["raw"])
            yield Item(ref["record"], splits[ref["split"]], what)
        return


REFCOCO = Format(
    name="refcoco",
    about="RefCOCO's refs and instances, for referring expressions",
    pictures="plain",
    write=_write,
    read=_read,
    carried=region_carried,
    unfit=only_captions,
    holds="image path and size, boxes, areas, polygons or masks, labels, captions",
    lacks="relations, choices, questions, image hash, marks, provenance",
)
