"""How a mark looks, wherever it is: kind, colour, opacity, sizes, and how they are chosen.

Knows nothing of regions, images or vertices. Sizes are factors: a layout multiplies them by s =
max(W, H) / 336 (the CLIP crop height of ViP-LLaVA) and truncates, with a floor of one pixel.
Training ranges are those of ViP-LLaVA's prompt generator; the inference style is one fixed, legible
point inside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from regiontext.errors import MarkError
from regiontext.marks.kinds import (
    COLOURS,
    KINDS,
    LARGEST_NUMBER,
    NUMBER,
    RGB,
    TRAINING_KINDS,
    check_kind,
)

__all__ = ["Style", "inference_style", "training_style", "training_styles"]

# Inference: strokes nearly opaque so that the colour named in the text is the colour seen, fills
# translucent so that the object stays visible underneath. Stroke, radius and half-width factors
# stay within the training ranges below.
_STROKE_ALPHA: Final = 230
_ALPHAS: Final = {"mask": 112, "patch": 160}
_WIDTHS: Final = {
    "rectangle": 4.0,
    "ellipse": 4.0,
    "triangle": 4.0,
    "scribble": 5.0,
    "arrow": 4.0,
    "point": 8.0,
    "contour": 1.0,
    "mask": 0.0,
    "patch": 0.0,
    "dots": 4.0,
    NUMBER: 2.0,
}

# Training: inclusive integer ranges of the width factor (radius for point and dots, half-width for
# contour, one cell of a digit for number).
_TRAINING_WIDTHS: Final = {
    "rectangle": (2, 8),
    "ellipse": (2, 8),
    "triangle": (2, 8),
    "scribble": (2, 12),
    "arrow": (1, 6),
    "point": (5, 20),
    "contour": (1, 2),
    "mask": (0, 0),
    "patch": (0, 0),
    "dots": (2, 7),
    NUMBER: (2, 4),
}
_TRAINING_ALPHA: Final = (96, 255)
# A number that cannot be read teaches nothing, so its plate is never faint.
_TRAINING_ALPHAS: Final = {"mask": (48, 128), "patch": (112, 208), NUMBER: (160, 255)}
_TRAINING_DOTS: Final = (4, 16)
_TRAINING_NUMBERS: Final = 20


@dataclass(frozen=True)
class Style:
    """How one mark looks.

    `colour` is a name of `COLOURS`, or None for an unnamed `rgb`. `alpha` is 0..255. `width` is the
    factor of the stroke width, the radius (point, dots), the half-width (contour) or one cell of a
    digit (number). The rest matters to one kind each: `grow` scales the ellipse about the box,
    `aspect` stretches the point, `bend` puts a vertex into the arrow's shaft, `solid_head` fills
    its head, `dots` counts the dots, `number` is what a number's plate says (None for every other
    kind), `round_plate` makes that plate a disc.
    """

    kind: str
    colour: str | None
    rgb: RGB
    alpha: int
    width: float
    grow: float = 1.2
    aspect: float = 1.0
    bend: bool = False
    solid_head: bool = True
    dots: int = 9
    number: int | None = None
    round_plate: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn: MarkError with the value."""
        check_kind(self.kind)
        if not 0 <= self.alpha <= 255:
            raise MarkError(f"alpha is {self.alpha}; it must lie in 0..255")
        if any(not 0 <= c <= 255 for c in self.rgb):
            raise MarkError(f"rgb is {self.rgb}; each channel must lie in 0..255")
        if self.dots < 1:
            raise MarkError(f"a mark of {self.dots} dots shows nothing; use at least 1")
        if self.kind != NUMBER and self.number is not None:
            raise MarkError(f"a {self.kind} shows no number, so not {self.number}; leave it out")
        if self.kind == NUMBER and not 1 <= (self.number or 0) <= LARGEST_NUMBER:
            raise MarkError(
                f"the mark's number is {self.number}; it must lie in 1..{LARGEST_NUMBER}"
            )

    def recoloured(self, colour: str) -> Style:
        """The same style in another named colour; MarkError if the name is unknown."""
        return replace(self, colour=colour, rgb=_rgb(colour))


def _rgb(colour: str) -> RGB:
    if colour not in COLOURS:
        raise MarkError(f"unknown mark colour {colour!r}; use one of {', '.join(COLOURS)}")
    return COLOURS[colour]


def inference_style(
    kind: str = "rectangle", colour: str = "red", number: int | None = None
) -> Style:
    """The fixed style of `kind` used whenever nothing is random: at inference and in previews.

    `number` is for the kind of that name only, and 1 if left out. MarkError if the kind or the
    colour is unknown, or the number does not fit.
    """
    check_kind(kind)
    return Style(
        kind=kind,
        colour=colour,
        rgb=_rgb(colour),
        alpha=_ALPHAS.get(kind, _STROKE_ALPHA),
        width=_WIDTHS[kind],
        number=1 if kind == NUMBER and number is None else number,
    )


def training_style(
    rng: np.random.Generator,
    kinds: Sequence[str] = TRAINING_KINDS,
    *,
    colour: str | None = None,
    unnamed: float = 0.5,
    number: int | None = None,
) -> Style:
    """A random style (ViP-LLaVA, visual_prompt_generator): kind uniform over `kinds`, alpha and
    width in its ranges.

    The colour is `colour` if given; otherwise, with probability `unnamed`, a random RGB without a
    name, else one of the nine named colours. A number mark says `number`, or a random one of
    1..20. MarkError if `kinds` is empty or holds an unknown kind.
    """
    if not kinds:
        raise MarkError("no mark kind to choose from; give at least one of " + ", ".join(KINDS))
    kind = check_kind(kinds[int(rng.integers(len(kinds)))])
    rgb: RGB
    if colour is None and rng.random() >= unnamed:
        colour = list(COLOURS)[int(rng.integers(len(COLOURS)))]
    if colour is None:
        red, green, blue = (int(c) for c in rng.integers(0, 256, size=3))
        rgb = (red, green, blue)
    else:
        rgb = _rgb(colour)
    low, high = _TRAINING_ALPHAS.get(kind, _TRAINING_ALPHA)
    thin, thick = _TRAINING_WIDTHS[kind]
    style = Style(
        kind=kind,
        colour=colour,
        rgb=rgb,
        alpha=int(rng.integers(low, high + 1)),
        width=float(rng.integers(thin, thick + 1)),
        grow=float(rng.uniform(1.0, 1.5)),
        aspect=float(rng.uniform(0.5, 2.0)) if rng.random() < 0.5 else 1.0,
        bend=bool(rng.random() < 0.5),
        solid_head=bool(rng.random() < 0.5),
        dots=int(rng.integers(_TRAINING_DOTS[0], _TRAINING_DOTS[1] + 1)),
        number=1 if kind == NUMBER else None,
    )
    if kind != NUMBER:
        return style
    if number is None:
        number = int(rng.integers(1, _TRAINING_NUMBERS + 1))
    return replace(style, number=number, round_plate=bool(rng.random() < 0.5))


def training_styles(
    rng: np.random.Generator, count: int, kinds: Sequence[str] = TRAINING_KINDS
) -> tuple[Style, ...]:
    """`count` random styles for one image, no two of which share kind, colour and number.

    Kinds are drawn with replacement; marks of a kind that occurs more than once all get distinct
    named colours, a kind that occurs once gets a named or an unnamed colour with even odds
    (ViP-LLaVA, visual_prompt_organizer). Numbers are distinct as well, random ones of 1..20 or
    of 1..`count` if that is more; their colours have names while there are any left. MarkError if
    another kind would need more colours than there are names.
    """
    if not kinds:
        raise MarkError("no mark kind to choose from; give at least one of " + ", ".join(KINDS))
    if count > sum(_most(kind) for kind in set(kinds)):
        raise MarkError(
            f"{count} marks of {len(set(kinds))} kind(s) cannot all be told apart in one image; "
            f"render at most {len(COLOURS)} regions per kind, mark them with kind {NUMBER!r} (up to "
            f"{LARGEST_NUMBER}), or spread them over several images"
        )
    chosen: list[str] = []
    while len(chosen) < count:
        kind = kinds[int(rng.integers(len(kinds)))]
        if chosen.count(kind) < _most(kind):
            chosen.append(kind)
    names = {kind: [str(c) for c in rng.permutation(list(COLOURS))] for kind in sorted(set(chosen))}
    numbers: list[int] = []
    if NUMBER in chosen:
        numbers = [int(n) + 1 for n in rng.permutation(max(_TRAINING_NUMBERS, count))]
    return tuple(
        training_style(
            rng,
            (kind,),
            colour=names[kind].pop() if chosen.count(kind) > 1 and names[kind] else None,
            unnamed=1.0 if kind == NUMBER and not names[kind] else 0.5,
            number=numbers.pop() if kind == NUMBER else None,
        )
        for kind in chosen
    )


def _most(kind: str) -> int:
    """How many marks of `kind` can be told apart in one image."""
    return LARGEST_NUMBER if kind == NUMBER else len(COLOURS)
