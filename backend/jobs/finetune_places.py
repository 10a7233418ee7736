"""Which images a fine-tuning run may learn from: by the splits of the exports, near duplicates with their likes.

Two frames of one scene are not two images: learnt from in one and judged by the other, a model that remembers looks
like one that has learnt. Knows records, pictures and where images were placed; knows nothing of models.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from backend.images import Images
from backend.jobs.lock import exclusive
from backend.jobs.pictures import pictures
from backend.jobs.placing import Places
from backend.jobs.studio import Studio
from backend.store import Store
from regiontext.labelstudio.config import LabelingConfig
from regiontext.records.duplicates import NearIndex
from regiontext.records.record import Record
from regiontext.records.splits import Split, split_of_placed

__all__ = ["place_all", "splits"]


async def place_all(
    store: Store,
    locks: Path,
    records: Sequence[Record],
    studio: Studio,
    images: Images,
    configs: dict[int, LabelingConfig],
    *,
    looked: Callable[[int], None],
    waiting: Callable[[str], None],
    problem: Callable[[str], None],
) -> Places:
    """Place the images of records that were not placed yet, in the records' order; all that were ever placed.

    locks: the folder of the locks, for exports place images too; `waiting` is told if one does. `looked` is called with
    how many records' images are known, `problem` with one line about each image that cannot be had.
    """
    async with exclusive(locks, "export", waiting=waiting):
        places = await asyncio.to_thread(Places, store)
        new = [record for record in records if places.get(record.image_hash) is None]
        done = len(records) - len(new)
        async for image, group in pictures(studio, images, configs, new, problem=problem):
            await asyncio.to_thread(places.place, group[0].image_hash, image)
            done += len(group)
            looked(done)
    return places


def splits(
    places: Places, learnable: Sequence[Record], holdout: Sequence[Record]
) -> dict[str, Split | None]:
    """The split of every learnable record's image, by its hash.

    None: it nearly is the same as an image that is kept for measuring, or as images of both splits, or nobody could
    look at it. Such an image is neither learnt from nor judged by.
    """
    held = NearIndex()
    for image in {record.image_hash: None for record in holdout}:
        placed = places.get(image)
        if placed is not None:
            held.add(placed.perceptual)
    found: dict[str, Split | None] = {}
    for image in {record.image_hash: None for record in learnable}:
        placed = places.get(image)
        leaks = placed is None or bool(held.near(placed.perceptual))
        found[image] = None if leaks or placed is None else split_of_placed(placed)
    return found
