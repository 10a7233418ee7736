"""What of a result list may go to Label Studio's page as the answer to an interactive call.

The page writes every label that is chosen there into everything that it accepts (see `regiontext.labelstudio.leaks`),
and a text about the whole image that has such a label chooses it again at each answer, which then relabels whatever is
drawn. So an answer holds nothing that it need not: the page keeps its texts about the whole image without being told,
and an answer without results is null, at which it leaves everything as it is. Knows results and the labeling config.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from backend.answering import Answers
from backend.fill import Target, results_of
from backend.known import marked
from regiontext.labelstudio.answers import FIELD_KEYS
from regiontext.labelstudio.checks import is_regional
from regiontext.labelstudio.config import LabelingConfig
from regiontext.labelstudio.decode import is_shape
from regiontext.labelstudio.leaks import without_leaks
from regiontext.labelstudio.results import Result, check_results

__all__ = ["entry_of", "noted", "regional", "written"]

_log = logging.getLogger(__name__)


def entry_of(results: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """An answer as it leaves: {"result": …} without any label that is not its region's own, null if nothing is left."""
    return {"result": without_leaks(results) or None}


def regional(results: Sequence[Mapping[str, Any]]) -> list[Result]:
    """The results without the fields of the whole image."""
    regions = {item.get("id") for item in results if is_shape(item) and _is_text(item.get("id"))}
    return [
        dict(item)
        for item in results
        if item.get("type") not in _FIELDS
        or is_regional(item)
        or (_is_text(item.get("id")) and item.get("id") in regions)
    ]


def noted(results: Sequence[Result], note: str | None) -> list[Result]:
    """The results with their shapes marked as seen, and with the note."""
    return [marked(item, note) if is_shape(item) else dict(item) for item in results]


def written(target: Target, answers: Answers, config: LabelingConfig) -> list[Result]:
    """A region as it goes back; a field the config would not take is left out, the region never."""
    mine = results_of(
        target, answers.suggestions.get(target.id, []), config, answers.notes.get(target.id)
    )
    before = {str(item.get("from_name")): item for item in target.results}
    valid, dropped = check_results(mine, config)
    for line in dropped:
        _log.warning("left out: %s", line)
    if dropped and not any(is_shape(item) for item in valid):
        # The config has changed since the page was opened.
        before[str(target.shape.get("from_name"))] = marked(target.shape, dropped[0])
    kept = {str(item.get("from_name")) for item in valid}
    return [
        item if str(item.get("from_name")) in kept else before.get(str(item.get("from_name")), item)
        for item in mine
        if str(item.get("from_name")) in kept or str(item.get("from_name")) in before
    ]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


_FIELDS = tuple(FIELD_KEYS)
