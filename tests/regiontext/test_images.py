"""Images as they come: every mode, turned by EXIF, animated, cut short, hostile."""

from __future__ import annotations

import contextlib
import hashlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from regiontext.errors import ImageError
from regiontext.images import image_hash, load_image


def encoded(image: Image.Image, form: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format=form, **options)
    return file.getvalue()


def picture() -> np.ndarray:
    pixels = np.zeros((6, 8, 3), dtype=np.uint8)
    pixels[..., 0] = np.arange(8) * 30
    pixels[..., 1] = (np.arange(6) * 40)[:, None]
    return pixels


def test_an_rgb_png_comes_back_as_it_is():
    image = load_image(encoded(Image.fromarray(picture())))
    assert image.mode == "RGB" and image.size == (8, 6)
    assert np.array_equal(np.asarray(image), picture())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_shows_the_image_upright(orientation):
    upright = Image.fromarray(picture())
    stored = {
        1: lambda i: i,
        2: lambda i: i.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda i: i.transpose(Image.Transpose.ROTATE_180),
        4: lambda i: i.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda i: i.transpose(Image.Transpose.TRANSPOSE),
        6: lambda i: i.transpose(Image.Transpose.ROTATE_90),
        7: lambda i: i.transpose(Image.Transpose.TRANSVERSE),
        8: lambda i: i.transpose(Image.Transpose.ROTATE_270),
    }[orientation](upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = load_image(encoded(stored, exif=exif))
    assert image.size == (8, 6)
    assert np.array_equal(np.asarray(image), picture())


def test_broken_exif_does_not_cost_the_image():
    data = encoded(Image.fromarray(picture()), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    assert load_image(data).size == (8, 6)


@pytest.mark.parametrize(
    ("mode", "form"),
    [
        ("1", "PNG"),
        ("L", "PNG"),
        ("P", "PNG"),
        ("LA", "PNG"),
        ("RGBA", "PNG"),
        ("CMYK", "JPEG"),
        ("YCbCr", "JPEG"),
    ],
)
def test_every_mode_becomes_rgb(mode, form):
    image = load_image(encoded(Image.fromarray(picture()).convert(mode), form))
    assert image.mode == "RGB" and image.size == (8, 6)


def test_transparency_lies_over_white():
    layer = np.zeros((2, 2, 4), dtype=np.uint8)
    layer[0, 0] = (10, 20, 30, 255)
    pixels = np.asarray(load_image(encoded(Image.fromarray(layer))))
    assert pixels[0, 0].tolist() == [10, 20, 30]
    assert pixels[1, 1].tolist() == [255, 255, 255]


def test_palette_transparency_lies_over_white():
    image = Image.new("P", (2, 1), 0)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.putpixel((1, 0), 1)
    pixels = np.asarray(load_image(encoded(image, transparency=0)))
    assert pixels[0].tolist() == [[255, 255, 255], [255, 0, 0]]


def test_sixteen_bit_grey_keeps_its_shades():
    grey = np.array([[0, 257 * 100, 65535]], dtype=np.uint16)
    pixels = np.asarray(load_image(encoded(Image.fromarray(grey))))
    assert pixels[0, :, 0].tolist() == [0, 100, 255]


def test_float_grey_is_scaled_and_holes_are_black():
    grey = np.array([[0.0, 0.5, 1.0, np.nan]], dtype=np.float32)
    pixels = np.asarray(load_image(encoded(Image.fromarray(grey), "TIFF")))
    assert pixels[0, :, 0].tolist() == [0, 128, 255, 0]


def test_of_several_frames_the_first_counts():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert load_image(data).getpixel((0, 0)) == (255, 0, 0)


def bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(50_000, 50_000), (20_000, 6_000)])
def test_a_bomb_is_refused_before_decoding(size):
    with pytest.raises(ImageError, match="pixels"):
        load_image(bomb(*size))


def test_the_limit_is_the_callers():
    data = encoded(Image.fromarray(picture()))
    assert load_image(data, max_pixels=48).size == (8, 6)
    with pytest.raises(ImageError, match=r"8 x 6 pixels, more than the 47"):
        load_image(data, max_pixels=47)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"  <!DOCTYPE html><html>login</html>", "HTML"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b'{"detail": "no"}', "JSON"),
        (b"\x00\x01\x02", "cannot read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "cannot read"),
    ],
)
def test_what_is_no_image_is_said(data, said):
    with pytest.raises(ImageError, match=said):
        load_image(data)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
def test_an_image_cut_short_is_an_image_error(form):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), form)
    with pytest.raises(ImageError):
        load_image(data[: len(data) // 2])


def test_corrupted_bytes_never_raise_anything_else():
    rng = np.random.default_rng(0)
    data = np.frombuffer(encoded(Image.fromarray(picture())), dtype=np.uint8)
    for _ in range(200):
        broken = data.copy()
        broken[rng.integers(8, len(data), 3)] = rng.integers(0, 255, 3)
        with contextlib.suppress(ImageError):
            assert load_image(broken.tobytes()).mode == "RGB"


def test_the_hash_is_of_the_bytes():
    assert image_hash(b"abc") == hashlib.sha256(b"abc").hexdigest()
