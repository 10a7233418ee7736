"""What a fine-tuning run reads: corrected records from a folder, and replay from the model's world.

Knows nothing of tokens or models.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from PIL import Image

from model_server.errors import TrainingError
from model_server.folder import ModelFolder
from regiontext.errors import ImageError
from regiontext.images import load_image

__all__ = ["Item", "Pair", "data_hash", "open_images", "read_items", "read_pairs", "replay_items"]

# What is asked besides captions when the world is replayed: what a labeling config asks.
_OTHERS = ("attribute", "choice", "relation", "same")


@dataclass(frozen=True, eq=False)
class Item:
    """One prompt and its right answer; images are files or already decoded."""

    images: tuple[Path | Image.Image, ...]
    prompt: str
    answer: str


@dataclass(frozen=True, eq=False)
class Pair:
    """The same prompt with the answer that was chosen and the one that was rejected."""

    chosen: Item
    rejected: Item


def read_items(folder: Path) -> list[Item]:
    """Read FOLDER/train.jsonl; image paths are relative to FOLDER.

    Raises TrainingError naming the file and line.
    """
    file = folder / "train.jsonl"
    if not file.is_file():
        raise TrainingError(f"{file} is missing; --data takes the folder that holds train.jsonl.")
    items = [_item(record, folder.resolve(), where) for record, where in _lines(file)]
    if not items:
        raise TrainingError(f"{file} holds no records; correct some suggestions first.")
    return items


def read_pairs(folder: Path) -> list[Pair]:
    """Read FOLDER/preferences.jsonl: ``images``, ``prompt``, ``chosen``, ``rejected`` a line; [] without it.

    Raises TrainingError naming the file and line.
    """
    file = folder / "preferences.jsonl"
    if not file.is_file():
        return []
    pairs = []
    for record, where in _lines(file):
        chosen, rejected = (_text(record, key, where) for key in ("chosen", "rejected"))
        if chosen == rejected:
            raise TrainingError(f"{where}: chosen and rejected are both {chosen!r}.")
        images, prompt = _images(record, folder.resolve(), where), _text(record, "prompt", where)
        pairs.append(Pair(Item(images, prompt, chosen), Item(images, prompt, rejected)))
    return pairs


def data_hash(folder: Path) -> str:
    """sha256 of what is read: a run resumes only on the data it began with."""
    digest = hashlib.sha256((folder / "train.jsonl").read_bytes())
    if (folder / "preferences.jsonl").is_file():
        digest.update((folder / "preferences.jsonl").read_bytes())
    return digest.hexdigest()


def replay_items(folder: ModelFolder, count: int, seed: int) -> list[Item]:
    """Samples of the world that the model was first trained on, so that it does not forget it.

    Every other one is a caption, which holds all that the model knows of an object; the others are
    whatever else labeling configs ask. Returns [] for a model that names no world.
    """
    if folder.world is None or count <= 0:
        return []
    # Imported here because models without a world need none of it.
    from model_server.worlds.samples import bundled_view, replay_samples
    from regiontext.marks.view import View

    view = bundled_view() if folder.view is None else View.from_dict(folder.view)
    captions = replay_samples((count + 1) // 2, seed, view, kinds=("caption",))
    others = replay_samples(count // 2, seed + 1, view, kinds=_OTHERS)
    mixed = (sample for both in zip_longest(captions, others) for sample in both if sample)
    return [Item(tuple(sample.images), sample.prompt, sample.answer) for sample in mixed]


def open_images(item: Item) -> list[Image.Image]:
    """Decode the item's images as upright RGB; raises TrainingError naming the file."""
    return [_open(image) for image in item.images]


def _open(image: Path | Image.Image) -> Image.Image:
    if isinstance(image, Image.Image):
        return image
    try:
        return load_image(image.read_bytes())
    except (OSError, ImageError) as error:
        raise TrainingError(f"{image} cannot be read: {error}") from None


def _lines(file: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """The objects of a JSON lines file, each with where it stands."""
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            where = f"{file}, line {number}"
            try:
                record = json.loads(line)
            except ValueError as error:
                raise TrainingError(f"{where}: not valid JSON: {error}.") from None
            if not isinstance(record, dict):
                raise TrainingError(f"{where}: expected an object, got {type(record).__name__}.")
            yield record, where


def _item(record: dict[str, Any], folder: Path, where: str) -> Item:
    prompt, answer = (_text(record, key, where) for key in ("prompt", "answer"))
    options = record.get("options") or []
    if options and answer not in options:
        raise TrainingError(
            f"{where}: the answer {answer!r} is not one of the options {options!r}."
        )
    return Item(_images(record, folder, where), prompt, answer)


def _images(record: dict[str, Any], folder: Path, where: str) -> tuple[Path, ...]:
    names = record.get("images")
    if not isinstance(names, Sequence) or isinstance(names, str) or not names:
        raise TrainingError(f"{where}: 'images' must be a list of paths, got {names!r}.")
    return tuple(_path(folder, name, where) for name in names)


def _text(record: dict[str, Any], key: str, where: str) -> str:
    value = record.get(key)
    if not isinstance(value, str) or not value.strip():
        raise TrainingError(f"{where}: {key!r} must be a text that is not empty, got {value!r}.")
    return value


def _path(folder: Path, name: object, where: str) -> Path:
    path = (folder / str(name)).resolve()
    if not path.is_relative_to(folder):
        raise TrainingError(f"{where}: the image {name!r} lies outside {folder}.")
    if not path.is_file():
        raise TrainingError(f"{where}: the image {name!r} is missing in {folder}.")
    return path
