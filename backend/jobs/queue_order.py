"""In which order annotators meet the tasks: those the model is least sure of first, a share of them at random.

Label Studio can sort a view by the score of the predictions it shows, and keeps the score with the prediction: nothing
is written into the tasks' data. The score of a prediction is therefore its place in the queue: the mean confidence of
its answers, except for tasks that are placed at random; every answer keeps its own confidence. Label Studio sorts
predictions without a score to the end, which is why images that are not filled on purpose are placed at random too:
they would be annotated last, and judge nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from backend.jobs.studio import Studio

__all__ = ["VIEW_TITLE", "ensure_view", "places"]

VIEW_TITLE = "regiontext: useful first"

_VIEW: Mapping[str, Any] = {
    "type": "list",
    "target": "tasks",
    "title": VIEW_TITLE,
    "ordering": ["tasks:predictions_score"],
    "filters": {"conjunction": "and", "items": []},
    "hiddenColumns": {"explore": [], "labeling": []},
}


def places(
    scores: Sequence[tuple[int, float | None]], *, share: float, unfilled: Sequence[int] = ()
) -> dict[int, float | None]:
    """The score of each task's prediction, given (task, mean confidence) of tasks that are stored together.

    `share` in [0, 1] of the tasks, and all the `unfilled` ones, get the score of some task of the group in place of
    their own, so that they stand anywhere in the queue. Who and which is drawn from the task's number: the same again.
    None for all if no task has a score.
    """
    known = sorted(score for _, score in scores if score is not None)
    alone = set(unfilled)
    found: dict[int, float | None] = {}
    for task, score in scores:
        chance, place = _draws(task)
        moved = task in alone or (score is not None and chance < share)
        found[task] = known[int(place * len(known))] if moved and known else score
    return found


async def ensure_view(studio: Studio, project: int) -> bool:
    """Add the view to the project's data manager unless it has one of this name; whether it was added."""
    for view in await studio.views(project):
        if (view.get("data") or {}).get("title") == VIEW_TITLE:
            return False
    await studio.create_view(project, _VIEW)
    return True


def _draws(task: int) -> tuple[float, float]:
    """Two numbers in [0, 1)."""
    digest = hashlib.sha256(f"regiontext queue {task}".encode()).digest()
    first, second = (int.from_bytes(digest[i : i + 6], "big") / 2**48 for i in (0, 6))
    return first, second
