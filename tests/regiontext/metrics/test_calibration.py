"""Calibration: known curves come out as they are, and fits repair what they are meant to repair."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from regiontext.metrics.calibration import (
    auroc,
    brier,
    ece,
    fit_isotonic,
    fit_temperature,
    reliability,
    with_temperature,
)

UNIT = st.floats(0, 1)


def _calibrated(n: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.02, 0.98, size=n)
    return confidence, rng.random(n) < confidence


def test_a_reliability_curve_counts_what_lies_in_each_bin():
    curve = reliability([0.05, 0.15, 0.17, 1.0], [0, 1, 0, 1], bins=10)
    assert [(b.low, b.high, b.count, b.right) for b in curve] == [
        (0.0, 0.1, 1, 0.0),
        (0.1, 0.2, 2, 0.5),
        (0.9, 1.0, 1, 1.0),
    ]
    assert curve[1].confidence == pytest.approx(0.16)


def test_ece_is_the_weighted_gap():
    assert ece([0.8] * 10, [1] * 6 + [0] * 4) == pytest.approx(0.2)
    assert ece([0.25, 0.25, 0.95], [0, 1, 1], bins=2) == pytest.approx((2 * 0.25 + 0.05) / 3)
    confidence, right = _calibrated(40_000)
    assert ece(confidence, right) < 0.01
    assert ece(confidence, ~right) > 0.3


def test_brier_and_auroc_of_small_cases():
    assert brier([1, 0, 0.5], [1, 0, 1]) == pytest.approx(0.25 / 3)
    assert auroc([0.9, 0.8, 0.8, 0.1], [1, 1, 0, 0]) == pytest.approx(3.5 / 4)
    assert math.isnan(auroc([0.5, 0.6], [1, 1]))


def test_a_temperature_undoes_another():
    confidence, right = _calibrated(20_000, seed=1)
    bold = with_temperature(confidence, 1 / 3)
    assert fit_temperature(bold, right) == pytest.approx(3, rel=0.1)
    repaired = with_temperature(bold, fit_temperature(bold, right))
    assert ece(repaired, right) < 0.02 < 0.1 < ece(bold, right)
    assert fit_temperature([0.5, 1.0, 0.0], [1, 1, 0]) < 1, "certain and right stays certain"


def test_isotonic_repairs_any_rising_distortion_and_pools_violators():
    confidence, right = _calibrated(20_000, seed=2)
    bent = confidence**4
    assert ece(fit_isotonic(bent, right).apply(bent), right) < 0.02 < ece(bent, right)
    fit = fit_isotonic([0.1, 0.2, 0.3], [1, 0, 1])
    assert fit.knots == (0.1, 0.2, 0.3) and fit.values == (0.5, 0.5, 1.0)
    assert fit.apply([0.0, 0.15, 0.25, 0.9]).tolist() == pytest.approx([0.5, 0.5, 0.75, 1.0])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_fits_keep_order_and_bounds(data):
    n = data.draw(st.integers(1, 30))
    confidence = data.draw(arrays(np.float64, n, elements=UNIT))
    right = data.draw(arrays(np.bool_, n))
    told = fit_isotonic(confidence, right).apply(np.linspace(0, 1, 50))
    assert np.all(np.diff(told) >= -1e-12) and told.min() >= 0 and told.max() <= 1
    scaled = with_temperature(np.sort(confidence), fit_temperature(confidence, right))
    assert np.all(np.diff(scaled) >= 0) and np.all((scaled >= 0) & (scaled <= 1))
    # The mean of an isotonic fit is the share that is right.
    assert fit_isotonic(confidence, right).apply(confidence).mean() == pytest.approx(right.mean())
    assert 0 <= ece(confidence, right) <= 1


@pytest.mark.parametrize(
    ("confidence", "right", "said"),
    [
        ([], [], "no answers"),
        ([0.5], [1, 0], "one each"),
        ([1.5], [1], "0..1"),
        ([math.nan], [1], "nan"),
    ],
)
def test_what_is_no_confidence_is_refused(confidence, right, said):
    with pytest.raises(ValueError, match=said):
        ece(confidence, right)
    with pytest.raises(ValueError, match="bins"):
        reliability([0.5], [1], bins=0)
