"""Puts annotations into the store: the annotation itself and what became of each suggestion, in one transaction.

Can be repeated at will: it replaces what it wrote before, and never an annotation by an older state of it. Knows
nothing of how the annotation came here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from backend.arms import draw_into_arm
from backend.errors import OtherLabelStudio
from backend.images import Images
from backend.jobs.outcomes import Seen, outcome_rows, parse_time
from backend.label_studio import image_url
from backend.settings import Settings
from backend.store import AnnotationRow, ImageRow, OutcomeRow, Store, SuggestionRow
from backend.store import queries as stored
from regiontext.images import image_hash, load_image
from regiontext.labelstudio.config import LabelingConfig
from regiontext.labelstudio.results import decode_regions, read_results
from regiontext.records.arm import Arm

__all__ = ["Keeper"]


class Keeper:
    """Writes annotations and their outcomes into one store, looking at images it has not seen."""

    def __init__(self, settings: Settings, store: Store, images: Images) -> None:
        self._settings = settings
        self.store = store
        self._images = images

    def known(self, project: int) -> dict[int, datetime | None]:
        """The annotations that the store believes to exist, with the time of their last change."""
        query = select(AnnotationRow.id, AnnotationRow.updated_at).where(
            AnnotationRow.project == project, AnnotationRow.deleted.is_(False)
        )
        with self.store.read() as session:
            return {id: updated for id, updated in session.execute(query)}

    def count_outcomes(self, project: int) -> dict[str, int]:
        """How many outcomes of each kind the project has."""
        query = (
            select(OutcomeRow.outcome, func.count())
            .where(OutcomeRow.project == project)
            .group_by(OutcomeRow.outcome)
            .order_by(OutcomeRow.outcome)
        )
        with self.store.read() as session:
            return {outcome: number for outcome, number in session.execute(query)}

    def forget(self, project: int, annotations: Sequence[int]) -> None:
        """Annotations of a project that are no more: their rows say so, their outcomes go."""
        if not annotations:
            return
        with self.store.begin() as session:
            for id in annotations:
                row = session.get(AnnotationRow, id)
                if row is not None and row.project == project:
                    row.deleted = True
                    session.execute(delete(OutcomeRow).where(OutcomeRow.annotation == id))

    async def keep(
        self,
        annotation: Mapping[str, Any],
        *,
        project: int,
        task: int,
        data: Mapping[str, Any],
        config: LabelingConfig,
        source: str,
    ) -> None:
        """Store one annotation and its outcomes, replacing what was stored of it; a skipped one is none."""
        if annotation.get("was_cancelled"):
            await asyncio.to_thread(self.forget, project, [int(annotation["id"])])
            return
        shapes = read_results(annotation.get("result") or []).shapes.values()
        places = sorted({int(shape.get("item_index") or 0) for shape in shapes})
        images = {}
        for place in places or [0]:
            images[place] = await self._image(project, task, data, config, place)
        await asyncio.to_thread(self._write, annotation, project, task, config, source, images)

    async def _image(
        self, project: int, task: int, data: Mapping[str, Any], config: LabelingConfig, place: int
    ) -> Seen:
        """The image behind a task; fetched, hashed and drawn into an arm if it was never seen."""
        if not config.multi:
            known = await asyncio.to_thread(self._known_image, project, task)
            if known is not None:
                return known
        bytes_ = await self._images.fetch(image_url(data, config.image_key, place), task=task)
        return await asyncio.to_thread(self._record_image, bytes_, project, task)

    def _known_image(self, project: int, task: int) -> Seen | None:
        with self.store.read() as session:
            digest = stored.image_of_task(session, project, task) or session.scalar(
                select(AnnotationRow.image_hash)
                .where(
                    AnnotationRow.task == task,
                    AnnotationRow.project == project,
                    AnnotationRow.image_hash.is_not(None),
                )
                .limit(1)
            )
            row = session.get(ImageRow, digest) if digest else None
            return _seen(row) if row is not None else None

    def _record_image(self, data: bytes, project: int, task: int) -> Seen:
        size = load_image(data).size
        return _seen(
            draw_into_arm(
                self._settings, self.store, image_hash(data), size, project=project, task=task
            )
        )

    def _write(
        self,
        annotation: Mapping[str, Any],
        project: int,
        task: int,
        config: LabelingConfig,
        source: str,
        images: Mapping[int, Seen],
    ) -> None:
        id = int(annotation["id"])
        author = annotation.get("completed_by")
        annotator = author.get("id") if isinstance(author, Mapping) else author
        updated = parse_time(annotation.get("updated_at"))
        # Before the transaction: painted regions take their time, and webhooks and suggestions wait for it to end.
        regions, _ = decode_regions(annotation.get("result") or [])
        with self.store.begin() as session:
            known = session.get(AnnotationRow, id)
            if known is not None and known.project != project:
                raise OtherLabelStudio(
                    f"annotation {id} of project {project} is kept as one of project {known.project}: annotations do "
                    "not move, so it is another Label Studio's, which needs a database of its own "
                    "(REGIONTEXT_DATA_DIR or REGIONTEXT_DATABASE_URL)"
                )
            if known is not None and updated and known.updated_at and known.updated_at > updated:
                return  # A webhook that was overtaken by a newer one.
            suggestions = stored.suggestions_of_task(session, project, task)
            alone = _is_alone(session, task, id, annotator)
            if not alone:
                _take_back_discards(session, task, id)
            rows = outcome_rows(
                annotation,
                project=project,
                task=task,
                config=config,
                suggestions=suggestions,
                regions=regions,
                images=images,
                alone=alone,
            )
            stored.upsert(
                session,
                AnnotationRow(
                    id=id,
                    project=project,
                    task=task,
                    completed_by=annotator,
                    result=list(annotation.get("result") or []),
                    lead_time=annotation.get("lead_time"),
                    created_at=parse_time(annotation.get("created_at")),
                    updated_at=updated,
                    deleted=False,
                    image_hash=next(iter(images.values())).hash,
                    source=source,
                ),
            )
            session.execute(delete(OutcomeRow).where(OutcomeRow.annotation == id))
            session.add_all(rows)


def _is_alone(session: Session, task: int, annotation: int, annotator: int | None) -> bool:
    """Whether no other annotator's annotation of the task is known."""
    others = select(AnnotationRow.completed_by).where(
        AnnotationRow.task == task, AnnotationRow.id != annotation, AnnotationRow.deleted.is_(False)
    )
    return all(other == annotator for other in session.scalars(others))


def _take_back_discards(session: Session, task: int, annotation: int) -> None:
    """Other annotations of the task no longer discard what was drawn there: it may have been drawn for this one."""
    drawn = select(SuggestionRow.id).where(
        SuggestionRow.task == task, SuggestionRow.path == "interactive"
    )
    session.execute(
        delete(OutcomeRow).where(
            OutcomeRow.task == task,
            OutcomeRow.annotation != annotation,
            OutcomeRow.outcome == "discarded",
            OutcomeRow.suggestion.in_(drawn),
        )
    )


def _seen(row: ImageRow) -> Seen:
    arm: Arm = row.arm  # type: ignore[assignment]  # the column is plain text, written from an Arm
    return Seen(row.hash, arm)
