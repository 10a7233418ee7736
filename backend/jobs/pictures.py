"""The image behind each record, fetched again from Label Studio and checked against the record's hash.

Knows nothing of how records are rendered or written.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
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

__all__ = ["pictures", "regions_of"]


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
    data: dict[int, dict[str, Any]] = {}
    for project in configs:
        wanted = {record.task for record in records if record.project == project}
        data |= await studio.task_data(project, wanted)
    groups: dict[tuple[int, int, str], list[Record]] = {}
    for record in records:
        place = int(record.shapes[0].get("item_index") or 0)
        groups.setdefault((record.task, place, record.image_hash), []).append(record)
    for (task, place, digest), group in groups.items():
        try:
            if task not in data:
                raise ImageFetchError("the task is gone from Label Studio")
            key = configs[group[0].project].image_key
            url = image_url(data[task], key, place)
            found = await images.fetch(url, task=task)
            if image_hash(found) != digest:
                raise ImageFetchError("the image is not the one that was annotated any more")
            image = await asyncio.to_thread(load_image, found)
        except (BackendError, RegiontextError) as fault:
            problem(f"task {task}: {fault}; {len(group)} records left out")
            continue
        yield image, [replace(record, image=url) for record in group]


def regions_of(record: Record, size: tuple[int, int]) -> list[Region]:
    """The record's regions in pixels of an image of `size`, in its order. Raises RegionError."""
    return [decode_region(shape, size=size) for shape in record.shapes]
