"""A field's answer, as texts and as Label Studio writes it into a result's value.

Everywhere else an answer is a tuple of texts: the lines of a TextArea, the options of a Choices, a tree's paths joined
by SEPARATOR, "4" for four stars, "2.5" for a number. Knows one field and one value; knows nothing of results.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from regiontext.errors import QuestionError
from regiontext.labelstudio.fields import SEPARATOR, Field
from regiontext.labelstudio.values import is_finite, is_texts, short, texts

__all__ = ["FIELD_KEYS", "accepted", "answer_of", "value_fault", "value_for"]

FIELD_KEYS: Final = {
    "textarea": "text",
    "choices": "choices",
    "taxonomy": "taxonomy",
    "rating": "rating",
    "number": "number",
}
"""Types of field results, and the key of value that holds their answer."""

_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")


def answer_of(type: str, value: Mapping[str, Any]) -> tuple[str, ...]:
    """The texts in a result's value; empty when it holds none, or nothing of that type."""
    key = FIELD_KEYS.get(type)
    if key is None:
        key = "choices" if "choices" in value else "text"
    given = value.get(key)
    if key in ("rating", "number"):
        return (_plain(given),) if is_finite(given) else ()
    if key != "text" and isinstance(given, list):
        joined = [SEPARATOR.join(entry) if is_texts(entry) else entry for entry in given]
        return texts([entry for entry in joined if entry])
    return texts(given)


def value_for(field: Field, answer: Sequence[str]) -> dict[str, Any]:
    """What a result's value holds when `field` says `answer`.

    Raises QuestionError when the field cannot say that: no such path, no number.
    """
    key = FIELD_KEYS[field.type]
    if field.type in ("rating", "number"):
        if len(answer) != 1 or _NUMBER.fullmatch(answer[0]) is None:
            raise QuestionError(f"{field.name!r} takes one number, not {short(list(answer))}")
        number = float(answer[0])
        return {key: int(number) if number.is_integer() else number}
    if not field.paths:
        return {key: list(answer)}
    known = dict(zip(field.options, field.paths, strict=True))
    unknown = [text for text in answer if text not in known]
    if unknown:
        raise QuestionError(f"{short(unknown[0])} is no path of {field.name!r}")
    return {key: [list(known[text]) for text in answer]}


def accepted(field: Field, text: str) -> tuple[str, ...]:
    """A model's words as an answer that `field` takes.

    A Number takes the first number in the words. Raises QuestionError, in one line for the annotator, when there is
    nothing in them that the field takes.
    """
    if field.type != "number":
        if field.options and text not in field.options:
            raise QuestionError(f"{short(text)} is no option of {field.name!r}")
        return (text,)
    # "1,200" is one number in English text.
    found = _NUMBER.search(re.sub(r"(?<=\d),(?=\d{3}\b)", "", text))
    if found is None:
        raise QuestionError(f"{short(text)} is no number, which {field.name!r} needs")
    number = float(found.group())
    if (field.low is not None and number < field.low) or (
        field.high is not None and number > field.high
    ):
        raise QuestionError(
            f"{_plain(number)} is not from {_limit(field.low)} to {_limit(field.high)}, as {field.name!r} needs"
        )
    return (_plain(number),)


def value_fault(type: str, value: Mapping[str, Any], field: Field | None) -> str | None:
    """What is wrong with a field result's value, or None. `field` is None for one that is only echoed."""
    key = FIELD_KEYS[type]
    given = value.get(key)
    if key in ("rating", "number"):
        if not is_finite(given):
            return f"its {key} is {short(given)}, no number"
        if field is not None and field.options and _plain(given) not in field.options:
            return f"{_plain(given)} is no option of {field.name!r} (1 to {len(field.options)})"
        return None
    if not isinstance(given, list) or not all(isinstance(e, str) or is_texts(e) for e in given):
        return f"its {key} is {short(given)}, no list of texts"
    if key == "text" and not is_texts(given):
        return f"its {key} is {short(given)}, no list of texts"
    if field is None or key == "text":
        return None
    # Label Studio also stores a branch of a tree of choices when everything in it is ticked.
    steps = [list(path[:n]) for path in field.paths for n in range(1, len(path) + 1)]
    options: Sequence[Any] = steps or field.options
    for entry in given:
        if entry not in options:
            known = ", ".join(field.options[:20])
            return f"{short(entry)} is no option of {field.name!r} ({known})"
    ends = [entry for entry in given if not field.paths or tuple(entry) in field.paths]
    if len(ends) > 1 and not field.multiple:
        return f"{field.name!r} takes one choice, not {len(ends)}"
    return None


def _plain(number: Any) -> str:
    value = float(number)
    return str(int(value)) if value.is_integer() else repr(value)


def _limit(value: float | None) -> str:
    return "any" if value is None else _plain(value)
