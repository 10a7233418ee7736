"""From one submitted annotation to the rows that say what became of each suggestion.

Pure: takes what Label Studio sent and what the store holds, returns rows; knows no session and no network.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from backend.arms import TRAP
from backend.fill import META
from backend.relate import ARROW
from backend.store import OutcomeRow, SuggestionRow
from regiontext.labelstudio.config import LabelingConfig
from regiontext.labelstudio.results import Results, read_results
from regiontext.metrics.edits import edit_of
from regiontext.questions.question import Question
from regiontext.questions.templates import (
    NO_RELATION,
    RELATIONS,
    field_question,
    labelled_relation_options,
)
from regiontext.questions.wordings import worded
from regiontext.records.arm import Arm
from regiontext.records.outcome import Comparison, compare, compare_relations
from regiontext.region import Region

__all__ = [
    "CLOCKS",
    "Seen",
    "latest_suggestions",
    "outcome_rows",
    "pair_ends",
    "pair_key",
    "parse_time",
    "seconds_per_region",
]

CLOCKS = timedelta(seconds=5)
"""How far Label Studio's clock may lag behind ours before a suggestion seems to come after its use."""

_PAIR = ">"


@dataclass(frozen=True)
class Seen:
    """The image an annotation is about: the hash of its bytes and the arm it was drawn into."""

    hash: str
    arm: Arm


def parse_time(value: object) -> datetime | None:
    """A time as Label Studio writes it (ISO 8601, UTC if it names no zone); None if it is none."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def seconds_per_region(lead_time: object, regions: int) -> float | None:
    """Each region's share of the seconds that Label Studio counted for an annotation; None if it did not, or without
    regions. Label Studio counts from opening a task to submitting it, all sittings together.
    """
    if isinstance(lead_time, bool) or not isinstance(lead_time, (int, float)) or lead_time < 0:
        return None
    return float(lead_time) / regions if regions else None


def pair_key(subject: str, target: str) -> str:
    """The region column of an outcome about an ordered pair."""
    return f"{subject}{_PAIR}{target}"


def pair_ends(key: str, known: Collection[str]) -> tuple[str, str] | None:
    """The two region ids in a `pair_key`, both of them known; None if there is no such pair.

    Ids of imported regions may hold any character, so every place to split at is tried.
    """
    for place, character in enumerate(key):
        if character == _PAIR and key[:place] in known and key[place + 1 :] in known:
            return key[:place], key[place + 1 :]
    return None


def latest_suggestions(
    suggestions: Sequence[SuggestionRow], before: datetime | None
) -> dict[tuple[str, str | None, str], SuggestionRow]:
    """The newest suggestion per (region, other region, field) that existed at `before` (any time if None).

    What was suggested later cannot be what the annotator saw.
    """
    latest: dict[tuple[str, str | None, str], SuggestionRow] = {}
    for row in sorted(suggestions, key=lambda row: row.created_at):
        if before is None or row.created_at <= before + CLOCKS:
            latest[row.region, row.region_to, row.field] = row
    return latest


def outcome_rows(
    annotation: Mapping[str, Any],
    *,
    project: int,
    task: int,
    config: LabelingConfig,
    suggestions: Sequence[SuggestionRow],
    regions: Mapping[str, Region],
    images: Mapping[int, Seen],
    alone: bool = True,
) -> list[OutcomeRow]:
    """The outcomes of one annotation, one row per field of a region or ordered pair.

    `annotation` is Label Studio's own object, `suggestions` everything ever suggested for its task, `regions` its
    shapes by id as far as they can be decoded, `images` the image behind each item index that its regions are on
    (regions of other images are left out), `alone` whether no other annotator worked on the task. Texts are compared
    with the latest suggestion that existed when the annotation was last changed, or the one that the field itself
    names. Edit figures are those of `regiontext.metrics.edits`; `seconds` is each region's share of the annotation's
    time, the same for all its fields. Sentences about relations in a whole-image text are free prose about no certain
    pair, and yield no row. Nothing is ever suggested outside the assist arm, so whatever is written there is `added`.
    """
    results = annotation.get("result") or []
    updated = parse_time(annotation.get("updated_at"))
    read = read_results(results)
    shapes = read.shapes
    latest = latest_suggestions(_on_screen(suggestions, read, alone=alone), updated)
    latest |= _named(suggestions, read)
    latest = _shown(latest, shapes, annotation, alone=alone)
    items = {id: int(shape.get("item_index") or 0) for id, shape in shapes.items()}
    author = annotation.get("completed_by")
    annotator = author.get("id") if isinstance(author, Mapping) else author
    seconds = seconds_per_region(annotation.get("lead_time"), len(shapes))

    single = {
        (region, field): tuple(row.value)
        for (region, other, field), row in latest.items()
        if other is None
    }
    pairs = {pair: tuple(row.value) for pair, row in _arrows(latest).items()}
    found = compare(single, results, config)
    found += compare_relations(pairs, results, field=RELATIONS, nothing=NO_RELATION)

    rows = []
    for item in found:
        ends = item.region if isinstance(item.region, tuple) else (item.region, None)
        offered = latest.get((*ends, item.field)) if item.outcome != "added" else None
        seen = _image(ends, items, images, offered)
        if seen is None:
            continue
        question = _question(item, offered, config, regions)
        if question is None:
            continue
        known = [regions[end] for end in ends if end is not None and end in regions]
        edit = edit_of(item.suggested, item.final, closed=question.kind == "closed")
        rows.append(
            OutcomeRow(
                annotation=int(annotation["id"]),
                region=item.region if isinstance(item.region, str) else pair_key(*item.region),
                field=item.field,
                project=project,
                task=task,
                image_hash=seen.hash,
                arm=seen.arm,
                outcome=item.outcome,
                suggestion=offered.id if offered else None,
                suggested=list(item.suggested or ()),
                final=list(item.final),
                options=list(question.options),
                question=question.wording,
                labels=list(dict.fromkeys(label for region in known for label in region.labels)),
                annotator=int(annotator) if annotator is not None else None,
                model_version=offered.model_version if offered else None,
                edit_chars=edit.chars,
                edit_words=edit.words,
                edit_share=edit.share,
                meaning_changed=edit.meaning_changed,
                seconds=seconds if ends[0] in shapes else None,
                trap=offered is not None and TRAP in offered.decoding,
                updated_at=updated or datetime.now(UTC),
            )
        )
    return rows


def _on_screen(
    suggestions: Sequence[SuggestionRow], read: Results, *, alone: bool
) -> list[SuggestionRow]:
    """All but the relations that this annotation's author never had as an arrow.

    Predictions have arrows. Of what the assistant in the page offered beside a region, those whose arrow is there, and
    those that were added and are gone; an offer that was passed over says nothing.
    """
    drawn = {(str(r.get("from_id")), str(r.get("to_id"))) for r in read.relations}

    def was_there(row: SuggestionRow) -> bool:
        if row.region_to is None or row.field != RELATIONS or row.path == "batch":
            return True
        arrow = row.decoding.get(ARROW)
        is_there = arrow is not None and (row.region, row.region_to) in drawn
        return is_there or (arrow == "drawn" and alone)

    return [row for row in suggestions if was_there(row)]


def _named(
    suggestions: Sequence[SuggestionRow], read: Results
) -> dict[tuple[str, str | None, str], SuggestionRow]:
    """The suggestions that fields themselves name in their meta, as our predictions write them.

    A tab that is open while a prediction is renewed still shows the old one. Label Studio keeps one meta per region,
    so the name may be that of another field's suggestion, which says nothing about this field.
    """
    by_id = {row.id: row for row in suggestions}
    named: dict[tuple[str, str | None, str], SuggestionRow] = {}
    for region, fields in read.fields.items():
        for name, item in fields.items():
            meta = item.get("meta")
            ours = meta.get(META) if isinstance(meta, Mapping) else None
            row = by_id.get(str(ours.get("suggestion"))) if isinstance(ours, Mapping) else None
            if row is not None and (row.region, row.region_to, row.field) == (region, None, name):
                named[region, None, name] = row
    return named


def _shown(
    latest: Mapping[tuple[str, str | None, str], SuggestionRow],
    shapes: Mapping[str, Any],
    annotation: Mapping[str, Any],
    *,
    alone: bool,
) -> dict[tuple[str, str | None, str], SuggestionRow]:
    """The suggestions that this annotation's author had before them.

    Those of its own regions, of course. A region that is not there was discarded only if the author ever saw it: if
    it was in the newest prediction and the annotation started from that one, or if it was drawn in this task and
    nobody else works on it.
    """
    batch = [row for row in latest.values() if row.path == "batch"]
    newest = max(batch, key=lambda row: row.created_at).model_version if batch else None
    started = annotation.get("parent_prediction") is not None or any(
        row.region in shapes for row in batch
    )
    shown = {}
    for key, row in latest.items():
        here = row.region in shapes and (row.region_to is None or row.region_to in shapes)
        predicted = row.path == "batch" and started and row.model_version == newest
        if here or predicted or (row.path != "batch" and alone):
            shown[key] = row
    return shown


def _arrows(
    latest: Mapping[tuple[str, str | None, str], SuggestionRow],
) -> dict[tuple[str, str], SuggestionRow]:
    """The suggested relations that were arrows on the annotator's screen: of one predicted both ways only the surer."""
    asked = {
        (region, other): row
        for (region, other, field), row in latest.items()
        if other is not None and field == RELATIONS
    }
    shown = {}
    for (region, other), row in asked.items():
        back = asked.get((other, region))
        predicted = back is not None and row.path == back.path == "batch"
        if back is None or not predicted or back.value != row.value or _surer(row, back):
            shown[region, other] = row
    return shown


def _surer(row: SuggestionRow, other: SuggestionRow) -> bool:
    mine, theirs = row.confidence or 0.0, other.confidence or 0.0
    return mine > theirs or (mine == theirs and row.region < other.region)


def _image(
    ends: tuple[str, str | None] | tuple[str, str],
    items: Mapping[str, int],
    images: Mapping[int, Seen],
    offered: SuggestionRow | None,
) -> Seen | None:
    """The image that a region or pair is on; None if that is not known, or not one image."""
    places = {items[end] for end in ends if end is not None and end in items}
    if len(places) == 1:
        return images.get(places.pop())
    if offered is None or places:
        return None
    return next((seen for seen in images.values() if seen.hash == offered.image_hash), None)


def _question(
    item: Comparison,
    offered: SuggestionRow | None,
    config: LabelingConfig,
    regions: Mapping[str, Region],
) -> Question | None:
    """How the field is asked about now; as it was asked then if the config has it no more."""
    if isinstance(item.region, tuple):
        ends = [regions[end] for end in item.region if end in regions]
        options = labelled_relation_options(config, *ends) if len(ends) == 2 else ()
        # A relation outside the config's label limits is still what the annotator says.
        known = dict.fromkeys(value for value in (*options, *item.final) if value != NO_RELATION)
        options = (*known, NO_RELATION)
        return Question(RELATIONS, "closed", worded("relation"), options, item.region)
    field = config.field(item.field)
    if field is not None and field.per_region:
        return field_question(field, item.region)
    if offered is None:
        return None
    options = tuple(offered.options)
    return Question(
        item.field, "closed" if options else "open", offered.question, options, (item.region,)
    )
