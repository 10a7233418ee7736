from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from regiontext.errors import MarkError
from regiontext.marks.frames import SCOPES, crop_box
from regiontext.marks.kinds import COLOURS, KINDS, TRAINING_KINDS
from regiontext.marks.view import View, render
from regiontext.region import Region
from tests.regiontext.marks.regions import SIZE, box, masks, ring

GREY = Image.new("RGB", SIZE, (90, 100, 110))


def changed(image: Image.Image) -> np.ndarray:
    return np.any(np.asarray(image) != (90, 100, 110), axis=2)


def test_the_whole_view_shows_the_image_with_the_mark() -> None:
    shown = render(GREY, [box(40, 30, 120, 110)], View())
    (image,) = shown.images
    assert image.size == SIZE and image.mode == "RGB"
    rows, columns = np.nonzero(changed(image))
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == (40, 30, 119, 109)
    assert shown.phrases == ("within the red rectangle",)
    assert shown.evidence == ""


def test_the_original_is_not_drawn_on() -> None:
    render(GREY, [ring()], View())
    assert not changed(GREY).any()


def test_the_crop_has_context_and_is_marked_in_its_own_scale() -> None:
    region = box(80, 60, 100, 80)
    assert crop_box([region], SIZE, context=1.0, min_side=20) == (60, 40, 120, 100)
    (image,) = render(GREY, [region], View(scope="crop", min_side=20)).images
    assert image.size == (60, 60)
    marked = changed(image)
    rows, columns = np.nonzero(marked)
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == (20, 20, 39, 39)
    # On 60 px the stroke is one pixel, on the whole 200 px image two.
    assert marked.sum() == 4 * 19


def test_small_regions_are_shown_with_at_least_min_side() -> None:
    assert crop_box([box(100, 75, 102, 77)], SIZE, context=0.0, min_side=48) == (77, 52, 125, 100)


def test_the_crop_ends_at_the_image() -> None:
    assert crop_box([box(0, 0, 40, 40)], SIZE, context=1.0, min_side=48) == (0, 0, 92, 92)


def test_two_regions_are_cropped_together_and_told_apart() -> None:
    a, b = box(60, 60, 80, 80, "a"), box(100, 60, 120, 80, "b")
    shown = render(GREY, [a, b], View(scope="crop", context=0.0, min_side=1, evidence=True))
    assert shown.images[0].size == (60, 20)
    assert shown.phrases == ("within the red rectangle", "within the blue rectangle")
    assert "The first is left of the second." in shown.evidence
    pixels = np.asarray(shown.images[0]).astype(int)
    assert pixels[0, 5, 0] > 200 > pixels[0, 5, 2] and pixels[0, 45, 2] > 200 > pixels[0, 45, 0]


def test_both_gives_two_pictures_in_one_style() -> None:
    shown = render(GREY, [ring()], View(scope="both", context=0.2), rng=np.random.default_rng(3))
    whole, crop = shown.images
    assert whole.size == SIZE and crop.size != SIZE
    assert len(shown.phrases) == 1
    assert changed(whole).any() and changed(crop).any()

    def tint(image: Image.Image) -> tuple[int, ...]:
        return tuple(np.asarray(image)[changed(image)][0])

    assert tint(whole) == tint(crop)


def test_each_region_gets_a_picture_of_its_own_in_which_it_alone_is_marked() -> None:
    a, b = box(10, 10, 30, 30, "a"), box(150, 100, 170, 120, "b")
    view = View(scope="each", context=0.5, min_side=1, evidence=True)
    shown = render(GREY, [a, b], view)
    assert [image.size for image in shown.images] == [(40, 40), (40, 40)]
    assert shown.phrases == ("within the red rectangle", "within the blue rectangle")
    assert [[mark.style.colour for mark in marks] for marks in shown.marks] == [["red"], ["blue"]]
    assert "The first is left of and above the second." in shown.evidence
    red, blue = (np.asarray(image).astype(int)[10, 10] for image in shown.images)
    assert red[0] > 200 > red[2] and blue[2] > 200 > blue[0]


def test_each_of_one_region_is_the_crop() -> None:
    for rng in (None, 3):
        crop, each = (
            render(GREY, [ring()], View(scope=scope), rng=rng and np.random.default_rng(rng))
            for scope in ("crop", "each")
        )
        assert [list(i.tobytes()) for i in crop.images] == [list(i.tobytes()) for i in each.images]
        assert crop.phrases == each.phrases


def test_marks_of_each_stand_out_from_their_own_picture() -> None:
    picture = Image.new("RGB", SIZE, (255, 0, 0))
    picture.paste((0, 0, 255), (100, 0, *SIZE))
    pair = [box(10, 10, 30, 30, "a"), box(150, 100, 170, 120, "b")]
    assert render(picture, pair, View(scope="each")).phrases == (
        "within the blue rectangle",
        "within the red rectangle",
    )


def test_large_pictures_are_scaled_down_after_drawing() -> None:
    big = Image.new("RGB", (800, 400), (90, 100, 110))
    region = Region.from_box("b", (200, 100, 600, 300), big.size)
    (image,) = render(big, [region], View(max_side=200)).images
    assert image.size == (200, 100)
    assert changed(image)[25, 50:150].mean() > 0.9


@given(masks(), st.sampled_from([*KINDS, "any"]), st.sampled_from(SCOPES))
def test_any_region_can_be_rendered(mask: np.ndarray, kind: str, scope: str) -> None:
    image = Image.new("RGB", (mask.shape[1], mask.shape[0]), (90, 100, 110))
    region = Region.from_mask("r", mask)
    view = View(scope=scope, kind=kind, evidence=True)
    shown = render(image, [region], view)
    assert len(shown.images) == (2 if scope == "both" else 1)
    assert len(shown.phrases) == 1 and shown.evidence
    assert render(image, [region], view).hash == shown.hash
    render(image, [region], view, rng=np.random.default_rng(0))


def test_any_kind_is_random_in_training_and_a_rectangle_at_inference() -> None:
    rng = np.random.default_rng(0)
    view = View(kind="any")
    last = {render(GREY, [ring()], view, rng=rng).phrases[0].split()[-1] for _ in range(120)}
    assert last == {*TRAINING_KINDS}
    assert render(GREY, [ring()], view).phrases == ("within the red rectangle",)


def test_a_fixed_kind_stays_fixed_in_training() -> None:
    rng = np.random.default_rng(0)
    pair = [box(10, 10, 50, 50, "a"), box(100, 60, 150, 120, "b")]
    for _ in range(20):
        phrases = render(GREY, pair, View(kind="arrow"), rng=rng).phrases
        assert len(set(phrases)) == 2
        colours = [words.split()[-2] for words in phrases]
        assert set(colours) <= set(COLOURS)


def test_more_regions_than_colours_are_numbered() -> None:
    rng = np.random.default_rng(0)
    many = [box(12 * i, 10, 12 * i + 8, 30, str(i)) for i in range(15)]
    shown = render(GREY, many, View(kind="number"))
    assert shown.phrases == tuple(f"marked by the number {n}" for n in range(1, 16))
    assert len(set(render(GREY, many, View(kind="number"), rng=rng).phrases)) == 15
    for kind in ("rectangle", "any"):
        with pytest.raises(MarkError, match=r"at most 9 regions.*kind 'number'"):
            render(GREY, many, View(kind=kind))
    with pytest.raises(MarkError, match=r"at most 9 regions.*kind 'number'"):
        render(GREY, many, View(kind="mask"), rng=rng)
    crowd = [box(i % 100, i // 100, i % 100 + 1, i // 100 + 1, str(i)) for i in range(1000)]
    for source in (None, rng):
        with pytest.raises(MarkError, match=r"1000 regions are more than 999.*fewer"):
            render(GREY, crowd, View(kind="number"), rng=source)
    # Ten kinds in nine colours each are enough for an open kind in training.
    assert len(set(render(GREY, many, View(kind="any"), rng=rng).phrases)) == 15


def test_both_pictures_carry_the_same_numbers() -> None:
    pair = [box(20, 20, 60, 60, "a"), box(100, 60, 150, 120, "b")]
    shown = render(GREY, pair, View(scope="both", kind="number"))
    assert len(shown.images) == 2 and len(shown.phrases) == 2
    assert all(changed(image).any() for image in shown.images)


def test_a_view_may_fix_alpha_width_and_dots() -> None:
    def picture(**fixed: Any) -> np.ndarray:
        return np.asarray(render(GREY, [ring()], View(kind="dots", **fixed)).images[0])

    plain = picture()
    assert (picture(alpha=230, width=4, dots=9) == plain).all()
    opaque = picture(alpha=255)
    assert (255, 0, 0) in {tuple(pixel) for pixel in opaque.reshape(-1, 3).tolist()}
    few, thick = picture(dots=2), picture(width=12)
    untouched = [(other == (90, 100, 110)).all(axis=2).sum() for other in (few, plain, thick)]
    assert untouched == sorted(untouched, reverse=True) and len(set(untouched)) == 3
    for seed in range(4):
        drawn = render(GREY, [ring()], View(kind="dots", dots=1), rng=np.random.default_rng(seed))
        rows, columns = np.nonzero(changed(drawn.images[0]))
        assert np.ptp(rows) < 20 and np.ptp(columns) < 20


def test_what_a_view_leaves_to_the_kind_is_not_part_of_it() -> None:
    assert set(View().to_dict()) == {
        "scope", "kind", "context", "min_side", "max_side", "evidence",
    }  # fmt: skip
    # Stored model versions rest on this hash.
    assert View().hash[:16] == "638f78c918f63ff4"
    fixed = View(kind="rectangle", alpha=128, width=3)
    assert View.from_dict(fixed.to_dict()) == fixed
    assert len({View().hash, fixed.hash, View(width=3).hash}) == 3
    assert View(width=3).hash == View(width=3.0).hash


def test_the_focal_crop_is_that_of_describe_anything() -> None:
    """Three times the box, of at least 48 px, cut at the image: arXiv 2504.16072 and its code."""
    size = (1000, 800)

    def crop(x0: float, y0: float, x1: float, y1: float) -> tuple[int, int, int, int]:
        return crop_box([Region.from_box("r", (x0, y0, x1, y1), size)], size)

    assert crop(400, 300, 500, 360) == (300, 240, 600, 420)
    assert crop(400, 300, 410, 304) == (405 - 72, 302 - 72, 405 + 72, 302 + 72)
    assert crop(400, 300, 500, 304) == (300, 302 - 72, 600, 302 + 72)
    assert crop(0, 0, 100, 100) == (0, 0, 200, 200)
    assert crop(900, 700, 1000, 800) == (800, 600, 1000, 800)


def test_training_renders_follow_the_seed() -> None:
    view = View(scope="crop", kind="any")

    def shown(seed: int) -> str:
        return render(GREY, [ring()], view, rng=np.random.default_rng(seed)).hash

    assert shown(1) == shown(1) != shown(2)


def test_the_hash_covers_pixels_and_view() -> None:
    base = render(GREY, [ring()], View()).hash
    assert render(GREY, [ring()], View()).hash == base
    assert render(GREY, [ring()], View(evidence=True)).hash != base
    assert render(GREY, [box(10, 10, 50, 50)], View()).hash != base
    other = GREY.copy()
    other.putpixel((199, 149), (91, 100, 110))
    assert render(other, [ring()], View()).hash != base


def test_views_go_to_json_and_back() -> None:
    view = View("crop", "dots", 0.5, 32, 512, True)
    assert View.from_dict(view.to_dict()) == view
    assert View.from_dict({}) == View()
    assert View(context=1).hash == View(context=1.0).hash != View(context=2.0).hash


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scope": "zoom"}, "zoom.*whole"),
        ({"kind": "star"}, "star.*rectangle"),
        ({"context": -0.1}, "-0.1"),
        ({"context": float("nan")}, "nan"),
        ({"min_side": 0}, "min_side 0"),
        ({"alpha": 300}, "alpha is 300"),
        ({"width": -1}, "width is -1"),
        ({"width": float("inf")}, "width is inf"),
        ({"width": float("nan")}, "width is nan"),
        ({"width": 113}, r"width is 113; it must lie in 0\.\.112"),
        ({"alpha": 12.5}, "alpha is 12.5; it must be a whole number"),
        ({"dots": "9"}, "dots is '9'"),
        ({"dots": 0}, "0 dots"),
        ({"magnify": 2}, "magnify.*max_side"),
        ({"context": "1"}, "context is '1'; it must be a number"),
        ({"context": None}, "context is None; it must be a number"),
        ({"width": "3"}, "width is '3'; it must be a number"),
        ({"min_side": 10.5}, "min_side is 10.5; it must be a whole number"),
        ({"max_side": True}, "max_side is True; it must be a whole number"),
        ({"alpha": True}, "alpha is True; it must be a whole number"),
        ({"evidence": "size"}, "evidence is 'size'; it must be true, false or a list of"),
        ({"evidence": None}, "evidence is None; it must be true, false or a list of"),
    ],
)
def test_impossible_views_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(MarkError, match=message):
        View.from_dict(values)


def test_what_cannot_be_rendered_says_why() -> None:
    with pytest.raises(MarkError, match="no region"):
        render(GREY, [], View())
    with pytest.raises(MarkError, match="mode L"):
        render(GREY.convert("L"), [ring()], View())
    with pytest.raises(MarkError, match=r"'ring'.*200 x 150.*100 x 100"):
        render(Image.new("RGB", (100, 100)), [ring()], View())
    many = [box(10 * i, 10, 10 * i + 8, 30, str(i)) for i in range(10)]
    with pytest.raises(MarkError, match="at most 9"):
        render(GREY, many, View())


def test_a_view_may_choose_its_facts() -> None:
    red = Image.new("RGB", SIZE, "red")
    view = View(evidence=("size word", "colours", "counts"))
    shown = render(red, [box(40, 30, 120, 110)], view, among=[ring(), box(0, 0, 9, 9)])
    assert "red" in shown.evidence and "2 regions" in shown.evidence, shown.evidence
    # Not of the mark that was drawn over it.
    assert "blue" not in shown.evidence
    assert View.from_dict(json.loads(json.dumps(view.to_dict()))) == view
    assert view.hash != View(evidence=True).hash


def test_true_and_the_facts_it_stands_for_say_the_same() -> None:
    regions = [box(40, 30, 120, 110), ring()]
    plain = render(GREY, regions, View(evidence=True)).evidence
    assert plain == render(GREY, regions, View(evidence=("size", "place", "relations"))).evidence
    assert plain.startswith("The first region covers")


def test_a_fact_nobody_knows_is_refused() -> None:
    with pytest.raises(MarkError, match=r"weather.*known are size"):
        View(evidence=("size", "weather"))
