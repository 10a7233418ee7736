"""The export formats by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from regiontext.conventions import CONVENTIONS
from regiontext.errors import RecordError
from regiontext.records.formats.coco import COCO, GPT4ROI
from regiontext.records.formats.format import Format, Options
from regiontext.records.formats.llama_factory import LLAMA_FACTORY
from regiontext.records.formats.llava import LLAVA
from regiontext.records.formats.ms_swift import MS_SWIFT
from regiontext.records.formats.osprey import OSPREY
from regiontext.records.formats.preferences import (
    LLAMA_FACTORY_PREFERENCES,
    MS_SWIFT_PREFERENCES,
    TRL_PREFERENCES,
)
from regiontext.records.formats.qwen_vl import QWEN_VL
from regiontext.records.formats.refcoco import REFCOCO
from regiontext.records.formats.table import CSV
from regiontext.records.formats.trl import TRL, TRL_PARQUET
from regiontext.records.formats.vip_llava import VIP_LLAVA
from regiontext.records.formats.visual_genome import VISUAL_GENOME
from regiontext.records.formats.webdataset import WEBDATASET

__all__ = ["FORMATS", "find_format"]

FORMATS: Final[Mapping[str, Format]] = MappingProxyType(
    {
        one.name: one
        for one in (
            LLAVA,
            VIP_LLAVA,
            OSPREY,
            GPT4ROI,
            TRL,
            TRL_PARQUET,
            LLAMA_FACTORY,
            MS_SWIFT,
            QWEN_VL,
            COCO,
            VISUAL_GENOME,
            REFCOCO,
            WEBDATASET,
            CSV,
            TRL_PREFERENCES,
            LLAMA_FACTORY_PREFERENCES,
            MS_SWIFT_PREFERENCES,
        )
    }
)
"""Every export format by name."""


def find_format(name: str, options: Options | None = None) -> Format:
    """The format of that name; RecordError if there is none, or if it cannot be written with these options."""
    if name not in FORMATS:
        raise RecordError(f"unknown export format {name!r}; known are {', '.join(FORMATS)}")
    found, wanted = FORMATS[name], options.coordinates if options else None
    if wanted is None:
        return found
    if found.coordinates is None:
        having = ", ".join(one.name for one in FORMATS.values() if one.coordinates)
        raise RecordError(f"{name} has no coordinates to choose; those that have are {having}")
    as_numbers = wanted == "unit" and found.coordinates == "pixels"
    if wanted not in CONVENTIONS or not (CONVENTIONS[wanted].layout or as_numbers):
        known = ", ".join(one.name for one in CONVENTIONS.values() if one.layout)
        raise RecordError(f"no coordinates {wanted!r} that {name} can write; known are {known}")
    return found
