"""Whether a challenger may replace the champion, decided from both models' scores on the same questions.

The rule. Better: the 95 % interval of the mean difference (10,000 paired resamples) lies above zero, and a
randomisation test agrees (one-sided, 2.5 %): the bootstrap alone is too sure of itself when questions are few. Clearly
worse: a slice's interval lies below zero, widened for the number K of slices (one-sided, 5 % / K each, Bonferroni), so
that what is worse nowhere is blamed about once in twenty times, however many slices there are. Promoted: better, no
slice clearly worse, nothing insane.

Pure: knows no model, no database and no network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from regiontext.metrics.bootstrap import Difference, paired_bootstrap_slices, sign_flip_p
from regiontext.metrics.text import exact_match, word_f1

__all__ = [
    "MIN_GROUPS",
    "MIN_SLICE",
    "RISK",
    "RISK_SLICES",
    "Decision",
    "Judged",
    "Slice",
    "decide",
    "score",
]

RISK = 0.025
"""How often a challenger that is no better may be called better."""

RISK_SLICES = 0.05
"""How often a challenger that is worse nowhere may be blamed for a slice: for all slices together."""

MIN_SLICE = 5
"""Smaller slices are reported by nobody: their intervals are too wide to mean anything."""

MIN_GROUPS = 8
"""From this many images on, whole images are resampled: fewer make a bootstrap over images meaningless."""


@dataclass(frozen=True)
class Judged:
    """One question with both models' scores (each in [0, 1]).

    `guard` marks a question that only guards against forgetting: it can veto a challenger, never promote it. `slices`
    names what else it belongs to ("size small", see `backend.jobs.slices`).
    """

    champion: float
    challenger: float
    field: str
    labels: tuple[str, ...]
    image_hash: str
    guard: bool = False
    slices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Slice:
    """The difference within one slice; its interval is as wide as `level` says. `worse`: clearly, by the rule."""

    name: str
    difference: Difference
    level: float = 0.95
    worse: bool = False


@dataclass(frozen=True)
class Decision:
    """Promote or not, why (one line), and the figures behind it.

    unit: what was resampled. luck: the chance of such a gain between models that are alike (randomisation test).
    insane: what is wrong with the challenger's answers whatever they score, in words.
    """

    promote: bool
    reason: str
    overall: Difference
    champion: float
    challenger: float
    unit: str
    slices: tuple[Slice, ...]
    luck: float = 1.0
    insane: tuple[str, ...] = ()

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


def decide(
    judged: Sequence[Judged],
    *,
    samples: int = 10_000,
    seed: int = 0,
    insane: Sequence[str] = (),
) -> Decision:
    """Promote only what is better by the rule above.

    Overall are all questions that are no guard; slices are each field, label and name of `Judged.slices` with at least
    MIN_SLICE questions (guards included) and the guards together. Whole images are resampled where there are at least
    MIN_GROUPS of them, else single questions. `insane` is what else speaks against the challenger, each in one line.
    Raises ValueError if there is nothing to decide on.
    """
    rows = [row for row, item in enumerate(judged) if not item.guard]
    if not rows:
        raise ValueError("there is no question to decide on")
    deciding = [judged[row] for row in rows]
    named = {n: part for n, part in _slices(judged).items() if len(part) >= MIN_SLICE}
    level = 1 - 2 * RISK_SLICES / max(1, len(named))
    by_image = _by_image(deciding)
    whole = range(len(deciding))
    overall = _differences(deciding, [whole], 1 - 2 * RISK, samples, seed, by_image=by_image)[0]
    found: dict[str, Difference] = {}
    for images in (True, False):
        parts = {n: p for n, p in named.items() if _by_image([judged[i] for i in p]) is images}
        if parts:
            differences = _differences(
                judged, list(parts.values()), level, samples, seed, by_image=images
            )
            found |= dict(zip(parts, differences, strict=True))
    slices = tuple(Slice(n, found[n], level, worse=found[n].worse) for n in named)
    luck = sign_flip_p(
        [item.champion for item in deciding],
        [item.challenger for item in deciding],
        samples=samples,
        seed=seed,
        groups=[item.image_hash for item in deciding] if by_image else None,
    )
    better = overall.better and luck <= RISK
    worse = [part for part in slices if part.worse]
    return Decision(
        promote=better and not worse and not insane,
        reason=_reason(overall, luck, worse, insane),
        overall=overall,
        champion=_mean([item.champion for item in deciding]),
        challenger=_mean([item.challenger for item in deciding]),
        unit="image" if by_image else "question",
        slices=slices,
        luck=luck,
        insane=tuple(insane),
    )


def _reason(overall: Difference, luck: float, worse: Sequence[Slice], insane: Sequence[str]) -> str:
    shown = _interval(overall)
    if overall.worse:
        return f"worse: {shown}"
    if not overall.better:
        return f"not proved better: {shown} includes 0"
    if luck > RISK:
        return f"not proved better: {shown}, but luck alone gives as much in {luck:.1%} of cases"
    if worse:
        names = "; ".join(f"{part.name} {_interval(part.difference, part.level)}" for part in worse)
        return f"better overall ({shown}), but clearly worse on {names}"
    if insane:
        return f"better overall ({shown}), but {'; '.join(insane)}"
    return f"better: {shown}"


def _by_image(items: Sequence[Judged]) -> bool:
    return len({item.image_hash for item in items}) >= MIN_GROUPS


def _differences(
    judged: Sequence[Judged],
    parts: Sequence[Sequence[int]],
    level: float,
    samples: int,
    seed: int,
    *,
    by_image: bool,
) -> list[Difference]:
    """The difference of every part (rows of `judged`), all from the same resamples of what they hold together."""
    order = sorted({row for part in parts for row in part})
    place = {row: number for number, row in enumerate(order)}
    members = np.zeros((len(order), len(parts)), dtype=np.bool_)
    for column, part in enumerate(parts):
        members[[place[row] for row in part], column] = True
    items = [judged[row] for row in order]
    return paired_bootstrap_slices(
        [item.champion for item in items],
        [item.challenger for item in items],
        members,
        levels=[level] * len(parts),
        samples=samples,
        seed=seed,
        groups=[item.image_hash for item in items] if by_image else None,
    )


def _slices(judged: Sequence[Judged]) -> Mapping[str, list[int]]:
    """By slice, the rows of `judged` that are in it."""
    found: dict[str, list[int]] = {}
    for row, item in enumerate(judged):
        names = [f"field {item.field!r}", *(f"label {label!r}" for label in item.labels)]
        names += item.slices
        if item.guard:
            names.append("texts that had been accepted")
        for name in dict.fromkeys(names):
            found.setdefault(name, []).append(row)
    return found


def _interval(difference: Difference, level: float = 0.95) -> str:
    return (
        f"{difference.mean:+.3f} ({level * 100:.4g} % interval {difference.low:+.3f} to {difference.high:+.3f}, "
        f"{difference.n} questions)"
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
