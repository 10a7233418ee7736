"""The pictures of a view as one, for people to look at. Knows nothing of what they show."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

__all__ = ["side_by_side"]

_GAP = 8


def side_by_side(images: Sequence[Image.Image]) -> Image.Image:
    """RGB images in a row from left to right, 8 px of white between them; one image as it is.

    Raises:
        ValueError: there is none.
    """
    if not images:
        raise ValueError("no image to show; give at least one")
    if len(images) == 1:
        return images[0]
    width = sum(image.width for image in images) + _GAP * (len(images) - 1)
    row = Image.new("RGB", (width, max(image.height for image in images)), "white")
    x = 0
    for image in images:
        row.paste(image, (x, 0))
        x += image.width + _GAP
    return row
