"""One task of a pre-labelling: whether it needs a prediction, from which regions, and what is in it.

Reads Label Studio and asks the model; stores nothing in Label Studio.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.exc import DataError

from backend.assistant import Assistant, current_model, look_at
from backend.errors import BackendError
from backend.jobs.pipeline import Prepared
from backend.jobs.sources import has_version, is_our_version, source_of, unstorable
from backend.jobs.studio import Project, Studio
from backend.label_studio import image_url
from backend.predictions import build_prediction
from regiontext.labelstudio.config import LabelingConfig
from regiontext.labelstudio.results import Result

__all__ = ["Preparing", "Wanted"]


@dataclass(frozen=True)
class Wanted:
    """A prediction that a task is to have. score: the mean confidence of its answers; None if unknown or unfilled.

    unfilled: the image is in control or holdout. check: only look whether predictions of ours are to be removed, since
    the task has one of this version.
    """

    model_version: str
    result: list[Result] = field(default_factory=list)
    score: float | None = None
    unfilled: bool = False
    check: bool = False


@dataclass(frozen=True, eq=False)
class Preparing:
    """What it takes to prepare the tasks of one project."""

    assistant: Assistant
    studio: Studio
    project: Project
    config: LabelingConfig
    include_annotated: bool

    async def version(self) -> str:
        """The model version of what is made now. Raises ModelUnavailable."""
        return (await current_model(self.assistant)).version(self.config)

    async def task(self, task: Mapping[str, Any]) -> Prepared[Wanted]:
        """What is to be stored for a task, as Label Studio lists it with its predictions and annotations.

        The states are those of `Prelabelled`. Raises BackendError or RegiontextError if it cannot be prepared now.
        """
        id = int(task["id"])
        version = await self.version()
        predictions = task.get("predictions") or []
        if has_version(predictions, version):
            older = any(
                is_our_version(p.get("model_version")) and p.get("model_version") != version
                for p in predictions
            )
            doubled = sum(p.get("model_version") == version for p in predictions) > 1
            tidy = Wanted(version, check=True) if older or doubled else None
            return Prepared(id, "current", tidy)
        found = await self._source(task)
        if found is None:
            return Prepared(id, "without_regions")
        kind, source = found
        if problem := unstorable(source.get("result") or []):
            raise BackendError(problem)
        # As what it is: of our own predictions only the regions are taken, of people's work everything.
        alone = {**task, "annotations": [], "drafts": [], "predictions": [], kind: [source]}
        try:
            made = await build_prediction(
                self.assistant, project=self.project.id, task=alone, config=self.config
            )
        except DataError as error:
            raise BackendError(f"the database does not take what is in it: {error.orig}") from error
        if made is not None:
            return Prepared(id, "created", Wanted(made.model_version, made.result, made.score))
        assisted = await self._is_assisted(task)
        state = "complete" if assisted else "unassisted"
        if kind != "predictions" or is_our_version(source.get("model_version")):
            return Prepared(id, state)
        repeated = Wanted(version, list(source["result"]), unfilled=not assisted)
        return Prepared(id, state, repeated)

    async def _source(self, task: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
        """Whose regions are to be filled: the key under which a task holds it, and the holder itself."""
        if found := source_of(task.get("predictions") or []):
            return "predictions", found
        if found := source_of([], await self.studio.drafts(int(task["id"]))):
            return "drafts", found
        submitted = task.get("annotations") or [] if self.include_annotated else []
        found = source_of([], [], submitted)
        return ("annotations", found) if found else None

    async def _is_assisted(self, task: Mapping[str, Any]) -> bool:
        """Whether the task's (first) image is in the assist arm."""
        id = int(task["id"])
        url = image_url(task.get("data") or {}, self.config.image_key)
        data = await self.assistant.images.fetch(url, task=id)
        picture = await look_at(self.assistant, data, project=self.project.id, task=id)
        return picture.arm == "assist"
