"""Which clicks of a smart keypoint belong together: one mask comes of them, under an id of its own.

With auto-accept on, Label Studio's page replaces the point by the mask, and the next click comes alone; with it off,
the points wait and come all again. So what was answered is remembered here, and in the mask's own meta for later:

* A click that waits belongs to the mask that it was answered with.
* A new positive click mends the mask of a point that waits beside it and was answered; one that was not answered yet
  nobody has seen, so this click means another thing. Without one it begins a mask.
* A new negative click (Alt) mends the mask of a waiting point, else the one it lies on, else the last one clicked.

In memory, for one process. Knows nothing of images or models; a click's place is in shares of width and height.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from regiontext.labelstudio.results import Result

__all__ = [
    "CLICKS",
    "Click",
    "ClickBook",
    "ClickMask",
    "Page",
    "clicks_of",
    "mask_id",
    "noted_clicks",
]

CLICKS = "regiontext_clicks"
"""Key in a mask's meta: {"points": [[x, y, 1 or 0], …] in percent, "area": share of the image, in percent}."""

_MOST = 256
_RECENT_S = 60.0

Page = tuple[int, int, str | None]


@dataclass(frozen=True)
class Click:
    """One click: the keypoint's id, its place in shares of width and height (0..1), whether it means what it is on."""

    id: str
    x: float
    y: float
    positive: bool


@dataclass(frozen=True, eq=False)
class ClickMask:
    """A mask and the clicks it is made of.

    results: as last answered, the shape first; empty before. at: when it was last clicked or answered, in seconds since
    1970. changed: whether a click came since it was answered.
    """

    id: str
    clicks: tuple[Click, ...]
    item_index: int = 0
    results: tuple[Result, ...] = ()
    at: float = 0.0
    changed: bool = True


class ClickBook:
    """The masks that were clicked lately, by page (project, task, annotator). One per process."""

    def __init__(self) -> None:
        self._masks: OrderedDict[tuple[Page, str], ClickMask] = OrderedDict()
        self._lock = threading.RLock()

    def masks(self, page: Page) -> list[ClickMask]:
        """Those of a page, the one clicked last at the end; those from before the annotator was known are theirs."""
        mine = {page, (*page[:2], None)}
        with self._lock:
            return [mask for (place, _), mask in self._masks.items() if place in mine]

    def keep(self, page: Page, mask: ClickMask) -> None:
        """Remember a mask, instead of what was known of it."""
        with self._lock:
            self.drop(page, mask.id)
            self._masks[page, mask.id] = mask
            while len(self._masks) > _MOST:
                self._masks.popitem(last=False)

    def drop(self, page: Page, id: str) -> None:
        """Forget a mask."""
        with self._lock:
            for place in (page, (*page[:2], None)):
                self._masks.pop((place, id), None)

    def answered(
        self, page: Page, answered: ClickMask, results: Sequence[Result], *, now: float
    ) -> None:
        """Note what a mask was answered with, unless a click came meanwhile."""
        with self._lock:
            for mask in self.masks(page):
                if mask.id == answered.id and mask.clicks == answered.clicks:
                    self.keep(page, replace(mask, results=tuple(results), at=now, changed=False))

    def member(self, page: Page, click: Click) -> ClickMask | None:
        """The mask that a click was counted to before."""
        held = (mask for mask in self.masks(page) if any(c.id == click.id for c in mask.clicks))
        return next(held, None)

    def joined(
        self,
        page: Page,
        click: Click,
        item_index: int,
        *,
        waiting: frozenset[str],
        settled: Callable[[ClickMask], bool],
        under: Callable[[Click], ClickMask | None],
        now: float,
    ) -> ClickMask | None:
        """The mask a click belongs to, with the click; None for a negative click that is about no mask.

        waiting: ids of the keypoints that came with the click. settled: whether a mask is in Label Studio for good.
        under: the mask that came of clicks and lies under a click. What is returned is remembered.
        """
        if (found := self.member(page, click)) is not None:
            return found
        mine = [mask for mask in self.masks(page) if mask.item_index == item_index]
        beside = [
            mask
            for mask in mine
            if any(known.id in waiting for known in mask.clicks)
            and not settled(mask)
            and (mask.results or not click.positive)
        ]
        found = beside[-1] if beside else None
        if found is None and not click.positive:
            recent = [mask for mask in mine if mask.results and now - mask.at < _RECENT_S]
            found = under(click) or (recent[-1] if recent else None)
            if found is None:
                return None
        if found is None:
            found = ClickMask(mask_id(click.id), (), item_index)
        joined = replace(found, clicks=(*found.clicks, click), at=now, changed=True)
        self.keep(page, joined)
        return joined


def mask_id(first: str) -> str:
    """The id of the mask that begins with the keypoint of this id: always the same one, and never the keypoint's."""
    return "m" + hashlib.blake2s(first.encode(), digest_size=6).hexdigest()


def noted_clicks(clicks: Sequence[Click], area: float) -> dict[str, Any]:
    """What is noted of its clicks in a mask's meta; area: the share of the image that it covers."""
    points = [[round(c.x * 100, 3), round(c.y * 100, 3), int(c.positive)] for c in clicks]
    return {"points": points, "area": round(area * 100, 4)}


def clicks_of(shape: Mapping[str, Any]) -> tuple[tuple[Click, ...], float] | None:
    """The clicks noted in a shape's meta, with the share of the image that their mask covered; None without them."""
    meta = shape.get("meta")
    noted = meta.get(CLICKS) if isinstance(meta, Mapping) else None
    try:
        clicks = tuple(
            Click(f"{shape.get('id')}:{n}", float(x) / 100, float(y) / 100, bool(on))
            for n, (x, y, on) in enumerate(noted["points"])  # type: ignore[index]
        )
        area = float(noted["area"]) / 100  # type: ignore[index]
    except (TypeError, KeyError, ValueError):
        return None
    return (clicks, area) if any(click.positive for click in clicks) else None
