"""The vocabulary of marks: which kinds and colours exist, and how text names them.

Knows nothing of regions, images or randomness. The first eight kinds and the nine colours are those
of ViP-LLaVA (arXiv 2312.00784, visual prompt table); `patch` and `dots` are this project's reading
of EAGLE (arXiv 2409.16723: coloured patches, geometry-agnostic points), whose exact sizes were
never published; `number` is a set-of-mark number (arXiv 2310.11441).
"""

from __future__ import annotations

from typing import Final

from regiontext.errors import MarkError

__all__ = [
    "ANY_KIND",
    "COLOURS",
    "KINDS",
    "LARGEST_NUMBER",
    "NOUNS",
    "NUMBER",
    "PREPOSITIONS",
    "RGB",
    "TRAINING_KINDS",
    "check_kind",
]

RGB = tuple[int, int, int]

# The one kind whose marks are told apart by what they say, not by their colour.
NUMBER: Final = "number"
LARGEST_NUMBER: Final = 999

KINDS: Final = (
    "rectangle",
    "ellipse",
    "point",
    "triangle",
    "scribble",
    "mask",
    "contour",
    "arrow",
    "patch",
    "dots",
    NUMBER,
)

# A view may leave the kind open: a random one of TRAINING_KINDS in training, a rectangle at
# inference. Numbers are not among them: models are trained on them only where a view asks for them
# by name, and what was trained before they existed can be trained again the same.
ANY_KIND: Final = "any"
TRAINING_KINDS: Final = tuple(kind for kind in KINDS if kind != NUMBER)

COLOURS: Final[dict[str, RGB]] = {
    "red": (255, 0, 0),
    "lime": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "fuchsia": (255, 0, 255),
    "aqua": (0, 255, 255),
    "orange": (255, 165, 0),
    "purple": (128, 0, 128),
    "gold": (255, 215, 0),
}

PREPOSITIONS: Final[dict[str, str]] = {
    "rectangle": "within",
    "ellipse": "within",
    "point": "at",
    "triangle": "with",
    "scribble": "with",
    "mask": "with",
    "contour": "with",
    "arrow": "pointed to by",
    "patch": "covered by",
    "dots": "marked by",
    NUMBER: "marked by",
}

NOUNS: Final[dict[str, str]] = {kind: kind for kind in KINDS} | {"contour": "mask contour"}


def check_kind(kind: str) -> str:
    """Return `kind` if it is one of `KINDS`; raise MarkError naming the known kinds otherwise."""
    if kind not in KINDS:
        raise MarkError(f"unknown mark kind {kind!r}; use one of {', '.join(KINDS)}")
    return kind
