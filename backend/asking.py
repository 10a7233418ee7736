"""What an annotator asks for in the prompt field: everything that is empty, the relations, or something else in words.

Pure: knows the words, not the regions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from backend.known import text_in
from regiontext.labelstudio.config import LabelingConfig
from regiontext.labelstudio.results import read_results

__all__ = ["asks_for_relations", "instruction_in", "said_in"]

_RELATIONS = re.compile(r"\brelat", re.IGNORECASE)
# What only says that everything is to be filled; any other words are for the model to read.
_FILL = re.compile(
    r"((please|caption|describe|fill|annotate|label|ask|go|do|in|all|every|everything|each|the|them|it|of|and|empty|"
    r"missing|rest|others?|regions?|objects?|box(es)?|fields?|captions?|once|more|again|now)\b[\s.,!]*)*",
    re.IGNORECASE,
)


def said_in(config: LabelingConfig, context: Sequence[Mapping[str, object]]) -> tuple[str, ...]:
    """What stands in the prompt field, one entry per time it was used."""
    area = config.prompt_field
    return () if area is None else text_in(read_results(context).image_fields.get(area.name))


def asks_for_relations(prompt: str) -> bool:
    """Whether the relations are asked for, beside whatever is empty."""
    return _RELATIONS.search(prompt) is not None


def instruction_in(prompt: str) -> str | None:
    """What the model is to be told beside its questions; None if only what is empty, or relations, are asked for."""
    words = " ".join(prompt.split()).lstrip("/ ")
    return None if _FILL.fullmatch(words) or asks_for_relations(words) else words
