"""What becomes of the clicks of one request: which mask each belongs to, and the masks, asked of the segmenter.

Nothing drawn is lost on the way: without a mask the points stay as they were drawn, a mask that cannot be mended stays
as it was, and one that was painted over by hand is left alone; each with a note. Knows when, whom and what to ask; what
a mask looks like in results is `masking`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from backend.assistant import Assistant, Picture, look_at
from backend.clicks import Click, ClickMask, Page
from backend.errors import BackendError
from backend.fill import Target, target_of
from backend.known import Known, bundle, is_marked
from backend.label_studio import image_url
from backend.ledger import GRACE_S
from backend.masking import fields_for, is_untouched, known_mask, mask_control, mask_shape
from backend.segment import NoSegmenter
from regiontext.errors import RegionError, RegiontextError
from regiontext.labelstudio.config import LabelingConfig
from regiontext.labelstudio.decode import SHAPE_TYPES, decode_region
from regiontext.labelstudio.results import Result
from regiontext.region import Region

__all__ = ["Grown", "Growing", "grow"]

_log = logging.getLogger(__name__)

# Kept back from the time that is left, so that the caption of a point or a mask has a chance too.
_FOR_CAPTION_S = 1.5


@dataclass(frozen=True)
class Grown:
    """targets: by id of a click, the mask it is a part of. notes: by id of a mask or point, why something is not."""

    targets: dict[str, Target] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


class Growing:
    """The masks of one page, and what this request adds to them."""

    def __init__(
        self, assistant: Assistant, page: Page, known: Known, points: frozenset[str], now: float
    ) -> None:
        """Take stock. points: ids of the keypoints of the request."""
        self._book, self._page, self._known = assistant.clicks, page, known
        self._points, self._now = points, now
        for mask in self._book.masks(page):
            if self._is_gone(mask):
                self._book.drop(page, mask.id)
        self.asked: dict[str, ClickMask] = {}

    def fresh(self) -> dict[str, Region]:
        """The masks that the annotator has and Label Studio does not hold yet."""
        shapes = self._known.results.shapes
        masks = [m for m in self._book.masks(self._page) if m.results and m.id not in shapes]
        regions = {mask.id: self._region(mask) for mask in masks}
        return {id: region for id, region in regions.items() if region is not None}

    def results_of(self, id: str) -> list[Result]:
        """What a fresh mask was last answered with."""
        masks = self._book.masks(self._page)
        return next((list(mask.results) for mask in masks if mask.id == id), [])

    def is_counted(self, click: Click) -> bool:
        """Whether the click belongs to a mask already."""
        return self._book.member(self._page, click) is not None

    def mends(self, click: Click, item_index: int) -> bool:
        """Whether the click belongs to a mask already, or comes with a point of its image whose mask it mends."""
        return self.is_counted(click) or any(
            mask.results and not self._is_settled(mask) and self._waits(mask)
            for mask in self._book.masks(self._page)
            if mask.item_index == item_index
        )

    def count(self, click: Click, item_index: int) -> bool:
        """Count the click to its mask; whether there is one."""
        mask = self._book.joined(
            self._page,
            click,
            item_index,
            waiting=self._points,
            settled=self._is_settled,
            under=lambda one: self._under(one, item_index),
            now=self._now,
        )
        if mask is not None:
            self.asked[mask.id] = mask
        return mask is not None

    def leave(self, reused: frozenset[str]) -> None:
        """Do not ask for masks that an overtaken request is working on. reused: ids of clicks whose answer it makes."""
        for mask in list(self.asked.values()):
            if all(click.id in reused for click in mask.clicks if click.id in self._points):
                del self.asked[mask.id]

    def answered(self, results: Sequence[Result]) -> None:
        """Note what the masks of this request are answered with."""
        for mask in self.asked.values():
            mine = [item for item in results if item.get("id") == mask.id]
            if mine:
                self._book.answered(self._page, mask, mine, now=time.time())

    def _waits(self, mask: ClickMask) -> bool:
        return any(click.id in self._points for click in mask.clicks)

    def _is_settled(self, mask: ClickMask) -> bool:
        shape = self._known.results.shapes.get(mask.id)
        return shape is not None and is_marked(shape)

    def _is_gone(self, mask: ClickMask) -> bool:
        """Whether a draft saved after the answer holds neither the mask nor a point of it: it was deleted."""
        saved = self._known.draft.saved_at if self._known.draft else None
        shapes = self._known.results.shapes
        return (
            bool(mask.results)
            and saved is not None
            and saved > mask.at + GRACE_S
            and mask.id not in shapes
            and not any(click.id in self._points or click.id in shapes for click in mask.clicks)
        )

    def _under(self, click: Click, item_index: int) -> ClickMask | None:
        masks = {m.id: m for m in self._book.masks(self._page) if m.results}
        for id, shape in self._known.results.shapes.items():
            if id not in masks and (noted := known_mask(shape, shape.get("item_index", 0))):
                masks[id] = noted
        hits: list[tuple[int, str]] = []
        for mask in masks.values():
            region = self._region(mask) if mask.item_index == item_index else None
            if region is not None:
                width, height = region.size
                x, y = min(int(click.x * width), width - 1), min(int(click.y * height), height - 1)
                if region.mask[y, x]:
                    hits.append((region.area, mask.id))
        return masks[min(hits)[1]] if hits else None

    def _region(self, mask: ClickMask) -> Region | None:
        try:
            return decode_region(self._known.results.shapes.get(mask.id) or mask.results[0])
        except RegionError:
            return None


async def grow(
    assistant: Assistant,
    growing: Growing,
    *,
    config: LabelingConfig,
    data: Mapping[str, Any],
    project: int,
    task: int,
    known: Known,
    own: Mapping[str, Sequence[Result]],
    deadline: float,
) -> Grown:
    """The masks of the clicks that were counted, within the time. own: the results of each shape of the request.

    Does not raise: what goes wrong is a note.
    """
    grown = Grown()

    async def one(mask: ClickMask) -> None:
        there = bundle(known.raw, mask.id) or list(mask.results)
        clicks = [click for click in mask.clicks if click.id in own]
        points = [own[click.id] for click in clicks]
        try:
            if bundle(known.raw, mask.id) and not is_untouched(there[0]):
                if mask.changed:
                    grown.notes[mask.id] = "painted by hand, so clicks no longer change it"
                shape = there[0]
            elif there and not mask.changed:
                shape = there[0]
            else:
                shape = await _asked(mask, points[-1][0])
        except (BackendError, RegiontextError, TimeoutError) as error:
            why = " ".join(str(error).split()) or "the segmenter is too slow"
            if not there and isinstance(error, NoSegmenter) and not _expects_masks(points[-1][0]):
                return
            _log.warning("no mask: %s", why, extra={"task": task, "project": project})
            if not there:
                for click in clicks:
                    grown.notes[click.id] = f"stays a point: {why}"
                return
            grown.notes[mask.id] = f"the mask stays as it was: {why}"
            shape = there[0]
        target = target_of(
            fields_for(shape, mask, known.raw, points), mask.id, config=config, may_wish=True
        )
        if target is not None:
            grown.targets.update({click.id: target for click in clicks})

    def _expects_masks(point: Mapping[str, Any]) -> bool:
        # A polygon is there to be drawn by hand as well; only a segmenter that was named should have made one.
        control = mask_control(config, point)
        outlined = control is not None and SHAPE_TYPES[control.type] == "polygon"
        return assistant.masks is not None or not outlined

    async def _asked(mask: ClickMask, point: Mapping[str, Any]) -> Result:
        control = mask_control(config, point)
        if control is None:
            raise BackendError("the labeling config has no control that draws masks")
        timeout = max(0.1, deadline - time.monotonic() - _FOR_CAPTION_S)
        async with asyncio.timeout(timeout):
            picture = await _picture(mask.item_index)
            with assistant.metrics.stage("segment"):
                found = await assistant.segmenter.mask(
                    assistant.masks or assistant.model,
                    picture.image,
                    picture.hash,
                    [(click.x, click.y) for click in mask.clicks],
                    [click.positive for click in mask.clicks],
                    timeout=timeout,
                )
        return await asyncio.to_thread(mask_shape, found, mask, control, point)

    async def _picture(item_index: int) -> Picture:
        url = image_url(data, config.image_key, item_index)
        with assistant.metrics.stage("fetch"):
            image = await assistant.images.fetch(url, task=task)
        return await look_at(assistant, image, project=project, task=task)

    await asyncio.gather(*(one(mask) for mask in growing.asked.values()))
    return grown
