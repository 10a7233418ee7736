"""Which fields of a region are asked about, and the region's results once they are answered.

What a human wrote is never overwritten; what we suggested before may be renewed. Pure: knows results, questions and
suggestions, not where they come from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from backend.assistant import Suggestion
from backend.known import bundle, marked, text_in
from regiontext.labelstudio.config import Field, LabelingConfig
from regiontext.labelstudio.decode import is_shape
from regiontext.labelstudio.results import Result, field_result
from regiontext.questions.question import Question
from regiontext.questions.templates import region_questions
from regiontext.region import Region

__all__ = ["META", "IsOurs", "Target", "filled_field", "questions_for", "results_of", "target_of"]

META = "regiontext"
"""Key in the meta of a field we filled: {"suggestion": id, "model_version": …}."""

IsOurs = Callable[[str, str, tuple[str, ...]], bool]


@dataclass(frozen=True)
class Target:
    """A region to fill. results: all that it has so far, the shape first. renew: whether our own text is asked anew.

    wishes: by field, what the annotator typed into the waiting region for the model to read. instruction: what the
    annotator asks of every region at once, which open questions are asked with; None for nothing special.
    """

    id: str
    results: tuple[Result, ...]
    renew: bool = True
    wishes: Mapping[str, str] | None = None
    instruction: str | None = None

    @property
    def shape(self) -> Result:
        """The result that draws it."""
        return self.results[0]

    @property
    def item_index(self) -> int:
        """Which image of a multi-image task it is on."""
        index = self.shape.get("item_index", 0)
        return index if isinstance(index, int) else 0


def target_of(
    results: Sequence[Mapping[str, Any]],
    region_id: str,
    *,
    config: LabelingConfig,
    renew: bool = True,
    may_wish: bool = False,
) -> Target | None:
    """The region of this id among results as a target, None if no shape is there.

    may_wish: the region still waits, so that text in its fields may be meant for the model: text that ends with "?" or
    starts with "/" is.
    """
    mine = bundle(results, region_id)
    if not mine or not is_shape(mine[0]):
        return None
    wishes = {}
    for item in mine if may_wish else ():
        field = config.field(str(item.get("from_name")))
        texts = text_in(item)
        if field is not None and field.tag == "TextArea" and texts and (w := _wish(texts[-1])):
            wishes[field.name] = w
    return Target(region_id, tuple(mine), renew, wishes)


def questions_for(
    target: Target, region: Region, config: LabelingConfig, is_ours: IsOurs
) -> list[Question]:
    """A question per field of the region that is empty, wished for, or holds text of ours that is to be renewed."""
    texts = {str(item.get("from_name")): text_in(item) for item in target.results}
    wishes = target.wishes or {}
    questions = []
    for question in region_questions(config, region):
        has = texts.get(question.field, ())
        if wish := wishes.get(question.field):
            questions.append(replace(question, wording=f"{question.wording} {wish}"))
        elif question.kind == "open" and target.instruction is not None:
            if not has or is_ours(target.id, question.field, has):
                wording = f"{question.wording} {target.instruction}"
                questions.append(replace(question, wording=wording))
        elif not has or (target.renew and is_ours(target.id, question.field, has)):
            questions.append(question)
    return questions


def results_of(
    target: Target,
    suggestions: Sequence[Suggestion],
    config: LabelingConfig,
    note: str | None = None,
) -> list[Result]:
    """The region as it goes back: all it had, with the suggested fields in place, the shape marked and noted first."""
    filled: dict[str, Result] = {}
    for suggestion in suggestions:
        field = config.field(suggestion.field)
        if field is not None and field.per_region and suggestion.region == target.id:
            filled[field.name] = filled_field(target.shape, field, suggestion)
    kept = [dict(item) for item in target.results[1:] if str(item.get("from_name")) not in filled]
    return [marked(target.shape, note), *kept, *filled.values()]


def filled_field(shape: Mapping[str, Any], field: Field, suggestion: Suggestion) -> Result:
    """The result that writes a suggestion into a field of the region that `shape` draws."""
    return field_result(
        shape,
        field,
        suggestion.value,
        score=suggestion.confidence,
        meta={
            META: {"suggestion": suggestion.id, "model_version": suggestion.model_version},
        },
    )


def _wish(text: str) -> str | None:
    text = " ".join(text.split())
    if text.startswith("/"):
        return text.lstrip("/ ") or None
    return text if text.endswith("?") else None
