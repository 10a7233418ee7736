"""What of a result list may go to Label Studio's page as the answer to an interactive call.

The page writes every label that is chosen there into everything that it accepts (see `regiontext.labelstudio.leaks`),
and a text about the whole image that has such a label chooses it again at each answer, which then relabels whatever is
drawn. So an answer holds nothing that it need not: the page keeps its texts about the whole image without being told,
and an answer without results is null, at which it leaves everything as it is. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from regiontext.labelstudio.answers import FIELD_KEYS
from regiontext.labelstudio.checks import is_regional
from regiontext.labelstudio.decode import is_shape
from regiontext.labelstudio.leaks import without_leaks
from regiontext.labelstudio.results import Result

__all__ = ["entry_of", "regional"]


def entry_of(results: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """An answer as it leaves: {"result": …} without any label that is not its region's own, null if nothing is left."""
    return {"result": without_leaks(results) or None}


def regional(results: Sequence[Mapping[str, Any]]) -> list[Result]:
    """The results without the fields of the whole image."""
    regions = {item.get("id") for item in results if is_shape(item) and _is_text(item.get("id"))}
    return [
        dict(item)
        for item in results
        if item.get("type") not in _FIELDS
        or is_regional(item)
        or (_is_text(item.get("id")) and item.get("id") in regions)
    ]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


_FIELDS = tuple(FIELD_KEYS)
