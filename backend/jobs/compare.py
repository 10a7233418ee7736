"""Asks two models the same questions about the same pictures, and scores both answers.

Over HTTP, in the view that annotators' regions are asked in. Knows nothing of training or promotion.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from backend.data_urls import data_url
from backend.errors import ModelError, ModelUnavailable
from backend.images import Images
from backend.jobs.gate import Judged, score
from backend.jobs.pictures import pictures, regions_of
from backend.jobs.showing import show
from backend.jobs.slices import slices_of
from backend.jobs.studio import Studio
from backend.model_client import ModelClient
from regiontext.errors import RegiontextError
from regiontext.labelstudio.config import LabelingConfig
from regiontext.marks.view import View
from regiontext.records.record import Record

__all__ = ["Compared", "compare"]


@dataclass(frozen=True)
class Compared:
    """One record, what both models said, and the scores."""

    record: Record
    champion: str
    challenger: str
    judged: Judged

    def to_dict(self) -> dict[str, Any]:
        """One line of the run's `answers.jsonl`."""
        return {
            "record": self.record.id,
            "arm": self.record.arm,
            "field": self.record.field,
            "truth": list(self.record.answer),
            "champion": {"answer": self.champion, "score": self.judged.champion},
            "challenger": {"answer": self.challenger, "score": self.judged.challenger},
            "guard": self.judged.guard,
            "slices": list(self.judged.slices),
        }


async def compare(
    client: ModelClient,
    studio: Studio,
    images: Images,
    configs: Mapping[int, LabelingConfig],
    records: Sequence[Record],
    *,
    guards: Collection[str],
    champion: str,
    challenger: str,
    view: View,
    max_tokens: int,
    concurrency: int,
    asked: Callable[[int], None],
    problem: Callable[[str], None],
    known: Collection[str] = frozenset(),
) -> list[Compared]:
    """Both models' answers to the question of every record.

    `guards` are the ids of the records that only guard against forgetting. An answer that is none (empty, no option)
    scores 0. `asked(n)` is told how many records are done, `problem` which are left out and why. `known` are the
    words of the old vocabulary (see `known_words`). Raises ModelUnavailable if the server goes away.
    """
    gate = asyncio.Semaphore(concurrency)
    done: list[Compared] = []

    async def one(record: Record, image: Image.Image) -> Compared | None:
        async with gate:
            try:
                shown = await asyncio.to_thread(show, record, image, view)
            except RegiontextError as fault:
                problem(f"record {record.id}: {fault}")
                return None
            urls = await asyncio.to_thread(lambda: [data_url(i) for i in shown.rendered.images])
            answers = []
            for model in (champion, challenger):
                answers.append(
                    await _ask(client, urls, shown.prompt, model, record.options, max_tokens)
                )
        closed = record.kind == "closed"
        first, second = (score(answer, record.answer, closed=closed) for answer in answers)
        marks = [mark.style.kind for picture in shown.rendered.marks for mark in picture]
        regions = await asyncio.to_thread(regions_of, record, image.size)
        slices = slices_of(record, regions, marks=marks, known=known)
        judged = Judged(
            first,
            second,
            record.field,
            record.labels,
            record.image_hash,
            record.id in guards,
            slices,
        )
        return Compared(record, answers[0], answers[1], judged)

    async for image, group in pictures(studio, images, dict(configs), records, problem=problem):
        found = await asyncio.gather(*(one(record, image) for record in group))
        done += [item for item in found if item is not None]
        asked(len(done))
    return done


async def _ask(
    client: ModelClient,
    urls: Sequence[str],
    prompt: str,
    model: str,
    options: Sequence[str],
    max_tokens: int,
) -> str:
    try:
        said = await client.ask(urls, prompt, model=model, options=options, max_tokens=max_tokens)
    except ModelUnavailable:
        raise
    except ModelError:
        return ""
    return said.text
