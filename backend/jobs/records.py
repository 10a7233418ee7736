"""The store's outcomes as records: what a model can learn from, and be judged by.

Knows the tables; knows nothing of Label Studio's API or of pixels.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from backend.jobs.outcomes import pair_ends, parse_time
from backend.jobs.sentences import Sentence, sentences
from backend.store import AnnotationRow, ImageRow, OutcomeRow, Store, SuggestionRow
from regiontext.errors import RegiontextError
from regiontext.labelstudio.config import LabelingConfig
from regiontext.labelstudio.decode import decode_region
from regiontext.labelstudio.results import Results, read_results, text_of
from regiontext.questions.templates import relation_sentence_question
from regiontext.records.arm import Arm
from regiontext.records.record import Record, record_id
from regiontext.region import Region

__all__ = [
    "HELD_OUT",
    "LEARNT_FROM",
    "USABLE",
    "load_records",
    "project_numbers",
    "record_batches",
    "record_tasks",
]

LEARNT_FROM: tuple[Arm, ...] = ("assist", "control")
"""The arms a model may be trained on. Holdout never is."""

HELD_OUT: tuple[Arm, ...] = ("holdout",)
"""The arm that only judges."""

USABLE = ("accepted", "edited", "added")
"""The outcomes that leave a text behind."""

_TASKS_AT_ONCE = 100


def project_numbers(store: Store) -> list[int]:
    """The projects of which the store holds outcomes."""
    with store.read() as session:
        return sorted(session.scalars(select(OutcomeRow.project).distinct()))


def load_records(
    store: Store, project: int | None = None, *, arms: Collection[Arm] = LEARNT_FROM
) -> list[Record]:
    """Every record of a project (of all, if None) whose image is in one of the arms, in a stable order.

    A record is what a human left in a field: accepted, edited or added. Left out are texts of deleted annotations,
    regions without a usable shape, and closed questions with several answers, which a model that answers with one
    option cannot give. `Record.image` is empty: only Label Studio knows where a task's image is.
    """
    query = _outcomes(arms).order_by(*_ORDER)
    if project is not None:
        query = query.where(OutcomeRow.project == project)
    with store.read() as session:
        return list(_from_outcomes(session, query, several=False))


def record_tasks(store: Store, projects: Collection[int]) -> list[tuple[int, int]]:
    """The (project, task) of which `record_batches` may have records, in its order."""
    query = (
        select(AnnotationRow.project, AnnotationRow.task)
        .where(AnnotationRow.deleted.is_(False), AnnotationRow.project.in_(list(projects)))
        .distinct()
        .order_by(AnnotationRow.task)
    )
    with store.read() as session:
        return [(project, task) for project, task in session.execute(query)]


def record_batches(
    store: Store,
    configs: Mapping[int, LabelingConfig],
    *,
    arms: Collection[Arm] = LEARNT_FROM,
) -> Iterator[list[Record]]:
    """The records of these projects a few tasks at a time, all that can be written down; memory holds one batch.

    As `load_records`, and besides: closed questions with several answers, and the sentences about relations in a
    whole-image text as far as it is known which pair they are about (see `sentences`).
    """
    tasks = [task for _, task in record_tasks(store, configs)]
    for first in range(0, len(tasks), _TASKS_AT_ONCE):
        some = tasks[first : first + _TASKS_AT_ONCE]
        query = (
            _outcomes(arms)
            .where(OutcomeRow.task.in_(some), OutcomeRow.project.in_(list(configs)))
            .order_by(*_ORDER)
        )
        with store.read() as session:
            batch = list(_from_outcomes(session, query, several=True))
            batch += _from_sentences(session, some, configs, arms)
        yield sorted(batch, key=lambda record: (record.task, record.annotation))


_ORDER = (OutcomeRow.task, OutcomeRow.annotation, OutcomeRow.region, OutcomeRow.field)

if TYPE_CHECKING:
    _Joined = Select[OutcomeRow, AnnotationRow, ImageRow, SuggestionRow]


def _outcomes(arms: Collection[Arm]) -> _Joined:
    return (
        select(OutcomeRow, AnnotationRow, ImageRow, SuggestionRow)
        .join(AnnotationRow, AnnotationRow.id == OutcomeRow.annotation)
        .join(ImageRow, ImageRow.hash == OutcomeRow.image_hash)
        .outerjoin(SuggestionRow, SuggestionRow.id == OutcomeRow.suggestion)
        .where(
            ImageRow.arm.in_(list(arms)),
            OutcomeRow.outcome.in_(USABLE),
            # A suggestion that was wrong on purpose and that nobody noticed is nobody's answer.
            ~(OutcomeRow.trap & (OutcomeRow.outcome == "accepted")),
            AnnotationRow.deleted.is_(False),
        )
    )


def _from_outcomes(session: Session, query: _Joined, *, several: bool) -> Iterator[Record]:
    shapes: tuple[int | None, Mapping[str, Any]] = (None, {})
    for outcome, annotation, image, suggestion in session.execute(query):
        if shapes[0] != annotation.id:
            shapes = annotation.id, read_results(annotation.result).shapes
        record = _record(outcome, shapes[1], image, suggestion, several=several)
        if record is not None:
            yield record


def _record(
    row: OutcomeRow,
    shapes: Mapping[str, Any],
    image: ImageRow,
    suggestion: SuggestionRow | None,
    *,
    several: bool,
) -> Record | None:
    regions = _regions(row, shapes)
    final = tuple(str(entry) for entry in row.final)
    if not regions or not final or (row.options and len(final) > 1 and not several):
        return None
    return Record(
        id=record_id(row.annotation, regions, row.field),
        project=row.project,
        task=row.task,
        annotation=row.annotation,
        image_hash=image.hash,
        image="",
        size=(image.width, image.height),
        regions=regions,
        shapes=tuple(shapes[region] for region in regions),
        labels=tuple(str(label) for label in row.labels),
        field=row.field,
        kind="closed" if row.options else "open",
        wording=row.question,
        options=tuple(str(option) for option in row.options),
        answer=final,
        outcome=row.outcome,  # type: ignore[arg-type]  # one of USABLE, by the query
        # The image's arm is the one that counts now: it may have moved since the outcome was written.
        arm=image.arm,  # type: ignore[arg-type]  # written from an Arm
        suggested=tuple(str(entry) for entry in row.suggested) if row.suggestion else None,
        prompt=suggestion.prompt if suggestion else None,
        model_version=row.model_version,
        annotator=row.annotator,
        updated_at=row.updated_at.isoformat(),
        suggestion=row.suggestion,
    )


def _regions(row: OutcomeRow, shapes: Mapping[str, Any]) -> tuple[str, ...]:
    ends: Sequence[str] = (row.region,)
    if "{subject}" in row.question:
        ends = pair_ends(row.region, shapes) or ()
    return tuple(ends) if all(end in shapes for end in ends) else ()


def _from_sentences(
    session: Session,
    tasks: Sequence[int],
    configs: Mapping[int, LabelingConfig],
    arms: Collection[Arm],
) -> Iterator[Record]:
    query = (
        select(AnnotationRow, ImageRow)
        .join(ImageRow, ImageRow.hash == AnnotationRow.image_hash)
        .where(
            AnnotationRow.task.in_(tasks),
            AnnotationRow.deleted.is_(False),
            ImageRow.arm.in_(list(arms)),
        )
        .order_by(AnnotationRow.task, AnnotationRow.id)
    )
    for annotation, image in session.execute(query).all():
        config = configs.get(annotation.project)
        field = config.relation_field if config else None
        if config is None or field is None:
            continue
        read = read_results(annotation.result)
        written = read.image_fields.get(field.name)
        places = {int(shape.get("item_index") or 0) for shape in read.shapes.values()}
        # The image of a text about several images is not known.
        if written is None or len(places) != 1:
            continue
        rows = session.scalars(
            select(SuggestionRow)
            .where(
                SuggestionRow.task == annotation.task,
                SuggestionRow.field == field.name,
                SuggestionRow.region_to.is_not(None),
            )
            .order_by(SuggestionRow.created_at, SuggestionRow.id)
        )
        offered = [r for r in rows if r.region in read.shapes and r.region_to in read.shapes]
        for sentence in sentences(text_of(written), offered, _captions(read, config)):
            record = _sentence_record(sentence, annotation, image, read, field.name, config)
            if record is not None:
                yield record


def _captions(read: Results, config: LabelingConfig) -> dict[str, list[str]]:
    """What each region is called in its own text areas."""
    names = {field.name for field in config.fields if field.tag == "TextArea"}
    return {
        region: [text for name in names & set(fields) for text in text_of(fields[name])]
        for region, fields in read.fields.items()
    }


def _sentence_record(
    sentence: Sentence,
    annotation: AnnotationRow,
    image: ImageRow,
    read: Results,
    field: str,
    config: LabelingConfig,
) -> Record | None:
    shapes = tuple(read.shapes[end] for end in sentence.pair)
    regions: list[Region] = []
    try:
        regions = [decode_region(shape) for shape in shapes]
    except RegiontextError:
        return None
    question = relation_sentence_question((regions[0], regions[1]), config.relation_field or field)
    offered = sentence.suggestion
    # A sentence that was put together from an arrow was never asked for as one.
    asked = offered is not None and not offered.options and "{subject}" in offered.question
    updated = parse_time(annotation.updated_at)
    return Record(
        id=record_id(annotation.id, sentence.pair, field),
        project=annotation.project,
        task=annotation.task,
        annotation=annotation.id,
        image_hash=image.hash,
        image="",
        size=(image.width, image.height),
        regions=sentence.pair,
        shapes=shapes,
        labels=tuple(dict.fromkeys(label for region in regions for label in region.labels)),
        field=field,
        kind="open",
        wording=offered.question if offered is not None and asked else question.wording,
        options=(),
        answer=(sentence.text,),
        outcome=sentence.outcome,
        arm=image.arm,  # type: ignore[arg-type]  # written from an Arm
        suggested=tuple(map(str, offered.value)) if offered else None,
        prompt=offered.prompt if offered else None,
        model_version=offered.model_version if offered else None,
        annotator=annotation.completed_by,
        updated_at=updated.isoformat() if updated else None,
        suggestion=offered.id if offered else None,
    )
