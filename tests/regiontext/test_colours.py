from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from regiontext.colours import COLOUR_NAMES, colour_names, colour_shares, srgb_to_lab
from regiontext.geometry import ellipse_ring
from regiontext.region import Region


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        # Bruce Lindbloom's CIE colour calculator, sRGB and D65 without adaptation, to 0.01.
        ((255, 255, 255), (100.0, 0.0, 0.0)),
        ((0, 0, 0), (0.0, 0.0, 0.0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((255, 255, 0), (97.14, -21.55, 94.48)),
        ((0, 255, 255), (91.11, -48.09, -14.13)),
        ((255, 0, 255), (60.32, 98.23, -60.82)),
        ((128, 128, 128), (53.59, 0.0, 0.0)),
    ],
)
def test_lab_as_published(rgb: tuple[int, int, int], lab: tuple[float, float, float]) -> None:
    assert srgb_to_lab(np.array(rgb, np.uint8)) == pytest.approx(lab, abs=0.011)


@given(st.integers(0, 255))
def test_neutral_pixels_have_no_chroma_and_a_neutral_name(level: int) -> None:
    pixel = np.full(3, level, np.uint8)
    assert srgb_to_lab(pixel)[1:] == pytest.approx((0, 0), abs=1e-9)
    assert COLOUR_NAMES[colour_names(pixel)] in ("black", "grey", "white")


def name(rgb: tuple[int, int, int]) -> str:
    return COLOUR_NAMES[int(colour_names(np.array(rgb, np.uint8)))]


@pytest.mark.parametrize(
    ("expected", "rgb"),
    [
        # What the bundled model's world is painted with.
        ("red", (208, 34, 40)),
        ("orange", (243, 128, 22)),
        ("yellow", (244, 214, 40)),
        ("green", (52, 158, 54)),
        ("blue", (38, 82, 208)),
        ("purple", (126, 52, 172)),
        ("pink", (246, 140, 184)),
        ("brown", (118, 72, 36)),
        ("black", (38, 38, 42)),
        ("white", (240, 240, 238)),
        ("teal", (12, 148, 146)),
        # CSS colours that nobody would call otherwise.
        ("red", (220, 20, 60)),
        ("red", (128, 0, 0)),
        ("orange", (255, 165, 0)),
        ("yellow", (255, 215, 0)),
        ("green", (34, 139, 34)),
        ("green", (128, 128, 0)),
        ("blue", (135, 206, 235)),
        ("blue", (0, 0, 128)),
        ("purple", (128, 0, 128)),
        ("pink", (255, 192, 203)),
        ("pink", (255, 20, 147)),
        ("brown", (139, 69, 19)),
        ("beige", (210, 180, 140)),
        ("beige", (245, 245, 220)),
        ("grey", (128, 128, 128)),
        ("white", (255, 250, 250)),
        # From photographs: a yellow shirt in the shade, bread, white in bluish light, a shadow.
        ("yellow", (183, 143, 30)),
        ("beige", (222, 196, 158)),
        ("white", (214, 216, 232)),
        ("black", (12, 10, 8)),
    ],
)
def test_names(expected: str, rgb: tuple[int, int, int]) -> None:
    assert name(rgb) == expected


def test_every_colour_of_the_cube_has_a_fitting_name() -> None:
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1)
    lab = srgb_to_lab(cube)
    named = np.array(COLOUR_NAMES)[colour_names(cube)]
    chroma = np.hypot(lab[..., 1], lab[..., 2])
    # No rule missed: what no rule fits is called grey.
    assert chroma[named == "grey"].max() < 15
    assert lab[named == "black"][:, 0].max() < 24 and lab[named == "white"][:, 0].min() >= 80
    assert set(named.ravel()) == set(COLOUR_NAMES)


def scene() -> np.ndarray:
    pixels = np.full((100, 200, 3), (240, 240, 238), np.uint8)
    pixels[:, 100:] = (38, 82, 208)
    pixels[:25] = (208, 34, 40)
    return pixels


def test_shares_are_those_of_the_regions_pixels() -> None:
    region = Region.from_box("r", (0, 0, 200, 100), (200, 100))
    for image in (scene(), Image.fromarray(scene())):
        shares = dict(colour_shares(image, region))
        assert list(shares)[2] == "red"
        assert shares == pytest.approx({"white": 0.375, "blue": 0.375, "red": 0.25}, abs=0.01)
    left = Region.from_box("l", (0, 30, 90, 100), (200, 100))
    assert colour_shares(scene(), left) == (("white", 1.0),)
    # Outside of the mask nothing counts, though inside of its box.
    ring = Region("e", "ellipse", (200, 100), polygons=(ellipse_ring((50, 62), (40, 37)),))
    assert colour_shares(scene(), ring)[0] == ("white", 1.0)


def test_fine_patterns_do_not_fall_into_step_with_the_sampling() -> None:
    for period in range(2, 12):
        pixels = np.full((300, 400, 3), 255, np.uint8)
        pixels[:, ::period] = (200, 0, 0)
        shares = dict(
            colour_shares(pixels, Region.from_box("r", (0, 0, 400, 300), (400, 300)), least=0)
        )
        assert shares["red"] == pytest.approx(1 / period, abs=0.02)


def test_rare_colours_are_left_out_and_one_always_stays() -> None:
    region = Region.from_box("r", (0, 0, 200, 100), (200, 100))
    assert {n for n, _ in colour_shares(scene(), region, least=0.3)} == {"white", "blue"}
    assert len(colour_shares(scene(), region, least=0.9)) == 1
    assert len(colour_shares(scene(), region, most=2)) == 2


def test_an_image_of_another_size_is_refused() -> None:
    region = Region.from_box("r", (0, 0, 20, 10), (201, 100))
    for image in (scene(), Image.fromarray(scene())):
        with pytest.raises(ValueError, match=r"200 x 100 and region 'r' is on one of 201 x 100"):
            colour_shares(image, region)
