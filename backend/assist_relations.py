"""The relations that the assistant in the page offers between a region and its neighbours, and which became arrows.

Knows how relations are asked about and kept; knows nothing of the page.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Literal

from sqlalchemy import select

from backend.assistant import Assistant, Picture, Suggestion, current_model
from backend.relate import ARROW, relate
from backend.store import Store, SuggestionRow
from regiontext.labelstudio.config import LabelingConfig
from regiontext.labelstudio.results import Result
from regiontext.region import Region

__all__ = ["note_arrows", "offered_arrows"]

_NEIGHBOURS = 3


async def offered_arrows(
    assistant: Assistant,
    picture: Picture,
    *,
    project: int,
    task: int,
    region: str,
    regions: Mapping[str, Region],
    results: Sequence[Result],
    config: LabelingConfig,
    deadline: float,
) -> list[Suggestion]:
    """The relations of a region with its nearest neighbours that have none yet, the surest first; kept as offered.

    region: its id. regions: of its image, by id. results: of the whole annotation. deadline: on the clock of
    `time.monotonic`.

    Raises:
        ModelUnavailable: no model is known and the server does not answer.
    """
    if not config.relations or (await current_model(assistant)).max_regions < 2:
        return []
    own = regions[region]
    others = sorted(
        (other for other in regions.values() if other.id != own.id),
        key=lambda other: math.dist(_middle(own), _middle(other)),
    )[:_NEIGHBOURS]
    arrows = [r for r in results if r.get("type") == "relation"]
    known = {frozenset((str(r.get("from_id")), str(r.get("to_id")))) for r in arrows}
    between = {frozenset((a.id, b.id)) for a in others for b in others if a.id < b.id}
    related = await relate(
        assistant,
        picture,
        project=project,
        task=task,
        regions=[own, *others],
        config=config,
        path="interactive",
        max_pairs=(len(others) + 1) * len(others),
        without=frozenset(known | between),
        # Arrows only: sentences belong to a field of the whole image.
        captions={},
        deadline=deadline,
    )
    ids = [arrow.id for arrow in related.arrows]
    await asyncio.to_thread(note_arrows, assistant.store, task, ids, "offered")
    return sorted(related.arrows, key=lambda arrow: -(arrow.confidence or 0.0))


def note_arrows(
    store: Store, task: int, ids: Sequence[str], what: Literal["offered", "drawn"]
) -> int:
    """Keep with the relations of these ids that they were offered, or added as arrows; how many of them there are."""
    found = (
        SuggestionRow.id.in_(ids),
        SuggestionRow.task == task,
        SuggestionRow.region_to.is_not(None),
    )
    with store.begin() as session:
        rows = session.scalars(select(SuggestionRow).where(*found)).all()
        for row in rows:
            row.decoding = {**row.decoding, ARROW: what}
        return len(rows)


def _middle(region: Region) -> tuple[float, float]:
    x0, y0, x1, y1 = region.box
    return (x0 + x1) / 2, (y0 + y1) / 2
