"""From a record and its image to the record as files hold it, its pictures written beside it.

Knows folders, images and views; knows no format, no database and no network.
"""

from __future__ import annotations

import hashlib
import io
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from PIL import Image

from backend.jobs.pictures import Fetched, regions_of
from backend.jobs.showing import question_of
from regiontext.images import image_orientation
from regiontext.marks.view import Rendered, View, render
from regiontext.questions.prompt import ORDER
from regiontext.records.example import SCHEMA, Example, ExampleImage, Marking, Provenance
from regiontext.records.layouts import layout_of
from regiontext.records.making import example_region, turns_of
from regiontext.records.record import Record
from regiontext.records.spine import compact
from regiontext.records.splits import Split

__all__ = ["IMAGES", "MARKED", "Pictures", "example_of", "fingerprint"]

IMAGES, MARKED = "images", "marked"
"""The folders of a dataset that hold plain images and marked pictures."""

Pictures = Literal["marked", "plain", "both"]

# Formats whose files every trainer opens; others are written anew.
_OPENED = {"PNG": ".png", "JPEG": ".jpg"}


def fingerprint(record: Record, view: View, pictures: Pictures) -> str:
    """What an example is made from, as sha256 hex: while it is the same, an example need not be made again."""
    data = record.to_dict()
    del data["image"]
    parts = [SCHEMA, _program(), *ORDER, compact(data), view.hash, pictures]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _program() -> str:
    try:
        return version("regiontext")
    except PackageNotFoundError:
        return ""


def example_of(
    record: Record,
    fetched: Fetched,
    view: View,
    folder: Path,
    *,
    split: Split,
    pictures: Pictures,
) -> Example:
    """The record as files hold it; writes the pictures that are asked for below `folder`, each once.

    Raises RegiontextError if a region cannot be decoded or drawn.
    """
    image = fetched.image
    regions = regions_of(record, image.size)
    rendered = render(image, regions, view)
    several = record.kind == "closed" and len(record.answer) > 1
    turns = turns_of(question_of(record), rendered, record.text, several=several)
    return Example(
        id=record.id,
        split=split,
        image=ExampleImage(
            hash=record.image_hash,
            path="" if pictures == "marked" else _plain(record.image_hash, fetched, folder),
            width=image.width,
            height=image.height,
            source=fetched.url if len(fetched.url) < 2048 else "",
        ),
        regions=tuple(map(example_region, regions)),
        field=record.field,
        kind=record.kind,
        wording=record.wording,
        options=record.options,
        answer=record.answer,
        turns=turns,
        provenance=Provenance(
            project=record.project,
            task=record.task,
            annotation=record.annotation,
            arm=record.arm,
            outcome=record.outcome,
            suggested=record.suggested,
            suggestion=record.suggestion,
            asked=record.prompt,
            model_version=record.model_version,
            annotator=record.annotator,
            updated_at=record.updated_at,
            made_from=fingerprint(record, view, pictures),
        ),
        marking=Marking(
            hash=rendered.hash,
            view=view.to_dict(),
            images=() if pictures == "plain" else _marked(rendered, folder),
            phrases=rendered.phrases,
            layout=layout_of(rendered.marks),
        ),
    )


def _plain(digest: str, fetched: Fetched, folder: Path) -> str:
    """The image's file: as it is where that is upright and RGB, else the upright image as PNG.

    Trainers apply no EXIF orientation, and regions are in pixels of the upright image.
    """
    suffix = _suffix(fetched)
    name = f"{IMAGES}/{digest[:32]}{suffix or '.png'}"
    path = folder / name
    if not path.exists():
        if suffix:
            _save(path, fetched.data)
        else:
            _save_image(path, fetched.image)
    return name


def _suffix(fetched: Fetched) -> str | None:
    with Image.open(io.BytesIO(fetched.data)) as file:
        as_it_is = (
            file.format in _OPENED
            and file.mode == "RGB"
            and file.size == fetched.image.size
            and image_orientation(fetched.data) == 1
        )
        return _OPENED[str(file.format)] if as_it_is else None


def _marked(rendered: Rendered, folder: Path) -> tuple[str, ...]:
    names = []
    for number, image in enumerate(rendered.images):
        name = f"{MARKED}/{rendered.hash[:32]}-{number}.png"
        if not (folder / name).exists():
            _save_image(folder / name, image)
        names.append(name)
    return tuple(names)


def _save_image(path: Path, image: Image.Image) -> None:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    _save(path, buffer.getvalue())


def _save(path: Path, data: bytes) -> None:
    """Beside its place and renamed: what has the name is whole, also after a kill."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.partial")
    beside.write_bytes(data)
    beside.replace(path)
