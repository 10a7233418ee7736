"""Bytes to the upright RGB image a person sees, and the hash that names it.

Knows nothing of where the bytes came from. Whatever is unusable becomes an `ImageError` that
says why.
"""

from __future__ import annotations

import hashlib
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from regiontext.errors import ImageError
from regiontext.geometry import MAX_PIXELS

__all__ = ["FORMATS", "image_hash", "image_orientation", "load_image"]

FORMATS = (
    "PNG",
    "JPEG",
    "WEBP",
    "GIF",
    "BMP",
    "DIB",
    "TIFF",
    "PPM",
    "ICO",
    "TGA",
    "AVIF",
    "JPEG2000",
)
"""Image formats that are read, where this Pillow was built with them.

Formats that start other programs (such as EPS) are not among them."""

_BLOCK = 1 << 20


def image_hash(data: bytes) -> str:
    """The sha256 of the file's bytes, as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def load_image(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode a file's bytes into the upright image as mode RGB.

    EXIF orientation is applied, of several frames the first is taken, transparency is laid over
    white, deep grey values are scaled to 8 bits. Raises ImageError when the bytes are no readable
    image, are cut short, or hold more than `max_pixels` pixels (checked before decoding).
    """
    try:
        with _open(data) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise ImageError(
                    f"the image has {width} x {height} pixels, more than the {max_pixels} allowed; "
                    "scale it down or raise the limit"
                )
            image.load()
            return _to_rgb(_upright(image))
    except ImageError:
        raise
    except Exception as fault:  # decoders raise nearly anything on hostile bytes
        raise ImageError(_explain(data, fault)) from fault


def image_orientation(data: bytes) -> int:
    """The EXIF orientation that `load_image` applies to a file's bytes: 1 to 8, 1 when it has none.

    `regiontext.orientation` takes points, boxes and masks from the one to the other. Raises
    ImageError when the bytes are no readable image; pixels are not decoded.
    """
    try:
        with _open(data) as image:
            return _orientation(image)
    except ImageError:
        raise
    except Exception as fault:
        raise ImageError(_explain(data, fault)) from fault


def _open(data: bytes) -> Image.Image:
    if not isinstance(data, bytes | bytearray | memoryview):
        raise ImageError(f"the image is {type(data).__name__}, not the bytes of a file")
    if not data:
        raise ImageError("the image is empty (0 bytes); check that its URL delivers the file")
    Image.init()
    known = [form for form in FORMATS if form in Image.OPEN]
    return Image.open(io.BytesIO(data), formats=known)


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(0x0112, 1)
    except Exception:
        return 1
    return found if found in range(1, 9) else 1


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a browser shows an image with broken EXIF data as it lies
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    mode = image.mode
    if mode == "RGB" and "transparency" not in image.info:
        return image.copy()
    if mode in {"I", "F"} or mode.startswith("I;16"):
        return _deep_to_rgb(image)
    if mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        layer = image.convert("RGBA")
        paper = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(paper, layer).convert("RGB")
    return image.convert("RGB")


def _deep_to_rgb(image: Image.Image) -> Image.Image:
    # A few rows at a time: in full precision the numbers are eight times the picture.
    values = np.asarray(image)
    step = max(1, _BLOCK // values.shape[1])
    blocks = [slice(top, top + step) for top in range(0, len(values), step)]
    ends = [(float(part.min()), float(part.max())) for part in (_finite(values[b]) for b in blocks)]
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    scale, taken = _grey_scale(image.mode, low, high)
    grey = np.empty(values.shape, dtype=np.uint8)
    clear = image.info.get("transparency")  # a PNG of 16 bits may make one shade transparent
    for block in blocks:
        grey[block] = np.clip(np.rint((_finite(values[block]) - taken) * scale), 0, 255)
        if isinstance(clear, int):
            grey[block][values[block] == clear] = 255
    return Image.fromarray(grey).convert("RGB")


def _finite(values: NDArray[Any]) -> NDArray[np.float64]:
    return np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def _grey_scale(mode: str, low: float, high: float) -> tuple[float, float]:
    """What deep grey values are multiplied with, once the second number is taken off them."""
    if mode.startswith("I;16") or (mode == "I" and low >= 0 and 255 < high <= 65535):
        return 1 / 257.0, 0.0
    if mode == "F" and low >= 0 and high <= 1:
        return 255.0, 0.0
    if low >= 0 and high <= 255:
        return 1.0, 0.0
    # Halves, as the difference of the ends may be more than a float holds.
    return 127.5 / (high / 2 - low / 2), low


def _explain(data: bytes, fault: Exception) -> str:
    start = bytes(data[:512]).lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "got an HTML page instead of an image; the URL may need a login"
    if start.startswith((b"<svg", b"<?xml")):
        return "got an SVG or XML file; only pixel images are read: convert it to PNG"
    if start.startswith((b"{", b"[")):
        return f"got JSON instead of an image: {bytes(data[:80])!r}"
    reason = str(fault) or type(fault).__name__
    return f"cannot read the image ({len(data)} bytes, starting {bytes(data[:8])!r}): {reason}"
