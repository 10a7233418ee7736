"""Which images are pre-filled, which are not on purpose, and which are kept for measuring.

The arm follows from the image's hash alone, so it exists before any suggestion does, is the same on
every machine and cannot be chosen by looking at the answer. Knows nothing of who stores it.
"""

from __future__ import annotations

import hashlib
import math
from typing import Literal, get_args

from regiontext.errors import ConfigError

__all__ = ["ARMS", "Arm", "arm_of", "unit_interval"]

Arm = Literal["assist", "control", "holdout"]
ARMS: tuple[Arm, ...] = get_args(Arm)


def unit_interval(text: str, *, salt: str) -> float:
    """A number in [0, 1) that depends on `text` and `salt` only, uniform over texts."""
    digest = hashlib.sha256(f"{salt}\0{text}".encode()).digest()
    # 53 bits are what a float holds: 64 could round up to 1.0 and fall out of the interval.
    return (int.from_bytes(digest[:8], "big") >> 11) / float(1 << 53)


def arm_of(image_hash: str, *, holdout: float = 0.1, control: float = 0.1, salt: str = "") -> Arm:
    """The arm of an image, from its hash (sha256 hex) and the two shares, each in [0, 1].

    Holdout grows from the low end of the unit interval and control from the high end, so raising
    one share only moves assist images into that arm, and lowering it only moves images of that arm
    back: no image ever changes between holdout and control.

    Raises ConfigError if a share is not in [0, 1] or both together exceed 1.
    """
    for name, share in (("holdout", holdout), ("control", control)):
        if not (math.isfinite(share) and 0 <= share <= 1):
            raise ConfigError(f"the share {name}={share} is not between 0 and 1")
    if holdout + control > 1 + 1e-9:
        raise ConfigError(
            f"holdout={holdout} and control={control} together exceed 1; lower one of them"
        )
    place = unit_interval(image_hash, salt=f"arm{salt}")
    if place < holdout:
        return "holdout"
    if place >= 1 - control:
        return "control"
    return "assist"
