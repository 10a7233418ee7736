"""What speaks against a model whatever its answers score: empty, endless or clipped ones, answers not its own.

Pure: knows texts; knows no model, no file and no network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["ALIKE", "disagreements", "strange_answers"]

MOST_EMPTY = 0.02
"""Empty answers more than the champion gives, as a share of all."""

LONGEST = 1.5
"""Mean length of open answers over that of the people's texts, when the champion's own is no farther off."""

ALIKE = 0.9
"""The share of questions that the same weights must answer alike: near ties may fall either way."""

_FEWEST = 8


def strange_answers(
    truths: Sequence[str],
    champion: Sequence[str],
    challenger: Sequence[str],
    *,
    closed: Sequence[bool],
) -> list[str]:
    """What is strange about the challenger's answers, one line each; nothing for a sane one.

    Empty: more than MOST_EMPTY (and more than one) above the champion's. Length, of open answers in words and from
    eight on: the mean is more than LONGEST times, or less than 1 / LONGEST of, that of the people's texts, and farther
    off than the champion's.
    """
    found = []
    empty, before = (sum(not text.strip() for text in said) for said in (challenger, champion))
    if empty - before > max(1, MOST_EMPTY * len(challenger)):
        found.append(
            f"{empty} of {len(challenger)} answers are empty (the champion's: {before}), at most "
            f"{MOST_EMPTY:.0%} more are allowed"
        )
    rows = [row for row, is_closed in enumerate(closed) if not is_closed]
    if len(rows) >= _FEWEST:
        wanted, now, then = (
            sum(len(said[row].split()) for row in rows) / len(rows)
            for said in (truths, challenger, champion)
        )
        if _off(now, wanted) > max(LONGEST, _off(then, wanted)):
            found.append(
                f"open answers are {now:.1f} words long on average where people wrote {wanted:.1f} "
                f"(the champion's: {then:.1f})"
            )
    return found


def disagreements(answers: Mapping[str, Sequence[str]]) -> list[str]:
    """Ways of running the same weights that do not agree with the first way, one line each.

    `answers` holds the answers to the same questions by how the model was run. Less than ALIKE of them equal (but for
    white space) is a disagreement.
    """
    found: list[str] = []
    if not answers:
        return found
    (first, wanted), *others = answers.items()
    for name, said in others:
        same = sum(a.split() == b.split() for a, b in zip(said, wanted, strict=True))
        if same < ALIKE * len(wanted):
            found.append(f"{name} and {first} answer only {same} of {len(wanted)} questions alike")
    return found


def _off(length: float, wanted: float) -> float:
    """How many times too long or too short, at least 1."""
    if not wanted:
        return 1.0
    return max(length / wanted, wanted / length) if length else float("inf")
