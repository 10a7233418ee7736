"""JSON files that are written entry by entry, a file per split, and read back.

Memory holds one entry at a time while writing. Knows no format.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

from regiontext.errors import RecordError
from regiontext.records.spine import compact
from regiontext.records.splits import SPLITS, Split

__all__ = [
    "JsonObject",
    "each_split",
    "json_lines",
    "json_list",
    "per_split",
    "read_json",
    "read_json_lines",
]

Put = Callable[[Any], None]
Writer = TypeVar("Writer")


@contextmanager
def json_list(path: Path) -> Iterator[Put]:
    """Yield `put`; the file is one JSON list, an entry a line."""
    with path.open("w", encoding="utf-8") as file:
        before = "[\n"

        def put(entry: Any) -> None:
            nonlocal before
            file.write(before + compact(entry))
            before = ",\n"

        yield put
        file.write("\n]\n" if before == ",\n" else "[]\n")


@contextmanager
def json_lines(path: Path) -> Iterator[Put]:
    """Yield `put`; the file has one JSON value a line."""
    with path.open("w", encoding="utf-8") as file:

        def put(entry: Any) -> None:
            file.write(compact(entry) + "\n")

        yield put


class JsonObject:
    """A JSON object of long lists, each written as it comes: `put(name, entry)`; `close` puts them together."""

    def __init__(self, path: Path, lists: Sequence[str], **head: Any) -> None:
        self._path, self._head = path, head
        self._files: dict[str, IO[str]] = {
            name: self._part(name).open("w+", encoding="utf-8") for name in lists
        }
        self._empty = dict.fromkeys(lists, True)

    def put(self, name: str, entry: Any) -> None:
        """One more entry of the list `name`."""
        self._files[name].write(("\n" if self._empty[name] else ",\n") + compact(entry))
        self._empty[name] = False

    def close(self) -> None:
        """Write the whole file."""
        with self._path.open("w", encoding="utf-8") as out:
            out.write("{")
            for key, value in self._head.items():
                out.write(f"{compact(key)}:{compact(value)},\n")
            for place, (name, file) in enumerate(self._files.items()):
                out.write(f"{',' if place else ''}\n{compact(name)}:[")
                file.seek(0)
                shutil.copyfileobj(file, out)
                file.close()
                self._part(name).unlink()
                out.write("]")
            out.write("}\n")

    def _part(self, name: str) -> Path:
        return self._path.with_name(f".{self._path.name}.{name}")


@contextmanager
def each_split(
    opened: Callable[[Split], AbstractContextManager[Writer]],
) -> Iterator[Callable[[Split], Writer]]:
    """Yield `of(split)`, what `opened(split)` gives, opened once; a split without records is never opened."""
    with ExitStack() as stack:
        writers: dict[Split, Writer] = {}

        def of(split: Split) -> Writer:
            if split not in writers:
                writers[split] = stack.enter_context(opened(split))
            return writers[split]

        yield of


def per_split(
    folder: Path, name: str, opened: Callable[[Path], AbstractContextManager[Writer]]
) -> AbstractContextManager[Callable[[Split], Writer]]:
    """`each_split` of one file each; `name` holds {split}."""
    return each_split(lambda split: opened(folder / name.replace("{split}", split)))


def read_json(folder: Path, name: str) -> Iterator[tuple[Split, Any]]:
    """Each split's file that there is, read whole; RecordError if one cannot be."""
    for split in SPLITS:
        path = folder / name.replace("{split}", split)
        if path.is_file():
            yield split, _loaded(path, path.read_text(encoding="utf-8"))


def read_json_lines(folder: Path, name: str) -> Iterator[tuple[Split, Any]]:
    """The lines of each split's file that there is; RecordError if one is no JSON."""
    for split in SPLITS:
        path = folder / name.replace("{split}", split)
        if path.is_file():
            with path.open(encoding="utf-8") as file:
                for line in file:
                    if line.strip():
                        yield split, _loaded(path, line)


def _loaded(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise RecordError(f"{path} is no JSON: {error}") from error
