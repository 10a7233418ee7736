"""Which colours the marks of one image get at inference: distinct, and seen against the pixels they
cover.

Knows nothing of regions or randomness; the same pixels and layouts give the same colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from regiontext.errors import MarkError
from regiontext.marks.coverage import coverage
from regiontext.marks.kinds import COLOURS, NUMBER
from regiontext.marks.layout import Layout

__all__ = ["contrasting_colours"]

# Neighbours in this order look unlike each other, so that two marks in one image are told apart at
# a glance.
_PREFERRED: Final = (
    "red", "blue", "lime", "yellow", "fuchsia", "aqua", "orange", "purple", "gold",
)  # fmt: skip
_CLEAR: Final = 160.0
_SAMPLES: Final = 400


def contrasting_colours(
    marks: Sequence[tuple[NDArray[np.uint8], Layout]], *, repeat: bool = False
) -> tuple[str, ...]:
    """One named colour per mark, all different. marks: the image uint8[H, W, 3] and where the mark runs on it.

    For each mark in turn: the first colour of a fixed order that is clearly unlike the pixels under
    the mark (nine in ten of them at least 160 away in RGB) and unlike the colours already given; if
    none is, the one that is farthest. With `repeat`, for marks that are told apart otherwise, every
    tenth mark starts with all colours again; without it MarkError when there are more marks than
    colours.
    """
    if len(marks) > len(COLOURS) and not repeat:
        raise MarkError(
            f"{len(marks)} marks of one kind need {len(marks)} colours and there are "
            f"{len(COLOURS)}; render at most {len(COLOURS)} regions in one image, or mark them "
            f"with kind {NUMBER!r}"
        )
    chosen: list[str] = []
    for image, layout in marks:
        given = chosen[len(chosen) // len(COLOURS) * len(COLOURS) :]
        under = _under(image, layout)
        scores: dict[str, float] = {}
        for colour in _PREFERRED:
            if colour not in given:
                apart = (_apart(colour, other) for other in given)
                scores[colour] = min(_distance(under, colour), *apart, 1e9)
                if scores[colour] >= _CLEAR:
                    chosen.append(colour)
                    break
        else:
            chosen.append(max(scores, key=lambda colour: scores[colour]))
    return tuple(chosen)


def _under(image: NDArray[np.uint8], layout: Layout) -> NDArray[np.float64]:
    covered, (x, y) = coverage(layout, (image.shape[1], image.shape[0]))
    pixels = image[y : y + covered.shape[0], x : x + covered.shape[1]][covered]
    stride = -(-max(1, len(pixels)) // _SAMPLES)
    return pixels[::stride].astype(np.float64)


def _distance(pixels: NDArray[np.float64], colour: str) -> float:
    """How far nine in ten of `pixels` [N, 3] are at least from `colour`, Euclidean in RGB."""
    if not len(pixels):
        return 1e9
    return float(np.percentile(np.linalg.norm(pixels - COLOURS[colour], axis=1), 10))


def _apart(colour: str, other: str) -> float:
    return float(np.linalg.norm(np.subtract(COLOURS[colour], COLOURS[other])))
