"""What a model is shown and asked about a record: as it will be asked, or varied for training.

Pure: knows records, views and questions; knows no files and no network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from backend.jobs.pictures import regions_of
from regiontext.labelstudio.config import LabelingConfig
from regiontext.marks.view import Rendered, View, render
from regiontext.questions.prompt import prompt
from regiontext.questions.question import Question
from regiontext.questions.templates import RELATIONS, field_question, wording_key
from regiontext.questions.wordings import paraphrase
from regiontext.records.record import Record

__all__ = ["Shown", "question_of", "show", "variants"]


@dataclass(frozen=True, eq=False)
class Shown:
    """What goes to the model: the marked pictures with their words, and the whole prompt."""

    rendered: Rendered
    prompt: str


def question_of(record: Record, wording: str | None = None) -> Question:
    """The question that the record answers, worded otherwise if asked."""
    return Question(
        field=record.field,
        kind=record.kind,
        wording=wording or record.wording,
        options=record.options,
        region_ids=record.regions,
    )


def show(record: Record, image: Image.Image, view: View) -> Shown:
    """The record exactly as the model is asked about such a region. Raises RegiontextError."""
    rendered = render(image, regions_of(record, image.size), view)
    return Shown(rendered, prompt(question_of(record), rendered))


def variants(
    record: Record,
    image: Image.Image,
    view: View,
    config: LabelingConfig,
    *,
    renders: int,
    seed: int = 0,
) -> Iterator[Shown]:
    """`renders` ways to show one record in training. Raises RegiontextError.

    The first is the one that will be asked, the others have random mark styles and, where the question is worded
    by default, paraphrases. The same seed gives the same variants, whatever the other records are.
    """
    yield show(record, image, view)
    digest = hashlib.sha256(f"{seed} {record.id}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    regions = regions_of(record, image.size)
    for _ in range(renders - 1):
        rendered = render(image, regions, view, rng=rng)
        wording = _paraphrased(record, config, rng)
        yield Shown(rendered, prompt(question_of(record, wording), rendered))


def _paraphrased(record: Record, config: LabelingConfig, rng: np.random.Generator) -> str:
    """Another wording of a question that has the default one; its own where the config worded it."""
    if record.field == RELATIONS:
        return paraphrase("relation", rng)
    field = config.field(record.field)
    if field is None or field.ask or field_question(field).wording != record.wording:
        return record.wording
    key = wording_key(field)
    name = field.name.partition("_")[2] if key in ("is", "has") else field.name
    return paraphrase(key, rng, name)
