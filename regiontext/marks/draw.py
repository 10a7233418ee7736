"""Drawing marks: blending a colour over exactly the pixels that a layout covers.

Reproduces ViP-LLaVA's blender (a transparent layer per mark, drawn with Pillow, composited): the
layer never accumulates, so strokes of one mark that overlap keep one opacity, while a later mark
does paint over an earlier one. Only covered pixels are touched. Knows nothing of regions, of how a
layout came to be, or of which pixels a part covers (see `coverage`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from regiontext.errors import MarkError
from regiontext.marks.coverage import strips
from regiontext.marks.kinds import RGB
from regiontext.marks.layout import Mark
from regiontext.marks.parts import Part

__all__ = ["draw", "draw_over", "ink_on"]

Pixels = NDArray[np.uint8]

_BLACK: Final = (0, 0, 0)
_WHITE: Final = (255, 255, 255)
_TRIPLE: Final = np.dtype("V3")


def draw(image: Pixels, marks: Iterable[Mark]) -> Pixels:
    """A new uint8[H, W, 3] image with `marks` blended over `image` in their order.

    Every covered channel becomes floor((colour * alpha + pixel * (255 - alpha)) / 255 + 1/2). The
    same input gives the same bytes. MarkError if `image` is not uint8[H, W, 3].
    """
    _check(image)
    drawn = image.copy()
    draw_over(drawn, marks)
    return drawn


def draw_over(image: Pixels, marks: Iterable[Mark]) -> None:
    """Blend `marks` over `image`, writable uint8[H, W, 3], in place, as `draw` does.

    A mark's inset goes over its other parts with the same alpha, in `ink_on` its colour. MarkError
    if `image` is something else or cannot be written to.
    """
    _check(image)
    if not image.flags.writeable:
        raise MarkError("cannot draw in place on a read-only image; use draw, or give a copy")
    for mark in marks:
        style, layout = mark.style, mark.layout
        _blend(image, layout.parts, style.rgb, style.alpha)
        if layout.inset:
            _blend(image, layout.inset, ink_on(style.rgb), style.alpha)


def ink_on(rgb: RGB) -> RGB:
    """Black or white, whichever has the higher contrast ratio to `rgb` (WCAG 2.2, section 1.4.3)."""
    luminance = _luminance(rgb)
    return _BLACK if (luminance + 0.05) ** 2 > 0.05 * 1.05 else _WHITE


def _luminance(rgb: RGB) -> float:
    """Relative luminance of an sRGB colour, 0..1 (WCAG 2.2, glossary)."""
    shares = (channel / 255 for channel in rgb)
    red, green, blue = (
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _check(image: Pixels) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise MarkError(
            f"cannot draw on {image.dtype}{list(image.shape)}; give uint8[H, W, 3] (RGB)"
        )


def _blend(image: Pixels, parts: Sequence[Part], rgb: RGB, alpha: int) -> None:
    # A pixel taken as one item of three bytes is gathered and put back several times faster.
    whole = image.strides[2] == 1
    pixels = image.view(_TRIPLE)[..., 0] if whole else image
    tint = np.array([channel * alpha + 128 for channel in rgb], dtype=np.uint16).tobytes()
    for covered, (x, y) in strips(parts, (image.shape[1], image.shape[0])):
        window = pixels[y : y + covered.shape[0], x : x + covered.shape[1]]
        under = window[covered].view(np.uint8).ravel()
        # n / 255 to the nearest, for n up to 255 * 255: with m = n + 128, (m + m // 256) // 256.
        mixed = under.astype(np.uint16)
        mixed *= 255 - alpha
        mixed += np.frombuffer(tint * (len(under) // 3), dtype=np.uint16)
        mixed += mixed >> np.uint16(8)
        mixed >>= 8
        window[covered] = mixed.astype(np.uint8).view(window.dtype).reshape(-1, *window.shape[2:])
