"""Answers a batch call of Label Studio: one entry per task, in order, and an empty one where there is nothing to store.

Label Studio sends all selected tasks at once, waits 100 s, and stores what comes back unchecked. Three of its habits
shape this module (ml/models.py of 1.23):
* An entry may be a list of predictions. The empty list stores nothing, so the task is asked about again
  another time; an entry with an empty `result` would be stored and block that for good.
* For several tasks, a single entry makes it ask again one task at a time, while the page that waits is blocked for as
  long as all of them take. So a call of more tasks than fit into the budget is handed over to a job, which stores the
  predictions itself, and answered with nothing at once. Only where no job can be started is it answered that way.
* Any other number of entries than tasks, and everything is thrown away.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from backend.assistant import Assistant
from backend.errors import BackendError
from backend.interactive import config_of
from backend.predictions import build_prediction, has_prediction
from regiontext.errors import ConfigError, RegiontextError
from regiontext.labelstudio.config import LabelingConfig

__all__ = ["MAX_TASKS", "HandOver", "predict_batch"]

_log = logging.getLogger(__name__)

MAX_TASKS = 4
"""How many tasks one call is answered for at once."""

_RESERVE_S = 0.3

Entry = dict[str, Any] | list[dict[str, Any]]


HandOver = Callable[[int, Sequence[int]], Awaitable[None]]


async def predict_batch(
    assistant: Assistant,
    *,
    tasks: Sequence[Mapping[str, Any]],
    project: object,
    label_config: str,
    hand_over: HandOver | None = None,
) -> list[Entry]:
    """The `results` of a batch call. Does not raise; keeps to the time budget.

    hand_over: starts a job for these tasks of a project, and may raise BackendError.
    """
    nothing: list[Entry] = [[] for _ in tasks]
    try:
        config = config_of(label_config)
        number = await assistant.origins.project(project)
    except (ConfigError, BackendError, SQLAlchemyError, OverflowError) as error:
        _log.warning("no predictions: %s", error)
        return nothing
    if len(tasks) > MAX_TASKS:
        return nothing if await _handed_over(hand_over, tasks, number) else [[]]
    deadline = time.monotonic() + max(0.1, assistant.settings.budget_s - _RESERVE_S)
    return list(
        await asyncio.gather(
            *(_predict(assistant, task, number, config, deadline) for task in tasks)
        )
    )


async def _handed_over(
    hand_over: HandOver | None, tasks: Sequence[Mapping[str, Any]], project: int
) -> bool:
    about = {"project": project, "tasks": len(tasks)}
    if hand_over is not None:
        try:
            await hand_over(project, [int(task["id"]) for task in tasks])
        except (BackendError, KeyError, TypeError, ValueError) as error:
            _log.warning("no job for many tasks: %s", error, extra=about)
        else:
            _log.info("many tasks in one call: a job fills them", extra=about)
            return True
    _log.warning(
        "%d tasks in one call: Label Studio will ask one by one; use `regiontext prelabel` for many",
        len(tasks),
        extra=about,
    )
    return False


async def _predict(
    assistant: Assistant,
    task: Mapping[str, Any],
    project: int,
    config: LabelingConfig,
    deadline: float,
) -> Entry:
    about = {"task": task.get("id"), "project": project}
    try:
        async with asyncio.timeout(max(0.0, deadline - time.monotonic()) + _RESERVE_S / 2):
            if await has_prediction(assistant, task, config):
                return []
            prediction = await build_prediction(
                assistant, project=project, task=task, config=config, deadline=deadline
            )
    except (BackendError, RegiontextError, TimeoutError) as error:
        _log.warning("no prediction: %s", error or "out of time", extra=about)
        return []
    except Exception:
        _log.exception("a prediction failed", extra=about)
        return []
    return prediction.to_dict() if prediction is not None else []
