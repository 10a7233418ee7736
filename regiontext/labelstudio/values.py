"""Reading untrusted JSON values: each function returns what was asked for or says what is wrong.

Faults are ValueErrors that name the key and the value, cut short; whoever knows the region turns
them into its RegionError. Knows nothing of shapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "MAX_NUMBER",
    "MAX_POINTS",
    "finite",
    "is_finite",
    "is_texts",
    "items",
    "number",
    "numbers",
    "pairs",
    "positive",
    "short",
    "text",
    "texts",
    "value_of",
]

MAX_NUMBER = 100_000.0
"""Numbers further from 0 (a thousand image widths, in percent) are refused."""

MAX_POINTS = 100_000
"""Lists of more points are refused."""


def finite(value: object, what: str) -> float:
    """A number as float. Raises ValueError when it is none, not finite, or absurdly large."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{what} is {short(value)}, no number")
    if not _is_usable(value):
        raise ValueError(f"{what} is {short(value)}, no usable number")
    return float(value)


def _is_usable(value: Any) -> bool:
    return bool(-MAX_NUMBER <= value <= MAX_NUMBER)


def is_finite(value: object) -> bool:
    """Whether a value is a finite number that fits a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -1e300 < value < 1e300


def number(value: Mapping[str, Any], key: str) -> float:
    """The number under a key; as `finite`."""
    if key not in value:
        raise ValueError(f"{key} is missing")
    return finite(value[key], key)


def positive(value: Mapping[str, Any], key: str) -> float:
    """The number above 0 under a key; as `finite`."""
    found = number(value, key)
    if found <= 0:
        raise ValueError(f"{key} is {found:g}; it must be above 0")
    return found


def items(value: Mapping[str, Any], key: str, *, limit: int = MAX_POINTS) -> Sequence[Any]:
    """The list under a key, with at least one and at most `limit` entries."""
    found = value.get(key)
    if not isinstance(found, list | tuple):
        raise ValueError(f"{key} is {short(found)}, no list")
    if not found:
        raise ValueError(f"{key} is empty")
    if len(found) > limit:
        raise ValueError(f"{key} has {len(found)} entries, more than {limit}")
    return found


def numbers(found: Sequence[object], what: str) -> NDArray[np.float64]:
    """A list of numbers as float64[N]. Raises ValueError when one is none, or not usable."""
    if not set(map(type, found)) <= {int, float}:
        return np.array([finite(entry, what) for entry in found], dtype=np.float64)
    try:
        values = np.array(found, dtype=np.float64)
    except OverflowError:
        values = np.array([np.nan])
    if not (np.abs(values) <= MAX_NUMBER).all():
        wrong = next(entry for entry in found if not _is_usable(entry))
        raise ValueError(f"{what} is {short(wrong)}, no usable number")
    return values


def pairs(found: Sequence[object], what: str) -> NDArray[np.float64]:
    """A list of [x, y] as float64[N, 2]. Raises ValueError for any other entry."""
    for entry in found:
        if not isinstance(entry, list | tuple) or len(entry) != 2:
            raise ValueError(f"its {what} {short(entry)} is no [x, y]")
    x = numbers([entry[0] for entry in found], f"x of a {what}")  # type: ignore[index]
    y = numbers([entry[1] for entry in found], f"y of a {what}")  # type: ignore[index]
    return np.stack([x, y], axis=1)


def value_of(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """A result's value, or an empty mapping when it is no object."""
    value = result.get("value")
    return value if isinstance(value, Mapping) else {}


def text(result: Mapping[str, Any], key: str) -> str:
    """The text under a key, or "" when there is none."""
    value = result.get(key)
    return value if isinstance(value, str) else ""


def texts(value: object) -> tuple[str, ...]:
    """The texts of a list, or of a single text; what is no text is left out."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list | tuple):
        return tuple(entry for entry in value if isinstance(entry, str))
    return ()


def is_texts(value: object) -> TypeGuard[list[str]]:
    """Whether a value is a list of texts and nothing else."""
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)


def short(value: object) -> str:
    """A value for a message: its repr, cut short before and after printing."""
    if isinstance(value, Mapping):
        return f"an object with {len(value)} keys"
    if isinstance(value, int) and value.bit_length() > 256:
        return f"a whole number of {value.bit_length()} bits"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, str | bytes):
        value = value[:60]
    printed = repr(value)
    return printed if len(printed) <= 80 else printed[:77] + "..."
