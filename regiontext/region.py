"""A region: one shape on one image, with its mask, box, area and centre in pixels.

Knows nothing of Label Studio's JSON (see `regiontext.labelstudio.decode`), of marks or of models.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from regiontext.coco import coco_to_mask, mask_to_coco
from regiontext.errors import RegionError
from regiontext.geometry import (
    MAX_CROSSINGS,
    Box,
    Points,
    clip_box,
    count_crossings,
    fill_rings,
    outer_box,
    rectangle_ring,
    tight_box,
)
from regiontext.outline import Outline, trace_outlines
from regiontext.path import Path

__all__ = ["SHAPES", "Region"]

SHAPES = ("rectangle", "ellipse", "polygon", "brush", "bitmask", "keypoint", "vector")

_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Region:
    """One shape on one image.

    id: Label Studio's region id. shape: one of SHAPES. size: (W, H) of the upright image in
    pixels. labels: as in the labeling config. polygons: rings float64[N, 2] in pixels; a ring
    inside another is a hole, one that crosses itself is filled as a canvas fills it (see
    `geometry.fill_rings`); they may reach outside the image. raster: bool[H, W], which wins over
    polygons. point: the position of a keypoint in pixels. item_index: which image of a multi-image
    task. path: how a vector or an open polygon was drawn, for writing it again; the mask does not
    depend on it. Arrays become read-only views. Regions compare by identity. Raises RegionError
    when the parts do not fit together.
    """

    id: str
    shape: str
    size: tuple[int, int]
    labels: tuple[str, ...] = ()
    polygons: tuple[Points, ...] = ()
    raster: NDArray[np.bool_] | None = None
    point: tuple[float, float] | None = None
    item_index: int = 0
    path: Path | None = None

    def __post_init__(self) -> None:
        """Check that the parts fit together, and freeze the arrays."""
        if self.shape not in SHAPES:
            raise RegionError(
                self.id, f"unknown shape {self.shape!r}; known are {', '.join(SHAPES)}"
            )
        width, height = self.size
        if width < 1 or height < 1:
            raise RegionError(self.id, f"an image of {width} x {height} pixels holds no region")
        if self.raster is None and not self.polygons:
            raise RegionError(self.id, "has neither a raster nor polygons")
        if self.raster is not None:
            if self.raster.dtype != np.bool_ or self.raster.shape != (height, width):
                raise RegionError(
                    self.id,
                    f"its raster is {self.raster.dtype}{list(self.raster.shape)}, "
                    f"the image needs bool[{height}, {width}]",
                )
            if not self.raster.any():
                raise RegionError(self.id, "its mask is empty")
            object.__setattr__(self, "raster", _frozen(self.raster))
        rings = tuple(_frozen(np.asarray(ring, dtype=np.float64)) for ring in self.polygons)
        for ring in rings:
            if ring.ndim != 2 or ring.shape[1:] != (2,) or not len(ring):
                raise RegionError(
                    self.id, f"a polygon of shape {ring.shape} is not a list of (x, y)"
                )
            if not np.isfinite(ring).all():
                raise RegionError(self.id, "a polygon has a coordinate that is not a finite number")
        object.__setattr__(self, "polygons", rings)
        # No edge crosses more rows than the image has: few edges need no counting.
        many = self.raster is None and sum(map(len, rings)) * height > MAX_CROSSINGS
        if many and (rows := count_crossings(rings, self.size)) > MAX_CROSSINGS:
            raise RegionError(
                self.id,
                f"its outline crosses {rows} pixel rows, more than {MAX_CROSSINGS}; simplify it",
            )

    @classmethod
    def from_mask(cls, id: str, mask: NDArray[np.bool_], labels: Iterable[str] = ()) -> Region:
        """A brush region from a mask bool[H, W] (copied); RegionError when no pixel is true."""
        raster = np.array(mask, dtype=bool)
        if raster.ndim != 2:
            raise RegionError(id, f"a mask of shape {raster.shape} is not [H, W]")
        height, width = raster.shape
        return cls(id, "brush", (width, height), tuple(labels), raster=raster)

    @classmethod
    def from_box(
        cls, id: str, box: Box, size: tuple[int, int], labels: Iterable[str] = ()
    ) -> Region:
        """An upright rectangle from a box in pixels on an image of size (W, H)."""
        x0, y0, x1, y1 = box
        if not (x0 < x1 and y0 < y1):
            raise RegionError(id, f"the box {box} has no area; its order is x0, y0, x1, y1")
        return cls(id, "rectangle", size, tuple(labels), polygons=(rectangle_ring(box),))

    @classmethod
    def from_coco_rle(cls, id: str, code: Mapping[str, Any], labels: Iterable[str] = ()) -> Region:
        """A brush region from COCO's run-length code, compressed or not; RegionError as it says."""
        try:
            mask = coco_to_mask(code)
        except ValueError as fault:
            raise RegionError(id, f"its COCO run-length code is malformed: {fault}") from fault
        return cls.from_mask(id, mask, labels)

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """The region's pixels, bool[H, W], read-only, at least one of them true."""
        if self.raster is not None:
            return self.raster
        mask = fill_rings(self.polygons, self.size)
        left, top, right, bottom = self._reach
        if not mask[top:bottom, left:right].any():
            mask = _thin_mask(self.polygons, self.size)
        return _frozen(mask)

    @cached_property
    def box(self) -> Box:
        """The tight box around the mask: x0, y0, x1, y1 in pixels, end exclusive."""
        left, top, right, bottom = self._reach
        x0, y0, x1, y1 = tight_box(self.mask[top:bottom, left:right])
        return float(left + x0), float(top + y0), float(left + x1), float(top + y1)

    @cached_property
    def area(self) -> int:
        """How many pixels the mask has."""
        return int(np.count_nonzero(self._inside[2]))

    @cached_property
    def centre(self) -> tuple[float, float]:
        """The mean of the mask's pixel centres (x, y); of a concave region it may lie outside."""
        x0, y0, part = self._inside
        rows, columns = part.sum(axis=1), part.sum(axis=0)
        x = float((columns * (np.arange(len(columns)) + 0.5)).sum() / self.area) + x0
        y = float((rows * (np.arange(len(rows)) + 0.5)).sum() / self.area) + y0
        return x, y

    @cached_property
    def anchor(self) -> tuple[float, float]:
        """The centre (x, y) of the mask pixel nearest to `centre`: always inside the region."""
        x0, y0, part = self._inside
        cx, cy = self.centre
        row, column = int(cy) - y0, int(cx) - x0
        if not part[row, column]:
            rows, columns = np.nonzero(part)
            nearest = np.argmin((columns + 0.5 + x0 - cx) ** 2 + (rows + 0.5 + y0 - cy) ** 2)
            row, column = int(rows[nearest]), int(columns[nearest])
        return x0 + column + 0.5, y0 + row + 0.5

    @cached_property
    def outlines(self) -> tuple[Outline, ...]:
        """The mask as polygons with holes along the edges of its pixels, exactly.

        Filling their rings gives the mask back. `polygons` has the shape as it was drawn.
        """
        return trace_outlines(self.mask)

    @cached_property
    def coco_rle(self) -> dict[str, Any]:
        """The mask as COCO's compressed run-length code, `{"size": [H, W], "counts": text}`."""
        return mask_to_coco(self.mask)

    def crop(self, box: Box) -> Region:
        """The same region in the coordinates of a crop of its image.

        `box` holds whole pixels inside the image. The crop's mask is exactly this mask's part.
        Raises RegionError when the box is not whole, reaches outside, or holds no pixel of the
        region.
        """
        x0, y0, x1, y1 = (int(side) for side in box)
        width, height = self.size
        if (x0, y0, x1, y1) != tuple(box) or not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            raise RegionError(
                self.id, f"cannot crop to {box}: needs whole pixels inside {width} x {height}"
            )
        part = np.ascontiguousarray(self.mask[y0:y1, x0:x1])
        if not part.any():
            raise RegionError(self.id, f"has no pixel inside the crop {box}")
        shift = np.array([x0, y0], dtype=np.float64)
        cropped = Region(
            self.id,
            self.shape,
            (x1 - x0, y1 - y0),
            self.labels,
            tuple(ring - shift for ring in self.polygons),
            None if self.raster is None else part,
            None if self.point is None else (self.point[0] - x0, self.point[1] - y0),
            self.item_index,
            None if self.path is None else self.path.moved(-shift),
        )
        # Seeds the cache: filling the moved outline again could differ where it is thin.
        cropped.__dict__["mask"] = _frozen(part)
        return cropped

    @cached_property
    def _reach(self) -> tuple[int, int, int, int]:
        """A whole-pixel box that holds the mask, as far as can be said without looking at it."""
        width, height = self.size
        if self.raster is not None:
            return 0, 0, width, height
        x0, y0, x1, y1 = outer_box(self.polygons)
        left, top, right, bottom = clip_box((x0 - 2, y0 - 2, x1 + 2, y1 + 2), self.size)
        # An outline beyond the image falls on the pixel nearest to it.
        return min(left, width - 1), min(top, height - 1), max(right, 1), max(bottom, 1)

    @cached_property
    def _inside(self) -> tuple[int, int, NDArray[np.bool_]]:
        x0, y0, x1, y1 = (int(side) for side in self.box)
        return x0, y0, self.mask[y0:y1, x0:x1]


def _frozen(array: NDArray[_Scalar]) -> NDArray[_Scalar]:
    view = array.view()
    view.flags.writeable = False
    return view


def _thin_mask(rings: Iterable[Points], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels along thin rings; where those are none, the image's pixel nearest to them."""
    width, height = size
    canvas = Image.new("1", size)
    pen = ImageDraw.Draw(canvas)
    points = np.concatenate(list(rings))
    # Pen coordinates far outside the image would make the line drawing endless.
    near = np.clip(np.floor(points), -1, np.array(size))
    if len(near) > 1:
        pen.line([(float(x), float(y)) for x, y in (*near, near[0])], fill=1)
    mask = np.array(canvas, dtype=bool)
    if not mask.any():
        x, y = points.mean(axis=0)
        column = min(max(math.floor(x), 0), width - 1)
        row = min(max(math.floor(y), 0), height - 1)
        mask[row, column] = True
    return mask
