from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from regiontext.errors import MarkError
from regiontext.marks.rgba import rgba
from tests.regiontext.marks.regions import SIZE, ring


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)


def test_alpha_is_the_region_and_the_colours_stay() -> None:
    image = picture()
    both = rgba(image, ring())
    assert both.dtype == np.uint8 and both.shape == (SIZE[1], SIZE[0], 4)
    assert (both[..., :3] == image).all()
    assert set(np.unique(both[..., 3]).tolist()) == {0, 255}
    assert ((both[..., 3] > 0) == ring().mask).all()


def test_it_survives_a_png() -> None:
    both = rgba(picture(), ring())
    file = io.BytesIO()
    Image.fromarray(both).save(file, "PNG")
    read = Image.open(file)
    assert read.mode == "RGBA" and (np.asarray(read) == both).all()


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8)])
def test_other_arrays_are_refused(image: np.ndarray) -> None:
    with pytest.raises(MarkError, match=r"cannot add alpha to uint8\[4, 4"):
        rgba(image, ring())


def test_another_size_is_refused() -> None:
    with pytest.raises(MarkError, match=r"'ring'.*200 x 150.*100 x 50"):
        rgba(np.zeros((50, 100, 3), np.uint8), ring())
