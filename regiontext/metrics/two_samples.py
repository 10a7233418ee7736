"""Whether two groups of people's regions differ, when nothing pairs one with the other.

The counterpart of `regiontext.metrics.bootstrap`, which compares two models on the same questions. Knows nothing of
what is measured.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Average", "Gap", "average", "gap"]

Statistic = Literal["mean", "median"]
_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Average:
    """A mean or median with the ends of its 95 % percentile interval; n: of how many values."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Gap:
    """One sample's mean or median less the other's, with the ends of the 95 % percentile interval."""

    value: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether zero lies outside the interval."""
        return self.low > 0 or self.high < 0


def average(
    values: Sequence[float],
    *,
    groups: Sequence[Hashable] | None = None,
    statistic: Statistic = "mean",
    samples: int = 2_000,
    seed: int = 0,
) -> Average | None:
    """The mean or median of `values`; None if there are none.

    The interval comes from drawing values with replacement, or whole groups (say, all regions of one image), because
    values of one group rise and fall together (Efron and Tibshirani 1993, chapters 6 and 13). The same arguments give
    the same numbers. Raises ValueError for groups of another number than values.
    """
    parts = _parts(values, groups)
    if not parts:
        return None
    drawn = _drawn(parts, statistic, samples, np.random.default_rng(seed))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Average(_of(np.concatenate(parts), statistic), float(low), float(high), len(values))


def gap(
    one: Sequence[float],
    other: Sequence[float],
    *,
    one_groups: Sequence[Hashable] | None = None,
    other_groups: Sequence[Hashable] | None = None,
    statistic: Statistic = "mean",
    samples: int = 2_000,
    seed: int = 0,
) -> Gap | None:
    """How much larger `one` is than `other`, both drawn anew each time; None if either is empty.

    Efron and Tibshirani 1993, section 8.3 (two samples). Arguments and errors as in `average`.
    """
    mine, theirs = _parts(one, one_groups), _parts(other, other_groups)
    if not mine or not theirs:
        return None
    rng = np.random.default_rng(seed)
    drawn = _drawn(mine, statistic, samples, rng) - _drawn(theirs, statistic, samples, rng)
    low, high = np.quantile(drawn, [0.025, 0.975])
    value = _of(np.concatenate(mine), statistic) - _of(np.concatenate(theirs), statistic)
    return Gap(value, float(low), float(high))


def _parts(values: Sequence[float], groups: Sequence[Hashable] | None) -> list[_Floats]:
    """The values of each group, in order of first appearance; one each without groups."""
    if groups is None:
        return [np.array([value], dtype=np.float64) for value in values]
    if len(groups) != len(values):
        raise ValueError(f"{len(values)} values but {len(groups)} groups; give one each")
    found: dict[Hashable, list[float]] = {}
    for value, group in zip(values, groups, strict=True):
        found.setdefault(group, []).append(value)
    return [np.array(part, dtype=np.float64) for part in found.values()]


def _drawn(
    parts: Sequence[_Floats], statistic: Statistic, samples: int, rng: np.random.Generator
) -> _Floats:
    """The statistic of each of `samples` samples of as many groups as there are; float64[samples]."""
    if statistic == "mean":
        sums = np.array([part.sum() for part in parts])
        sizes = np.array([part.size for part in parts], dtype=np.float64)
        found = np.empty(samples)
        for number in range(samples):
            chosen = rng.integers(0, len(parts), len(parts))
            found[number] = sums[chosen].sum() / sizes[chosen].sum()
        return found
    return np.array(
        [
            np.median(np.concatenate([parts[i] for i in rng.integers(0, len(parts), len(parts))]))
            for _ in range(samples)
        ]
    )


def _of(values: _Floats, statistic: Statistic) -> float:
    return float(values.mean() if statistic == "mean" else np.median(values))
