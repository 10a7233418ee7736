"""The questions that a labeling config asks: of each region, and of each ordered pair of regions.

Knows nothing of images, marks or models. Whatever changes a wording or an option here changes
`questions_hash`, and with it the model version that Label Studio sees.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Sequence
from typing import Final

from regiontext.labelstudio.config import Field, LabelingConfig, RelationLabel
from regiontext.questions.prompt import CHOOSE, ORDER
from regiontext.questions.question import Question
from regiontext.questions.wordings import (
    NO_RELATION,
    PARAPHRASES,
    WORDINGS,
    paraphrase,
    spoken,
    with_mark,
    with_pair,
    worded,
)
from regiontext.region import Region
from regiontext.relations import distance

__all__ = [
    "NO_RELATION",
    "PARAPHRASES",
    "RELATIONS",
    "WORDINGS",
    "candidate_pairs",
    "field_question",
    "labelled_relation_options",
    "pair_questions",
    "paraphrase",
    "questions_hash",
    "region_questions",
    "relation_sentence_question",
    "wording_key",
]

RELATIONS: Final = "relations"
"""The field of closed relation questions: the config's Relations tag, which has no name."""

_CAPTION_WORDS: Final = {"caption", "captions", "captioning", "description", "describe", "desc"}
_TEXT_WORDS: Final = {"text", "sentence"}
_FILLERS: Final = {"region", "object", "the", "free"}

Pair = tuple[Region, Region]


def wording_key(field: Field) -> str:
    """Which of WORDINGS asks for `field`: by its name, and whether it has options."""
    words = spoken(field.name).split()
    if field.type == "number":
        return "number"
    if field.options:
        if len(words) > 1 and words[0] in ("is", "has"):
            return words[0]
        return "attribute"
    rest = set(words) - _FILLERS
    if rest & _CAPTION_WORDS or (rest and rest <= _TEXT_WORDS):
        return "caption"
    return "attribute"


def field_question(field: Field, region_id: str = "") -> Question:
    """The question that fills `field` of a region: worded by the config's `ask`, else by the
    field's name.
    """
    if field.ask:
        wording = with_mark(field.ask)
    else:
        key = wording_key(field)
        name = spoken(field.name)
        if key in ("is", "has"):
            name = name.partition(" ")[2]
        wording = worded(key, name)
    return Question(
        field=field.name,
        kind="closed" if field.options else "open",
        wording=wording,
        options=field.options,
        region_ids=(region_id,) if region_id else (),
    )


def region_questions(config: LabelingConfig, region: Region) -> list[Question]:
    """One question per field of `region`, in the config's order.

    Fields that the config shows only for other labels are left out.
    """
    return [
        field_question(field, region.id)
        for field in config.fields
        if not field.for_labels or set(field.for_labels) & set(region.labels)
    ]


def pair_questions(
    config: LabelingConfig, regions: Sequence[Region], *, max_pairs: int = 32
) -> list[Question]:
    """One closed question per ordered pair of regions that the config's relations allow, the
    nearest pairs first.

    The options are the relations whose subject and object labels fit the pair, and "no relation".
    Empty when the config lists no relations. At most `max_pairs` questions.
    """
    return [
        Question(
            field=RELATIONS,
            kind="closed",
            wording=worded("relation"),
            options=labelled_relation_options(config, subject, target),
            region_ids=(subject.id, target.id),
        )
        for subject, target in candidate_pairs(config, regions, max_pairs=max_pairs)
        if config.relations
    ]


def relation_sentence_question(
    pair: Pair, field: Field | str = "relation", wording: str | None = None
) -> Question:
    """The open question on how the first of `pair` relates to the second, to fill `field`.

    Worded by `wording`, else by the field's `ask`, else by the default.
    """
    asked = wording or (field.ask if isinstance(field, Field) else None)
    return Question(
        field=field.name if isinstance(field, Field) else field,
        kind="open",
        wording=with_pair(asked) if asked else worded("relation sentence"),
        region_ids=(pair[0].id, pair[1].id),
    )


def labelled_relation_options(
    config: LabelingConfig, subject: Region, target: Region
) -> tuple[str, ...]:
    """The relations that may run from `subject` to `target` by their labels, then "no relation".

    Empty when none may.
    """
    values = [r.value for r in config.relations if _allows(r, subject, target)]
    if not values:
        return ()
    return tuple(dict.fromkeys([*(v for v in values if v != NO_RELATION), NO_RELATION]))


def candidate_pairs(
    config: LabelingConfig, regions: Sequence[Region], *, max_pairs: int = 32
) -> list[Pair]:
    """The ordered pairs worth asking about, at most `max_pairs`, the nearest first.

    A pair is allowed when its regions are on the same image and some relation's labels fit it (any
    pair when the config lists no relations). Near means a small gap between the boxes, then close
    centres, relative to the image's diagonal.
    """
    allowed = (
        (subject, target)
        for subject in regions
        for target in regions
        if subject is not target
        and subject.item_index == target.item_index
        and (not config.relations or any(_allows(r, subject, target) for r in config.relations))
    )
    return heapq.nsmallest(max(0, max_pairs), allowed, key=lambda pair: distance(*pair))


def questions_hash(config: LabelingConfig) -> str:
    """sha256 hex over every wording and option `config` yields, how options are offered, and in
    which order a prompt says it all.
    """
    parts = [
        [CHOOSE, *ORDER],
        [_plain(field_question(field)) for field in config.fields],
        [worded("relation"), [[r.value, r.subject, r.object] for r in config.relations]],
        [list(field.for_labels) for field in config.fields],
        _sentence_wording(config),
    ]
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()


def _plain(question: Question) -> list[object]:
    return [question.field, question.kind, question.wording, list(question.options)]


def _sentence_wording(config: LabelingConfig) -> str:
    field = config.relation_field
    if field is None:
        return ""
    return f"{field.name}: {with_pair(field.ask) if field.ask else worded('relation sentence')}"


def _allows(relation: RelationLabel, subject: Region, target: Region) -> bool:
    return _fits(relation.subject, subject) and _fits(relation.object, target)


def _fits(labels: tuple[str, ...], region: Region) -> bool:
    return not labels or bool(set(labels) & set(region.labels))
