from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regiontext.metrics.bootstrap import paired_bootstrap, paired_bootstrap_slices, sign_flip_p

scores = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30)


@given(scores)
@settings(max_examples=40, deadline=None)
def test_swapping_the_models_mirrors_the_interval(pairs: list[tuple[float, float]]) -> None:
    left, right = zip(*pairs, strict=True)
    there = paired_bootstrap(left, right, samples=500)
    back = paired_bootstrap(right, left, samples=500)
    assert there.mean == pytest.approx(-back.mean)
    assert there.low == pytest.approx(-back.high)
    assert there.high == pytest.approx(-back.low)
    assert there.low - 1e-12 <= there.high
    assert there.n == len(pairs)


def test_a_tie_is_neither_better_nor_worse() -> None:
    tie = paired_bootstrap([1, 0, 1], [1, 0, 1])
    assert (tie.mean, tie.low, tie.high) == (0, 0, 0)
    assert not tie.better
    assert not tie.worse


def test_a_clear_difference() -> None:
    assert paired_bootstrap([0] * 20, [1] * 20).better
    assert paired_bootstrap([1] * 20, [0] * 20).worse
    assert not paired_bootstrap([0, 1, 0, 1], [1, 0, 1, 0]).better


def test_pairing_matters() -> None:
    # The champion's scores differ widely between questions; the gain is the same on each.
    champion = np.linspace(0, 0.9, 30)
    assert paired_bootstrap(champion, champion + 0.05).better


def test_the_interval_is_that_of_the_mean() -> None:
    rng = np.random.default_rng(1)
    gain = rng.normal(0.1, 1.0, 400)
    found = paired_bootstrap(np.zeros(400), gain)
    error = gain.std() / 20
    assert found.low == pytest.approx(gain.mean() - 1.96 * error, abs=0.2 * error)
    assert found.high == pytest.approx(gain.mean() + 1.96 * error, abs=0.2 * error)


def test_the_same_arguments_give_the_same_numbers() -> None:
    rng = np.random.default_rng(2)
    left, right = rng.random(50), rng.random(50)
    assert paired_bootstrap(left, right) == paired_bootstrap(left, right)
    assert paired_bootstrap(left, right, seed=1) != paired_bootstrap(left, right)


def test_groups_are_drawn_whole() -> None:
    # Fifteen questions about one image gained, five about another lost: two facts, not twenty.
    champion, challenger = [0.0] * 15 + [1.0] * 5, [1.0] * 15 + [0.0] * 5
    groups = ["a"] * 15 + ["b"] * 5
    assert paired_bootstrap(champion, challenger).better
    grouped = paired_bootstrap(champion, challenger, groups=groups)
    assert not grouped.better
    assert grouped.mean == 0.5
    assert (grouped.low, grouped.high) == (-1, 1)


def test_groups_of_one_change_nothing() -> None:
    rng = np.random.default_rng(3)
    left, right = rng.random(40), rng.random(40)
    assert paired_bootstrap(left, right, groups=range(40)) == paired_bootstrap(left, right)


@pytest.mark.parametrize(
    ("left", "right"), [([], []), ([1], [1, 2]), ([float("nan")], [1]), ([[1]], [[1]])]
)
def test_what_cannot_be_compared_is_refused(left: list[float], right: list[float]) -> None:
    with pytest.raises(ValueError):
        paired_bootstrap(left, right)
    with pytest.raises(ValueError, match="groups"):
        paired_bootstrap([1], [1], groups=[1, 2])


def test_all_slices_come_from_one_set_of_resamples() -> None:
    rng = np.random.default_rng(3)
    left, right = rng.random(60), rng.random(60)
    groups = [n // 3 for n in range(60)]
    members = np.ones((60, 2), dtype=np.bool_)
    members[30:, 1] = False
    whole, half = paired_bootstrap_slices(
        list(left), list(right), members, levels=[0.95, 0.95], groups=groups
    )
    alone = paired_bootstrap(list(left), list(right), groups=groups)
    assert (whole.mean, whole.n) == (pytest.approx(alone.mean), 60)
    assert whole.low == pytest.approx(alone.low, abs=0.01)
    assert whole.high == pytest.approx(alone.high, abs=0.01)
    part = paired_bootstrap(list(left[:30]), list(right[:30]), groups=groups[:30])
    assert (half.mean, half.n) == (pytest.approx(part.mean), 30)
    assert half.low == pytest.approx(part.low, abs=0.03)


def test_a_wider_level_gives_a_wider_interval_from_the_same_resamples() -> None:
    rng = np.random.default_rng(3)
    members = np.ones((50, 2), dtype=np.bool_)
    narrow, wide = paired_bootstrap_slices(
        list(rng.random(50)), list(rng.random(50)), members, levels=[0.9, 0.99]
    )
    assert wide.low < narrow.low < narrow.high < wide.high


def test_what_cancels_is_no_difference() -> None:
    left, right = [0.1, 0.3, 0.7] * 4, [0.3, 0.1, 0.7] * 4
    only = paired_bootstrap_slices(left, right, np.ones((12, 1), dtype=np.bool_), levels=[0.02])[0]
    assert not only.better
    assert not only.worse


def test_slices_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="one column per level"):
        paired_bootstrap_slices([0.0], [1.0], np.ones((2, 1), dtype=np.bool_), levels=[0.95])
    with pytest.raises(ValueError, match="no question"):
        paired_bootstrap_slices([0.0], [1.0], np.zeros((1, 1), dtype=np.bool_), levels=[0.95])


def test_signs_tell_luck_from_gain() -> None:
    assert sign_flip_p([0.5] * 9, [0.5] * 9) == 1.0
    assert sign_flip_p([0] * 4, [1] * 4) == pytest.approx(1 / 16, abs=0.01)
    assert sign_flip_p([0] * 30, [1] * 30) < 0.001
    assert sign_flip_p([1] * 4, [0] * 4) == 1.0
    # All four gains on one image are one fact.
    assert sign_flip_p([0] * 4, [1] * 4, groups=["a"] * 4) == pytest.approx(0.5, abs=0.02)
