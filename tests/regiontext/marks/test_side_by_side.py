from __future__ import annotations

import pytest
from PIL import Image

from regiontext.marks.side_by_side import side_by_side

RED, BLUE = Image.new("RGB", (10, 20), "red"), Image.new("RGB", (30, 5), "blue")


def test_images_stand_in_a_row_on_white() -> None:
    row = side_by_side([RED, BLUE])
    assert row.size == (48, 20)
    found = [row.getpixel(at) for at in ((0, 0), (9, 19), (10, 0), (18, 4), (18, 5), (47, 0))]
    red, blue, white = (255, 0, 0), (0, 0, 255), (255, 255, 255)
    assert found == [red, red, white, blue, white, blue]


def test_one_image_stays_as_it_is_and_none_is_refused() -> None:
    assert side_by_side([RED]) is RED
    with pytest.raises(ValueError, match="at least one"):
        side_by_side([])
