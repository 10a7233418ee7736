"""EXIF orientation against what Pillow makes of the same file."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from regiontext.geometry import fill_rings, from_percent, rectangle_ring, to_percent
from regiontext.images import image_orientation, load_image
from regiontext.orientation import (
    stored_box,
    stored_mask,
    stored_points,
    stored_size,
    upright_box,
    upright_mask,
    upright_points,
    upright_size,
)

ORIENTATIONS = range(1, 9)
SIZE = (13, 7)


def photo(orientation: int) -> tuple[bytes, np.ndarray]:
    """A file of 13 x 7 stored pixels, no two of them the same."""
    pixels = np.arange(13 * 7 * 3, dtype=np.uint8).reshape(7, 13, 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", exif=exif)
    return file.getvalue(), pixels


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_pixel_goes_where_pillow_puts_it(orientation):
    data, stored = photo(orientation)
    upright = np.asarray(load_image(data))
    assert image_orientation(data) == orientation
    size = upright_size(SIZE, orientation)
    assert upright.shape[1::-1] == size and stored_size(size, orientation) == SIZE
    y, x = np.mgrid[:7, :13]
    centres = np.stack([x.ravel(), y.ravel()], axis=1) + 0.5
    columns, rows = upright_points(centres, size, orientation).T
    assert np.array_equal(upright[rows.astype(int), columns.astype(int)], stored.reshape(-1, 3))
    for channel in range(3):
        assert np.array_equal(
            upright_mask(stored[..., channel], orientation), upright[..., channel]
        )
        assert np.array_equal(stored_mask(upright[..., channel], orientation), stored[..., channel])


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@given(
    sides=st.tuples(st.integers(1, 9000), st.integers(1, 9000)),
    x=st.floats(-50, 150),
    y=st.floats(-50, 150),
)
def test_percent_to_stored_pixels_and_back_within_half_a_pixel(orientation, sides, x, y):
    here = np.array([[x, y]])
    stored = stored_points(from_percent(here, sides), sides, orientation)
    again = upright_points(stored, sides, orientation)
    assert np.abs(again - from_percent(here, sides)).max() < 1e-9 < 0.5
    assert np.abs(to_percent(again, sides) - here).max() < 1e-6


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_boxes_go_as_their_masks_do(orientation):
    box = (2.0, 1.0, 9.0, 5.0)
    mask = fill_rings([rectangle_ring(box)], SIZE)
    size = upright_size(SIZE, orientation)
    turned = upright_box(box, size, orientation)
    assert np.array_equal(
        fill_rings([rectangle_ring(turned)], size), upright_mask(mask, orientation)
    )
    assert stored_box(turned, size, orientation) == box


@pytest.mark.parametrize("wrong", [0, 9, -1, None])
def test_there_are_eight_orientations(wrong):
    with pytest.raises(ValueError, match="from 1 to 8"):
        upright_size(SIZE, wrong)


def test_a_file_without_orientation_lies_as_it_is():
    file = io.BytesIO()
    Image.new("RGB", (4, 3)).save(file, format="PNG")
    assert image_orientation(file.getvalue()) == 1
    assert image_orientation(photo(77)[0]) == 1
