"""Every shape of Label Studio drawn by mouse and keyboard, and what the editor then shows of it.

Regions are magenta on grey pictures (see `tests.browser.shapes`), so that two screenshots tell which pixels of the
image a gesture has covered: what the annotator saw, found without reading any of the editor's own numbers. Knows
nothing of regiontext.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import FloatRect

from tests.browser.editor import Editor

__all__ = ["Drawing", "Point", "inked"]

Point = tuple[float, float]

_IMAGE = "img[alt=image]"
_HANDLE = 50  # CSS pixels from the middle of a frame's upper side to its rotation handle


class Drawing(Editor):
    """A task open in the labeling view and the gestures of its tools; points are px of the upright image."""

    turned = 0

    def open(self, task: int, image_size: tuple[int, int]) -> None:
        """Open a task; `image_size` is (W, H) of its first image, upright."""
        super().open(task, image_size)
        self.turned = 0
        self.fit()

    # The view

    def fit(self) -> None:
        """Show the whole image as large as it goes; at first the editor may cut some of it off."""
        self._settle()
        self.page.keyboard.press("Shift+1")
        self._settle()

    def turn_right(self) -> None:
        """Turn the view of the image a quarter clockwise."""
        self.tool("rotate-right")
        self.turned = (self.turned + 90) % 360
        self._settle()

    def next_image(self, size: tuple[int, int]) -> None:
        """Go to the next image of a task with several, (W, H) px."""
        self.page.keyboard.press("Control+ArrowRight")
        self.page.wait_for_timeout(1000)
        self._image_size, self.turned = size, 0
        self.fit()

    def zoom_in(self, at: Point, notches: int = 6) -> None:
        """Turn the wheel with Control held while the mouse is over a point."""
        self.page.mouse.move(*self._screen(*at))
        self.page.keyboard.down("Control")
        for _ in range(notches):
            self.page.mouse.wheel(0, -60)
            self.page.wait_for_timeout(60)
        self.page.keyboard.up("Control")
        self._settle()

    def nothing_selected(self) -> None:
        """Unselect, and take the mouse off the image, so that nothing but the regions is drawn over it."""
        self.page.keyboard.press("u")
        # The size of an active brush can be set by a slider that reaches over the image; the move tool has none.
        self.page.keyboard.press("v")
        self.page.mouse.move(5, 5)
        self.page.wait_for_timeout(250)

    # Gestures

    def tool(self, name: str) -> None:
        """Press a button of the toolbar: rectangle-3-point-tool, eraser, rotate-right, …"""
        self.page.locator(f"button[aria-label={name}]").first.click()

    def choose(self, name: str) -> None:
        """Choose what to draw: a label by its key, or a tool by its name in the toolbar."""
        if len(name) == 1:
            self.label(name)
        else:
            self.page.keyboard.press("u")
            self.tool(name)
        self.page.wait_for_timeout(100)

    def stroke(self, points: Sequence[Point], steps: int = 4) -> None:
        """Press at the first point, move through the others, release at the last."""
        self.page.mouse.move(*self._screen(*points[0]))
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*self._screen(*point), steps=steps)
            self.page.wait_for_timeout(30)
        self.page.mouse.up()
        self.page.wait_for_timeout(150)

    def tap(self, point: Point, drag_to: Point | None = None) -> None:
        """A click as slow as a human's (the vector tool doubles points of quicker ones), or a slow drag."""
        self.page.mouse.move(*self._screen(*point), steps=3)
        self.page.wait_for_timeout(120)
        self.page.mouse.down()
        self.page.wait_for_timeout(120)
        if drag_to is not None:
            self.page.mouse.move(*self._screen(*drag_to), steps=8)
            self.page.wait_for_timeout(120)
        self.page.mouse.up()
        self.page.wait_for_timeout(380)

    def taps(self, points: Sequence[Point], *, close: bool = False) -> None:
        """Tap one point after the other, and the first again to close."""
        for point in [*points, *points[:1]] if close else points:
            self.tap(point)

    def turn_region(self, box: tuple[float, float, float, float], degrees: float) -> None:
        """Select the region whose upright frame is `box` and drag its rotation handle clockwise."""
        middle, top = (
            ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2),
            ((box[0] + box[2]) / 2, box[1]),
        )
        self.page.keyboard.press("u")
        self.click(*middle)
        self.page.wait_for_timeout(300)
        centre, edge = self._screen(*middle), self._screen(*top)
        reach = 1 + _HANDLE / math.dist(centre, edge)
        handle = (
            centre[0] + reach * (edge[0] - centre[0]),
            centre[1] + reach * (edge[1] - centre[1]),
        )
        self.page.mouse.move(*handle)
        self.page.mouse.down()
        for part in (0.25, 0.5, 0.75, 1.0):
            self.page.mouse.move(*_around(centre, handle, part * degrees), steps=3)
            self.page.wait_for_timeout(60)
        self.page.mouse.up()
        self.page.wait_for_timeout(200)

    # What is seen

    def look(self) -> NDArray[np.float64]:
        """The image's green channel as the page shows it, float64[H, W]: grey has it, magenta ink has none."""
        self.nothing_selected()
        picture = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        green = np.asarray(picture)[:, :, 1].astype(np.float64)
        viewport = self.page.viewport_size
        assert viewport is not None
        ratio = green.shape[1] / viewport["width"]
        width, height = self._image_size
        x, y = self._screen_of(*np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5))
        rows = np.clip((y * ratio).astype(int), 0, green.shape[0] - 1)
        columns = np.clip((x * ratio).astype(int), 0, green.shape[1] - 1)
        sampled: NDArray[np.float64] = green[rows, columns]
        return sampled

    # Private

    def _frame(self) -> FloatRect:
        frame = self.page.locator(_IMAGE).bounding_box()
        assert frame is not None, "the image is not on the page"
        return frame

    def _settle(self) -> None:
        """Wait until the image stands still."""
        last = None
        for _ in range(40):
            self.page.wait_for_timeout(200)
            now = self.page.locator(_IMAGE).bounding_box()
            if now is not None and now == last:
                return
            last = now

    def _screen(self, x: float, y: float) -> Point:
        across, down = self._screen_of(np.array(x), np.array(y))
        return float(across), float(down)

    def _screen_of(
        self, x: NDArray[np.float64], y: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        frame = self._frame()
        u, v = x / self._image_size[0], y / self._image_size[1]
        u, v = {0: (u, v), 90: (1 - v, u), 180: (1 - u, 1 - v), 270: (v, 1 - u)}[self.turned]
        return frame["x"] + u * frame["width"], frame["y"] + v * frame["height"]


def inked(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which pixels bool[H, W] a region's ink has come to cover at least by half, between two looks.

    Where ink was before, more of it does not show. AssertionError when nothing has come.
    """
    ink = np.where(before > 40, np.clip(1 - after / np.maximum(before, 1), 0, 1), 0)
    strong = ink[ink > 0.2]
    assert strong.size, "the gesture left nothing to see"
    mask: NDArray[np.bool_] = ink > np.percentile(strong, 95) / 2
    return mask


def _around(centre: Point, point: Point, degrees: float) -> Point:
    turn = math.radians(degrees)
    dx, dy = point[0] - centre[0], point[1] - centre[1]
    return (
        centre[0] + dx * math.cos(turn) - dy * math.sin(turn),
        centre[1] + dx * math.sin(turn) + dy * math.cos(turn),
    )
