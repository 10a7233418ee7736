"""Asks the model server, or a server of its own, for the mask of what was clicked on.

A server without a segmenter (vLLM, a cloud model, ours without one) says so once and is left alone for a minute. Large
images travel smaller: no SAM sees more than 1024 pixels a side. Knows nothing of regions or Label Studio.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.cache import BoundedCache
from backend.data_urls import data_url
from backend.errors import ModelError
from backend.model_client import ModelClient
from regiontext.coco import coco_to_mask

__all__ = ["NoSegmenter", "Segmenter"]

# What a server answers that has no such route, or no segmenter.
_ABSENT = frozenset({404, 405, 501})
_ABSENT_S = 60.0
_NONE = "the server has no segmenter"
_LONGEST = 1024
_CACHE_BYTES = 64 * 2**20


class NoSegmenter(ModelError):
    """The server has no segmenter."""


@dataclass(frozen=True)
class _Shown:
    """An image as it is sent: its data URL and its size (W, H) px."""

    url: str
    size: tuple[int, int]


class Segmenter:
    """What is remembered of the server's segmenter, and of the images sent to it. One per process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._absent_until = -1.0
        self._shown: BoundedCache[_Shown] = BoundedCache(_CACHE_BYTES)

    async def mask(
        self,
        model: ModelClient,
        image: Image.Image,
        digest: str,
        points: Sequence[tuple[float, float]],
        labels: Sequence[bool],
        *,
        timeout: float,
    ) -> NDArray[np.bool_]:
        """The mask bool[H, W] of the image, of what the points mean, within `timeout` seconds.

        points: (x, y) as shares of width and height, 0..1; labels: whether on what is meant. digest: names the image.

        Raises:
            NoSegmenter: the server has none, or had none within the last minute.
            ModelUnavailable: it does not answer, or not yet.
            ModelError: it refuses, or finds nothing.
            TimeoutError: it is too slow.
        """
        if self._clock() < self._absent_until:
            raise NoSegmenter(_NONE)
        async with asyncio.timeout(timeout):
            shown = await asyncio.to_thread(self._show, image, digest)
            width, height = shown.size
            status, body = await model.post(
                "/segment",
                {
                    "image": shown.url,
                    "points": [[x * width, y * height] for x, y in points],
                    "labels": [int(label) for label in labels],
                },
                expected=_ABSENT,
            )
        if status in _ABSENT:
            self._absent_until = self._clock() + _ABSENT_S
            raise NoSegmenter(_NONE)
        places = [(int(x * width), int(y * height)) for x, y in points]
        found = await asyncio.to_thread(_best, body, shown.size, places, labels)
        return await asyncio.to_thread(_grown, found, image.size)

    def _show(self, image: Image.Image, digest: str) -> _Shown:
        shown = self._shown.get(digest)
        if shown is None:
            small = image
            if max(image.size) > _LONGEST:
                small = image.copy()
                small.thumbnail((_LONGEST, _LONGEST), Image.Resampling.BILINEAR)
            shown = _Shown(data_url(small), small.size)
            self._shown.put(digest, shown, len(shown.url))
        return shown


def _best(
    body: Mapping[str, Any],
    size: tuple[int, int],
    places: Sequence[tuple[int, int]],
    labels: Sequence[bool],
) -> NDArray[np.bool_]:
    """The first mask, or the first that agrees with the clicks better."""
    masks: list[NDArray[np.bool_]] = []
    for code in body.get("masks") or ():
        try:
            mask = coco_to_mask(code)
        except ValueError as error:
            raise ModelError(f"the segmenter sent a mask that is none: {error}") from error
        if mask.shape != (size[1], size[0]):
            raise ModelError(
                f"the segmenter sent a mask of {mask.shape[1]} x {mask.shape[0]} pixels for an image of "
                f"{size[0]} x {size[1]}"
            )
        if mask.any():
            masks.append(mask)
    if not masks:
        raise ModelError("the segmenter finds nothing here")

    def agreeing(mask: NDArray[np.bool_]) -> int:
        inside = [mask[min(y, size[1] - 1), min(x, size[0] - 1)] for x, y in places]
        return sum(bool(on) == bool(label) for on, label in zip(inside, labels, strict=True))

    return max(masks, key=agreeing)


def _grown(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask at the image's own size (W, H), its edges drawn between the pixels it had."""
    if mask.shape == (size[1], size[0]):
        return mask
    picture = Image.fromarray(mask.astype(np.uint8) * 255)
    grown = np.asarray(picture.resize(size, Image.Resampling.BILINEAR)) > 127
    return grown if grown.any() else np.asarray(picture.resize(size, Image.Resampling.NEAREST)) > 0
