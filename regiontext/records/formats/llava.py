"""LLaVA: a JSON list of conversations over marked pictures, `<image>` in the first human turn.

Each item is `{"id", "image", "conversations": [{"from": "human"|"gpt", "value"}]}` (LLaVA, Liu et al. 2023, "Visual
Instruction Tuning", data format of the public training files); `image` is a list where the view has two pictures.
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

__all__ = ["LLAVA", "llava_item", "marked_images"]

NAME = "{split}.json"


def marked_images(example: Example) -> tuple[str, ...]:
    """The pictures a conversation shows: the marked ones, or the plain one where nothing was drawn."""
    return example.marking.images if example.marking is not None else (example.image.path,)


def llava_item(example: Example) -> dict[str, Any]:
    """One item of the list; `image` is one path, or a list of paths when the view has several."""
    images = marked_images(example)
    return {
        "id": example.id,
        "image": images[0] if len(images) == 1 else list(images),
        "conversations": [
            {"from": "human", "value": "<image>\n" * len(images) + example.question.text},
            {"from": "gpt", "value": example.text},
        ],
    }


@contextmanager
def _write(folder: Path, options: Options) -> Iterator[Add]:
    with per_split(folder, NAME, json_list) as put_of:
        yield lambda example: put_of(example.split)(llava_item(example))


def _read(folder: Path, options: Options) -> Iterator[Item]:
    for split, items in read_json(folder, NAME):
        for item in items:
            yield Item(item["id"], split, item)


def _carried(item: Any, beside: Mapping[str, Any], options: Options) -> Carried:
    images = item["image"] if isinstance(item["image"], list) else [item["image"]]
    human, gpt = item["conversations"]
    return {
        "marking": {"images": images},
        "turns": asked_marked(human["value"], gpt["value"], len(images)),
    }


LLAVA = Format(
    name="llava",
    about="LLaVA and its kin: conversations over marked pictures",
    pictures="marked",
    write=_write,
    read=_read,
    carried=_carried,
    unfit=reserved("<image>"),
    holds="id, marked pictures, turns",
    lacks="plain image, regions, options, provenance",
)
