"""The generated world: its scenes keep their promises."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

from model_server.worlds import vocabulary
from model_server.worlds.backgrounds import background
from model_server.worlds.paint import paint, paint_labels
from model_server.worlds.samples import scene_image
from model_server.worlds.scenes import SIZE_SHARES, TEXTURES, sample_scene
from model_server.worlds.shapes import OUTLINES, outline, rasterise


def test_a_scene_follows_from_its_seed():
    first, second = (sample_scene(np.random.default_rng(5)) for _ in range(2))
    assert first == second
    assert paint(first)[0].tobytes() == paint(second)[0].tobytes()
    assert sample_scene(np.random.default_rng(6)) != first


def test_masks_are_the_visible_parts():
    scene = sample_scene(np.random.default_rng(1), size=(320, 256))
    picture, masks = paint(scene)
    assert picture.size == (320, 256) and picture.mode == "RGB"
    assert len(masks) == len(scene.objects) >= 1
    assert all(mask.shape == (256, 320) and mask.dtype == bool for mask in masks)
    assert np.sum(masks, axis=0).max() == 1, "a pixel shows one object"


def test_held_back_words_occur_only_when_asked_for():
    rng = np.random.default_rng(0)
    plain = [thing for _ in range(60) for thing in sample_scene(rng, size=(300, 300)).objects]
    for attribute, word in vocabulary.HELD_BACK.items():
        assert word not in {thing.words[attribute] for thing in plain}
    every = [
        t for _ in range(60) for t in sample_scene(rng, size=(300, 300), held_back=True).objects
    ]
    for attribute, word in vocabulary.HELD_BACK.items():
        assert word in {thing.words[attribute] for thing in every}


@pytest.mark.parametrize(
    "wanted", [{"material": "marble"}, {"shape": "crescent", "colour": "teal"}, {"size": "large"}]
)
def test_must_have_is_there_and_can_be_seen(wanted):
    for seed in range(5):
        picture, things = scene_image(
            np.random.default_rng(seed), size=(640, 480), must_have=wanted
        )
        found = [r for t, r in things if wanted.items() <= t.words.items()]
        assert found, f"no {wanted} among {[t.caption for t, _ in things]}"
        assert found[0].size == picture.size


@pytest.mark.parametrize("wanted", [{"taste": "sour"}, {"material": "velvet"}])
def test_must_have_refuses_what_the_world_lacks(wanted):
    with pytest.raises(ValueError, match="must_have"):
        sample_scene(np.random.default_rng(0), must_have=wanted)


def test_size_words_can_be_told_from_the_area_of_a_box_and_of_a_mask():
    fills = []
    for shape in OUTLINES:
        for angle in (-14, 0, 14):
            seen = rasterise(outline(shape, 100, 100, angle), (90, 90), (180, 180)) >= 0.5
            ys, xs = np.nonzero(seen)
            assert 88 <= np.ptp(xs) + 1 <= 113 and 88 <= np.ptp(ys) + 1 <= 113
            fills.append(seen.sum() / 100**2)
    assert min(fills) >= 0.39
    words = vocabulary.SIZES
    for smaller, larger in pairwise(words):
        assert SIZE_SHARES[larger][0] * min(fills) > SIZE_SHARES[smaller][1] * 1.1


def test_materials_and_colours_look_different():
    from model_server.worlds.materials import surface_tones

    v, u = np.meshgrid(*[np.linspace(-1, 1, 64, dtype=np.float32)] * 2, indexing="ij")

    def surface(colour, material):
        weights, tones = surface_tones(colour, material, u, v)
        return np.clip(weights @ tones, 0, 255)

    materials = vocabulary.values("material", held_back=True)
    colours = vocabulary.values("colour", held_back=True)
    means = {c: surface(c, "plastic").mean((0, 1)) for c in colours}
    looks = {m: surface("blue", m) for m in materials}
    for some in (means, looks):
        names = list(some)
        for i, a in enumerate(names):
            for b in names[i + 1 :]:
                assert np.abs(some[a] - some[b]).mean() > 8, (a, b)


def test_caption_grammar():
    words = {"size": "large", "colour": "red", "material": "wooden", "shape": "star"}
    assert vocabulary.caption(words) == "a large red wooden star"
    assert vocabulary.with_article("orange ring") == "an orange ring"


def test_labels_and_masks_agree():
    scene = sample_scene(np.random.default_rng(8), size=(256, 256))
    _, labels = paint_labels(scene)
    _, masks = paint(scene)
    for index, mask in enumerate(masks):
        assert np.array_equal(mask, labels == index + 1)


def test_one_combination_in_twenty_is_withheld_and_every_word_occurs_in_some():
    names = ("shape", "colour", "material")
    every = [
        dict(zip(names, some, strict=True)) for some in product(*map(vocabulary.values, names))
    ]
    kept_out = [words for words in every if vocabulary.withheld(words)]
    assert len(kept_out) == len(every) / 20
    for name in names:
        assert {words[name] for words in kept_out} == set(vocabulary.values(name))


def test_training_never_sees_a_withheld_combination_and_a_test_can_ask_for_them():
    rng = np.random.default_rng(2)
    seen = [t for _ in range(150) for t in sample_scene(rng, size=(300, 300)).objects]
    assert not any(vocabulary.withheld(thing.words) for thing in seen)
    scenes = [sample_scene(rng, size=(300, 300), combinations="withheld") for _ in range(30)]
    assert all(vocabulary.withheld(thing.words) for scene in scenes for thing in scene.objects)
    with pytest.raises(ValueError, match="combinations"):
        sample_scene(rng, combinations="some")


def test_words_echo_so_that_one_word_does_not_tell_which_object_is_meant():
    rng = np.random.default_rng(4)
    scenes = [sample_scene(rng, objects=6) for _ in range(80)]
    shared = [
        len({thing.colour for thing in scene.objects}) < len(scene.objects) for scene in scenes
    ]
    assert np.mean(shared) > 0.7
    assert {len(sample_scene(rng).objects) for _ in range(400)} == {3, 4, 5, 6, 7}


def test_objects_hide_parts_of_each_other():
    rng = np.random.default_rng(1)
    hidden = []
    for _ in range(60):
        scene = sample_scene(rng, size=(300, 300))
        _, masks = paint(scene)
        for thing, mask in zip(scene.objects, masks, strict=True):
            rings = outline(thing.shape, thing.width, thing.height, thing.angle)
            alone = (rasterise(rings, thing.centre, scene.size) >= 0.5).sum()
            hidden.append(1 - mask.sum() / alone)
    assert min(hidden) > -0.02, "what is seen of an object is part of it"
    assert np.mean(np.array(hidden) > 0.05) > 0.06


@pytest.mark.parametrize("texture", TEXTURES)
def test_every_background_is_its_own_and_repeatable(texture):
    from dataclasses import replace

    scene = replace(sample_scene(np.random.default_rng(3), size=(150, 101)), texture=texture)
    first, again = (background(scene, np.random.default_rng(5)) for _ in range(2))
    assert first.shape == (101, 150, 3) and np.array_equal(first, again)
    bare = background(replace(scene, texture="plain", clutter=0), np.random.default_rng(5))
    cluttered = background(replace(scene, clutter=6), np.random.default_rng(5))
    assert np.abs(cluttered - bare).mean() > 0.5
