"""The image behind each record, fetched again from Label Studio and checked against the record's hash.

Knows nothing of how records are rendered or written.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from backend.errors import BackendError, ImageFetchError
from backend.images import Images
from backend.jobs.studio import Studio
from backend.label_studio import image_url
from regiontext.errors import RegiontextError
from regiontext.images import image_hash, load_image
from regiontext.labelstudio.config import LabelingConfig
from regiontext.labelstudio.decode import decode_region
from regiontext.records.record import Record
from regiontext.region import Region

__all__ = ["Fetched", "Fetcher", "grouped", "pictures", "regions_of"]


@dataclass(frozen=True, eq=False)
class Fetched:
    """The image of some records. data: the file's bytes. image: upright, RGB. url: where the task says it is."""

    data: bytes
    image: Image.Image
    url: str


class Fetcher:
    """Fetches the images of records' tasks. `data` is what Label Studio says of the tasks, by number."""

    def __init__(
        self,
        images: Images,
        configs: dict[int, LabelingConfig],
        data: dict[int, dict[str, Any]],
    ) -> None:
        self._images, self._configs, self._data = images, configs, data

    @classmethod
    async def of(
        cls,
        studio: Studio,
        images: Images,
        configs: dict[int, LabelingConfig],
        tasks: Iterable[tuple[int, int]],
    ) -> Fetcher:
        """For these tasks, as (project, task)."""
        wanted: dict[int, set[int]] = {project: set() for project in configs}
        for project, task in tasks:
            wanted.setdefault(project, set()).add(task)
        data: dict[int, dict[str, Any]] = {}
        for project, numbers in wanted.items():
            data |= await studio.task_data(project, numbers)
        return cls(images, configs, data)

    async def fetch(self, record: Record) -> Fetched:
        """The image that a record is about. Raises BackendError or RegiontextError if it cannot be had, or is another
        one than was annotated.
        """
        if record.task not in self._data:
            raise ImageFetchError("the task is gone from Label Studio")
        key = self._configs[record.project].image_key
        url = image_url(self._data[record.task], key, _place(record))
        found = await self._images.fetch(url, task=record.task)
        if image_hash(found) != record.image_hash:
            raise ImageFetchError("the image is not the one that was annotated any more")
        return Fetched(found, await asyncio.to_thread(load_image, found), url)


def grouped(records: Iterable[Record]) -> list[list[Record]]:
    """The records of the same image of the same task together, in the order in which each first occurs."""
    groups: dict[tuple[int, int, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record.task, _place(record), record.image_hash), []).append(record)
    return list(groups.values())


async def pictures(
    studio: Studio,
    images: Images,
    configs: dict[int, LabelingConfig],
    records: Sequence[Record],
    *,
    problem: Callable[[str], None],
) -> AsyncIterator[tuple[Image.Image, list[Record]]]:
    """The records image by image, with the upright RGB image, and `Record.image` filled in.

    `configs` are the labeling configs by project. `problem` is told in one line about every image that cannot be had
    or is no longer the one that was annotated; its records are left out. One image is in memory at a time.
    """
    tasks = {(record.project, record.task) for record in records if record.project in configs}
    fetcher = await Fetcher.of(studio, images, configs, tasks)
    for group in grouped(records):
        try:
            found = await fetcher.fetch(group[0])
        except (BackendError, RegiontextError) as fault:
            problem(f"task {group[0].task}: {fault}; {len(group)} records left out")
            continue
        yield found.image, [replace(record, image=found.url) for record in group]


def regions_of(record: Record, size: tuple[int, int]) -> list[Region]:
    """The record's regions in pixels of an image of `size`, in its order. Raises RegionError."""
    return [decode_region(shape, size=size) for shape in record.shapes]


def _place(record: Record) -> int:
    return int(record.shapes[0].get("item_index") or 0)
