"""Images as they come: every mode, turned by EXIF, animated, cut short, hostile."""

from __future__ import annotations

import contextlib
import hashlib
import io
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from regiontext import images
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


def test_a_transparent_shade_of_sixteen_bit_grey_lies_over_white():
    shades = np.array([[0, 1000], [30000, 65535]], dtype=np.uint16)
    file = io.BytesIO()
    Image.fromarray(shades).save(file, format="PNG", transparency=1000)
    seen = np.asarray(load_image(file.getvalue()))[..., 0]
    assert seen.tolist() == [[0, 255], [117, 255]]


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


def every_file() -> list[tuple[str, str, bytes]]:
    """The picture in every mode and format that Pillow writes."""
    made = []
    for mode in ("1", "L", "P", "LA", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F"):
        for form in ("PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP", "TGA", "JPEG2000", "PPM"):
            image = Image.fromarray(picture())
            with contextlib.suppress(OSError, ValueError, KeyError):
                image = (
                    image.convert("RGB").convert(mode)
                    if mode != "PA"
                    else image.convert("RGBA").convert(mode)
                )
                made.append((mode, form, encoded(image, form)))
    return made


def test_whatever_pillow_writes_is_read_as_rgb_of_the_same_size():
    files = every_file()
    assert len(files) > 40 and len({mode for mode, _, _ in files}) > 8
    for mode, form, data in files:
        image = load_image(data)
        assert (image.mode, image.size) == ("RGB", (8, 6)), (mode, form)


@pytest.mark.parametrize("form", ["GIF", "PNG", "TIFF"])
def test_the_first_frame_of_every_animation(form):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], form, save_all=True, append_images=frames[1:])
    assert load_image(data).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("data", [None, 5, "text", [1, 2], {}])
def test_what_is_no_bytes_is_an_image_error(data):
    with pytest.raises(ImageError, match="not the bytes"):
        load_image(data)


def test_bytes_of_any_kind_are_read():
    data = encoded(Image.fromarray(picture()))
    assert load_image(bytearray(data)).size == load_image(memoryview(data)).size == (8, 6)
    with pytest.raises(ImageError, match="cannot read"):
        load_image(memoryview(b"nothing"))


def chunked(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
def test_a_bomb_in_a_side_chunk_is_an_image_error_at_once(kind):
    data = encoded(Image.fromarray(picture()))
    packed = chunked(kind, b"a\0\0" + zlib.compress(bytes(100_000_000), 9))
    start = time.thread_time()
    with pytest.raises(ImageError, match="too large"):
        load_image(data[:33] + packed + data[33:])
    assert time.thread_time() - start < 1


def test_deep_grey_takes_little_more_than_its_picture(monkeypatch):
    grey = np.random.default_rng(0).integers(0, 65536, (1500, 1200), dtype=np.uint16)
    data = encoded(Image.fromarray(grey), compress_level=1)
    tracemalloc.start()
    image = load_image(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 3 * grey.size + 20e6
    assert np.array_equal(np.asarray(image)[..., 0], np.rint(grey / 257.0).astype(np.uint8))
    monkeypatch.setattr(images, "_BLOCK", 5000)
    assert np.array_equal(np.asarray(load_image(data)), np.asarray(image))


def test_float_grey_of_any_range_is_stretched():
    grey = np.array([[-3e38, 0, 3e38, np.inf, np.nan]], dtype=np.float32)
    pixels = np.asarray(load_image(encoded(Image.fromarray(grey), "TIFF")))
    assert pixels[0, :, 0].tolist() == [0, 128, 255, 128, 128]
