"""Which slices of the questions a record belongs to: where a better model could still be clearly worse.

Pure: knows records and regions; knows no scores and no model.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from regiontext.records.record import Record
from regiontext.region import Region

__all__ = ["known_words", "slices_of"]

_WORD = re.compile(r"\w+", re.UNICODE)

# COCO's 32² and 96² of a picture of about 640 x 480 (Lin et al. 2014), as shares: pictures here come in all sizes.
_SMALL, _LARGE = 1 / 300, 3 / 100


def known_words(records: Iterable[Record]) -> frozenset[str]:
    """The words that models have suggested in these records, in lower case: what was known before the corrections."""
    return frozenset(
        word for record in records for text in record.suggested or () for word in _words(text)
    )


def slices_of(
    record: Record,
    regions: Sequence[Region],
    *,
    marks: Sequence[str] = (),
    known: Collection[str] = frozenset(),
) -> tuple[str, ...]:
    """The names of the slices that a record is in, besides its field and labels.

    Region size: small below 1/300 of the image's pixels, large above 3/100, medium between (of a pair, its smaller
    region). Mark kind: each of `marks`. Vocabulary: "old words" if every word of the answer is in `known`, else "new
    words"; neither while nothing is known.
    """
    found = []
    if regions:
        width, height = record.size
        share = min(region.area for region in regions) / (width * height)
        found.append(
            f"size {'small' if share < _SMALL else 'large' if share > _LARGE else 'medium'}"
        )
    found += [f"mark {kind}" for kind in dict.fromkeys(marks)]
    if known:
        old = all(word in known for text in record.answer for word in _words(text))
        found.append("old words" if old else "new words")
    return tuple(found)


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]
