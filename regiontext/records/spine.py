"""`records.jsonl`: the records of a dataset, whole, one a line. Everything else in it is made from them.

Written line after line, so that what a killed process had done can be taken over by the next one. Knows nothing of
formats.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from regiontext.errors import RecordError
from regiontext.records.example import Example

__all__ = ["RECORDS_NAME", "Done", "Spine", "compact", "read_lines", "read_records"]

RECORDS_NAME: Final = "records.jsonl"


def compact(value: Any) -> str:
    """`value` as JSON on one line, without spaces that mean nothing."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class Spine:
    """Writes a folder's `records.jsonl`. A record that was added survives the end of the process, however it ends."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / RECORDS_NAME
        self._file: IO[str] = self.path.open("w", encoding="utf-8")

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put everything on the disk, and close."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def add(self, example: Example) -> None:
        """One more line. Holdout is refused (RecordError): such records only measure, and never enter a dataset."""
        if example.provenance.arm == "holdout":
            raise RecordError(
                f"record {example.id!r} is of the holdout arm, which is kept for measuring and is never exported"
            )
        self._file.write(compact(example.to_dict()) + "\n")
        self._file.flush()


class Done:
    """The records of earlier, perhaps interrupted writings, found again by id and what they were made from.

    Keeps a position per record in memory, never the records.
    """

    def __init__(self, *paths: Path) -> None:
        self._at: dict[tuple[str, str], tuple[Path, int]] = {}
        for path in paths:
            if not path.is_file():
                continue
            at = 0
            with path.open("rb") as file:
                for line in file:
                    try:
                        data = json.loads(line)
                        key = str(data["id"]), str(data["provenance"]["made_from"])
                    except (ValueError, KeyError, TypeError):
                        # The line that was being written when the process was killed, or not one of ours.
                        at += len(line)
                        continue
                    self._at[key] = path, at
                    at += len(line)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._at)

    def find(self, id: str, made_from: str) -> tuple[Example, Path] | None:
        """The record and the folder that holds its pictures, if it was made from the same; else None."""
        place = self._at.get((id, made_from))
        if place is None:
            return None
        path, at = place
        with path.open("rb") as file:
            file.seek(at)
            try:
                return Example.from_dict(json.loads(file.readline())), path.parent
            except (RecordError, ValueError):
                return None


def read_lines(folder: Path) -> Iterator[dict[str, Any]]:
    """The lines of a folder's `records.jsonl` as JSON objects; RecordError for one that is none, with its number."""
    path = folder / RECORDS_NAME
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    data = json.loads(line)
                except ValueError as error:
                    raise RecordError(f"{path} line {number} is no JSON: {error}") from error
                if not isinstance(data, Mapping):
                    raise RecordError(f"{path} line {number} is {data!r:.40}, not a record")
                yield dict(data)
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error}") from error


def read_records(folder: Path) -> Iterator[Example]:
    """The records of a dataset, whole; RecordError if a line is no record of this schema."""
    for data in read_lines(folder):
        yield Example.from_dict(data)
