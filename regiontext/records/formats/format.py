"""What every export format is: how it is written, what of a record it can hold, and how it is read back.

A format's own files win when a dataset is read; what they cannot hold is taken from `records.jsonl` beside them. Knows
no single format.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from regiontext.records.example import Example
from regiontext.records.splits import Split

__all__ = [
    "Add",
    "Carried",
    "Format",
    "Item",
    "Options",
    "Unfit",
    "asked_marked",
    "box_of",
    "no_reason",
    "places_named",
    "reserved",
    "said",
    "xywh",
]

Add = Callable[[Example], None]
Carried = dict[str, Any]
"""A part of `Example.to_dict()`: only what a file itself says. Lists of objects match by position."""


@dataclass(frozen=True)
class Options:
    """coordinates: a name of `conventions.CONVENTIONS`, None for the format's own default. meaning_changed: whether an
    edit changed what a text says (before, after); None: by `metrics.meaning`.
    """

    coordinates: str | None = None
    meaning_changed: Callable[[str, str], bool] | None = None


@dataclass(frozen=True)
class Item:
    """What a file says of one record. id: the record's. split: by the file or the entry. what: as the format has it."""

    id: str
    split: Split
    what: Any


class Unfit(Protocol):
    """Says why a record does not go into a format, in words that fit many records; None if it does."""

    def __call__(self, example: Example, options: Options) -> str | None:
        """The reason."""
        ...


@dataclass(frozen=True)
class Format:
    """One export format.

    name: as on the command line. about: for whom it is, in a few words. pictures: whether its entries show the marked
    pictures, the plain image, or both. write: yields `add`; the files are complete when the block ends, and memory does
    not grow with the records. read: what the files say, record by record. carried: the part of the record that an item
    holds; `beside` is the record's line in records.jsonl. holds, lacks: which parts, in words, for people.
    """

    name: str
    about: str
    pictures: Literal["marked", "plain", "both"]
    write: Callable[[Path, Options], AbstractContextManager[Add]]
    read: Callable[[Path, Options], Iterator[Item]]
    carried: Callable[[Any, Mapping[str, Any], Options], Carried]
    unfit: Unfit
    holds: str
    lacks: str
    coordinates: str | None = None
    preferences: bool = False


def no_reason(example: Example, options: Options) -> str | None:
    """Every record fits."""
    return None


def reserved(*tokens: str) -> Unfit:
    """Records whose texts hold one of a format's placeholders do not fit: trainers count them."""

    def unfit(example: Example, options: Options) -> str | None:
        for turn in example.turns:
            for token in tokens:
                if token in turn.text:
                    return f"the text holds {token}, which is a placeholder of the format"
        return None

    return unfit


def said(beside: Mapping[str, Any], text: str) -> list[Carried]:
    """The turns of a record of which a file says the last one's text only."""
    return [*({} for _ in beside["turns"][:-1]), {"text": text}]


def asked_marked(text: str, answer: str, images: int) -> list[Carried]:
    """The two turns of a conversation over marked pictures, without its image placeholders."""
    for _ in range(images):
        text = text.removeprefix("<image>").removeprefix("\n")
    return [{"text": text}, {"text": answer}]


def places_named(
    text: str, token: str, phrases: Sequence[str], number: Callable[[str], int]
) -> Carried:
    """A turn whose places are tokens: the text with the phrases in their stead, and where they are.

    token: a regular expression; its first group, read by `number`, says which region.
    """
    parts: list[str] = []
    places: list[list[int]] = []
    at = length = 0
    for found in re.finditer(token, text):
        region = number(found.group(1))
        if not 0 <= region < len(phrases):
            continue
        before = text[at : found.start()]
        parts += [before, phrases[region]]
        start = length + len(before)
        length = start + len(phrases[region])
        places.append([start, length, region])
        at = found.end()
    return {"text": "".join([*parts, text[at:]]), "places": places}


def xywh(example: Example, region: int = 0) -> list[float]:
    """A region's box as COCO has it: left, top, width, height in pixels."""
    x0, y0, x1, y1 = example.regions[region].box
    return [x0, y0, x1 - x0, y1 - y0]


def box_of(x: float, y: float, width: float, height: float) -> list[float]:
    """A box as records have it, from COCO's."""
    return [float(x), float(y), float(x + width), float(y + height)]
