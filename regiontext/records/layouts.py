"""The marks of a rendered view as JSON: each one's style, and its parts with their vertices.

What was drawn can be told, and drawn again, from it. One way only; nothing here draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from regiontext.coco import mask_to_coco
from regiontext.marks.layout import Mark
from regiontext.marks.parts import Part

__all__ = ["layout_of", "mark_dict"]


def layout_of(marks: Sequence[Sequence[Mark]]) -> tuple[list[dict[str, Any]], ...]:
    """Per picture one entry per region, in pixels of that picture before it was scaled down."""
    return tuple([mark_dict(mark) for mark in picture] for picture in marks)


def mark_dict(mark: Mark) -> dict[str, Any]:
    """`{"kind", "colour", "rgb", "alpha", "width", "parts", "inset"?}`; coordinates to 1/100 px.

    Each part is its kind in lower case with its fields: vertices as [[x, y], …], masks as COCO's code.
    """
    style = mark.style
    found: dict[str, Any] = {
        "kind": style.kind,
        "colour": style.colour,
        "rgb": list(style.rgb),
        "alpha": style.alpha,
        "width": style.width,
        "parts": [_part(part) for part in mark.layout.parts],
    }
    if mark.layout.inset:
        found |= {"number": style.number, "inset": [_part(part) for part in mark.layout.inset]}
    return found


def _part(part: Part) -> dict[str, Any]:
    return {"part": type(part).__name__.lower()} | {
        item.name: _plain(getattr(part, item.name)) for item in fields(part)
    }


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return mask_to_coco(value) if value.dtype == np.bool_ else np.round(value, 2).tolist()
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    return round(value, 2) if isinstance(value, float) else value
