"""The sentences of a whole-image text about relations, each given back to the ordered pair that it is about.

Such a text is free prose: Label Studio does not say which regions a line means. A line is about the pair that

1. a stored suggestion of the same words is about (accepted), or else
2. its words name, by the captions of exactly two regions, the subject first (edited if something was suggested for that
   pair and no line says it, else added), or else
3. a suggestion that no line says is about, if it is the only one much like the line (edited).

A line that fits none of these makes no record. Pure: knows no session and no network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from backend.store import SuggestionRow
from regiontext.records.outcome import Outcome, tidy

__all__ = ["LIKE", "Sentence", "sentences"]

LIKE = 0.6
"""A line much like a suggestion: the share of characters that `difflib` finds in both, 0 to 1."""

_ARTICLES = frozenset({"a", "an", "the"})

Pair = tuple[str, str]


@dataclass(frozen=True)
class Sentence:
    """One line: the regions it is about, subject first, and what it was made of."""

    pair: Pair
    text: str
    outcome: Outcome
    suggestion: SuggestionRow | None = None


def sentences(
    entries: Sequence[str],
    suggestions: Sequence[SuggestionRow],
    captions: Mapping[str, Sequence[str]],
) -> list[Sentence]:
    """The lines that are about a certain pair, one per pair, in their order.

    entries: the text's entries, each of one or more lines. suggestions: those for this field and annotation's regions,
    oldest first. captions: what regions are called in the same annotation, by id.
    """
    lines = [line for entry in entries for line in tidy(entry.splitlines())]
    newest = {(row.region, str(row.region_to)): row for row in suggestions if row.region_to}
    said: dict[str, tuple[Pair, SuggestionRow]] = {}
    for pair, row in newest.items():
        said[_plain(" ".join(map(str, row.value)))] = pair, row
    left = dict(newest)
    found: dict[str, Sentence] = {}
    for line in lines:
        if (hit := said.get(_plain(line))) is not None and hit[0] in left:
            found[line] = Sentence(hit[0], line, "accepted", left.pop(hit[0]))
    for line in lines:
        if line not in found and (named := _named(line, captions)) is not None:
            offered = left.pop(named, None)
            found[line] = Sentence(named, line, "edited" if offered else "added", offered)
    for line in lines:
        if line not in found and (like := _like(line, left)) is not None:
            found[line] = Sentence(like, line, "edited", left.pop(like))
    by_pair: dict[Pair, Sentence] = {}
    for line in lines:
        if line in found:
            by_pair.setdefault(found[line].pair, found[line])
    return list(by_pair.values())


def _named(line: str, captions: Mapping[str, Sequence[str]]) -> Pair | None:
    """The two regions whose captions are in the line, in the line's order; None unless they are exactly two."""
    names: dict[str, list[str]] = {}
    for region, texts in captions.items():
        for name in {_name(text) for text in texts} - {""}:
            names.setdefault(name, []).append(region)
    rest = f" {_plain(line)} "
    places: list[tuple[int, str]] = []
    # Longest first: "red car" must not be found as "car".
    for name in sorted(names, key=len, reverse=True):
        while (at := rest.find(f" {name} ")) >= 0:
            if len(names[name]) > 1:
                return None
            places.append((at, names[name][0]))
            rest = rest[: at + 1] + "\x00" * len(name) + rest[at + 1 + len(name) :]
    regions = [region for _, region in sorted(places)]
    return (regions[0], regions[1]) if len(regions) == 2 and len(set(regions)) == 2 else None


def _like(line: str, left: Mapping[Pair, SuggestionRow]) -> Pair | None:
    alike = [
        pair
        for pair, row in left.items()
        if SequenceMatcher(None, _plain(line), _plain(" ".join(map(str, row.value)))).ratio()
        >= LIKE
    ]
    return alike[0] if len(alike) == 1 else None


def _name(caption: str) -> str:
    """A caption as it stands in a sentence: its first one, without the article in front."""
    words = _plain(caption.strip().split(". ")[0]).split()
    return " ".join(words[1:] if words and words[0] in _ARTICLES else words)


def _plain(text: str) -> str:
    kept = "".join(c if c.isalnum() or c in "'-" else " " for c in text.casefold())
    return " ".join(kept.split())
