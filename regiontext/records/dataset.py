"""A dataset folder: a format's files made from `records.jsonl`, and read back to the same records.

Everything a trainer needs is in the format's files; `records.jsonl` keeps the whole records beside them, with what the
format cannot hold. Where both say something, the format's files win. Knows no single format, and no database.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regiontext.errors import RecordError
from regiontext.records.example import Example
from regiontext.records.formats.format import Carried, Format, Item, Options
from regiontext.records.spine import read_lines, read_records

__all__ = ["Written", "merged", "read_dataset", "write_dataset"]


@dataclass
class Written:
    """written: records per split. left_out: how many records the format cannot hold, by reason."""

    written: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)


def write_dataset(folder: Path, fmt: Format, options: Options | None = None) -> Written:
    """Write a format's files from the folder's `records.jsonl`, one record in memory at a time.

    Raises RecordError if a record is malformed or of the holdout arm, whatever the format.
    """
    options, found = options or Options(), Written()
    with fmt.write(folder, options) as add:
        for example in read_records(folder):
            if example.provenance.arm == "holdout":
                raise RecordError(
                    f"record {example.id!r} is of the holdout arm, which is kept for measuring and is never exported"
                )
            reason = fmt.unfit(example, options)
            if reason is not None:
                found.left_out[reason] += 1
                continue
            try:
                add(example)
            except ValueError as error:
                found.left_out[f"{error}"] += 1
                continue
            found.written[example.split] += 1
    return found


def read_dataset(folder: Path, fmt: Format, options: Options | None = None) -> Iterator[Example]:
    """The records of a dataset, in the order of its `records.jsonl`.

    Records that the format cannot hold come from `records.jsonl` alone; those that it can and that its files lack were
    taken out by somebody, and are left out. Raises RecordError if a file is malformed.
    """
    options = options or Options()
    items = fmt.read(folder, options)
    ahead: dict[str, Item] = {}
    for beside in read_lines(folder):
        id = str(beside.get("id"))
        while id not in ahead and (item := _next(items, folder)) is not None:
            ahead[item.id] = item
        if id not in ahead:
            example = Example.from_dict(beside)
            if fmt.unfit(example, options) is not None:
                yield example
            continue
        item = ahead.pop(id)
        try:
            carried = fmt.carried(item.what, beside, options)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise RecordError(
                f"{folder}: the entry of record {id!r} is malformed: {error!r}"
            ) from error
        yield Example.from_dict(_settled(merged(beside, {"split": item.split} | carried)))


def _next(items: Iterator[Item], folder: Path) -> Item | None:
    try:
        return next(items, None)
    except (KeyError, TypeError, ValueError, IndexError, OSError) as error:
        raise RecordError(f"{folder}: an entry is malformed: {error!r}") from error


def merged(beside: Mapping[str, Any], carried: Carried) -> dict[str, Any]:
    """`beside` with what `carried` says in its stead: object by object, lists of objects entry by entry."""
    out = dict(beside)
    for key, value in carried.items():
        mine = out.get(key)
        if isinstance(value, dict) and isinstance(mine, dict) and key != "rle":
            out[key] = merged(mine, value)
        elif _objects(value) and _objects(mine) and len(value) == len(mine or ()):
            out[key] = [merged(a, b) for a, b in zip(mine or (), value, strict=True)]
        else:
            out[key] = value
    return out


def _objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(e, dict) for e in value)


def _settled(data: dict[str, Any]) -> dict[str, Any]:
    """Places and answer fit the texts, which a file may have changed."""
    phrases = (data.get("marking") or {}).get("phrases", ())
    for turn in data["turns"]:
        text = turn["text"]
        turn["places"] = [
            [start, end, region]
            for start, end, region in turn["places"]
            if region < len(phrases) and text[start:end] == phrases[region]
        ]
    joint = ", " if data["kind"] == "closed" else " "
    text = data["turns"][-1]["text"]
    if joint.join(data["answer"]) != text:
        data["answer"] = text.split(joint) if data["kind"] == "closed" else [text]
    return data
