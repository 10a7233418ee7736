"""Digits as small bitmaps, five cells wide and seven high, drawn for this project.

A font would be rasterised a little differently by each version of its library; cells scaled by
whole factors are the same bytes everywhere. Knows nothing of marks.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["GLYPH_HEIGHT", "digits"]

GLYPH_HEIGHT: Final = 7

# Open counters and one-cell stems: any two digits differ in five cells or more, so that they stay
# apart when a model scales the picture down.
_DIGITS: Final = (
    ".###. #...# #...# #...# #...# #...# .###.",
    "..#.. .##.. #.#.. ..#.. ..#.. ..#.. #####",
    ".###. #...# ....# ...#. ..#.. .#... #####",
    "####. ....# ....# .###. ....# ....# ####.",
    "...#. ..##. .#.#. #..#. ##### ...#. ...#.",
    "##### #.... ####. ....# ....# #...# .###.",
    "..##. .#... #.... ####. #...# #...# .###.",
    "##### ....# ...#. ..#.. ..#.. .#... .#...",
    ".###. #...# #...# .###. #...# #...# .###.",
    ".###. #...# #...# .#### ....# ...#. .##..",
)


def digits(number: int, cell: int) -> NDArray[np.bool_]:
    """`number` (0 or more) in decimal digits, bool[7 * cell, (6 * count - 1) * cell].

    One empty column of cells lies between digits.
    """
    gap = np.zeros((GLYPH_HEIGHT, 1), dtype=bool)
    columns: list[NDArray[np.bool_]] = []
    for digit in str(number):
        rows = _DIGITS[int(digit)].split()
        columns += [gap, np.array([[mark == "#" for mark in row] for row in rows])]
    small = np.concatenate(columns[1:], axis=1)
    return small.repeat(cell, axis=0).repeat(cell, axis=1)
