"""Regions named by their boxes in the text, in the numbers that a model was trained on; there and back.

Knows nothing of files; how models count and write boxes is `regiontext.conventions`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from regiontext.coordinates import Convention
from regiontext.records.example import Example
from regiontext.records.formats.format import Carried, places_named

__all__ = ["BEFORE", "asked_with_boxes", "order_of", "read_boxes"]

BEFORE: Final = "in the region "
"""What stands in the text before a box."""

_PLACES: Final = {"mark": 0, "subject": 0, "object": 1}


def asked_with_boxes(example: Example, convention: Convention) -> str:
    """The question with each mark's phrase replaced by its region's box, as the convention writes it.

    ValueError when the convention has no text form, or a box is not on the image.
    """
    size = example.image.width, example.image.height
    return example.question.naming(
        lambda region: BEFORE + convention.text(example.regions[region].box, size)
    )


def read_boxes(text: str, beside: Mapping[str, Any], convention: Convention) -> Carried:
    """The turn that `asked_with_boxes` wrote, of the record whose boxes stand in `beside`."""
    size = beside["image"]["width"], beside["image"]["height"]
    written = [convention.text(tuple(region["box"]), size) for region in beside["regions"]]
    left: dict[str, Iterator[int]] = {}
    order = order_of(beside["wording"])
    for one in written:
        left[one] = iter([region for region in order if written[region] == one])
    token = "|".join(sorted(map(re.escape, left), key=len, reverse=True))
    phrases = (beside["marking"] or {}).get("phrases", ())
    return places_named(
        text, f"{re.escape(BEFORE)}({token})", phrases, lambda one: next(left[one], -1)
    )


def order_of(wording: str) -> list[int]:
    """The regions in the order in which a wording names them."""
    return [_PLACES[name] for name in re.findall(r"\{(mark|subject|object)\}", wording)]
