"""What a human made of each suggestion, found by comparing texts.

Label Studio's `origin` does not change when a caption is edited, so only the words can tell. Knows
nothing of where suggestions and annotations are kept.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from regiontext.labelstudio.config import LabelingConfig
from regiontext.labelstudio.results import read_results, text_of

__all__ = [
    "OUTCOMES",
    "Comparison",
    "Outcome",
    "compare",
    "compare_relations",
    "compare_values",
    "tidy",
]

Outcome = Literal["accepted", "edited", "cleared", "added", "discarded"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


@dataclass(frozen=True)
class Comparison:
    """What became of one field of one region.

    `region` is Label Studio's region id; for a relation it is the ordered pair `(subject, object)`.
    `suggested` is None where nothing had been suggested; `final` is empty where nothing is left.
    """

    region: str | tuple[str, str]
    field: str
    outcome: Outcome
    suggested: tuple[str, ...] | None
    final: tuple[str, ...]


def tidy(values: Sequence[str]) -> tuple[str, ...]:
    """The entries as a human would compare them: Unicode NFC, whitespace runs as one space, no
    blanks."""
    cleaned = (" ".join(unicodedata.normalize("NFC", str(value)).split()) for value in values)
    return tuple(value for value in cleaned if value)


def compare_values(
    suggested: Sequence[str] | None, final: Sequence[str], *, ordered: bool = True
) -> Outcome | None:
    """The outcome of one field whose region still exists; None if there never was a text.

    `ordered=False` compares as sets: the order in which choices were ticked means nothing. Letter
    case and punctuation count, because an annotator who changes only those has edited.
    """
    before = tidy(suggested or ())
    after = tidy(final)
    if not before:
        return "added" if after else None
    if not after:
        return "cleared"
    same = before == after if ordered else set(before) == set(after)
    return "accepted" if same else "edited"


def compare(
    suggested: Mapping[tuple[str, str], Sequence[str]],
    results: Sequence[Mapping[str, Any]],
    config: LabelingConfig,
) -> list[Comparison]:
    """What became of every per-region field of one submitted annotation.

    `suggested` maps (region id, field name) to the entries suggested for it; `results` is the
    annotation's `result` list; `config` says which fields there are. A suggestion whose region is
    gone is `discarded`; a field of the config that was neither suggested nor filled yields nothing.
    Regions come in the order of the annotation, discarded ones last.
    """
    read = read_results(results)
    comparisons: list[Comparison] = []
    for region in read.shapes:
        for field in config.fields:
            written = read.fields.get(region, {}).get(field.name)
            final = tidy(text_of(written)) if written is not None else ()
            before = suggested.get((region, field.name))
            outcome = compare_values(before, final, ordered=field.tag != "Choices")
            if outcome is not None:
                offered = None if outcome == "added" else tidy(before or ())
                comparisons.append(Comparison(region, field.name, outcome, offered, final))
    for (region, name), values in suggested.items():
        if region not in read.shapes and tidy(values):
            comparisons.append(Comparison(region, name, "discarded", tidy(values), ()))
    return comparisons


def compare_relations(
    suggested: Mapping[tuple[str, str], Sequence[str]],
    results: Sequence[Mapping[str, Any]],
    *,
    field: str,
    nothing: str,
) -> list[Comparison]:
    """What became of every suggested or drawn arrow of one annotation.

    `suggested` maps (subject id, object id) to the label suggested for that ordered pair; `nothing`
    is the answer that means no arrow: it was never shown, so a drawn arrow is then `added` and a
    missing one says nothing. An arrow drawn `left` is read from its end, one drawn `bi` both ways.
    """
    read = read_results(results)
    drawn: dict[tuple[str, str], tuple[str, ...]] = {}
    for arrow in read.relations:
        subject, target = str(arrow.get("from_id")), str(arrow.get("to_id"))
        labels = tidy(arrow.get("labels") or ())
        direction = arrow.get("direction", "right")
        if direction in ("right", "bi"):
            drawn[subject, target] = labels
        if direction in ("left", "bi"):
            drawn[target, subject] = labels
    comparisons: list[Comparison] = []
    shown = {
        pair: tidy(values)
        for pair, values in suggested.items()
        if tidy(values) not in ((), (nothing,))
    }
    for pair in [*drawn, *(pair for pair in shown if pair not in drawn)]:
        before, after = shown.get(pair), drawn.get(pair, ())
        gone = any(end not in read.shapes for end in pair)
        if gone and before is not None:
            comparisons.append(Comparison(pair, field, "discarded", before, ()))
            continue
        outcome = compare_values(before, after, ordered=False)
        if outcome is not None and not gone:
            comparisons.append(Comparison(pair, field, outcome, before, after))
    return comparisons
