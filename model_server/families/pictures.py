"""The whole picture reaches the model: processors that crop to the centre are made to pad instead.

Stock CLIP processors, ViP-LLaVA's and LLaVA's among them, scale the shorter side and cut the rest of the
longer one off, and with it every region that lies there. ViP-LLaVA was trained on pictures padded to a
square with the processor's mean colour (Cai et al., CVPR 2024; `image_aspect_ratio: pad` of LLaVA 1.5),
so that is what such a processor is turned into. Knows nothing of models.
"""

from __future__ import annotations

from typing import Any

from transformers import ProcessorMixin
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

__all__ = ["keep_whole"]


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


def _target(images: Any) -> tuple[int, int]:
    crop = images.crop_size if images.crop_size is not None else images.size
    sides = {key: getattr(crop, key, None) for key in ("height", "width", "shortest_edge")}
    return (
        int(sides["height"] or sides["shortest_edge"]),
        int(sides["width"] or sides["shortest_edge"]),
    )
