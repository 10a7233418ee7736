"""CSV: one row per record, for a spreadsheet or pandas; lists are JSON in their cells.

A text that a spreadsheet would take for a formula (it begins with =, +, -, @, tab or return) gets an apostrophe before
it, which reading takes away again.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from regiontext.errors import RecordError
from regiontext.records.example import Example
from regiontext.records.formats.files import per_split
from regiontext.records.formats.format import Add, Carried, Format, Item, Options, no_reason
from regiontext.records.spine import compact
from regiontext.records.splits import SPLITS

__all__ = ["CSV", "COLUMNS", "row"]

NAME: Final = "{split}.csv"

COLUMNS: Final = (
    "id",
    "field",
    "kind",
    "question",
    "answer",
    "outcome",
    "suggested",
    "options",
    "labels",
    "boxes",
    "regions",
    "image",
    "image_hash",
    "width",
    "height",
    "source",
    "marked",
    "wording",
    "arm",
    "annotator",
    "model_version",
    "suggestion",
    "project",
    "task",
    "annotation",
    "updated_at",
)
_LISTS: Final = ("answer", "suggested", "options", "labels", "boxes", "regions", "marked")
_NUMBERS: Final = ("width", "height", "annotator", "project", "task", "annotation")
_FORMULA: Final = re.compile(r"'*[=+\-@\t\r]")


def row(example: Example) -> dict[str, str]:
    """The record's cells by column."""
    image, origin = example.image, example.provenance
    cells: dict[str, Any] = {
        "id": example.id,
        "field": example.field,
        "kind": example.kind,
        "question": example.question.text,
        "answer": list(example.answer),
        "outcome": origin.outcome,
        "suggested": None if origin.suggested is None else list(origin.suggested),
        "options": list(example.options),
        "labels": [list(region.labels) for region in example.regions],
        "boxes": [list(region.box) for region in example.regions],
        "regions": [region.id for region in example.regions],
        "image": image.path,
        "image_hash": image.hash,
        "width": image.width,
        "height": image.height,
        "source": image.source,
        "marked": list(example.marking.images) if example.marking else [],
        "wording": example.wording,
        "arm": origin.arm,
        "annotator": origin.annotator,
        "model_version": origin.model_version,
        "suggestion": origin.suggestion,
        "project": origin.project,
        "task": origin.task,
        "annotation": origin.annotation,
        "updated_at": origin.updated_at,
    }
    return {name: _cell(name, value) for name, value in cells.items()}


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    text = compact(value) if name in _LISTS else str(value)
    return f"'{text}" if _FORMULA.match(text) else text


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        yield writer.writerow


@contextmanager
def _write(folder: Path, options: Options) -> Iterator[Add]:
    with per_split(folder, NAME, _opened) as put_of:
        yield lambda example: put_of(example.split)(row(example))


def _read(folder: Path, options: Options) -> Iterator[Item]:
    for split in SPLITS:
        path = folder / NAME.replace("{split}", split)
        if not path.is_file():
            continue
        with path.open(encoding="utf-8", newline="") as file:
            for cells in csv.DictReader(file):
                if set(COLUMNS) - set(cells):
                    raise RecordError(f"{path} lacks columns {sorted(set(COLUMNS) - set(cells))}")
                values = {name: _value(name, cells[name] or "") for name in COLUMNS}
                yield Item(str(values["id"]), split, values)


def _value(name: str, cell: str) -> Any:
    text = cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
    if name in (*_LISTS, *_NUMBERS):
        return json.loads(text) if text else None
    if name in ("model_version", "suggestion", "updated_at"):
        return text or None
    return text


def _carried(item: Any, beside: Mapping[str, Any], options: Options) -> Carried:
    regions = [
        {"id": id, "labels": labels, "box": box}
        for id, labels, box in zip(item["regions"], item["labels"], item["boxes"], strict=True)
    ]
    joined = (", " if item["kind"] == "closed" else " ").join(item["answer"])
    found: Carried = {
        "image": {
            "path": item["image"],
            "hash": item["image_hash"],
            "width": item["width"],
            "height": item["height"],
            "source": item["source"],
        },
        "regions": regions,
        "turns": [{"text": item["question"]}, {"text": joined}],
    }
    if item["marked"]:
        found["marking"] = {"images": item["marked"]}
    names = ("outcome", "suggested", "arm", "annotator", "model_version", "suggestion")
    found["provenance"] = {
        name: item[name] for name in (*names, "project", "task", "annotation", "updated_at")
    }
    return found | {name: item[name] for name in ("field", "kind", "wording", "options", "answer")}


CSV = Format(
    name="csv",
    about="CSV: one row per record, for spreadsheets and pandas",
    pictures="both",
    write=_write,
    read=_read,
    carried=_carried,
    unfit=no_reason,
    holds="everything but geometry beyond boxes",
    lacks="polygons, masks, layout of the marks, places of their phrases",
)
