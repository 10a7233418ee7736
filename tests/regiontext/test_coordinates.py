"""Every convention there and back, and against numbers that the models' own code gives."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regiontext.conventions import CONVENTIONS, convention, qwen2_5_vl
from regiontext.coordinates import Convention, smart_resize
from regiontext.geometry import Box, from_percent, to_percent

Size = tuple[int, int]
ALL = tuple(CONVENTIONS.values())
# Qwen's resizing refuses what is more than 200 times as long as wide.
sides = st.one_of(st.integers(1, 40), st.integers(1, 4000))
sizes = st.tuples(sides, sides).filter(lambda size: max(size) <= 200 * min(size))
conventions = st.sampled_from(ALL)


@st.composite
def boxes_on_images(draw: st.DrawFn) -> tuple[Box, Size]:
    width, height = size = draw(sizes)
    share = st.floats(0, 1)
    xs = sorted((draw(share) * width, draw(share) * width))
    ys = sorted((draw(share) * height, draw(share) * height))
    if not (xs[0] < xs[1] and ys[0] < ys[1]):
        xs, ys = [0.0, float(width)], [0.0, float(height)]
    return (xs[0], ys[0], xs[1], ys[1]), size


def bin_sides(way: Convention, size: Size) -> tuple[float, float]:
    """How many pixels lie between two neighbouring numbers, along x and y."""
    if way.name == "kosmos-2":
        return size[0] / 32, size[1] / 32
    if way.decimals is None:
        return 0.0, 0.0
    framed = (max(size), max(size)) if way.padded else size
    extents = (way.extent, way.extent) if way.extent else (way.resize or (lambda s: s))(size)
    return tuple(  # type: ignore[return-value]
        side / extent / 10**way.decimals for side, extent in zip(framed, extents, strict=True)
    )


def assert_close(box: Box, back: Box, x: float, y: float) -> None:
    for was, now, most in zip(box, back, (x, y, x, y), strict=True):
        assert abs(was - now) <= most + 1e-6, (box, back)


@given(conventions, boxes_on_images())
def test_back_in_pixels_within_half_a_bin(way: Convention, drawn: tuple[Box, Size]) -> None:
    box, size = drawn
    back = way.decode(way.encode(box, size), size)
    width, height = bin_sides(way, size)
    # Patches in one row or column stand for all of themselves.
    half = 1.0 if way.name == "kosmos-2" else 0.5
    assert_close(box, back, half * width, half * height)
    assert 0 <= back[0] <= back[2] <= size[0] and 0 <= back[1] <= back[3] <= size[1]


@given(st.sampled_from([c for c in ALL if (c.extent or 0) >= 999]), boxes_on_images())
def test_thousand_bins_are_exact_to_half_a_pixel_on_smaller_images(
    way: Convention, drawn: tuple[Box, Size]
) -> None:
    box, size = drawn
    assert way.extent is not None
    scale = min(1.0, way.extent / max(size))
    small = (max(1, int(size[0] * scale)), max(1, int(size[1] * scale)))
    on_it = (
        box[0] * small[0] / size[0],
        box[1] * small[1] / size[1],
        box[2] * small[0] / size[0],
        box[3] * small[1] / size[1],
    )
    assert_close(on_it, way.decode(way.encode(on_it, small), small), 0.5, 0.5)


@given(conventions, boxes_on_images())
def test_numbers_keep_their_order_and_range(way: Convention, drawn: tuple[Box, Size]) -> None:
    box, size = drawn
    values = way.encode(box, size)
    half = len(values) // 2
    assert all(near <= far for near, far in zip(values[:half], values[half:], strict=True))
    largest = way.top or way.extent or max(max(size), *(way.resize(size) if way.resize else (0,)))
    assert min(values) >= 0 and max(values) <= (1023 if way.name == "kosmos-2" else largest)
    assert way.decimals != 0 or all(isinstance(value, int) for value in values)


@given(st.sampled_from([c for c in ALL if c.layout]), boxes_on_images())
def test_text_is_read_back(way: Convention, drawn: tuple[Box, Size]) -> None:
    box, size = drawn
    box = (math.floor(box[0]), math.floor(box[1]), math.ceil(box[2]), math.ceil(box[3]))
    text = way.text(box, size)
    expected = way.decode(way.encode(box, size), size)
    found = way.parse(f"It is at {text}. Nothing else.", size)
    if expected[0] < expected[2] and expected[1] < expected[3]:
        assert found == [pytest.approx(expected)]
        bare = text.removeprefix(way.wrap[0]).removesuffix(way.wrap[1])
        assert way.parse(f"{bare} and {bare.replace(' ', '').replace(',', ' , ')}", size) == [
            pytest.approx(expected),
            pytest.approx(expected),
        ]
    else:
        assert found == []


@given(conventions, boxes_on_images())
def test_from_percent_to_the_model_and_back(way: Convention, drawn: tuple[Box, Size]) -> None:
    box, size = drawn
    percent = to_percent(np.array(box).reshape(2, 2), size)
    (x0, y0), (x1, y1) = from_percent(percent, size)
    pixels = (float(x0), float(y0), float(x1), float(y1))
    back = way.decode(way.encode(pixels, size), size)
    again = to_percent(np.array(back).reshape(2, 2), size)
    width, height = bin_sides(way, size)
    half = 1.0 if way.name == "kosmos-2" else 0.5
    most = 100 * np.array([half * width / size[0], half * height / size[1]])
    assert (np.abs(again - percent) <= most + 1e-6).all()


BOX, SIZE = (100.0, 50.0, 300.0, 200.5), (640, 480)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pixels", "[100, 50, 300, 200.5]"),
        ("lion", "[0.156,0.104,0.469,0.418]"),
        # 80 px above the picture: (50 + 80) / 640.
        ("llava", "[0.16, 0.20, 0.47, 0.44]"),
        ("shikra", "[0.156,0.203,0.469,0.438]"),
        ("qwen-vl", "<box>(156,104),(469,418)</box>"),
        ("qwen2-vl", "<|box_start|>(156,104),(469,418)<|box_end|>"),
        # 640 x 480 becomes 644 x 476.
        ("qwen2.5-vl", '{"bbox_2d": [101, 50, 302, 199]}'),
        ("qwen3-vl", '{"bbox_2d": [156, 104, 469, 418]}'),
        ("glm-v", '{"bbox_2d": [156, 104, 469, 418]}'),
        ("internvl", "<box>[[156, 104, 468, 417]]</box>"),
        ("ferret", "[156, 104, 468, 417]"),
        ("deepseek-ocr", "<|det|>[[156, 104, 468, 417]]<|/det|>"),
        ("gemini", '{"box_2d": [104, 156, 418, 469]}'),
        ("paligemma", "<loc0107><loc0160><loc0427><loc0480>"),
        ("florence-2", "<loc_156><loc_104><loc_468><loc_417>"),
        ("kosmos-2", "<object><patch_index_0101><patch_index_0430></object>"),
    ],
)
def test_how_each_model_writes_a_box(name: str, text: str) -> None:
    assert convention(name).text(BOX, SIZE) == text


def test_every_convention_with_text_is_pinned_above_and_names_its_source() -> None:
    assert [c.name for c in ALL if not c.layout] == ["unit"]
    assert all(c.source for c in ALL)


@pytest.mark.parametrize(
    ("size", "resized", "at_most_a_million"),
    [
        # From smart_resize of transformers 5.23.0.
        ((640, 480), (644, 476), (644, 476)),
        ((1280, 960), (1288, 952), (1148, 840)),
        ((33, 517), (28, 504), (28, 504)),
        ((4000, 3000), (4004, 2996), (1148, 840)),
        ((20, 20), (56, 56), (56, 56)),
        ((1001, 999), (1008, 1008), (980, 980)),
        ((14, 42), (56, 112), (56, 112)),
    ],
)
def test_resizing_as_qwens_processor_does(
    size: Size, resized: Size, at_most_a_million: Size
) -> None:
    assert smart_resize(size) == resized
    assert smart_resize(size, max_pixels=1_003_520) == at_most_a_million
    way = qwen2_5_vl(max_pixels=1_003_520)
    assert way.encode((0, 0, *size), size) == (0, 0, *at_most_a_million)


@pytest.mark.parametrize(
    ("box", "indices", "normalised"),
    [
        # From coordinate_to_patch_index and patch_index_to_coordinate of transformers 5.23.0.
        ((0.0, 0.0, 1.0, 1.0), (0, 1023), (0.5 / 32, 0.5 / 32, 31.5 / 32, 31.5 / 32)),
        ((0.25, 0.25, 0.25 + 1e-9, 0.5), (264, 488), (8 / 32, 8 / 32, 9 / 32, 16 / 32)),
    ],
)
def test_patches_as_in_kosmos(box: Box, indices: tuple[int, int], normalised: Box) -> None:
    size = (320, 64)
    scale = (*size, *size)
    pixels = tuple(share * side for share, side in zip(box, scale, strict=True))
    kosmos = convention("kosmos-2")
    assert kosmos.encode(pixels, size) == indices  # type: ignore[arg-type]
    expected = [share * side for share, side in zip(normalised, scale, strict=True)]
    assert kosmos.decode(indices, size) == pytest.approx(expected)


def test_what_a_model_may_get_wrong() -> None:
    way = convention("qwen3-vl")
    # Corners the other way round, beyond the image, thin, and no box at all.
    assert way.decode((500, 900, 100, 200), (100, 100)) == (10, 20, 50, 90)
    assert way.decode((500, 500, 5000, 900), (100, 100)) == (50, 50, 100, 90)
    assert way.parse('{"bbox_2d": [5, 5, 5, 90]} {"bbox_2d": [1, 2, 3]}', (100, 100)) == []
    assert way.parse("I see no such thing.", (100, 100)) == []
    assert way.parse('[{"bbox_2d":[0,0,500,500],"label":"cat"}]', (100, 60)) == [(0, 0, 50, 30)]


def test_faults_name_the_value() -> None:
    with pytest.raises(ValueError, match=r"no convention 'qwen'.*qwen2-vl"):
        convention("qwen")
    for box in ((5, 5, 5, 9), (700, 0, 800, 10), (9, 0, 3, 10), (math.nan, 0, 3, 10)):
        with pytest.raises(ValueError, match="no part of the box"):
            convention("lion").encode(box, SIZE)
    for values in ((1, 2, 3), (1, 2, 3, math.inf)):
        with pytest.raises(ValueError, match="4 finite numbers"):
            convention("lion").decode(values, SIZE)
    with pytest.raises(ValueError, match="2 finite numbers"):
        convention("kosmos-2").decode((1, 2, 3, 4), SIZE)
    for refused in (lambda w: w.text(BOX, SIZE), lambda w: w.parse("[0, 0, 1, 1]", SIZE)):
        with pytest.raises(ValueError, match="unit has no text form"):
            refused(convention("unit"))
    with pytest.raises(ValueError, match="1 x 201"):
        smart_resize((1, 201))
