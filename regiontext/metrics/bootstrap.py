"""Whether a difference between two models on the same questions is more than luck.

Knows nothing of what the scores measure.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Difference", "paired_bootstrap"]

# Resampled sums held in memory at once; bounds memory, not the result.
_CHUNK_CELLS = 4_000_000


@dataclass(frozen=True)
class Difference:
    """Challenger minus champion: the mean, and the ends of its 95 % percentile interval."""

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
    order: dict[Hashable, int] = {}
    index = np.array([order.setdefault(group, len(order)) for group in groups], dtype=np.intp)
    sums = np.bincount(index, weights=differences, minlength=len(order))
    sizes = np.bincount(index, minlength=len(order)).astype(np.float64)
    return sums.astype(np.float64), sizes


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
