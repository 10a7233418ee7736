"""One region-text training example, with everything needed to say where it comes from.

Knows nothing of pixels or of how the region is drawn: whoever trains or exports renders it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from regiontext.errors import RecordError
from regiontext.records.arm import ARMS, Arm
from regiontext.records.outcome import OUTCOMES, Outcome

__all__ = ["Record", "record_id"]

Kind = Literal["open", "closed"]


def record_id(annotation: int, regions: tuple[str, ...], field: str) -> str:
    """The id of the record of one field of one region (or ordered pair) of one annotation."""
    return f"{annotation}-{'-'.join(regions)}-{field}"


@dataclass(frozen=True)
class Record:
    """What a human says about one field of one region, or of one ordered pair of regions.

    `image` is the task's own path or URL of the image, `size` its (width, height) in pixels of the
    upright image; `shapes` are Label Studio's shape results, one per id of `regions`, in that order
    (subject first for a pair). `wording` holds `{mark}`, or `{subject}` and `{object}` for a pair.
    `answer` is the final text, never empty. `suggested`, `prompt`, `model_version` and `suggestion`
    (its id) are None where nothing had been suggested. `updated_at` is ISO 8601, UTC.
    """

    id: str
    project: int
    task: int
    annotation: int
    image_hash: str
    image: str
    size: tuple[int, int]
    regions: tuple[str, ...]
    shapes: tuple[Mapping[str, Any], ...]
    labels: tuple[str, ...]
    field: str
    kind: Kind
    wording: str
    options: tuple[str, ...]
    answer: tuple[str, ...]
    outcome: Outcome
    arm: Arm
    suggested: tuple[str, ...] | None = None
    prompt: str | None = None
    model_version: str | None = None
    annotator: int | None = None
    updated_at: str | None = None
    suggestion: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be learnt from: raises RecordError."""
        if not self.regions or len(self.regions) != len(self.shapes):
            raise RecordError(
                f"record {self.id!r} has {len(self.regions)} regions and {len(self.shapes)} "
                "shapes; it needs one shape per region, and at least one"
            )
        if not any(part.strip() for part in self.answer):
            raise RecordError(f"record {self.id!r} has no answer; leave such outcomes out")
        if self.outcome not in OUTCOMES:
            raise RecordError(f"record {self.id!r}: {self.outcome!r} is no outcome ({OUTCOMES})")
        if self.arm not in ARMS:
            raise RecordError(f"record {self.id!r}: {self.arm!r} is no arm ({ARMS})")
        if self.kind not in ("open", "closed"):
            raise RecordError(f"record {self.id!r}: kind {self.kind!r} is neither open nor closed")

    @property
    def text(self) -> str:
        """The answer as one line: several entries of an open field follow one another, choices are
        separated by commas."""
        return (", " if self.kind == "closed" else " ").join(self.answer)

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON types; `from_dict` reads it back."""
        out: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            out[item.name] = list(value) if isinstance(value, tuple) else value
        out["shapes"] = [dict(shape) for shape in self.shapes]
        return out

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Record:
        """Read what `to_dict` wrote; raises RecordError for missing or unknown keys."""
        known = {item.name for item in fields(cls)}
        unknown = sorted(set(data) - known)
        if unknown:
            raise RecordError(f"unknown keys in a record: {unknown}; known are {sorted(known)}")
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in data.items()
        }
        try:
            return cls(**values)
        except TypeError as error:
            raise RecordError(f"an incomplete record: {error}") from error
