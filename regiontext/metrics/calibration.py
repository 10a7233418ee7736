"""Whether confidences can be believed, and how to make them so.

A confidence is a number in [0, 1] that goes with an answer; it is calibrated when, of the answers given with confidence
p, a share p is right. Knows nothing of models, questions or where confidences come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Bin",
    "Isotonic",
    "auroc",
    "brier",
    "ece",
    "fit_isotonic",
    "fit_temperature",
    "reliability",
    "with_temperature",
]

_Floats = NDArray[np.float64]

# Confidences of exactly 0 or 1 have no logit; float32 log-probabilities do not resolve more either.
_EDGE: Final = 1e-7
_TEMPERATURES: Final = (0.02, 50.0)


@dataclass(frozen=True)
class Bin:
    """The answers whose confidence lies in [low, high): how many, their mean confidence and the share that is right.

    The last bin includes its upper end.
    """

    low: float
    high: float
    count: int
    confidence: float
    right: float


def reliability(confidence: ArrayLike, right: ArrayLike, *, bins: int = 10) -> tuple[Bin, ...]:
    """The reliability curve over `bins` intervals of equal width; empty ones are left out.

    confidence: float[N] in [0, 1]; right: bool[N]. ValueError if their lengths differ, a confidence lies outside
    [0, 1] or is not a number, there is none, or `bins` < 1.
    """
    given, hits = _checked(confidence, right)
    if bins < 1:
        raise ValueError(f"bins is {bins}; use at least 1")
    place = np.minimum((given * bins).astype(np.int64), bins - 1)
    found = []
    for index in np.unique(place):
        here = place == index
        found.append(
            Bin(
                low=float(index / bins),
                high=float((index + 1) / bins),
                count=int(here.sum()),
                confidence=float(given[here].mean()),
                right=float(hits[here].mean()),
            )
        )
    return tuple(found)


def ece(confidence: ArrayLike, right: ArrayLike, *, bins: int = 10) -> float:
    """The expected calibration error: the mean gap between confidence and share right, weighted by the bins' counts.

    Naeini et al. 2015; bins of equal width, as in Guo et al. 2017 (arXiv 1706.04599). Arguments and errors as in
    `reliability`. Above 0 even for calibrated confidences when answers are few: chance makes the gaps.
    """
    curve = reliability(confidence, right, bins=bins)
    total = sum(each.count for each in curve)
    return float(sum(each.count * abs(each.confidence - each.right) for each in curve) / total)


def brier(confidence: ArrayLike, right: ArrayLike) -> float:
    """The mean squared gap between confidence and what happened (Brier 1950); 0 is perfect.

    Errors as in `reliability`.
    """
    given, hits = _checked(confidence, right)
    return float(np.mean((given - hits) ** 2))


def auroc(confidence: ArrayLike, right: ArrayLike) -> float:
    """How often a right answer has the higher confidence than a wrong one, ties counting half.

    0.5 is chance; nan if all answers are right or all are wrong. Errors as in `reliability`.
    """
    given, hits = _checked(confidence, right)
    good, bad = np.sort(given[hits == 1]), given[hits == 0]
    if not len(good) or not len(bad):
        return float("nan")
    above = len(good) - np.searchsorted(good, bad, side="right")
    ties = np.searchsorted(good, bad, side="right") - np.searchsorted(good, bad, side="left")
    return float((above + 0.5 * ties).sum() / (len(good) * len(bad)))


def with_temperature(confidence: ArrayLike, temperature: float) -> _Floats:
    """Confidences whose log-odds are divided by `temperature`: above 1 makes them more modest; float64[N]."""
    given = np.clip(np.asarray(confidence, dtype=np.float64), _EDGE, 1 - _EDGE)
    odds = np.log(given) - np.log1p(-given)
    # The logistic function, written so that nothing overflows.
    scaled: _Floats = 0.5 + 0.5 * np.tanh(odds / (2 * temperature))
    return scaled


def fit_temperature(confidence: ArrayLike, right: ArrayLike) -> float:
    """The temperature under which the answers are likeliest (after Guo et al. 2017, section 4.2, of one probability).

    Searched between 0.02 and 50, over which the likelihood has one peak in 1 / temperature. Errors as in `reliability`.
    """
    given, hits = _checked(confidence, right)

    def cost(log_temperature: float) -> float:
        told = np.clip(with_temperature(given, float(np.exp(log_temperature))), _EDGE, 1 - _EDGE)
        return float(-np.mean(hits * np.log(told) + (1 - hits) * np.log1p(-told)))

    low, high = (float(np.log(edge)) for edge in _TEMPERATURES)
    for _ in range(80):
        third = (high - low) / 3
        if cost(low + third) <= cost(high - third):
            high -= third
        else:
            low += third
    return float(np.exp((low + high) / 2))


@dataclass(frozen=True)
class Isotonic:
    """A rising curve from confidence to the share that was right: `values[i]` at `knots[i]`, straight in between."""

    knots: tuple[float, ...]
    values: tuple[float, ...]

    def apply(self, confidence: ArrayLike) -> _Floats:
        """The calibrated confidences, float64[N]; beyond the knots the nearest one's value holds."""
        told: _Floats = np.interp(
            np.asarray(confidence, dtype=np.float64), self.knots, self.values
        ).astype(np.float64)
        return told


def fit_isotonic(confidence: ArrayLike, right: ArrayLike) -> Isotonic:
    """The least-squares rising function, by pooling adjacent violators (Ayer et al. 1955).

    Errors as in `reliability`.
    """
    given, hits = _checked(confidence, right)
    levels, where = np.unique(given, return_inverse=True)
    weights = np.bincount(where).astype(np.float64)
    means = np.bincount(where, weights=hits) / weights
    blocks: list[tuple[float, float, int]] = []
    for mean, weight in zip(means, weights, strict=True):
        now = (float(mean), float(weight), 1)
        while blocks and blocks[-1][0] >= now[0]:
            last = blocks.pop()
            total = last[1] + now[1]
            now = ((last[0] * last[1] + now[0] * now[1]) / total, total, last[2] + now[2])
        blocks.append(now)
    return _staircase(levels, blocks)


def _staircase(levels: _Floats, blocks: Sequence[tuple[float, float, int]]) -> Isotonic:
    """Each block keeps its first and last level, so that the lines between blocks are all that is interpolated."""
    knots: list[float] = []
    values: list[float] = []
    start = 0
    for mean, _, length in blocks:
        for index in sorted({start, start + length - 1}):
            knots.append(float(levels[index]))
            values.append(mean)
        start += length
    return Isotonic(tuple(knots), tuple(values))


def _checked(confidence: ArrayLike, right: ArrayLike) -> tuple[_Floats, _Floats]:
    given = np.asarray(confidence, dtype=np.float64).ravel()
    hits = np.asarray(right, dtype=np.float64).ravel()
    if len(given) != len(hits):
        raise ValueError(f"{len(given)} confidences for {len(hits)} answers; give one each")
    if not len(given):
        raise ValueError("no answers; calibration needs at least one")
    if not np.all((given >= 0) & (given <= 1)):
        odd = given[~((given >= 0) & (given <= 1))][0]
        raise ValueError(f"a confidence is {odd}; it must lie in 0..1")
    return given, hits
