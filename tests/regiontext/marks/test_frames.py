from __future__ import annotations

import pytest

from regiontext.errors import MarkError
from regiontext.marks.frames import SCOPES, crop_box, frames
from tests.regiontext.marks.regions import SIZE, box

PAIR = [box(10, 10, 30, 30, "a"), box(150, 100, 170, 120, "b")]


def test_each_region_has_a_frame_of_its_own_and_other_scopes_show_them_together() -> None:
    members = {scope: [frame.members for frame in frames(PAIR, SIZE, scope)] for scope in SCOPES}
    assert members == {
        "whole": [(0, 1)], "crop": [(0, 1)], "both": [(0, 1), (0, 1)], "each": [(0,), (1,)],
    }  # fmt: skip
    assert [f.box for f in frames(PAIR, SIZE, "each")] == [crop_box([r], SIZE) for r in PAIR]


@pytest.mark.parametrize("scope", SCOPES)
def test_without_a_region_there_is_nothing_to_show(scope: str) -> None:
    with pytest.raises(MarkError, match="at least one"):
        frames([], SIZE, scope)


def test_unknown_scopes_are_named() -> None:
    with pytest.raises(MarkError, match=r"'corp'.*whole, crop, both, each"):
        frames(PAIR, SIZE, "corp")
    with pytest.raises(MarkError, match="at least one"):
        crop_box([], SIZE)
