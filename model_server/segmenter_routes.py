"""POST /v1/segment: clicks in, masks out. The segmenter loads and works in a thread of its own.

So neither the event loop nor the queue of captions waits for it. Without a segmenter the route says so with 404, in
OpenAI's error shape. Knows nothing of torch.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from fastapi import APIRouter, Request
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from model_server.errors import ModelServerError, RequestError
from model_server.jobs import Picture
from model_server.protocol.messages import ImageLimits, ImagePart, picture
from model_server.protocol.schemas import parse_body
from regiontext.coco import mask_to_coco

__all__ = ["SegmentRequest", "Segmenting", "segment_router"]

log = logging.getLogger("model_server")

_MAX_POINTS = 256

_Number = Annotated[float, Field(allow_inf_nan=False)]


class _Mask(Protocol):
    mask: NDArray[np.bool_]
    score: float


class _Segmenter(Protocol):
    """What is served; see `model_server.segmenter.Segmenter`."""

    name: str

    def size_of(self, picture: Picture) -> tuple[int, int]: ...

    def segment(
        self,
        picture: Picture,
        points: Sequence[tuple[float, float]],
        labels: Sequence[int],
        box: tuple[float, float, float, float] | None = None,
    ) -> Sequence[_Mask]: ...


class SegmentRequest(BaseModel):
    """Body of POST /v1/segment. Points and box are in pixels of the upright image; labels say 1 for on, 0 for off."""

    model_config = ConfigDict(extra="forbid")

    image: str
    points: list[tuple[_Number, _Number]] = Field(default_factory=list, max_length=_MAX_POINTS)
    labels: list[Literal[0, 1]] = Field(default_factory=list, max_length=_MAX_POINTS)
    box: tuple[_Number, _Number, _Number, _Number] | None = None


class Segmenting:
    """Loads a segmenter in the background and asks it one thing after the other, in one thread.

    open_segmenter: called in that thread. max_waiting: more requests at once are refused with 429.
    """

    def __init__(
        self, open_segmenter: Callable[[], _Segmenter], *, name: str, max_waiting: int = 32
    ) -> None:
        self.name = name
        self._max_waiting = max_waiting
        self._waiting = 0
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="segment")
        self._opened: Future[_Segmenter] = self._pool.submit(self._open, open_segmenter)

    def _open(self, open_segmenter: Callable[[], _Segmenter]) -> _Segmenter:
        try:
            return open_segmenter()
        except ModelServerError as error:
            log.error("the segmenter could not be loaded: %s", error)
            raise
        except Exception:
            log.exception("the segmenter %s could not be loaded", self.name)
            raise

    def ready(self) -> _Segmenter:
        """The segmenter. Raises RequestError 503 while it loads, and when it could not be loaded."""
        if not self._opened.done():
            raise RequestError(
                f"The segmenter {self.name!r} is still loading; try again.",
                code="model_loading",
                status=503,
            )
        if self._opened.cancelled() or (fault := self._opened.exception()) is not None:
            why = "the server is stopping" if self._opened.cancelled() else str(fault)
            raise RequestError(
                f"The segmenter {self.name!r} could not be loaded: {why}",
                code="model_failed",
                status=503,
            )
        return self._opened.result()

    async def masks(self, asked: SegmentRequest, limits: ImageLimits) -> list[dict[str, Any]]:
        """The masks of a request, best first. Raises RequestError."""
        segmenter = self.ready()
        if self._waiting >= self._max_waiting:
            raise RequestError(
                f"{self._waiting} segmentations are waiting already; try again.",
                code="too_many_requests",
                status=429,
            )
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._pool, _masks, segmenter, asked, limits
            )
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Stop; what waits is given up."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def segment_router(
    segmenting: Segmenting | None,
    read: Callable[[Request], Awaitable[bytes]],
    limits: ImageLimits,
    *dependencies: Any,
) -> APIRouter:
    """The route. read: awaits the body's bytes within their bound. dependencies: checks of the key."""
    router = APIRouter(prefix="/v1", dependencies=list(dependencies))
    schema = SegmentRequest.model_json_schema()
    about = {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}

    @router.post("/segment", openapi_extra=about)
    async def segment(request: Request) -> dict[str, Any]:
        """Masks of what clicks on an image mean, best first, in COCO's run-length code."""
        if segmenting is None:
            raise RequestError(
                "No segmenter is loaded here; start the server with --segmenter FOLDER, HUB_ID or FILE.pth.",
                code="no_segmenter",
                status=404,
            )
        asked = parse_body(SegmentRequest, await read(request))
        _check(asked)
        return {"model": segmenting.name, "masks": await segmenting.masks(asked, limits)}

    return router


def _check(asked: SegmentRequest) -> None:
    if not asked.image.startswith("data:"):
        raise RequestError(
            f"image must be a data URL (data:image/png;base64,…), got {asked.image[:40]!r}.",
            param="image",
            code="invalid_image",
        )
    if len(asked.labels) != len(asked.points):
        raise RequestError(
            f"There are {len(asked.points)} points and {len(asked.labels)} labels; give one label (1 on the object, "
            "0 off it) for each point.",
            param="labels",
            code="invalid_value",
        )
    if asked.box is not None and not (asked.box[0] < asked.box[2] and asked.box[1] < asked.box[3]):
        raise RequestError(
            f"box is {list(asked.box)}; it must be [x0, y0, x1, y1] with x0 < x1 and y0 < y1.",
            param="box",
            code="invalid_value",
        )
    if asked.box is None and 1 not in asked.labels:
        raise RequestError(
            "points must hold at least one on the object (label 1), or a box must be given.",
            param="points",
            code="invalid_value",
        )


def _masks(
    segmenter: _Segmenter, asked: SegmentRequest, limits: ImageLimits
) -> list[dict[str, Any]]:
    shown = picture(ImagePart(asked.image, "image"), limits=limits)
    width, height = segmenter.size_of(shown)
    for index, (x, y) in enumerate(asked.points):
        if not (0 <= x <= width and 0 <= y <= height):
            raise RequestError(
                f"points[{index}] is [{x:g}, {y:g}], outside the image of {width} x {height} pixels.",
                param=f"points[{index}]",
                code="invalid_value",
            )
    if asked.box is not None:
        x0, y0, x1, y1 = asked.box
        if x0 >= width or y0 >= height or x1 <= 0 or y1 <= 0:
            raise RequestError(
                f"box is {list(asked.box)}, outside the image of {width} x {height} pixels.",
                param="box",
                code="invalid_value",
            )
    found = segmenter.segment(shown, asked.points, asked.labels, asked.box)
    return [
        {**mask_to_coco(one.mask), "score": round(one.score, 6) if math.isfinite(one.score) else 0}
        for one in found
    ]
