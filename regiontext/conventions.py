"""The conventions that models were trained on for boxes, by name, each with its source.

Knows nothing of how boxes are converted (see `regiontext.coordinates`), of regions or images.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

from regiontext.coordinates import Convention, Patches, smart_resize

__all__ = ["CONVENTIONS", "convention", "qwen2_5_vl"]


def qwen2_5_vl(
    *, factor: int = 28, min_pixels: int = 3136, max_pixels: int = 12_845_056
) -> Convention:
    """Qwen2.5-VL's convention for a processor with limits of its own, see `smart_resize`."""
    return Convention(
        "qwen2.5-vl",
        "QwenLM/Qwen3-VL issue 866: absolute pixels of the image as resized; "
        "rounded as ms-swift's normalize_bbox does",
        decimals=0,
        resize=partial(smart_resize, factor=factor, min_pixels=min_pixels, max_pixels=max_pixels),
        layout=_BBOX_2D,
        wrap=("{", "}"),
    )


def convention(name: str) -> Convention:
    """The convention of that name in CONVENTIONS; ValueError when there is none."""
    if name not in CONVENTIONS:
        raise ValueError(f"no convention {name!r} for boxes; known are {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]


_LIST: Final = "[{}, {}, {}, {}]"
_TIGHT: Final = "[{},{},{},{}]"
_CORNERS: Final = "({},{}),({},{})"
_BBOX_2D: Final = '"bbox_2d": [{}, {}, {}, {}]'

_ALL: Final = (
    Convention("pixels", "ViP-LLaVA's `bboxes`; ms-swift's bbox_type real", layout=_LIST),
    Convention(
        "unit", "GPT4RoI's boxes; ms-swift's bbox_type norm1; Kosmos-2's `bboxes`", extent=1
    ),
    Convention("lion", "LION (arXiv 2311.11860) and its code", extent=1, decimals=3, layout=_TIGHT),
    Convention(
        "llava",
        "LLaVA-1.5's data (Visual Genome, RefCOCO): haotian-liu/LLaVA issue 606",
        extent=1,
        decimals=2,
        padded=True,
        layout=_LIST,
    ),
    Convention(
        "shikra",
        "shikras/shikra: norm_box_xyxy, box_xyxy_expand2square, PlainBoxFormatter",
        extent=1,
        decimals=3,
        padded=True,
        layout=_TIGHT,
    ),
    Convention(
        "qwen-vl",
        "Qwen-VL (arXiv 2308.12966, inputs and outputs); rounded as ms-swift's normalize_bbox does",
        extent=1000,
        decimals=0,
        layout=_CORNERS,
        wrap=("<box>", "</box>"),
    ),
    Convention(
        "qwen2-vl",
        "Qwen2-VL (arXiv 2409.12191); rounded as ms-swift's normalize_bbox does",
        extent=1000,
        decimals=0,
        layout=_CORNERS,
        wrap=("<|box_start|>", "<|box_end|>"),
    ),
    qwen2_5_vl(),
    Convention(
        "qwen3-vl",
        "QwenLM/Qwen3-VL issue 1486 and its cookbooks: relative, 0 to 1000",
        extent=1000,
        decimals=0,
        layout=_BBOX_2D,
        wrap=("{", "}"),
    ),
    Convention(
        "glm-v",
        "GLM-4.1V, 4.5V and 4.6V: round(x / W * 1000)",
        extent=1000,
        decimals=0,
        layout=_BBOX_2D,
        wrap=("{", "}"),
    ),
    Convention(
        "internvl",
        "OpenGVLab/InternVL issue 285: int(x / W * 1000)",
        extent=1000,
        decimals=0,
        rounding="down",
        layout=f"[{_LIST}]",
        wrap=("<box>", "</box>"),
    ),
    Convention(
        "ferret",
        "apple/ml-ferret: int(1000 * x / W)",
        extent=1000,
        decimals=0,
        rounding="down",
        layout=_LIST,
    ),
    Convention(
        "deepseek-ocr",
        "DeepSeek-OCR's released post-processing: x / 999 * W; the nearest number to that",
        extent=999,
        decimals=0,
        layout=f"[{_LIST}]",
        wrap=("<|det|>", "<|/det|>"),
    ),
    Convention(
        "gemini",
        "Gemini's documentation: [y_min, x_min, y_max, x_max], 0 to 1000",
        extent=1000,
        decimals=0,
        y_first=True,
        layout='"box_2d": [{}, {}, {}, {}]',
        wrap=("{", "}"),
    ),
    Convention(
        "paligemma",
        "google-research/big_vision, refcoco_mask2str: round(1023 * y / H), y first. Its demo "
        "divides by 1024 on the way back; 1023 undoes exactly what the training did",
        extent=1023,
        decimals=0,
        y_first=True,
        layout="<loc{}><loc{}><loc{}><loc{}>",
        digits=4,
    ),
    Convention(
        "florence-2",
        "transformers' Florence2PostProcessor: 1000 bins, rounded down, decoded at their middle",
        extent=1000,
        decimals=0,
        rounding="down",
        top=999,
        layout="<loc_{}><loc_{}><loc_{}><loc_{}>",
    ),
    Patches(
        "kosmos-2",
        "transformers' Kosmos2Processor: coordinate_to_patch_index and patch_index_to_coordinate",
        decimals=0,
        layout="<patch_index_{}><patch_index_{}>",
        wrap=("<object>", "</object>"),
        digits=4,
    ),
)

CONVENTIONS: Final[Mapping[str, Convention]] = MappingProxyType({c.name: c for c in _ALL})
"""Every convention by name."""
