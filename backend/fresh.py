"""The annotator's draft as it is once it holds what was just typed: what the page shows, not what it showed before.

A request comes with the draft as it was last saved, up to five seconds ago. An answer about regions that are not in the
request would take back whatever was done to them since: a caption typed, a corner moved, a region deleted. The page
saves what was typed into the prompt area within five seconds too, and that draft holds all the rest. Knows Label
Studio's API and what is to be filled; knows nothing of models.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, MutableMapping, Sequence

import httpx

from backend.assistant import Suggestion
from backend.errors import LabelStudioError
from backend.fill import Target, target_of
from backend.known import results_in, text_in
from regiontext.labelstudio.config import LabelingConfig
from regiontext.labelstudio.results import Result

__all__ = ["draft_with", "renewed"]

_log = logging.getLogger(__name__)

_EVERY_S = 0.4


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
) -> list[Target]:
    """The targets as the draft has them; one that was deleted is left out, and one with nothing left to write.

    suggestions: by region; those for a field whose text has changed since are taken out.
    """
    found: list[Target] = []
    for target in targets:
        there = target_of(draft, target.id, config=config, renew=target.renew)
        if there is None:
            continue
        was, texts, given = _texts(target), _texts(there), suggestions.get(target.id, [])
        kept = [s for s in given if texts.get(s.field, ()) == was.get(s.field, ())]
        suggestions[target.id] = kept
        if kept or not given:
            found.append(there)
    return found


def _texts(target: Target) -> dict[str, tuple[str, ...]]:
    return {str(item.get("from_name")): text_in(item) for item in target.results[1:]}


def _holds(results: Sequence[Result], item: Mapping[str, object]) -> bool:
    return any(
        mine.get("id") == item.get("id") and mine.get("value") == item.get("value")
        for mine in results
    )
