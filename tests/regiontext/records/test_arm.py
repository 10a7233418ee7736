from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regiontext.errors import ConfigError
from regiontext.records.arm import arm_of, unit_interval
from regiontext.records.splits import split_of

HASHES = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(4000)]
shares = st.floats(0, 0.5)
hashes = st.sampled_from(HASHES)


def test_shares_are_met() -> None:
    arms = [arm_of(h, holdout=0.1, control=0.2) for h in HASHES]
    assert abs(arms.count("holdout") / len(arms) - 0.1) < 0.02
    assert abs(arms.count("control") / len(arms) - 0.2) < 0.02


def test_zero_shares_are_all_assist() -> None:
    assert {arm_of(h, holdout=0, control=0) for h in HASHES} == {"assist"}


def test_full_shares_leave_no_assist() -> None:
    assert {arm_of(h, holdout=0.5, control=0.5) for h in HASHES} == {"holdout", "control"}
    assert {arm_of(h, holdout=1, control=0) for h in HASHES} == {"holdout"}
    assert {arm_of(h, holdout=0, control=1) for h in HASHES} == {"control"}


@given(hashes, shares, shares, shares)
def test_raising_the_holdout_share_only_moves_assist_images(
    h: str, low: float, high: float, control: float
) -> None:
    low, high = sorted((low, high))
    before = arm_of(h, holdout=low, control=control)
    after = arm_of(h, holdout=high, control=control)
    assert before == after or (before, after) == ("assist", "holdout")


@given(hashes, shares, shares, shares)
def test_raising_the_control_share_only_moves_assist_images(
    h: str, low: float, high: float, holdout: float
) -> None:
    low, high = sorted((low, high))
    before = arm_of(h, holdout=holdout, control=low)
    after = arm_of(h, holdout=holdout, control=high)
    assert before == after or (before, after) == ("assist", "control")


def test_the_salt_draws_anew() -> None:
    plain = [arm_of(h) for h in HASHES]
    assert plain != [arm_of(h, salt="other") for h in HASHES]
    assert plain == [arm_of(h, salt="") for h in HASHES]


def test_the_arm_of_a_known_image_never_changes() -> None:
    # Stored arms and those computed by another version must agree.
    assert unit_interval("a" * 64, salt="arm") == pytest.approx(0.5219011, abs=1e-6)


@pytest.mark.parametrize(
    ("holdout", "control"), [(-0.1, 0), (0, 1.1), (0.6, 0.6), (float("nan"), 0), (0, float("inf"))]
)
def test_impossible_shares_are_refused(holdout: float, control: float) -> None:
    with pytest.raises(ConfigError, match=r"not between 0 and 1|together exceed 1"):
        arm_of("x", holdout=holdout, control=control)


def test_splits_are_stable_and_independent_of_the_arm() -> None:
    validation = [h for h in HASHES if split_of(h, validation=0.2) == "validation"]
    assert abs(len(validation) / len(HASHES) - 0.2) < 0.03
    held = [h for h in validation if arm_of(h, holdout=0.5, control=0) == "holdout"]
    assert abs(len(held) / len(validation) - 0.5) < 0.06
    assert all(split_of(h, validation=0) == "train" for h in HASHES)
    with pytest.raises(ConfigError):
        split_of("x", validation=1)
