"""How far a human's answer is from what was suggested. Pure: two sets of entries in, figures out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from regiontext.metrics.meaning import values_meaning_changed
from regiontext.records.outcome import tidy

__all__ = ["Edit", "edit_of"]


@dataclass(frozen=True)
class Edit:
    """What it takes to come from the suggestion to the answer.

    chars, words: the smallest number of characters or words that are put in, taken out or replaced (Levenshtein
    1966); of a closed field both are the number of options that are ticked or unticked. share: `chars` over the
    length of the longer text, 0..1; of a closed field, changed options over all that were ticked in either.
    meaning_changed: by the rule of `regiontext.metrics.meaning`.
    """

    chars: int
    words: int
    share: float
    meaning_changed: bool


def edit_of(suggested: Sequence[str] | None, final: Sequence[str], *, closed: bool) -> Edit:
    """The edit between the entries suggested (None or empty: nothing was) and those left.

    Entries are compared as `regiontext.records.outcome.tidy` leaves them, those of an open field one per line. What
    is added or cleared counts whole.
    """
    before, after = tidy(suggested or ()), tidy(final)
    changed = values_meaning_changed(before, after, closed=closed)
    if closed:
        ticked, union = set(before) ^ set(after), set(before) | set(after)
        share = len(ticked) / len(union) if union else 0.0
        return Edit(len(ticked), len(ticked), share, changed)
    old, new = "\n".join(before), "\n".join(after)
    chars = Levenshtein.distance(old, new)
    longer = max(len(old), len(new))
    return Edit(
        chars=chars,
        words=Levenshtein.distance(old.split(), new.split()),
        share=chars / longer if longer else 0.0,
        meaning_changed=changed,
    )
