"""A picture with one region in its alpha channel, for models that take a region that way.

Alpha-CLIP (arXiv 2312.03818) learnt an alpha channel beside the colours; Describe Anything's server
(arXiv 2504.16072) reads every pixel with alpha above 0 as the region. Nothing is drawn.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regiontext.errors import MarkError
from regiontext.region import Region

__all__ = ["rgba"]


def rgba(image: NDArray[np.uint8], region: Region) -> NDArray[np.uint8]:
    """uint8[H, W, 4]: the colours of uint8[H, W, 3] `image` everywhere, alpha 255 on the region's
    pixels and 0 elsewhere.

    Holes and separate pieces are kept. Save it as PNG or lossless WebP: JPEG has no alpha, and
    whatever lays a picture over white before the model loses the region. MarkError if `image` is
    not uint8[H, W, 3] or not of the region's size.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise MarkError(
            f"cannot add alpha to {image.dtype}{list(image.shape)}; give uint8[H, W, 3] (RGB)"
        )
    if (image.shape[1], image.shape[0]) != tuple(region.size):
        raise MarkError(
            f"region {region.id!r} is on an image of {region.size[0]} x {region.size[1]}, this one "
            f"is {image.shape[1]} x {image.shape[0]}; decode it with size= of this image"
        )
    alpha = region.mask.astype(np.uint8) * 255
    return np.concatenate([image, alpha[..., None]], axis=2)
