"""Stores predictions in Label Studio, many in one call, and removes those of ours that they replace.

Label Studio is asked right before which of them it has, and right after what became too many: that is what keeps two
runs, or one that was killed between storing and noting it, from making anything twice. Knows no model and no image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backend.errors import LabelStudioError
from backend.jobs.errors import LabelStudioAway
from backend.jobs.pipeline import Done, Prepared
from backend.jobs.preparing import Wanted
from backend.jobs.queue_order import places
from backend.jobs.sources import has_version, is_our_version, outdated
from backend.jobs.studio import Studio

__all__ = ["Storing"]


@dataclass(eq=False)
class Storing:
    """removed: predictions of ours that were out of date. random_share: see `queue_order.places`."""

    studio: Studio
    project: int
    random_share: float
    removed: int = 0

    async def store(self, group: Sequence[Prepared[Wanted]]) -> list[Done]:
        """Bring some tasks up to date in Label Studio; how each ended.

        Raises LabelStudioError if Label Studio does not answer; what was stored by then is found there the next time.
        """
        wanted = {p.task: p.store for p in group if p.store is not None}
        before = await self._listed(wanted)
        new = {
            task: want
            for task, want in wanted.items()
            if task in before
            and not want.check
            and not has_version(before[task].get("predictions") or [], want.model_version)
        }
        refused = await self._import(new) if new else {}
        after = await self._listed(wanted) if new else before
        ended = []
        for prepared in group:
            task, want = prepared.task, wanted[prepared.task]
            if task not in before:
                ended.append(Done(task, "failed", f"task {task}: it is gone from Label Studio"))
            elif task in refused:
                ended.append(Done(task, "failed", f"task {task}: {refused[task]}"))
            else:
                await self._remove_outdated(task, after.get(task), want.model_version)
                state = _state(prepared, task in new, before[task])
                ended.append(Done(task, state, stored=task in new))
        return ended

    async def _listed(self, wanted: Mapping[int, Wanted]) -> dict[int, Mapping[str, Any]]:
        found = await self.studio.tasks_among(self.project, wanted.keys())
        return {int(task["id"]): task for task in found}

    async def _import(self, new: Mapping[int, Wanted]) -> dict[int, str]:
        """Store the predictions; by task, why Label Studio refuses one."""
        scores = places(
            [(task, want.score) for task, want in new.items()],
            share=self.random_share,
            unfilled=[task for task, want in new.items() if want.unfilled],
        )
        bodies = [
            {
                "task": task,
                "result": want.result,
                "score": scores[task],
                "model_version": want.model_version,
            }
            for task, want in new.items()
        ]
        try:
            await self.studio.import_predictions(self.project, bodies)
        except LabelStudioAway:
            raise
        except LabelStudioError:
            pass
        else:
            return {}
        # One that it refuses makes it refuse all.
        refused = {}
        for task, want in new.items():
            try:
                await self.studio.create_prediction(
                    project=self.project,
                    task=task,
                    result=want.result,
                    score=scores[task],
                    model_version=want.model_version,
                )
            except LabelStudioAway:
                raise
            except LabelStudioError as error:
                refused[task] = str(error)
        return refused

    async def _remove_outdated(
        self, task: int, listed: Mapping[str, Any] | None, version: str
    ) -> None:
        """Remove what the current prediction replaces, unless somebody works with it.

        Label Studio refuses an annotation whose prediction is gone (400), and forgets the prediction of one that it
        has. An annotator who opened a task just before and changed nothing has no draft yet: they are told to reload.
        """
        predictions = (listed or {}).get("predictions") or []
        if not outdated(predictions, version=version, in_use=()):
            return
        if await self.studio.drafts(task):
            return  # The draft may have begun as a copy of one of them; the next run looks again.
        used = [a.get("parent_prediction") for a in await self.studio.annotations(task)]
        for id in outdated(predictions, version=version, in_use=used):
            await self.studio.delete_prediction(id)
            self.removed += 1


def _state(prepared: Prepared[Wanted], new: bool, before: Mapping[str, Any]) -> str:
    if not new:
        return "current"
    had = any(is_our_version(p.get("model_version")) for p in before.get("predictions") or [])
    return "renewed" if had and prepared.state == "created" else prepared.state
