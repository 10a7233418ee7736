"""From decoded regions and a rendered view to the parts of an `Example`.

Knows no files: whoever calls it says where the pictures are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from regiontext.questions.prompt import Shown, prompt
from regiontext.questions.question import Question
from regiontext.records.example import ExampleRegion, Turn
from regiontext.region import Region

__all__ = ["CHOOSE_SEVERAL", "example_region", "turns_of"]

CHOOSE_SEVERAL: Final = ("Choose one: ", "Choose all that apply: ")
"""How a closed question asks where several answers were chosen: the first is replaced by the second."""

_DECIMALS: Final = 2


def example_region(region: Region) -> ExampleRegion:
    """A region as files hold it; vertices to 1/100 px, the mask exactly."""
    return ExampleRegion(
        id=region.id,
        shape=region.shape,
        labels=region.labels,
        box=region.box,
        polygons=tuple(tuple(ring.round(_DECIMALS).ravel().tolist()) for ring in region.polygons),
        rle=region.coco_rle,
        area=region.area,
    )


@dataclass(frozen=True)
class _Named:
    phrases: tuple[str, ...]
    evidence: str


def turns_of(
    question: Question, rendered: Shown, answer: str, *, several: bool = False
) -> tuple[Turn, Turn]:
    """What is asked, word for word as the model is asked it, and the answer.

    The places of the marks' phrases are known because the prompt is made a second time with names that nobody writes.
    several: the closed question was answered with several options, and says that this is allowed. QuestionError as
    `prompt` raises it.
    """
    names = tuple(f"\x00{number}\x00" for number in range(len(rendered.phrases)))
    text = prompt(question, _Named(names, rendered.evidence))
    if several and question.options:
        head, found, options = text.rpartition(CHOOSE_SEVERAL[0])
        text = head + (CHOOSE_SEVERAL[1] if found else "") + options
    return _placed(text, rendered.phrases), Turn("assistant", answer)


def _placed(text: str, phrases: Sequence[str]) -> Turn:
    parts: list[str] = []
    places: list[tuple[int, int, int]] = []
    at = length = 0
    for found in re.finditer("\x00(\\d+)\x00", text):
        region = int(found.group(1))
        before = text[at : found.start()]
        start = length + len(before)
        length = start + len(phrases[region])
        parts += [before, phrases[region]]
        places.append((start, length, region))
        at = found.end()
    return Turn("user", "".join([*parts, text[at:]]), tuple(places))
