"""Chat messages: from OpenAI's parts to chat-template turns and the images between the words.

Images are data URLs, or addresses whose bytes were fetched before. They are bounded in bytes before decoding and in
pixels before any pixel is unpacked. Knows nothing of the model or of HTTP.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from model_server.errors import RequestError, brief
from model_server.jobs import Picture
from regiontext.errors import ImageError
from regiontext.images import load_image

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["ImageLimits", "ImagePart", "picture", "read_messages"]

_ROLES = ("system", "developer", "user", "assistant")


@dataclass(frozen=True)
class ImageLimits:
    """Bounds on what a request may carry: encoded bytes, pixels, and images."""

    max_bytes: int = 20_000_000
    max_pixels: int = 50_000_000
    max_images: int = 16


@dataclass(frozen=True)
class ImagePart:
    """An image of the request, not yet decoded, and the field it came from."""

    url: str
    param: str

    @property
    def is_address(self) -> bool:
        """True if the image must be fetched, False for a data URL."""
        return not self.url.startswith("data:")


def read_messages(
    messages: Sequence[Any], *, limits: ImageLimits
) -> tuple[list[dict[str, Any]], list[ImagePart]]:
    """Check OpenAI messages and split them into chat-template turns and images.

    Returns the turns, whose content is a list of ``{"type": "text", "text"}`` and
    ``{"type": "image"}`` parts, and the images in order. Raises RequestError naming the field.
    """
    turns: list[dict[str, Any]] = []
    images: list[ImagePart] = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message, Mapping):
            raise RequestError(f"{where} must be an object, got {brief(message)}.", param=where)
        role = message.get("role")
        if role not in _ROLES:
            raise RequestError(
                f"{where}.role is {brief(role)}; it must be one of {', '.join(_ROLES)}.",
                param=f"{where}.role",
            )
        parts = _parts(message.get("content"), f"{where}.content", images)
        turns.append({"role": "system" if role == "developer" else role, "content": parts})
    if turns[-1]["role"] != "user":
        raise RequestError(
            f"The last message must come from the user, got {turns[-1]['role']!r}.",
            param=f"messages[{len(turns) - 1}].role",
        )
    if len(images) > limits.max_images:
        raise RequestError(
            f"The request carries {len(images)} images; at most {limits.max_images} are allowed.",
            param=images[limits.max_images].param,
            code="too_many_images",
        )
    return turns, images


def picture(part: ImagePart, *, limits: ImageLimits, data: bytes | None = None) -> Picture:
    """A picture that is decoded when it is needed, named by its bytes on the wire.

    data: what was fetched for a part that is an address, because that does not tell its pixels. Loading the picture
    raises RequestError naming the field.
    """
    if data is not None:
        return Picture(hashlib.sha256(data).digest(), lambda: _decoded(data, part, limits))
    digest = hashlib.sha256(part.url.encode()).digest()
    return Picture(digest, lambda: _decoded(_payload(part, limits), part, limits))


def _payload(part: ImagePart, limits: ImageLimits) -> bytes:
    head, comma, payload = part.url.partition(",")
    if not comma or not head.startswith("data:image/") or not head.endswith(";base64"):
        raise RequestError(
            f"The data URL starts with {head[:40]!r}; expected data:image/png;base64,… or another "
            "image type in base64.",
            param=part.param,
            code="invalid_image",
        )
    if len(payload) * 3 // 4 > limits.max_bytes:
        raise RequestError(
            f"The image has about {len(payload) * 3 // 4} bytes; at most {limits.max_bytes} are "
            "allowed. Send it smaller.",
            param=part.param,
            code="image_too_large",
            status=413,
        )
    try:
        return base64.b64decode(payload, validate=True)
    except binascii.Error as error:
        raise RequestError(
            f"The image is not valid base64: {error}.", param=part.param, code="invalid_image"
        ) from None


def _decoded(data: bytes, part: ImagePart, limits: ImageLimits) -> Image:
    try:
        return load_image(data, max_pixels=limits.max_pixels)
    except ImageError as error:
        raise RequestError(str(error), param=part.param, code="invalid_image") from None


def _parts(content: Any, where: str, images: list[ImagePart]) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, Sequence) or not content:
        raise RequestError(
            f"{where} must be a text or a non-empty list of parts, got {brief(content)}.",
            param=where,
        )
    parts: list[dict[str, Any]] = []
    for index, part in enumerate(content):
        here = f"{where}[{index}]"
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "text" and isinstance(part.get("text"), str):
            parts.append({"type": "text", "text": part["text"]})
        elif kind == "text":
            raise RequestError(f"{here}.text must be a text.", param=f"{here}.text")
        elif kind == "image_url":
            images.append(ImagePart(_url(part.get("image_url"), here), f"{here}.image_url.url"))
            parts.append({"type": "image"})
        else:
            raise RequestError(
                f"{here}.type is {brief(kind)}; it must be 'text' or 'image_url'.",
                param=f"{here}.type",
            )
    return parts


def _url(value: Any, here: str) -> str:
    url = value.get("url") if isinstance(value, Mapping) else value
    if not isinstance(url, str):
        raise RequestError(
            f"{here}.image_url.url must be a data URL, got {type(url).__name__}.",
            param=f"{here}.image_url.url",
        )
    return url
