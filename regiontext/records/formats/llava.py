"""The LLaVA conversation format: a JSON list, one item per record, images beside it.

Each item is `{"id", "image", "conversations": [{"from": "human"|"gpt", "value"}]}`, with one
`<image>` line per picture at the start of the first human turn (LLaVA, Liu et al. 2023, "Visual
Instruction Tuning", data format of the public training files). Knows nothing of where records come
from or how they are rendered.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from regiontext.records.record import Record

__all__ = [
    "CONVERSATIONS_NAME",
    "RECORDS_NAME",
    "Shown",
    "llava_item",
    "llava_writer",
    "write_llava",
]

CONVERSATIONS_NAME = "conversations.json"
RECORDS_NAME = "records.jsonl"


class Shown(Protocol):
    """What the model is shown of a record: the marked pictures, and the hash of their pixels."""

    @property
    def images(self) -> tuple[Image.Image, ...]:
        """RGB pictures, in the order in which the prompt speaks of them."""

    @property
    def hash(self) -> str:
        """sha256 (hex) over the final pixels and the view."""


def llava_item(record: Record, images: Sequence[str], prompt: str) -> dict[str, Any]:
    """One item of the list; `image` is one path, or a list of paths when the view has several."""
    pictures = "<image>\n" * len(images)
    return {
        "id": record.id,
        "image": images[0] if len(images) == 1 else list(images),
        "conversations": [
            {"from": "human", "value": f"{pictures}{prompt}"},
            {"from": "gpt", "value": record.text},
        ],
    }


@contextmanager
def llava_writer(folder: Path) -> Iterator[Callable[[Record, Shown, str], None]]:
    """Yield `add(record, what is shown, prompt)`; the files below `folder` are complete when the block ends.

    Writes `conversations.json`, `records.jsonl` (the full provenance, one record per line, in the same order, with
    the render hash and prompt) and `images/HASH-N.png`. Pictures are named by their render hash, so records that are
    shown the same pixels share a file. Nothing is kept in memory.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    with (
        (folder / CONVERSATIONS_NAME).open("w", encoding="utf-8") as conversations,
        (folder / RECORDS_NAME).open("w", encoding="utf-8") as lines,
    ):
        before = "[\n"

        def add(record: Record, shown: Shown, prompt: str) -> None:
            nonlocal before
            item = llava_item(record, _save(shown, folder), prompt)
            conversations.write(before + json.dumps(item, ensure_ascii=False))
            before = ",\n"
            line = record.to_dict() | {"prompt": prompt, "render_hash": shown.hash}
            lines.write(json.dumps(line, ensure_ascii=False) + "\n")

        yield add
        conversations.write("\n]\n" if before == ",\n" else "[]\n")


def write_llava(items: Iterable[tuple[Record, Shown, str]], folder: Path) -> int:
    """Write `(record, what is shown, prompt)` triples as `llava_writer` does; returns how many there were."""
    number = 0
    with llava_writer(folder) as add:
        for record, shown, prompt in items:
            add(record, shown, prompt)
            number += 1
    return number


def _save(shown: Shown, folder: Path) -> list[str]:
    names = []
    for number, image in enumerate(shown.images):
        name = f"images/{shown.hash[:32]}-{number}.png"
        if not (folder / name).exists():
            image.save(folder / name)
        names.append(name)
    return names
