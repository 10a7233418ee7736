"""LLaMA-Factory: messages over marked pictures in its "sharegpt" form, and the `dataset_info.json` that names them.

`{"messages": [{"role", "content"}], "images": [path]}` with as many `<image>` in the text as images; the entry of
dataset_info.json maps columns and tags (LLaMA-Factory's data/README.md, ff6d4d1, and its converter, 0.9.5).
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
    asked_marked,
    reserved,
)
from regiontext.records.formats.llava import marked_images
from regiontext.records.spine import compact
from regiontext.records.splits import SPLITS

__all__ = ["INFO_NAME", "LLAMA_FACTORY", "llama_factory_item", "write_dataset_info"]

NAME = "{split}.json"
INFO_NAME = "dataset_info.json"

_TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "system_tag": "system",
}


def llama_factory_item(example: Example) -> dict[str, Any]:
    """One item."""
    images = marked_images(example)
    return {
        "id": example.id,
        "messages": [
            {"role": "user", "content": "<image>\n" * len(images) + example.question.text},
            {"role": "assistant", "content": example.text},
        ],
        "images": list(images),
    }


def write_dataset_info(folder: Path, columns: Mapping[str, str], **extra: Any) -> None:
    """Name the files of the splits that there are: regiontext_train, regiontext_validation."""
    info = {
        f"regiontext_{split}": {
            "file_name": NAME.replace("{split}", split),
            "formatting": "sharegpt",
            **extra,
            "columns": dict(columns),
            "tags": _TAGS,
        }
        for split in SPLITS
        if (folder / NAME.replace("{split}", split)).is_file()
    }
    (folder / INFO_NAME).write_text(compact(info) + "\n", encoding="utf-8")


@contextmanager
def _write(folder: Path, options: Options) -> Iterator[Add]:
    with per_split(folder, NAME, json_list) as put_of:
        yield lambda example: put_of(example.split)(llama_factory_item(example))
    write_dataset_info(folder, {"messages": "messages", "images": "images"})


def _read(folder: Path, options: Options) -> Iterator[Item]:
    for split, items in read_json(folder, NAME):
        for item in items:
            yield Item(item["id"], split, item)


def _carried(item: Any, beside: Mapping[str, Any], options: Options) -> Carried:
    user, assistant = item["messages"]
    return {
        "marking": {"images": item["images"]},
        "turns": asked_marked(user["content"], assistant["content"], len(item["images"])),
    }


LLAMA_FACTORY = Format(
    name="llama-factory",
    about="LLaMA-Factory, with its dataset_info.json",
    pictures="marked",
    write=_write,
    read=_read,
    carried=_carried,
    unfit=reserved("<image>", "<video>", "<audio>"),
    holds="id, marked pictures, turns",
    lacks="plain image, regions, options, provenance",
)
