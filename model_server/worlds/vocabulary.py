"""The words of the generated world: what its objects can be called and how a caption is put together.

Three words (one shape, one colour, one material) are held back: pretraining never sees them, neither as pixels nor as
text, so that teaching them later is a fair test of the loop. One in twenty combinations of shape, colour and material
is withheld from training, so that a model can be asked about objects whose parts it knows and whose whole it does not.
Knows nothing of pixels.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = [
    "ATTRIBUTES",
    "COLOURS",
    "HELD_BACK",
    "MATERIALS",
    "SHAPES",
    "SIZES",
    "caption",
    "values",
    "with_article",
    "withheld",
]

SHAPES: tuple[str, ...] = (
    "circle",
    "square",
    "triangle",
    "star",
    "heart",
    "cross",
    "diamond",
    "ring",
    "arrow",
    "flower",
    "bolt",
    "cube",
)
COLOURS: tuple[str, ...] = (
    "red",
    "orange",
    "yellow",
    "green",
    "blue",
    "purple",
    "pink",
    "brown",
    "black",
    "white",
)
MATERIALS: tuple[str, ...] = (
    "plastic",
    "striped",
    "dotted",
    "checkered",
    "wooden",
    "brick",
    "woven",
)
SIZES: tuple[str, ...] = ("small", "medium", "large")

HELD_BACK: Mapping[str, str] = {"shape": "crescent", "colour": "teal", "material": "marble"}

# In caption order.
ATTRIBUTES: tuple[str, ...] = ("size", "colour", "material", "shape")


def values(attribute: str, *, held_back: bool = False) -> tuple[str, ...]:
    """Return the words of one attribute; with `held_back` also the word that pretraining never sees.

    Raises KeyError for an attribute outside `ATTRIBUTES`.
    """
    words = {"size": SIZES, "colour": COLOURS, "material": MATERIALS, "shape": SHAPES}[attribute]
    extra = (HELD_BACK[attribute],) if held_back and attribute in HELD_BACK else ()
    return words + extra


def withheld(words: Mapping[str, str]) -> bool:
    """Whether this combination of shape, colour and material is kept out of training (one in twenty is).

    Combinations with a held-back word are not: they never occur unless asked for.
    """
    shape, colour, material = words["shape"], words["colour"], words["material"]
    if shape not in SHAPES or colour not in COLOURS or material not in MATERIALS:
        return False
    place = SHAPES.index(shape) + 7 * COLOURS.index(colour) + 3 * MATERIALS.index(material)
    return place % 20 == 0


def with_article(phrase: str) -> str:
    """Put the indefinite article before a phrase: "a red star", "an orange ring"."""
    return f"{'an' if phrase[:1] in 'aeiou' else 'a'} {phrase}"


def caption(attributes: Mapping[str, str]) -> str:
    """Return "a large red wooden star" for a mapping that holds all of `ATTRIBUTES`."""
    return with_article(" ".join(attributes[name] for name in ATTRIBUTES))
