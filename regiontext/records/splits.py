"""Which images a model may train on and which only judge it. Split by image, never by region.

Two regions of one image share background, light and annotator; a split by region would leak them.
Knows nothing of arms: a holdout image is never trained on whatever its split.
"""

from __future__ import annotations

from typing import Literal, get_args

from regiontext.errors import ConfigError
from regiontext.records.arm import unit_interval

__all__ = ["SPLITS", "Split", "split_of"]

Split = Literal["train", "validation"]
SPLITS: tuple[Split, ...] = get_args(Split)


def split_of(image_hash: str, *, validation: float = 0.2) -> Split:
    """The split of an image, from its hash alone; `validation` is its share, in [0, 1).

    Independent of the arm (another salt), so every arm has the same share of validation images.
    """
    if not 0 <= validation < 1:
        raise ConfigError(f"the validation share {validation} is not in [0, 1)")
    return "validation" if unit_interval(image_hash, salt="split") < validation else "train"
