"""The brush benchmark's cases hold: ours and the SDK's are equal in each, at a small size."""

from __future__ import annotations

from benchmarks.brush import cases, measure


def test_every_case_is_equal_and_timed():
    timings = [timing for case in cases((96, 64)) for timing in measure(case, rounds=1)]
    assert [timing.what for timing in timings].count("encode") == 5
    assert [timing.what for timing in timings].count("decode") == 8
    assert all(timing.ours > 0 and timing.theirs > 0 for timing in timings)
