"""Pictures of the assistant at work for the README, made of screenshots of a real Label Studio."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

__all__ = ["Film"]

_WIDTH = 1000
# Label Studio's list of tasks on the left, and its bar at the top, in CSS pixels.
_EDGES = (240, 90)
_MOUSE = """
(() => {
  const dot = document.createElement("div");
  dot.style.cssText = "position:fixed;z-index:99999;left:-9px;top:-9px;width:18px;height:18px;border-radius:50%;" +
    "background:#0006;border:2px solid #fffc;pointer-events:none;box-sizing:border-box";
  document.body.append(dot);
  addEventListener("mousemove", (e) => { dot.style.transform = `translate(${e.clientX}px,${e.clientY}px)`; }, true);
})()
"""


@dataclass
class Film:
    """Frames of one page, each with how long it is shown in ms; the mouse is a dot, since screenshots have none."""

    page: Page
    frames: list[tuple[Image.Image, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.evaluate(_MOUSE)

    def still(self) -> bytes:
        """The page without its edges, where only other tasks and projects are; as PNG."""
        size = self.page.viewport_size
        assert size is not None
        left, top = _EDGES
        width, height = size["width"] - left, size["height"] - top
        return self.page.screenshot(clip={"x": left, "y": top, "width": width, "height": height})

    def shoot(self, shown_ms: int) -> None:
        """Take what the page shows now; a frame like the one before only lengthens that."""
        taken = Image.open(io.BytesIO(self.still())).convert("RGB")
        small = taken.resize((_WIDTH, round(_WIDTH * taken.height / taken.width)), Image.LANCZOS)
        if self.frames and self.frames[-1][0].tobytes() == small.tobytes():
            shown_ms += self.frames.pop()[1]
        self.frames.append((small, shown_ms))

    def drag(self, points: Sequence[tuple[float, float]]) -> None:
        """Press at the first point of the screen, move through the others, release at the last."""
        self.page.mouse.move(*points[0])
        self.shoot(500)
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*point, steps=4)
            self.shoot(90)
        self.page.mouse.up()

    def write(self, path: Path) -> None:
        """As an animated WebP that begins anew for ever."""
        first, *rest = (image for image, _ in self.frames)
        path.parent.mkdir(parents=True, exist_ok=True)
        first.save(
            path,
            format="WEBP",
            save_all=True,
            append_images=rest,
            duration=[shown for _, shown in self.frames],
            loop=0,
            quality=70,
            method=4,
        )
