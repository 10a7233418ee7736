"""Batch predictions: the regions that a task already has, with every empty field filled, arrows and relation sentences.

Used by the prelabel job, which pushes them through the API, and by small batch calls. Label Studio stores a prediction
as it is and never asks again for the same model version, so a prediction is whole or it is not made. Knows nothing of
who asks.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backend.answering import Answers, Job, fill_regions
from backend.assistant import Assistant, Suggestion, current_model
from backend.errors import BackendError
from backend.fill import META, Target, results_of, target_of
from backend.known import results_in
from backend.relate import merged_lines
from regiontext.labelstudio.config import LabelingConfig
from regiontext.labelstudio.results import (
    Result,
    check_results,
    image_field_result,
    read_results,
    relation_result,
    text_of,
)

__all__ = ["Prediction", "build_prediction", "has_prediction"]

_log = logging.getLogger(__name__)

_MAX_PAIRS = 32


@dataclass(frozen=True)
class Prediction:
    """What Label Studio stores. score: the mean confidence, None if unknown."""

    result: list[Result]
    score: float | None
    model_version: str
    suggestions: list[Suggestion]

    def to_dict(self) -> dict[str, Any]:
        """As it stands in the answer to /predict and in POST /api/predictions (which also wants the task)."""
        return {"result": self.result, "score": self.score, "model_version": self.model_version}


async def build_prediction(
    assistant: Assistant,
    *,
    project: int,
    task: Mapping[str, Any],
    config: LabelingConfig,
    deadline: float | None = None,
) -> Prediction | None:
    """A prediction for a task, as Label Studio describes it (with its data, annotations, drafts, predictions).

    The regions come from the newest annotation, else the newest draft, else the newest prediction, a foreign one before
    one of ours. Fields that hold text stay as they are. None when there is nothing to predict: no regions, all fields
    filled, or an image outside the assist arm. deadline: on the clock of `time.monotonic`.

    Raises:
        BackendError: an image or the model failed in a way that may pass; nothing is lost by asking again later.
    """
    results = _source(task, config)
    read = read_results(results)
    found = (target_of(results, id, config=config, renew=False) for id in read.shapes)
    targets = [target for target in found if target is not None]
    if not targets:
        return None
    related = {frozenset((str(r.get("from_id")), str(r.get("to_id")))) for r in read.relations}
    data = task.get("data")
    answers = await fill_regions(
        assistant,
        Job(
            project=project,
            task=int(task["id"]),
            data=data if isinstance(data, Mapping) else {},
            config=config,
            targets=targets,
            results=results,
            path="batch",
            relations=_MAX_PAIRS if len(targets) > 1 else 0,
            related=frozenset(related),
            deadline=deadline,
        ),
    )
    if answers.faults:
        raise BackendError(f"task {task['id']}: {answers.faults[0]}")
    suggestions = [s for many in answers.suggestions.values() for s in many]
    suggestions += [*answers.arrows, *answers.sentences]
    if not suggestions:
        return None
    valid, dropped = check_results(_written(results, targets, answers, config), config)
    for line in dropped:
        _log.warning("left out of a prediction: %s", line, extra={"task": task["id"]})
    scores = [s.confidence for s in suggestions if s.confidence is not None]
    return Prediction(
        result=valid,
        score=sum(scores) / len(scores) if scores else None,
        model_version=suggestions[0].model_version,
        suggestions=suggestions,
    )


async def has_prediction(
    assistant: Assistant, task: Mapping[str, Any], config: LabelingConfig
) -> bool:
    """Whether the task holds a prediction of the version that is served now.

    Raises:
        ModelUnavailable: it is not known what is served.
    """
    version = (await current_model(assistant)).version(config)
    return any(p.get("model_version") == version for p in _list(task, "predictions"))


def _source(task: Mapping[str, Any], config: LabelingConfig) -> list[Result]:
    """The results whose regions are to be filled, without what we put there ourselves for an older version."""
    annotations = [a for a in _list(task, "annotations") if not a.get("was_cancelled")]
    drafts, predictions = _list(task, "drafts"), _list(task, "predictions")
    ours = [p for p in predictions if any(_is_ours(item) for item in results_in(p))]
    foreign = [p for p in predictions if p not in ours]
    for holders in (annotations, drafts, foreign):
        for results in _newest_first(holders):
            if read_results(results).shapes:
                return results
    area = config.relation_field
    for results in _newest_first(ours):
        kept = [
            item
            for item in results
            if not _is_ours(item)
            and item.get("type") != "relation"
            and not (area is not None and item.get("from_name") == area.name)
        ]
        if read_results(kept).shapes:
            return kept
    return []


def _newest_first(holders: Sequence[Mapping[str, Any]]) -> list[list[Result]]:
    ordered = sorted(holders, key=lambda h: str(h.get("updated_at") or ""), reverse=True)
    return [results_in(holder) for holder in ordered]


def _is_ours(item: Mapping[str, Any]) -> bool:
    meta = item.get("meta")
    return isinstance(meta, Mapping) and META in meta


def _written(
    results: Sequence[Result],
    targets: Sequence[Target],
    answers: Answers,
    config: LabelingConfig,
) -> list[Result]:
    ids = {target.id for target in targets}
    written: list[Result] = []
    for target in targets:
        written += results_of(target, answers.suggestions.get(target.id, []), config)
    area = config.relation_field
    lines = [suggestion.value[0] for suggestion in answers.sentences]
    there: Result | None = None
    for item in results:
        if item.get("id") in ids and item.get("type") != "relation":
            continue
        if area is not None and lines and item.get("from_name") == area.name:
            there = item
            continue
        written.append(dict(item))
    if area is not None and lines:
        merged = merged_lines(text_of(there) if there else (), lines)
        id = str(there["id"]) if there else secrets.token_urlsafe(8)
        written.append(image_field_result(area, merged, id=id))
    for arrow in answers.arrows:
        written.append(relation_result(arrow.region, str(arrow.region_to), arrow.value))
    return written


def _list(task: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    value = task.get(key)
    return [v for v in value if isinstance(v, Mapping)] if isinstance(value, list) else []
