"""How far several people agree about the same thing, and which answer stands for all of them.

Pure: knows answers, not who gave them or where they are kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations

from regiontext.metrics.cider import cider_d
from regiontext.metrics.overlap import semantic_overlap

__all__ = ["TextAgreement", "consensus", "krippendorff_alpha", "text_agreement"]


def krippendorff_alpha(units: Sequence[Sequence[Hashable | None]]) -> float | None:
    """Krippendorff's alpha for nominal values: 1 is full agreement, 0 what chance would give, below 0 worse.

    `units[i]` are the values that different people gave to thing i, None for who gave none; things with fewer than
    two values say nothing and are left out. None if no thing has two values, or if only one value occurs at all
    (then there is nothing to disagree about). Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability",
    section C.
    """
    pairable = [[value for value in unit if value is not None] for unit in units]
    pairable = [unit for unit in pairable if len(unit) > 1]
    totals: Counter[Hashable] = Counter(value for unit in pairable for value in unit)
    n = totals.total()
    if n == 0 or len(totals) < 2:
        return None
    disagreeing = 0.0
    for unit in pairable:
        counts = Counter(unit)
        size = len(unit)
        disagreeing += (size**2 - sum(count**2 for count in counts.values())) / (size - 1)
    expected = (n**2 - sum(count**2 for count in totals.values())) / (n - 1)
    return 1 - disagreeing / expected


@dataclass(frozen=True)
class TextAgreement:
    """How alike people's texts about the same things are.

    cider_d: the mean CIDEr-D (0..10) of each text against the others about the same thing. overlap: the mean
    semantic overlap (0..1) of every two. things: how many have at least two texts.
    """

    cider_d: float
    overlap: float
    things: int


def text_agreement(units: Sequence[Sequence[str]]) -> TextAgreement | None:
    """The agreement of texts; `units[i]` are different people's texts about thing i. None if none has two.

    How rare a word is, for CIDEr-D, is counted over all things, those with one text included.
    """
    several = [unit for unit in units if len(unit) > 1]
    if not several:
        return None
    said = [text for unit in several for text in unit]
    others = [
        [other for index, other in enumerate(unit) if index != mine]
        for unit in several
        for mine in range(len(unit))
    ]
    scores = cider_d(said, others, corpus=[unit for unit in units if unit])
    alike = [semantic_overlap(*two) for unit in several for two in combinations(unit, 2)]
    return TextAgreement(sum(scores) / len(scores), sum(alike) / len(alike), len(several))


def consensus(answers: Sequence[Sequence[str]], *, closed: bool) -> int | None:
    """Which of several people's answers about the same field stands for all: its place, or None for none of them.

    `answers[i]` are the entries of one person, oldest answer first; leaving the field empty is an answer too.

    1. If more people left it empty than wrote something (open) or than chose any one set of options (closed), nothing
       stands (None).
    2. Closed fields: the set of options that most people chose.
    3. Open fields: the text that has most in common with the others (mean `semantic_overlap`).
    4. Where that leaves several, as it always does with two people who differ: the newest of them.

    ValueError without any answer.
    """
    if not answers:
        raise ValueError("there is no answer to choose from")
    filled = [place for place, answer in enumerate(answers) if any(part.strip() for part in answer)]
    if closed:
        votes = Counter(frozenset(answers[place]) for place in filled)
        merit = {place: float(votes[frozenset(answers[place])]) for place in filled}
        strongest = max(votes.values(), default=0)
    else:
        texts = {place: "\n".join(answers[place]) for place in filled}
        merit = {
            place: sum(semantic_overlap(texts[place], texts[other]) for other in filled)
            for place in filled
        }
        strongest = len(filled)
    if not filled or len(answers) - len(filled) > strongest:
        return None
    best = max(merit.values())
    return max(place for place in filled if merit[place] >= best - 1e-12)
