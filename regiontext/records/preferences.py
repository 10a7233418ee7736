"""Preference pairs: what the human wrote is chosen, what the model suggested is rejected, same pictures and question.

Only edits that changed the meaning make one; a rewording says nothing about which text is right. Knows no file.
"""

from __future__ import annotations

from collections.abc import Callable

from regiontext.metrics import meaning
from regiontext.records.example import Example
from regiontext.records.outcome import tidy

__all__ = ["no_pair_because", "rejected_text"]

MeaningChanged = Callable[[str, str], bool]


def rejected_text(example: Example) -> str:
    """The suggestion as one line, as `Example.text`; "" where nothing was suggested."""
    return (", " if example.kind == "closed" else " ").join(example.provenance.suggested or ())


def no_pair_because(example: Example, meaning_changed: MeaningChanged | None = None) -> str | None:
    """Why a record is no preference pair, in words that fit many; None if it is one.

    A closed field's change always changes the meaning; of an open one `meaning_changed(before, after)` decides, which
    is `metrics.meaning.meaning_changed` if nothing else is given.
    """
    if example.provenance.outcome != "edited" or not tidy(example.provenance.suggested or ()):
        return "nothing was suggested, or the suggestion was not edited"
    before, after = rejected_text(example), example.text
    if example.kind == "closed":
        same = set(tidy(example.provenance.suggested or ())) == set(tidy(example.answer))
        return "the same options were chosen" if same else None
    changed = (meaning_changed or meaning.meaning_changed)(before, after)
    return None if changed else "the edit did not change the meaning"
