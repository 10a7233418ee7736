"""Draws the training set of a fine-tuning run: every record in several views, its pairs where the meaning was changed.

Knows records, pictures and the folder that the trainer reads; knows nothing of the trainer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

from backend.images import Images
from backend.jobs.dataset import TrainingSet
from backend.jobs.finetune_choice import Choice
from backend.jobs.finetune_report import FinetuneOptions
from backend.jobs.pictures import pictures
from backend.jobs.showing import Shown, variants
from backend.jobs.studio import Studio
from regiontext.errors import RegiontextError
from regiontext.labelstudio.config import LabelingConfig
from regiontext.metrics.meaning import values_meaning_changed
from regiontext.records.record import Record

__all__ = ["draw_training_set"]


async def draw_training_set(
    folder: Path,
    choice: Choice,
    configs: dict[int, LabelingConfig],
    studio: Studio,
    images: Images,
    options: FinetuneOptions,
    *,
    drawn: Callable[[int], None],
    problem: Callable[[str], None],
) -> TrainingSet:
    """Every record that the run learns from, into the new folder `folder`; not finished yet.

    `drawn` is called with how many are done, `problem` with one line about each record that cannot be drawn.
    """
    data, done = TrainingSet(folder), 0
    async for image, group in pictures(
        studio, images, configs, choice.chosen.training, problem=problem
    ):
        for record in group:
            try:
                shown = variants(
                    record,
                    image,
                    choice.view,
                    configs[record.project],
                    renders=options.renders,
                    seed=options.seed,
                )
                await asyncio.to_thread(_add_all, data, record, shown)
            except RegiontextError as fault:
                problem(f"record {record.id}: {fault}")
            done += 1
        drawn(done)
    return data


def _add_all(data: TrainingSet, record: Record, shown: Iterable[Shown]) -> None:
    edited = record.outcome == "edited" and record.suggested is not None
    changed = edited and values_meaning_changed(
        record.suggested or (), record.answer, closed=record.kind == "closed"
    )
    for one in shown:
        data.add(record, one, preferred=changed)
