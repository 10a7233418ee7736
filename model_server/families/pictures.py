"""The whole picture reaches the model: processors that crop to the centre are made to pad instead.

Stock CLIP processors, ViP-LLaVA's and LLaVA's among them, scale the shorter side and cut the rest of the
longer one off, and with it every region that lies there. ViP-LLaVA was trained on pictures padded to a
square with the processor's mean colour (Cai et al., CVPR 2024; `image_aspect_ratio: pad` of LLaVA 1.5),
so that is what such a processor is turned into. Pictures are made quickly where that gives the same pixels.
Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import ProcessorMixin
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

__all__ = ["keep_whole", "quick_pixels"]

_TRIED = ((37, 23), (23, 61), (400, 300), (5, 5))


def keep_whole(processor: ProcessorMixin) -> bool:
    """Let the processor pad pictures to a square where it would crop them to their centre.

    The padded picture is W = H = max(width, height) with the picture in its middle (at the floor of the
    half difference) on int(mean * 255), scaled to the crop's size with the processor's own filter. Returns
    True if the processor was changed; one that shows the whole picture already is left alone.
    """
    images = getattr(processor, "image_processor", None)
    if not getattr(images, "do_center_crop", False):
        return False
    height, width = _target(images)
    processor.image_processor = LlavaImageProcessorPil(
        do_pad=True,
        do_resize=True,
        size={"height": height, "width": width},
        resample=images.resample,
        do_center_crop=False,
        crop_size={"height": height, "width": width},
        do_rescale=images.do_rescale,
        rescale_factor=images.rescale_factor,
        do_normalize=images.do_normalize,
        image_mean=images.image_mean,
        image_std=images.image_std,
        do_convert_rgb=True,
    )
    return True


def quick_pixels(processor: ProcessorMixin) -> Callable[[Image.Image], Tensor] | None:
    """What the processor makes of one RGB picture, in half the time; None where that is not known to be the same.

    Behind the processor's own scaling, every pixel is looked up in a table of what the processor makes of the 256
    values, instead of being calculated in several passes. The result, pixel_values float[1, 3, H, W], is compared with
    the processor's, bit by bit, on a few pictures first.
    """
    images = getattr(processor, "image_processor", None)
    pad = getattr(images, "pad_size", None)
    if not (getattr(images, "do_pad", False) and getattr(pad, "height", None)):
        return None
    try:
        shades = np.arange(256, dtype=np.uint8).reshape(1, 256, 1).repeat(3, axis=0)
        scaled = images.rescale(shades, images.rescale_factor)
        table = images.normalize(scaled, images.image_mean, images.image_std)[:, :, 0]
        table = np.ascontiguousarray(table, dtype=np.float32)

        def pixels(image: Image.Image) -> Tensor:
            planes = np.moveaxis(np.asarray(image), -1, 0)
            small = images.resize(image=planes, size=images.size, resample=images.resample)
            made = np.zeros((1, 3, pad.height, pad.width), dtype=np.float32)
            for plane, values, shade in zip(made[0], small, table, strict=True):
                plane[: values.shape[0], : values.shape[1]] = shade[values]
            return torch.from_numpy(made)

        for seed, (width, height) in enumerate(_TRIED):
            noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
            picture = Image.fromarray(noise)
            made = images([picture], return_tensors="pt")
            if set(made) != {"pixel_values"} or not torch.equal(
                made["pixel_values"], pixels(picture)
            ):
                return None
    except Exception:  # another way of making pictures: not ours to know
        return None
    return pixels


def _target(images: Any) -> tuple[int, int]:
    crop = images.crop_size if images.crop_size is not None else images.size
    sides = {key: getattr(crop, key, None) for key in ("height", "width", "shortest_edge")}
    return (
        int(sides["height"] or sides["shortest_edge"]),
        int(sides["width"] or sides["shortest_edge"]),
    )
