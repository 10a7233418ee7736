"""Pictures as they go over the wire to a model: PNG data URLs, lossless, since marks must arrive as drawn.

Compressing a small picture takes longer than sending it, and Pillow weighs five filters per row even when it does not
compress. So small pictures are written here, stored as they are; larger ones by Pillow. Knows nothing of models.
"""

from __future__ import annotations

import base64
import io
import struct
import zlib

import numpy as np
from PIL import Image

__all__ = ["data_url"]

_SMALL = 256 * 256
_COLOUR_TYPES = {"L": 0, "RGB": 2, "RGBA": 6}


def data_url(image: Image.Image) -> str:
    """The image as a PNG data URL."""
    small = image.width * image.height <= _SMALL and image.mode in _COLOUR_TYPES
    data = _stored(image) if small else _compressed(image)
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")


def _compressed(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def _stored(image: Image.Image) -> bytes:
    """A PNG (ISO/IEC 15948, sections 5 and 9) of 8 bits a channel, each row unfiltered, nothing compressed."""
    pixels = np.asarray(image).reshape(image.height, -1)
    rows = np.zeros((image.height, 1 + pixels.shape[1]), dtype=np.uint8)
    rows[:, 1:] = pixels
    head = struct.pack(">2I5B", *image.size, 8, _COLOUR_TYPES[image.mode], 0, 0, 0)
    body = zlib.compress(rows.data, level=0)
    chunks = ((b"IHDR", head), (b"IDAT", body), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return (
        struct.pack(">I", len(data))
        + name
        + data
        + struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))
    )
