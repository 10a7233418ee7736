"""The annotator's draft as it is once it holds what was just typed: what the page shows, not what it showed before.

A request comes with the draft as it was last saved, up to five seconds ago. An answer about regions that are not in the
request would take back whatever was done to them since: a caption typed, a corner moved, a region deleted. The page
saves what was typed into the prompt field within five seconds too, and that draft holds all the rest. A polygon that
the draft holds half drawn is finished by the time that something is clicked on it, and the draft with that click has
it. Knows Label Studio's API and what is to be filled; knows nothing of models.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import replace

import httpx

from backend.assistant import Suggestion
from backend.errors import LabelStudioError
from backend.fill import IsOurs, Target, target_of
from backend.known import Known, is_unfinished, results_in, text_in, without
from backend.label_studio import async_client
from backend.settings import Settings
from regiontext.labelstudio.config import LabelingConfig
from regiontext.labelstudio.results import Result, read_results
from regiontext.region import Region

__all__ = ["as_they_are_now", "caught_up", "draft_with", "may_be_about", "renewed"]

_log = logging.getLogger(__name__)

_EVERY_S = 0.4


async def as_they_are_now(
    settings: Settings,
    task: int,
    asked: Sequence[Target],
    *,
    typed: Result | None,
    suggestions: MutableMapping[str, list[Suggestion]],
    config: LabelingConfig,
    deadline: float,
    is_ours: IsOurs,
) -> Sequence[Target]:
    """The regions as the page has them by now, and only what is suggested for a field that is still as it was.

    typed: what stands in the prompt field. is_ours: see `renewed`. As they are given where Label Studio does not tell
    in time.
    """
    if not asked or typed is None or settings.label_studio_api_key is None:
        return asked
    async with async_client(settings) as http:
        draft = await draft_with(http, task, typed, deadline=deadline)
    if draft is None:
        return asked
    return await asyncio.to_thread(renewed, asked, draft, suggestions, config, is_ours)


def may_be_about(prompt: Region | None, known: Known) -> bool:
    """Whether a shape may point at a polygon that was being drawn when the draft was saved, on the same image.

    A keypoint may, wherever it is; a rectangle, if the corners known so far are inside.
    """
    if prompt is None or prompt.shape not in ("keypoint", "rectangle"):
        return False
    return any(
        polygon.get("item_index", 0) == prompt.item_index
        and (prompt.shape == "keypoint" or _is_around(prompt, polygon))
        for polygon in known.unfinished
    )


async def caught_up(
    settings: Settings, task: int, known: Known, shape: Mapping[str, object], deadline: float
) -> Known:
    """The same with the results of the draft that holds `shape`, just drawn; as it is if none comes in time."""
    if settings.label_studio_api_key is None:
        return known
    async with async_client(settings) as http:
        draft = await draft_with(http, task, shape, deadline=deadline)
    if draft is None:
        return known
    open_still = tuple(item for item in draft if is_unfinished(item))
    raw = without(draft, open_still)
    return replace(known, results=read_results(raw), raw=tuple(raw), unfinished=open_still)


async def draft_with(
    http: httpx.AsyncClient, task: int, item: Mapping[str, object], *, deadline: float
) -> list[Result] | None:
    """The results of the draft that holds `item` as it is, as soon as there is one; None if that is not in time.

    http: a client of Label Studio's API. deadline: by `time.monotonic`. Does not raise; asks no more once Label Studio
    refuses or is not there.
    """
    try:
        async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
            while True:
                answer = await http.get(f"/api/tasks/{task}/drafts")
                drafts = answer.raise_for_status().json()
                for draft in drafts if isinstance(drafts, list) else ():
                    results = results_in(draft) if isinstance(draft, dict) else []
                    if _holds(results, item):
                        return results
                await asyncio.sleep(_EVERY_S)
    except TimeoutError:
        _log.info("no draft with what was typed came in time", extra={"task": task})
    except (httpx.HTTPError, LabelStudioError, ValueError) as error:
        _log.warning("the draft cannot be read again: %s", error, extra={"task": task})
    return None


def renewed(
    targets: Sequence[Target],
    draft: Sequence[Result],
    suggestions: MutableMapping[str, list[Suggestion]],
    config: LabelingConfig,
    is_ours: IsOurs,
) -> list[Target]:
    """The targets as the draft has them; one that was deleted is left out, and one with nothing left to write.

    suggestions: by region; those for a field whose text has changed since are taken out, unless it is our own text that
    came meanwhile and an instruction asks for another.
    """
    found: list[Target] = []
    for target in targets:
        there = target_of(draft, target.id, config=config, renew=target.renew)
        if there is None:
            continue
        was, texts, given = _texts(target), _texts(there), suggestions.get(target.id, [])
        kept = [
            one
            for one in given
            if (text := texts.get(one.field, ())) == was.get(one.field, ())
            or (target.instruction is not None and is_ours(target.id, one.field, text))
        ]
        suggestions[target.id] = kept
        if kept or not given:
            found.append(there)
    return found


def _texts(target: Target) -> dict[str, tuple[str, ...]]:
    return {str(item.get("from_name")): text_in(item) for item in target.results[1:]}


def _is_around(rectangle: Region, polygon: Mapping[str, object]) -> bool:
    value = polygon.get("value")
    points = value.get("points") if isinstance(value, Mapping) else None
    (x0, y0, x1, y1), (width, height) = rectangle.box, rectangle.size
    try:
        corners = [(float(x) * width / 100, float(y) * height / 100) for x, y in points or ()]
    except (TypeError, ValueError):
        return False
    return bool(corners) and all(x0 <= x <= x1 and y0 <= y <= y1 for x, y in corners)


def _holds(results: Sequence[Result], item: Mapping[str, object]) -> bool:
    return any(
        mine.get("id") == item.get("id") and mine.get("value") == item.get("value")
        for mine in results
    )
