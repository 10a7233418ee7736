"""Fills regions of a task: fetches their images, asks about their empty fields, and how they relate.

What both ways to a suggestion share: the interactive call, which takes what is there when its time is up, and the batch
prediction, which wants all. Knows images, questions and the model; knows nothing of how the results go back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from backend.assistant import Assistant, Path, Picture, Suggestion, answer, current_model, look_at
from backend.errors import BackendError, ImageFetchError
from backend.fill import IsOurs, Target, questions_for
from backend.known import text_in
from backend.label_studio import image_url
from backend.relate import relate
from backend.store import queries as stored
from regiontext.errors import RegiontextError
from regiontext.labelstudio.config import LabelingConfig
from regiontext.labelstudio.results import Result, decode_regions
from regiontext.region import Region

__all__ = ["Answers", "Job", "fill_regions", "is_ours_in"]


@dataclass(frozen=True, eq=False)
class Job:
    """What to fill. data: the task's data. results: every result known of the task, for the regions that relate.

    relations: how many ordered pairs may be asked about, 0 for none. related: pairs (sets of ids) that are related
    already. deadline: on the clock of `time.monotonic`, None for no limit.
    """

    project: int
    task: int
    data: Mapping[str, Any]
    config: LabelingConfig
    targets: Sequence[Target]
    results: Sequence[Result]
    path: Path
    relations: int = 0
    related: frozenset[frozenset[str]] = frozenset()
    deadline: float | None = None


@dataclass(frozen=True)
class Answers:
    """What came of it. suggestions: by region id. notes: by region id, why something stays unfilled, in one line.

    arrows, sentences: see `relate.Related`. faults: one line for each thing that may go better another time (the model
    is away, an image does not arrive, time is up). arms: of the images.
    """

    suggestions: dict[str, list[Suggestion]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    arrows: list[Suggestion] = field(default_factory=list)
    sentences: list[Suggestion] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    arms: set[str] = field(default_factory=set)


@dataclass(frozen=True, eq=False)
class _Seen:
    picture: Picture
    regions: dict[str, Region]
    faults: dict[str, str]


async def fill_regions(assistant: Assistant, job: Job) -> Answers:
    """Ask about every target, then about relations. A bad region, image or model is a note, never an exception."""
    answers = Answers()
    # What was just drawn is empty, and needs no look into the store.
    written = any(text_in(item) for target in job.targets for item in target.results[1:])
    is_ours = (
        await asyncio.to_thread(is_ours_in, assistant, job.project, job.task)
        if written
        else _nothing_is
    )
    by_image: dict[int, list[Target]] = {}
    for target in job.targets:
        by_image.setdefault(target.item_index, []).append(target)
    if job.relations:
        for result in job.results:
            index = result.get("item_index", 0)
            if isinstance(index, int) and result.get("type") != "relation":
                by_image.setdefault(index, [])
    await asyncio.gather(
        *(
            _fill_image(assistant, job, index, targets, is_ours, answers)
            for index, targets in by_image.items()
        )
    )
    return answers


def is_ours_in(assistant: Assistant, project: int, task: int) -> IsOurs:
    """Tells whether text in a field of a region of the task is a suggestion of ours, as it was made."""
    with assistant.store.read() as session:
        values = stored.suggested_values(session, project, task)
    return lambda region, name, value: (region, name, value) in values


def _nothing_is(region: str, name: str, value: tuple[str, ...]) -> bool:
    return False


async def _fill_image(
    assistant: Assistant,
    job: Job,
    index: int,
    targets: Sequence[Target],
    is_ours: IsOurs,
    answers: Answers,
) -> None:
    try:
        seen = await _see(assistant, job, index, targets)
        answers.arms.add(seen.picture.arm)
        if seen.picture.arm != "assist":
            return
        answers.notes.update(seen.faults)
        await _fill_fields(assistant, job, seen, targets, is_ours, answers)
        if job.relations and (model := await current_model(assistant)).max_regions > 1:
            captions = _captions(job, answers) if model.composes else None
            await _fill_relations(assistant, job, seen, answers, captions)
    except (BackendError, RegiontextError) as error:
        why = " ".join(str(error).split())
        answers.faults.append(why)
        for target in targets:
            if target.id not in answers.suggestions:
                answers.notes.setdefault(target.id, why)


async def _see(assistant: Assistant, job: Job, index: int, targets: Sequence[Target]) -> _Seen:
    url = image_url(job.data, job.config.image_key, index)
    try:
        with assistant.metrics.stage("fetch"):
            data = await asyncio.wait_for(
                assistant.images.fetch(url, task=job.task), _left(job.deadline)
            )
    except TimeoutError as error:
        raise ImageFetchError("the image does not arrive in time") from error
    picture = await look_at(assistant, data, project=job.project, task=job.task)
    wanted = {target.id: target.shape for target in targets}
    results = list(wanted.values())
    if job.relations:
        results = [r for r in job.results if r.get("id") not in wanted] + results
        results = [r for r in results if r.get("item_index", 0) == index]
    regions, faults = await asyncio.to_thread(decode_regions, results, size=picture.image.size)
    return _Seen(picture, regions, {f.region_id: str(f) for f in faults})


async def _fill_fields(
    assistant: Assistant,
    job: Job,
    seen: _Seen,
    targets: Sequence[Target],
    is_ours: IsOurs,
    answers: Answers,
) -> None:
    questions = [
        question
        for target in targets
        if target.id in seen.regions
        for question in questions_for(target, seen.regions[target.id], job.config, is_ours)
    ]
    found = await answer(
        assistant,
        seen.picture,
        project=job.project,
        task=job.task,
        regions=list(seen.regions.values()),
        config=job.config,
        questions=questions,
        path=job.path,
        deadline=job.deadline,
    )
    for suggestion in found.suggestions:
        answers.suggestions.setdefault(suggestion.region, []).append(suggestion)
    for (ids, name), why in found.failures.items():
        answers.notes.setdefault(ids[0], f"{name}: {why.reason}")
        if why.temporary:
            answers.faults.append(f"{name} of {ids[0]}: {why.reason}")


async def _fill_relations(
    assistant: Assistant,
    job: Job,
    seen: _Seen,
    answers: Answers,
    captions: Mapping[str, str] | None,
) -> None:
    related = await relate(
        assistant,
        seen.picture,
        project=job.project,
        task=job.task,
        regions=list(seen.regions.values()),
        config=job.config,
        path=job.path,
        max_pairs=job.relations,
        without=job.related,
        captions=captions,
        deadline=job.deadline,
    )
    answers.arrows.extend(related.arrows)
    answers.sentences.extend(related.sentences)
    for (ids, name), why in related.failures.items():
        if why.temporary:
            answers.faults.append(f"{name} of {' and '.join(ids)}: {why.reason}")


def _captions(job: Job, answers: Answers) -> dict[str, str]:
    """By region id, what its first open field says: what was just suggested, else what is written there."""
    name = next((f.name for f in job.config.fields if f.tag == "TextArea"), None)
    written = {
        str(item.get("id")): texts[0]
        for item in job.results
        if item.get("from_name") == name and (texts := text_in(item))
    }
    suggested = {
        id: suggestion.value[0]
        for id, given in answers.suggestions.items()
        for suggestion in given
        if suggestion.field == name and suggestion.value
    }
    return {**written, **suggested}


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
