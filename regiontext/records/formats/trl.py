"""TRL: `messages` whose content is a list of parts, and `images`; as JSON lines, or as parquet that holds the pictures.

`{"messages": [{"role", "content": [{"type": "image"}, {"type": "text", "text"}]}], "images": [path, …]}` (TRL's dataset
formats, vision datasets). The JSON lines hold paths: `load_dataset("json", …).cast_column("images", List(Image()))`
makes pictures of them; the parquet needs no cast. For preferences see `formats.preferences`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from regiontext.errors import RecordError
from regiontext.records.example import Example
from regiontext.records.formats.files import json_lines, per_split, read_json_lines
from regiontext.records.formats.format import Add, Carried, Format, Item, Options, no_reason
from regiontext.records.formats.llava import marked_images
from regiontext.records.splits import SPLITS, Split

__all__ = ["TRL", "TRL_PARQUET", "message", "trl_item"]

NAME = "{split}.jsonl"
PARQUET = "{split}.parquet"
_ROWS = 64


def message(role: str, text: str, images: int = 0) -> dict[str, Any]:
    """One message of TRL's, its pictures first."""
    parts: list[dict[str, Any]] = [{"type": "image"} for _ in range(images)]
    return {"role": role, "content": [*parts, {"type": "text", "text": text}]}


def trl_item(example: Example) -> dict[str, Any]:
    """One row."""
    images = marked_images(example)
    return {
        "id": example.id,
        "images": list(images),
        "messages": [
            message("user", example.question.text, len(images)),
            message("assistant", example.text),
        ],
    }


@contextmanager
def _write(folder: Path, options: Options) -> Iterator[Add]:
    with per_split(folder, NAME, json_lines) as put_of:
        yield lambda example: put_of(example.split)(trl_item(example))


def _read(folder: Path, options: Options) -> Iterator[Item]:
    for split, item in read_json_lines(folder, NAME):
        yield Item(item["id"], split, item)


def _carried(item: Any, beside: Mapping[str, Any], options: Options) -> Carried:
    turns = [
        {"role": one["role"], "text": "".join(part.get("text") or "" for part in one["content"])}
        for one in item["messages"]
    ]
    return {"marking": {"images": item["images"]}, "turns": turns}


@contextmanager
def _write_parquet(folder: Path, options: Options) -> Iterator[Add]:
    """Rows in groups of a few, so that no more pictures than those are in memory."""
    parquet, schema = _parquet()
    with ExitStack() as stack:
        rows: dict[Split, list[dict[str, Any]]] = {}
        files: dict[Split, Any] = {}

        def flush(split: Split) -> None:
            if rows[split]:
                files[split].write_table(_table(rows[split], schema))
                rows[split] = []

        def add(example: Example) -> None:
            split = example.split
            if split not in files:
                path = folder / PARQUET.replace("{split}", split)
                files[split] = stack.enter_context(parquet.ParquetWriter(path, schema))
                rows[split] = []
            item = trl_item(example)
            item["images"] = [
                {"bytes": (folder / name).read_bytes(), "path": name} for name in item["images"]
            ]
            rows[split].append(item)
            if len(rows[split]) == _ROWS:
                flush(split)

        yield add
        for split in files:
            flush(split)


def _table(rows: list[dict[str, Any]], schema: Any) -> Any:
    import pyarrow

    return pyarrow.Table.from_pylist(rows, schema=schema)


def _parquet() -> tuple[Any, Any]:
    try:
        import datasets  # type: ignore[import-untyped]  # has no stubs
        import pyarrow.parquet
    except ImportError as error:
        raise RecordError(
            f"parquet needs the package datasets ({error}): pip install datasets, or export trl"
        ) from error
    text = datasets.Value("string")
    part = {"type": text, "text": text}
    features = datasets.Features(
        {
            "id": text,
            "images": datasets.List(datasets.Image()),
            "messages": datasets.List({"role": text, "content": datasets.List(part)}),
        }
    )
    return pyarrow.parquet, features.arrow_schema


def _read_parquet(folder: Path, options: Options) -> Iterator[Item]:
    parquet, _ = _parquet()
    for split in SPLITS:
        path = folder / PARQUET.replace("{split}", split)
        if path.is_file():
            with parquet.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=_ROWS):
                    for row in batch.to_pylist():
                        row["images"] = [image["path"] for image in row["images"]]
                        yield Item(row["id"], split, row)


TRL = Format(
    name="trl",
    about="TRL: messages and image paths, as JSON lines",
    pictures="marked",
    write=_write,
    read=_read,
    carried=_carried,
    unfit=no_reason,
    holds="id, marked pictures, turns",
    lacks="plain image, regions, options, provenance",
)

TRL_PARQUET = Format(
    name="trl-parquet",
    about="TRL: messages and the pictures themselves, as parquet for datasets",
    pictures="marked",
    write=_write_parquet,
    read=_read_parquet,
    carried=_carried,
    unfit=no_reason,
    holds="id, marked pictures, turns",
    lacks="plain image, regions, options, provenance",
)
