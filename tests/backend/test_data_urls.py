"""Pictures arrive at the model pixel for pixel."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from backend.data_urls import data_url


def read(url: str) -> Image.Image:
    head, _, body = url.partition(",")
    assert head == "data:image/png;base64"
    image = Image.open(io.BytesIO(base64.b64decode(body, validate=True)))
    image.verify()
    image = Image.open(io.BytesIO(base64.b64decode(body)))
    image.load()
    return image


@given(
    st.sampled_from(["L", "RGB", "RGBA"]),
    st.integers(1, 300),
    st.integers(1, 300),
    st.integers(0, 9),
)
def test_pixel_for_pixel(mode: str, width: int, height: int, seed: int) -> None:
    channels = len(mode) if mode != "L" else 1
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    image = Image.fromarray(pixels.squeeze(2) if mode == "L" else pixels, mode=mode)
    found = read(data_url(image))
    assert (found.mode, found.size) == (mode, image.size)
    assert found.tobytes() == image.tobytes()


@pytest.mark.parametrize("mode", ["1", "P", "LA", "I;16"])
def test_other_modes_are_left_to_pillow(mode: str) -> None:
    image = Image.new(mode, (20, 10))
    assert read(data_url(image)).convert("RGB").tobytes() == image.convert("RGB").tobytes()
