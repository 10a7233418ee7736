"""What can go wrong in the domain, as one tree of exceptions.

Every message says what was wrong, with the value, and how to put it right. Who sees which:

* `ConfigError`: whoever wrote the labeling config (set-up, `connect`).
* `ImageError`: whoever owns the image; the region comes back unfilled.
* `RegionError`: the log and the report; the region is echoed unfilled, never lost.
* `MarkError`, `QuestionError`: whoever asked for a view or a wording that cannot be made.
* `RecordError`: whoever exports or trains on stored records.
"""

from __future__ import annotations

__all__ = [
    "ConfigError",
    "ImageError",
    "MarkError",
    "QuestionError",
    "RecordError",
    "RegionError",
    "RegiontextError",
]


class RegiontextError(Exception):
    """Base of everything this package raises on purpose."""


class ConfigError(RegiontextError):
    """A labeling config that this program cannot work with."""


class ImageError(RegiontextError):
    """Bytes that are no usable image."""


class RegionError(RegiontextError):
    """A region whose description is malformed; carries the region's id and the fault."""

    def __init__(self, region_id: str, fault: str) -> None:
        super().__init__(region_id, fault)
        self.region_id = region_id
        self.fault = fault

    def __str__(self) -> str:
        """One line: the region's id and its fault."""
        return f"region {self.region_id!r}: {self.fault}"


class MarkError(RegiontextError):
    """A mark or view that cannot be drawn as asked."""


class QuestionError(RegiontextError):
    """A question that cannot be asked as worded."""


class RecordError(RegiontextError):
    """A training record, dataset or manifest that is not what it claims to be."""
