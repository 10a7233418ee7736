"""ViP-LLaVA's prompt table (arXiv 2312.00784, visual_prompt_generator), row by row, over many seeds;
and what its code gets wrong, which ours must not.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from PIL import Image

from regiontext.errors import MarkError
from regiontext.marks.kinds import COLOURS, TRAINING_KINDS
from regiontext.marks.layout import lay_out
from regiontext.marks.parts import Oval, Path, Polygon, Raster, Rectangle, Rings
from regiontext.marks.style import Style, training_style
from regiontext.marks.view import View, render
from regiontext.region import Region
from tests.regiontext.marks.regions import SIZE, ring

SEEDS = range(1500)
WIDE = (1008, 700)  # s = 3
BOX = Region.from_box("box", (300.0, 200.0, 620.0, 400.0), WIDE)


@cache
def drawn(kind: str) -> tuple[Style, ...]:
    return tuple(training_style(np.random.default_rng(seed), (kind,)) for seed in SEEDS)


def assert_uniform(values: Sequence[float], low: float, high: float) -> None:
    """Continuous, uniform on low..high: within it, and its deciles where they belong."""
    assert low <= min(values) and max(values) <= high
    deciles = np.quantile(values, np.linspace(0.1, 0.9, 9))
    assert deciles == pytest.approx(np.linspace(low, high, 11)[1:-1], abs=0.06 * (high - low))


def assert_uniform_integers(values: Sequence[float], low: int, high: int) -> None:
    """Each of low..high, equally often within chance (six standard deviations)."""
    counts = Counter(values)
    assert sorted(counts) == list(range(low, high + 1))
    expected = len(values) / (high - low + 1)
    assert all(abs(count - expected) < 6 * math.sqrt(expected) for count in counts.values())


def test_the_nine_colours() -> None:
    assert COLOURS == {
        "red": (255, 0, 0),
        "lime": (0, 255, 0),
        "blue": (0, 0, 255),
        "yellow": (255, 255, 0),
        "fuchsia": (255, 0, 255),
        "aqua": (0, 255, 255),
        "orange": (255, 165, 0),
        "purple": (128, 0, 128),
        "gold": (255, 215, 0),
    }


@pytest.mark.parametrize("kind", TRAINING_KINDS[:8])
def test_alpha_is_uniform_and_lower_for_filled_masks(kind: str) -> None:
    low, high = (48, 128) if kind == "mask" else (96, 255)
    alphas = [style.alpha for style in drawn(kind)]
    assert min(alphas) <= low + 1 and max(alphas) >= high - 1
    assert_uniform(alphas, low, high)


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        ("rectangle", 2, 8),
        ("ellipse", 2, 8),
        ("triangle", 2, 8),
        ("point", 5, 20),
        ("scribble", 2, 12),
        ("contour", 1, 2),
        ("arrow", 1, 6),
    ],
)
def test_widths_radii_and_half_widths_are_uniform_integers(kind: str, low: int, high: int) -> None:
    assert_uniform_integers([style.width for style in drawn(kind)], low, high)


def test_every_width_is_scaled_by_the_image_and_truncated() -> None:
    for size in (WIDE, (640, 480), (97, 61)):
        region = Region.from_box("b", (10.0, 10.0, 60.0, 50.0), size)
        for kind, factor in (("rectangle", 5), ("ellipse", 5), ("triangle", 5), ("scribble", 5)):
            style = Style(kind, "red", (255, 0, 0), 128, factor)
            (part,) = lay_out(region, style).parts
            assert isinstance(part, Rectangle | Oval | Path)
            assert part.width == max(1, int(factor * max(size) / 336))


def test_the_rectangle_is_the_box_whatever_the_region() -> None:
    (part,) = lay_out(ring(), drawn("rectangle")[0], rng=np.random.default_rng(0)).parts
    assert isinstance(part, Rectangle) and part.box == (40, 30, 119, 109)


def test_the_ellipse_grows_by_up_to_half_about_the_box_on_both_axes_alike() -> None:
    assert_uniform([style.grow for style in drawn("ellipse")], 1.0, 1.5)
    for style in drawn("ellipse")[:50]:
        (part,) = lay_out(BOX, style).parts
        assert isinstance(part, Oval)
        x0, y0, x1, y1 = part.box
        assert ((x0 + x1) / 2, (y0 + y1) / 2) == (459.5, 299.5)
        assert ((x1 - x0) / 319, (y1 - y0) / 199) == pytest.approx((style.grow, style.grow))


def test_the_triangle_is_three_points_of_the_region_none_wider_than_150_degrees() -> None:
    widest, corners = 0.0, []
    for seed in range(400):
        (part,) = lay_out(BOX, drawn("triangle")[0], rng=np.random.default_rng(seed)).parts
        assert isinstance(part, Path) and part.curved
        assert len(part.points) == 4 and (part.points[0] == part.points[3]).all()
        for i in range(3):
            here, before, after = (part.points[(i + shift) % 3] for shift in (0, -1, 1))
            turn = math.atan2(*(before - here)[::-1]) - math.atan2(*(after - here)[::-1])
            widest = max(widest, math.degrees(abs((turn + math.pi) % (2 * math.pi) - math.pi)))
        corners.append(part.points[:3])
    spread = np.concatenate(corners)
    assert 140 < widest <= 150
    assert (spread >= (300, 200)).all() and (spread <= (620, 400)).all()
    # Refusing flat triangles favours the border a little over the uniform 160 +- 92 and 100 +- 58.
    assert spread.mean(axis=0) == pytest.approx([460, 300], abs=10)
    assert spread.std(axis=0) == pytest.approx([92, 58], rel=0.15)


def test_the_point_is_normal_about_the_middle_with_an_eighth_of_the_sides_as_variance() -> None:
    centres, stretched = [], []
    for seed, style in zip(SEEDS, drawn("point"), strict=True):
        (part,) = lay_out(BOX, style, rng=np.random.default_rng(seed)).parts
        assert isinstance(part, Oval) and part.width == 0
        x0, y0, x1, y1 = part.box
        centres.append(((x0 + x1) / 2, (y0 + y1) / 2))
        radius = int(style.width * 3)
        assert ((x1 - x0) / 2, (y1 - y0) / 2) == pytest.approx(
            (radius * style.aspect, radius / style.aspect)
        )
        stretched.append(style.aspect)
    assert np.mean(centres, axis=0) == pytest.approx([460, 300], abs=0.6)
    assert np.var(centres, axis=0) == pytest.approx([320 / 8, 200 / 8], rel=0.15)
    uneven = [aspect for aspect in stretched if aspect != 1.0]
    assert 0.45 < len(uneven) / len(stretched) < 0.55
    assert_uniform(uneven, 0.5, 2.0)


@pytest.mark.parametrize(("size", "samples"), [(WIDE, 3000), ((640, 480), 1904), ((97, 61), 288)])
def test_the_scribble_is_sampled_a_thousand_times_s(size: tuple[int, int], samples: int) -> None:
    region = Region.from_box("b", (10.0, 10.0, 60.0, 50.0), size)
    for rng in (None, np.random.default_rng(0)):
        (part,) = lay_out(region, drawn("scribble")[0], rng=rng).parts
        assert isinstance(part, Path) and not part.curved
        assert len(part.points) == samples


def test_the_scribble_starts_and_ends_anywhere_in_the_region() -> None:
    ends = []
    for seed in range(600):
        (part,) = lay_out(BOX, drawn("scribble")[0], rng=np.random.default_rng(seed)).parts
        assert isinstance(part, Path)
        ends += [part.points[0], part.points[-1]]
    across, down = np.transpose(ends)
    assert_uniform(across.tolist(), 300, 620)
    assert_uniform(down.tolist(), 200, 400)


def test_masks_and_contours_are_the_region_itself() -> None:
    (part,) = lay_out(ring(), drawn("mask")[0], rng=np.random.default_rng(0)).parts
    assert isinstance(part, Raster) and part.mask.sum() == ring().area
    for style in drawn("contour")[:20]:
        (part,) = lay_out(BOX, style, rng=np.random.default_rng(0)).parts
        assert isinstance(part, Rings) and part.half_width == int(style.width * 3)


def test_the_arrow() -> None:
    tips, lengths, heads, angles, bends = [], [], [], [], []
    styles = drawn("arrow")
    for seed, style in zip(SEEDS, styles, strict=True):
        rng = np.random.default_rng([7, seed])
        shaft, head = lay_out(BOX, style, rng=rng).parts
        assert isinstance(shaft, Path) and isinstance(head, Path | Polygon)
        tip = head.points[1]
        # Two sides of sixty degrees add up to one along the middle between them.
        along = head.points[0] + head.points[2] - 2 * tip
        size = math.hypot(*along)
        assert math.dist(head.points[0], tip) == pytest.approx(size)
        direction = along / size
        length = float((shaft.points[-1] - tip) @ direction) + size
        tips.append(tip)
        lengths.append(length)
        heads.append(size / length)
        angles.append(math.atan2(*direction[::-1]))
        if len(shaft.points) == 3:
            bends.append(shaft.points[1] - (tip + shaft.points[-1]) / 2)
        assert shaft.width == int(style.width * 3)
    # 0.8 times the shorter side is 160; 50 * s is 150: the range may be reversed.
    assert_uniform(lengths, 150, 160)
    assert_uniform(heads, 0.2, 0.5)
    assert_uniform(angles, -math.pi, math.pi)
    across, down = np.transpose(tips)
    assert_uniform(across.tolist(), 460 - 80, 460 + 80)
    assert_uniform(down.tolist(), 300 - 50, 300 + 50)
    assert 0.45 < len(bends) / len(styles) < 0.55
    assert_uniform(np.ravel(bends).tolist(), -15, 15)
    assert 0.45 < np.mean([style.solid_head for style in styles]) < 0.55


def test_a_small_arrow_still_has_a_head_of_six_times_s() -> None:
    small = Region.from_box("b", (500.0, 300.0, 504.0, 304.0), WIDE)
    sizes = []
    for seed in range(200):
        _, head = lay_out(small, drawn("arrow")[seed], rng=np.random.default_rng(seed)).parts
        assert isinstance(head, Path | Polygon)
        sizes.append(math.dist(head.points[0], head.points[1]))
    assert min(sizes) == pytest.approx(18)


def test_a_training_view_keeps_what_it_fixes_and_draws_the_rest() -> None:
    grey = Image.new("RGB", SIZE, (90, 100, 110))
    view = View(kind="rectangle", alpha=128, width=3)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        (image,) = render(grey, [ring()], view, rng=rng).images
        pixels = np.asarray(image).astype(int)
        # int(3 * 200 / 336) is one pixel.
        assert (pixels != (90, 100, 110)).any(axis=2).sum() == 2 * 80 + 2 * 78


# What the original gets wrong, and ours must not.


def test_a_point_needs_no_polygon() -> None:
    bare = Region.from_box("box", (40.0, 30.0, 120.0, 110.0), SIZE)
    for region in (bare, ring()):
        for rng in (None, np.random.default_rng(0)):
            assert lay_out(region, drawn("point")[0], rng=rng).parts


def test_the_second_region_does_not_take_the_first_ones_colour() -> None:
    grey = Image.new("RGB", SIZE, (90, 100, 110))
    pair = [ring(), Region.from_box("box", (130.0, 10.0, 190.0, 60.0), SIZE)]
    unlike = 0
    for seed in range(60):
        shown = render(grey, pair, View(kind="any"), rng=np.random.default_rng(seed))
        assert len(set(shown.phrases)) == 2
        first, second = (set(words.split()) & set(COLOURS) for words in shown.phrases)
        unlike += bool(first and second and first != second)
    assert unlike > 5


def test_a_region_with_an_unnamed_colour_is_not_dropped_from_the_text() -> None:
    grey = Image.new("RGB", SIZE, (90, 100, 110))
    unnamed = 0
    for seed in range(40):
        (words,) = render(grey, [ring()], View(kind="any"), rng=np.random.default_rng(seed)).phrases
        unnamed += not set(words.split()) & set(COLOURS)
        assert len(words.split()) >= 3
    assert unnamed > 5


@pytest.mark.parametrize("kind", ["mask", "contour", "patch"])
def test_holes_stay_open(kind: str) -> None:
    grey = Image.new("RGB", SIZE, (90, 100, 110))
    outer = np.array([(20.0, 20.0), (120.0, 20.0), (120.0, 120.0), (20.0, 120.0)])
    inner = np.array([(45.0, 45.0), (95.0, 45.0), (95.0, 95.0), (45.0, 95.0)])
    for region in (Region("p", "polygon", SIZE, polygons=(outer, inner)), ring()):
        for rng in (None, np.random.default_rng(1)):
            (image,) = render(grey, [region], View(kind=kind), rng=rng).images
            assert image.getpixel((80, 70)) == (90, 100, 110)


def test_an_unknown_kind_is_an_error_and_not_an_unmarked_picture() -> None:
    with pytest.raises(MarkError, match="hexagon"):
        View(kind="hexagon")
    with pytest.raises(MarkError, match="hexagon"):
        training_style(np.random.default_rng(0), ("hexagon",))
