"""The names of the colours that a region's pixels have, with their shares.

Names are English's eleven basic colour terms (Berlin and Kay 1969) and two more that photographs
need, told apart in CIELAB by hue, lightness and chroma. Knows nothing of marks, questions or
models; a name is what most people would say of the pixel's colour alone, so that shade, coloured
light and reflections count as what they look like.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regiontext.region import Region

__all__ = ["COLOUR_NAMES", "colour_names", "colour_shares", "srgb_to_lab"]

COLOUR_NAMES: Final = (
    "black", "grey", "white", "red", "orange", "yellow", "green", "blue", "purple", "pink",
    "brown", "teal", "beige",
)  # fmt: skip

_SAMPLES: Final = 2000

# IEC 61966-2-1: the linear value of each of the 256 levels, and the primaries for D65.
_LEVELS: Final = np.arange(256) / 255.0
_LINEAR: Final = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4)
_TO_XYZ: Final = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
_WHITE: Final = _TO_XYZ.sum(axis=1)

_ANY: Final = (-18, 342)

# Name, hue from and to (degrees, counted from -18 so that red and pink are in one piece), lightness
# from and to, chroma from and to. The first that fits wins. Set so that the names agree with those
# of the colours in the xkcd colour survey (2010) that have one of these names in them (88 % of 546
# do); bluish and purplish greys, and yellow in the shade, were widened for photographs.
_RULES: Final = (
    ("black", _ANY, (0, 16), (0, 22)),
    ("black", (-18, 230), (0, 8), (0, 40)),
    ("black", _ANY, (0, 24), (0, 9)),
    ("white", _ANY, (80, 101), (0, 8)),
    ("white", _ANY, (92, 101), (0, 12)),
    ("white", (230, 342), (82, 101), (0, 14)),
    ("grey", _ANY, (0, 80), (0, 10)),
    ("grey", (230, 290), (24, 82), (0, 12)),
    ("grey", (290, 342), (24, 82), (0, 15)),
    ("purple", (-18, -4), (0, 46), (0, 999)),
    ("pink", (-18, 12), (46, 101), (25, 999)),
    ("pink", (-18, 22), (58, 101), (0, 999)),
    ("red", (-18, 22), (0, 58), (32, 999)),
    ("pink", (-18, 22), (48, 58), (0, 32)),
    ("brown", (-18, 22), (0, 48), (0, 32)),
    ("red", (22, 42), (0, 66), (50, 999)),
    ("red", (42, 46), (0, 54), (50, 999)),
    ("orange", (42, 46), (54, 66), (50, 999)),
    ("pink", (22, 36), (62, 101), (0, 999)),
    ("orange", (36, 46), (62, 101), (55, 999)),
    ("pink", (36, 46), (62, 101), (30, 55)),
    ("beige", (36, 46), (62, 101), (0, 30)),
    ("brown", (22, 46), (0, 66), (0, 999)),
    ("orange", (46, 72), (50, 101), (56, 999)),
    ("orange", (46, 72), (66, 101), (42, 999)),
    ("beige", (46, 72), (66, 101), (0, 42)),
    ("brown", (46, 72), (0, 66), (0, 999)),
    ("orange", (72, 84), (62, 76), (58, 999)),
    ("yellow", (72, 84), (76, 101), (58, 999)),
    ("yellow", (72, 84), (70, 101), (45, 999)),
    ("beige", (72, 84), (66, 101), (0, 45)),
    ("brown", (72, 84), (0, 70), (0, 999)),
    ("yellow", (84, 102), (68, 101), (42, 999)),
    ("beige", (84, 102), (66, 101), (0, 42)),
    ("yellow", (85, 100), (50, 68), (46, 999)),
    ("brown", (84, 97), (0, 68), (0, 999)),
    ("yellow", (102, 113), (76, 101), (42, 999)),
    ("beige", (97, 116), (80, 101), (0, 32)),
    ("green", (97, 165), (0, 101), (0, 999)),
    ("blue", (192, 212), (76, 101), (0, 999)),
    ("teal", (165, 212), (0, 101), (0, 999)),
    ("blue", (212, 304), (0, 101), (0, 999)),
    ("blue", (304, 310), (0, 101), (100, 999)),
    ("blue", (304, 310), (0, 25), (0, 999)),
    ("pink", (325, 336), (70, 101), (0, 999)),
    ("pink", (336, 342), (52, 101), (0, 999)),
    ("purple", (304, 342), (0, 101), (0, 999)),
)


def srgb_to_lab(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """sRGB uint8[..., 3] to CIELAB float64[..., 3]: L* 0..100, a*, b*, for D65 and the 2° observer.

    IEC 61966-2-1 to CIE XYZ, then CIE 15:2004, section 8.2.1.
    """
    xyz = _LINEAR[pixels] @ _TO_XYZ.T / _WHITE
    root = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = root[..., 0], root[..., 1], root[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def colour_names(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """For sRGB uint8[..., 3], the index into COLOUR_NAMES of each pixel's name, int64[...]."""
    lab = srgb_to_lab(pixels)
    lightness = lab[..., 0]
    chroma = np.hypot(lab[..., 1], lab[..., 2])
    hue = (np.degrees(np.arctan2(lab[..., 2], lab[..., 1])) + 18) % 360 - 18
    fits = [
        _between(lightness, light) & _between(chroma, strength) & _between(hue, turn)
        for _, turn, light, strength in _RULES
    ]
    names = [np.int64(COLOUR_NAMES.index(name)) for name, *_ in _RULES]
    return np.select(fits, names, default=np.int64(COLOUR_NAMES.index("grey")))


def colour_shares(
    image: Image.Image | NDArray[np.uint8], region: Region, *, least: float = 0.1, most: int = 3
) -> tuple[tuple[str, float], ...]:
    """The colours of a region, the most frequent first, each with its share of the pixels, 0..1.

    image: RGB or uint8[H, W, 3], without marks, of the region's size; ValueError when it is not.
    At most `most` names, and none below `least`, save that one is always given. Up to 2,000 pixels
    are looked at, the same ones every time.
    """
    x0, y0, x1, y1 = (int(side) for side in region.box)
    size = image.size if isinstance(image, Image.Image) else image.shape[1::-1]
    if tuple(size) != tuple(region.size):
        raise ValueError(
            f"the image is {size[0]} x {size[1]} and region {region.id!r} is on one of "
            f"{region.size[0]} x {region.size[1]}"
        )
    part: NDArray[Any] = (
        np.asarray(image.crop((x0, y0, x1, y1)).convert("RGB"))
        if isinstance(image, Image.Image)
        else image[y0:y1, x0:x1]
    )
    inside = np.flatnonzero(region.mask[y0:y1, x0:x1])
    if len(inside) > _SAMPLES:
        # Steps of the golden ratio: evenly spread, and out of step with any pattern.
        spread = np.arange(_SAMPLES) * 0.6180339887498949 % 1.0
        inside = inside[(spread * len(inside)).astype(np.int64)]
    rows, columns = np.divmod(inside, x1 - x0)
    counts = np.bincount(colour_names(part[rows, columns]), minlength=len(COLOUR_NAMES))
    order = np.argsort(-counts, kind="stable")[:most]
    shares = [(COLOUR_NAMES[i], float(counts[i] / len(inside))) for i in order]
    return tuple(pair for pair in shares if pair[1] >= least) or (shares[0],)


def _between(values: NDArray[np.float64], limits: tuple[int, int]) -> NDArray[np.bool_]:
    return (values >= limits[0]) & (values < limits[1])
