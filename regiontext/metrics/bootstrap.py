"""Whether a difference between two models on the same questions is more than luck.

Knows nothing of what the scores measure.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Difference", "paired_bootstrap", "paired_bootstrap_slices", "sign_flip_p"]

# Resampled sums held in memory at once; bounds memory, not the result.
_CHUNK_CELLS = 4_000_000
# Sums that should cancel leave a rest of this order; it must not pass for a difference.
_DIGITS = 12


@dataclass(frozen=True)
class Difference:
    """Challenger minus champion: the mean, and the ends of its percentile interval (95 % unless told)."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def better(self) -> bool:
        """The whole interval lies above zero."""
        return self.low > 0

    @property
    def worse(self) -> bool:
        """The whole interval lies below zero."""
        return self.high < 0


def _clusters(
    differences: NDArray[np.float64], groups: Sequence[Hashable] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum and size of each group, in order of first appearance."""
    if groups is None:
        return differences, np.ones_like(differences)
    index = _group_index(differences.size, groups)
    sums = np.bincount(index, weights=differences)
    sizes = np.bincount(index).astype(np.float64)
    return sums.astype(np.float64), sizes


def _group_index(n: int, groups: Sequence[Hashable] | None) -> NDArray[np.intp]:
    """The number of each question's group, in order of first appearance; each its own without groups."""
    if groups is None:
        return np.arange(n, dtype=np.intp)
    order: dict[Hashable, int] = {}
    return np.array([order.setdefault(group, len(order)) for group in groups], dtype=np.intp)


def paired_bootstrap(
    champion: Sequence[float],
    challenger: Sequence[float],
    *,
    samples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
    groups: Sequence[Hashable] | None = None,
) -> Difference:
    """Resample the questions with replacement and look at the mean difference each time.

    `champion[i]` and `challenger[i]` are the scores of both on question i (Efron and Tibshirani
    1993, chapter 13: percentile interval; paired as in Koehn 2004, "Statistical Significance Tests
    for Machine Translation Evaluation"). With `groups`, whole groups (say, all questions about one
    image) are drawn instead of questions, because questions of one group rise and fall together.
    The same arguments give the same numbers on every machine. Raises ValueError if the lists are
    empty, of different lengths, or hold anything that is not a finite number.
    """
    left, right = _checked(champion, challenger, groups)
    sums, sizes = _clusters(right - left, groups)
    rng = np.random.default_rng(seed)
    means = np.empty(samples)
    step = max(1, _CHUNK_CELLS // sums.size)
    for start in range(0, samples, step):
        stop = min(samples, start + step)
        drawn = rng.integers(0, sums.size, size=(stop - start, sums.size))
        means[start:stop] = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Difference(
        mean=float((right - left).mean()), low=float(low), high=float(high), n=int(left.size)
    )


def paired_bootstrap_slices(
    champion: Sequence[float],
    challenger: Sequence[float],
    members: NDArray[np.bool_],
    *,
    levels: Sequence[float],
    samples: int = 10_000,
    seed: int = 0,
    groups: Sequence[Hashable] | None = None,
) -> list[Difference]:
    """The differences within many slices of the same questions, all from the same resamples.

    `members` is bool[questions, slices]: who belongs to which slice (any number of them, never none). `levels[k]` is
    the width of slice k's percentile interval (0.95: 2.5 % on either side), so that it can be widened for looking at
    many (Dunn 1961). A resample that holds no question of a slice says nothing about it and is left out there. Drawn
    as `paired_bootstrap` does, which the first slice of all questions equals up to the draw; the same arguments give
    the same numbers on every machine. Raises ValueError as it does, and for a slice without a question.
    """
    left, right = _checked(champion, challenger, groups)
    if members.shape != (left.size, len(levels)):
        raise ValueError(
            f"members is {members.shape}; it needs one row per question and one column per level, "
            f"({left.size}, {len(levels)})"
        )
    if not members.any(axis=0).all():
        raise ValueError("a slice has no question")
    inside = members.astype(np.float64)
    gains = (right - left)[:, None] * inside
    rows = _group_index(left.size, groups)
    count = int(rows.max()) + 1
    sums, sizes = np.zeros((count, len(levels))), np.zeros((count, len(levels)))
    np.add.at(sums, rows, gains)
    np.add.at(sizes, rows, inside)
    rng = np.random.default_rng(seed)
    means = np.empty((samples, len(levels)))
    step = max(1, _CHUNK_CELLS // count)
    for start in range(0, samples, step):
        stop = min(samples, start + step)
        drawn = rng.integers(0, count, size=(stop - start, count))
        drawn += np.arange(stop - start)[:, None] * count
        times = np.bincount(drawn.ravel(), minlength=(stop - start) * count)
        weights = times.reshape(stop - start, count).astype(np.float64)
        with np.errstate(invalid="ignore"):
            means[start:stop] = (weights @ sums) / (weights @ sizes)
    found = []
    for column, level in enumerate(levels):
        tail = (1 - level) / 2
        told = np.round(means[:, column], _DIGITS)
        low, high = np.quantile(told[np.isfinite(told)], [tail, 1 - tail])
        size = int(members[:, column].sum())
        mean = float(gains[:, column].sum() / size)
        found.append(Difference(mean=mean, low=float(low), high=float(high), n=size))
    return found


def sign_flip_p(
    champion: Sequence[float],
    challenger: Sequence[float],
    *,
    samples: int = 10_000,
    seed: int = 0,
    groups: Sequence[Hashable] | None = None,
) -> float:
    """How likely a gain as large as this one is by luck, if the two models were alike: one-sided, in (0, 1].

    Randomisation test (Fisher 1935; Noreen 1989, "Computer-Intensive Methods for Testing Hypotheses"): alike models
    could have swapped their answers to any question (to all questions of a group), so the sign of each difference is
    drawn anew. Exact for any number of questions, which a bootstrap is not for few. Raises ValueError as
    `paired_bootstrap` does.
    """
    left, right = _checked(champion, challenger, groups)
    sums, _ = _clusters(right - left, groups)
    sums = sums[np.abs(sums) > 10**-_DIGITS]
    if sums.size == 0:
        return 1.0
    observed, rng, reached = sums.sum(), np.random.default_rng(seed), 0
    step = max(1, _CHUNK_CELLS // sums.size)
    for start in range(0, samples, step):
        signs = rng.integers(0, 2, size=(min(samples, start + step) - start, sums.size)) * 2 - 1
        reached += int((signs @ sums >= observed - 10**-_DIGITS).sum())
    return (reached + 1) / (samples + 1)


def _checked(
    champion: Sequence[float], challenger: Sequence[float], groups: Sequence[Hashable] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    left = np.asarray(champion, dtype=np.float64)
    right = np.asarray(challenger, dtype=np.float64)
    if left.ndim != 1 or left.shape != right.shape:
        raise ValueError(
            f"both need one score per question, got {left.shape} and {right.shape} scores"
        )
    if left.size == 0:
        raise ValueError("there is no question to compare the two on")
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise ValueError("a score is not a finite number")
    if groups is not None and len(groups) != left.size:
        raise ValueError(f"{left.size} scores but {len(groups)} groups")
    return left, right
