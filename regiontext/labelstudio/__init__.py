"""Label Studio's own words: its labeling config, its result JSON and its brush encoding.

Everything that knows how Label Studio writes things down lives here. No network, no database.
"""

from __future__ import annotations

from regiontext.labelstudio.brush import decode_rle, encode_rle
from regiontext.labelstudio.config import (
    Control,
    Field,
    LabelingConfig,
    RelationLabel,
    ShapeControl,
    parse_config,
)
from regiontext.labelstudio.decode import SHAPE_TYPES, decode_region, is_shape
from regiontext.labelstudio.encode import encode_region
from regiontext.labelstudio.leaks import without_leaks
from regiontext.labelstudio.results import (
    Results,
    check_results,
    decode_regions,
    field_result,
    image_field_result,
    read_results,
    relation_result,
    text_of,
)

__all__ = [
    "SHAPE_TYPES",
    "Control",
    "Field",
    "LabelingConfig",
    "RelationLabel",
    "Results",
    "ShapeControl",
    "check_results",
    "decode_region",
    "decode_regions",
    "decode_rle",
    "encode_region",
    "encode_rle",
    "field_result",
    "image_field_result",
    "is_shape",
    "parse_config",
    "read_results",
    "relation_result",
    "text_of",
    "without_leaks",
]
