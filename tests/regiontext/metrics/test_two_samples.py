"""Averages and gaps of two unpaired samples."""

from __future__ import annotations

import pytest

from regiontext.metrics.two_samples import average, gap


def test_an_average_lies_in_its_interval() -> None:
    found = average([1.0, 2.0, 3.0, 10.0])
    assert found is not None
    assert (found.value, found.n) == (4.0, 4)
    assert 1 <= found.low < 4 < found.high <= 10
    middle = average([1.0, 2.0, 3.0, 1000.0], statistic="median")
    assert middle is not None
    assert middle.value == 2.5
    assert average([]) is None
    assert average([1.0, 2.0]) == average([1.0, 2.0])


def test_groups_widen_the_interval() -> None:
    values = [0.0] * 10 + [1.0] * 10
    alone = average(values)
    grouped = average(values, groups=[i // 10 for i in range(20)])
    assert alone is not None
    assert grouped is not None
    assert (grouped.low, grouped.high) == (0, 1)
    assert alone.high - alone.low < 0.6
    with pytest.raises(ValueError, match="20 values but 1 groups"):
        average(values, groups=[1])


def test_a_gap_is_clear_only_where_it_is() -> None:
    wide = gap([float(i % 5) for i in range(50)], [float(i % 5) + 3 for i in range(50)])
    assert wide is not None
    assert wide.value == -3
    assert wide.clear
    none = gap([1.0, 2.0, 3.0, 4.0], [1.5, 2.5, 2.5, 3.5], statistic="median")
    assert none is not None
    assert none.low < 0 < none.high
    assert not none.clear
    assert gap([], [1.0]) is None
    assert gap([1.0], []) is None
