"""Where the regions of a prediction come from, and which predictions of a task are our own.

Pure: reads what Label Studio says of a task.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from regiontext.labelstudio.results import read_results

__all__ = ["LONGEST_ID", "has_version", "is_our_version", "outdated", "source_of", "unstorable"]

LONGEST_ID = 128

_OURS = re.compile(r".+@.+\+r[0-9a-f]{7}\+q[0-9a-f]{7}", re.DOTALL)


def is_our_version(model_version: object) -> bool:
    """Whether a model version is written as ours are (see `backend.versions`)."""
    return isinstance(model_version, str) and _OURS.fullmatch(model_version) is not None


def has_version(predictions: Iterable[Mapping[str, Any]], version: str) -> bool:
    """Whether one of the predictions is of this model version."""
    return any(prediction.get("model_version") == version for prediction in predictions)


def unstorable(results: Iterable[Mapping[str, Any]]) -> str | None:
    """Why suggestions for these results cannot be kept, in one line: an id that databases do not take; None if all do.

    Ids of imported regions are whatever somebody wrote into a file.
    """
    for result in results:
        id = str(result.get("id") or "")
        if len(id) > LONGEST_ID:
            return f"the id of region {id[:40]}… has {len(id)} characters, more than {LONGEST_ID}: shorten it"
        if "\x00" in id:
            return f"the id of region {id[:40]!r} holds a NUL character: remove it"
    return None


def source_of(
    predictions: Sequence[Mapping[str, Any]],
    drafts: Sequence[Mapping[str, Any]] = (),
    annotations: Sequence[Mapping[str, Any]] = (),
) -> Mapping[str, Any] | None:
    """The holder whose regions are to be captioned: the newest that has a shape, by kind in this order.

    Predictions of others (imported boxes, a detector's), predictions of ours (an older version), drafts, submitted
    annotations. Others go before ours because ours were made from them.
    """
    others = [p for p in predictions if not is_our_version(p.get("model_version"))]
    ours = [p for p in predictions if is_our_version(p.get("model_version"))]
    submitted = [a for a in annotations if not a.get("was_cancelled")]
    for holders in (others, ours, drafts, submitted):
        for holder in sorted(holders, key=_age, reverse=True):
            if read_results(holder.get("result") or []).shapes:
                return holder
    return None


def outdated(
    predictions: Iterable[Mapping[str, Any]],
    *,
    version: str,
    in_use: Iterable[int | None],
) -> list[int]:
    """The predictions of ours to remove: other versions, and doubles of `version` except the first.

    Those that an annotation was made from (`in_use`: their numbers) stay, since Label Studio would forget where the
    annotation came from. Predictions of others always stay.
    """
    kept = set(in_use)
    current = sorted(int(p["id"]) for p in predictions if p.get("model_version") == version)
    older = [
        int(p["id"])
        for p in predictions
        if is_our_version(p.get("model_version")) and p.get("model_version") != version
    ]
    return [id for id in (*older, *current[1:]) if id not in kept]


def _age(holder: Mapping[str, Any]) -> tuple[str, int]:
    return str(holder.get("updated_at") or holder.get("created_at") or ""), int(holder["id"])
