"""A few seconds of fuzzing in the quick suite, a minute beside it (`-m fuzz`)."""

from __future__ import annotations

import pytest

from tests.fuzz.fuzz_regions import Tally, fuzz, recorded_shapes


def check(tally: Tally) -> None:
    assert tally.faults == []
    # Both ways are taken: mutations that destroy everything would test nothing but refusal.
    assert tally.read > tally.cases / 10 and tally.refused > tally.cases / 10


def test_there_are_recorded_regions_of_every_shape_to_break():
    kinds = {item["type"].removesuffix("labels") for item in recorded_shapes()}
    assert kinds >= {"rectangle", "ellipse", "polygon", "brush", "bitmask", "keypoint", "vector"}


def test_a_few_seconds_of_fuzzing():
    check(fuzz(seconds=6, seed=20))


@pytest.mark.fuzz
def test_a_minute_of_fuzzing():
    check(fuzz(seconds=60, seed=60))
