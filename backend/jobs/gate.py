"""Whether a challenger may replace the champion, decided from both models' scores on the same questions.

Pure: knows no model, no database and no network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from regiontext.metrics.bootstrap import Difference, paired_bootstrap
from regiontext.metrics.text import exact_match, word_f1

__all__ = ["MIN_GROUPS", "MIN_SLICE", "Decision", "Judged", "Slice", "decide", "score"]

MIN_SLICE = 5
"""Smaller slices are reported by nobody: their intervals are too wide to mean anything."""

MIN_GROUPS = 8
"""From this many images on, whole images are resampled: fewer make a bootstrap over images meaningless."""


@dataclass(frozen=True)
class Judged:
    """One question with both models' scores (each in [0, 1]).

    `guard` marks a question that only guards against forgetting: it can veto a challenger, never promote it.
    """

    champion: float
    challenger: float
    field: str
    labels: tuple[str, ...]
    image_hash: str
    guard: bool = False


@dataclass(frozen=True)
class Slice:
    """The difference within one field, one label or the guard."""

    name: str
    difference: Difference


@dataclass(frozen=True)
class Decision:
    """Promote or not, why (one line), and the figures behind it; `unit` is what was resampled."""

    promote: bool
    reason: str
    overall: Difference
    champion: float
    challenger: float
    unit: str
    slices: tuple[Slice, ...]

    def to_dict(self) -> dict[str, Any]:
        """The decision as JSON types."""
        return asdict(self)


def score(answer: str, truth: Sequence[str], *, closed: bool) -> float:
    """How good `answer` is, in [0, 1], given the entries a human left.

    Closed questions: exact match (several choices are compared as a set, separated by commas). Open ones: the mean
    of exact match and word F1, so that being right counts and being nearly right counts half.
    """
    if closed:
        if len(truth) == 1:
            return exact_match(answer, truth[0])
        given = {part.strip() for part in answer.split(",")}
        return float(given == {entry.strip() for entry in truth})
    text = " ".join(truth)
    return (exact_match(answer, text) + word_f1(answer, text)) / 2


def decide(judged: Sequence[Judged], *, samples: int = 10_000, seed: int = 0) -> Decision:
    """Promote only what a paired bootstrap says is better overall, with no slice clearly worse.

    Overall are all questions that are no guard; slices are each field and each label with at least MIN_SLICE
    questions (guards included) and the guards together. Better: the 95 % interval of the difference lies above
    zero. Clearly worse: a slice's lies below. Whole images are resampled where there are at least MIN_GROUPS of
    them, else single questions. Raises ValueError if there is nothing to decide on.
    """
    deciding = [item for item in judged if not item.guard]
    if not deciding:
        raise ValueError("there is no question to decide on")
    overall, unit = _difference(deciding, samples, seed)
    slices = tuple(
        Slice(name, _difference(items, samples, seed)[0])
        for name, items in _slices(judged).items()
        if len(items) >= MIN_SLICE
    )
    worse = [part for part in slices if part.difference.worse]
    shown = _interval(overall)
    if overall.worse:
        reason = f"worse: {shown}"
    elif not overall.better:
        reason = f"not proved better: {shown} includes 0"
    elif worse:
        names = "; ".join(f"{part.name} {_interval(part.difference)}" for part in worse)
        reason = f"better overall ({shown}), but clearly worse on {names}"
    else:
        reason = f"better: {shown}"
    return Decision(
        promote=overall.better and not worse,
        reason=reason,
        overall=overall,
        champion=_mean([item.champion for item in deciding]),
        challenger=_mean([item.challenger for item in deciding]),
        unit=unit,
        slices=slices,
    )


def _difference(items: Sequence[Judged], samples: int, seed: int) -> tuple[Difference, str]:
    groups = [item.image_hash for item in items]
    by_image = len(set(groups)) >= MIN_GROUPS
    difference = paired_bootstrap(
        [item.champion for item in items],
        [item.challenger for item in items],
        samples=samples,
        seed=seed,
        groups=groups if by_image else None,
    )
    return difference, "image" if by_image else "question"


def _slices(judged: Sequence[Judged]) -> Mapping[str, list[Judged]]:
    found: dict[str, list[Judged]] = {}
    for item in judged:
        found.setdefault(f"field {item.field!r}", []).append(item)
        for label in dict.fromkeys(item.labels):
            found.setdefault(f"label {label!r}", []).append(item)
        if item.guard:
            found.setdefault("texts that had been accepted", []).append(item)
    return found


def _interval(difference: Difference) -> str:
    return (
        f"{difference.mean:+.3f} (95 % interval {difference.low:+.3f} to {difference.high:+.3f}, "
        f"{difference.n} questions)"
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
