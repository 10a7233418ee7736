"""Generated grey pictures to draw on, stored upright, with an EXIF orientation, or with a palette."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

__all__ = ["Picture"]


@dataclass(frozen=True)
class Picture:
    """A generated grey picture: (W, H) px as seen upright, EXIF orientation, and how it is stored."""

    size: tuple[int, int]
    orientation: int = 1
    palette: bool = False
    seed: int = 0

    @property
    def suffix(self) -> str:
        return ".png" if self.orientation == 1 else ".jpg"

    def encoded(self) -> bytes:
        """The file's bytes."""
        image, file = self._painted(), io.BytesIO()
        if self.palette:
            image.quantize(64).save(file, format="PNG", transparency=0, optimize=True)
        elif self.orientation == 1:
            image.convert("L").save(file, format="PNG", optimize=True)
        else:
            # What is stored is turned so that the orientation sets it right again.
            stored = image.transpose(_UNDO[self.orientation])
            exif = Image.Exif()
            exif[0x0112] = self.orientation
            stored.save(file, format="JPEG", quality=60, exif=exif)
        return file.getvalue()

    def _painted(self) -> Image.Image:
        rng = np.random.default_rng(self.seed)
        width, height = self.size
        image = Image.new("RGB", self.size, (210, 210, 210))
        pen = ImageDraw.Draw(image)
        for _ in range(10):
            x, y, r = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0.03, 0.15) * width
            shade = (int(rng.uniform(150, 240)),) * 3
            draw = pen.ellipse if rng.random() < 0.5 else pen.rectangle
            draw((x - r, y - r, x + r, y + r), fill=shade)
        # A dark square near the top left corner, for a box to be drawn around.
        side = 0.1 * width
        pen.rectangle((side, side, 2 * side, 2 * side), fill=(90, 90, 90))
        return image


_UNDO = {
    3: Image.Transpose.ROTATE_180,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}
