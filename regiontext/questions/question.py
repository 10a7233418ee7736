"""A question: one field of one region or ordered pair, how it is worded, and what may be answered.

Knows nothing of labeling configs, images or models.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Final, Literal

from regiontext.errors import QuestionError

__all__ = ["PLACES", "Kind", "Question"]

Kind = Literal["open", "closed"]

PLACES: Final = (("{mark}",), ("{subject}", "{object}"))


@dataclass(frozen=True)
class Question:
    """What is asked to fill `field`.

    wording: text with {mark} (one region) or {subject} and {object} (an ordered pair), to be
    replaced by the phrases of the marks. options: the only answers allowed when kind is "closed",
    in the labeling config's order; empty when "open". region_ids: one region, or subject and
    object. QuestionError when these do not fit together.
    """

    field: str
    kind: Kind
    wording: str
    options: tuple[str, ...] = ()
    region_ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that the question can be asked."""
        if self.kind not in ("open", "closed"):
            raise QuestionError(f"question kind is {self.kind!r}; use 'open' or 'closed'")
        if (self.kind == "closed") != bool(self.options):
            raise QuestionError(
                f"the {self.kind} question on {self.field!r} has {len(self.options)} options; "
                "closed questions need some, open ones none"
            )
        places = PLACES[1] if self.pair else PLACES[0]
        missing = [place for place in places if place not in self.wording]
        if missing:
            raise QuestionError(
                f"the wording {self.wording!r} on {self.field!r} lacks {' and '.join(missing)}"
            )

    @property
    def pair(self) -> bool:
        """Whether it is about an ordered pair of regions."""
        if self.region_ids:
            return len(self.region_ids) == 2
        return "{mark}" not in self.wording

    @property
    def hash(self) -> str:
        """sha256 hex of field, kind, wording and options: the same question of every region."""
        parts = [self.field, self.kind, self.wording, list(self.options)]
        return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()
