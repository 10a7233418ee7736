"""The generated world: its scenes keep their promises, and its questions have one right answer."""

from __future__ import annotations

from itertools import islice, pairwise

import numpy as np
import pytest

from model_server.worlds import asking, vocabulary
from model_server.worlds.paint import paint, paint_labels
from model_server.worlds.samples import Example, bundled_view, examples, replay_samples, scene_image
from model_server.worlds.scenes import SIZE_SHARES, sample_scene
from model_server.worlds.shapes import OUTLINES, outline, rasterise
from regiontext.evidence import PREDICATES, spatial
from regiontext.questions.wordings import WORDINGS


def _examples(count: int, seed: int = 3, **options: object) -> list[Example]:
    return list(islice(examples(seed, bundled_view(), **options), count))  # type: ignore[arg-type]


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
    from model_server.worlds.materials import surface

    v, u = np.meshgrid(*[np.linspace(-1, 1, 64, dtype=np.float32)] * 2, indexing="ij")
    materials = vocabulary.values("material", held_back=True)
    colours = vocabulary.values("colour", held_back=True)
    means = {c: surface(c, "plastic", u, v).mean((0, 1)) for c in colours}
    looks = {m: surface("blue", m, u, v) for m in materials}
    for some in (means, looks):
        names = list(some)
        for i, a in enumerate(names):
            for b in names[i + 1 :]:
                assert np.abs(some[a] - some[b]).mean() > 8, (a, b)


def test_caption_grammar():
    words = {"size": "large", "colour": "red", "material": "wooden", "shape": "star"}
    assert vocabulary.caption(words) == "a large red wooden star"
    assert vocabulary.with_article("orange ring") == "an orange ring"


def test_answers_are_among_the_options_and_agree_with_the_object():
    for example in _examples(60):
        picture = example.images[0]
        assert max(picture.size) <= bundled_view().max_side
        for turn in example.turns:
            assert "{" not in turn.prompt
            if turn.options:
                assert turn.answer in turn.options
                assert turn.prompt.endswith(f"Choose one: {', '.join(turn.options)}.")
            thing = example.objects[example.targets[0]]
            if turn.kind == "caption":
                assert turn.answer == thing.caption
            elif turn.kind in ("attribute", "choice"):
                assert turn.answer == thing.words[turn.attribute]
            if turn.attribute == "size":
                assert " % of the image" in turn.prompt


def test_a_relation_question_has_exactly_one_right_option():
    from regiontext.region import Region

    a = Region.from_box("a", (10, 10, 40, 40), (200, 200))
    b = Region.from_box("b", (100, 20, 190, 120), (200, 200))
    holds = spatial(a, b)
    rng = np.random.default_rng(0)
    answers = set()
    for _ in range(200):
        asked = asking.relation(rng, holds)
        right = [option for option in asked.question.options if option in holds]
        assert right == ([] if asked.answer == "no relation" else [asked.answer])
        answers.add(asked.answer)
    assert answers == {*holds, "no relation"} and set(holds) <= set(PREDICATES)


def test_the_default_wording_is_asked_at_least_half_of_the_time():
    rng = np.random.default_rng(0)
    words = sample_scene(rng).objects[0].words
    asked = [asking.open_attribute(rng, words, "colour").question.wording for _ in range(800)]
    default = WORDINGS["attribute"].replace("{name}", "colour")
    share = asked.count(default) / len(asked)
    assert 0.4 < share < 0.7 and len(set(asked)) > 6
    captions = [asking.caption(rng, words).question.wording for _ in range(400)]
    assert captions.count(WORDINGS["caption"]) > 200


def test_spelling_never_spells_a_held_back_word():
    rng = np.random.default_rng(0)
    said = {asking.spelling(rng)[1] for _ in range(5000)}
    assert len(said) > 1000
    assert not any(word in made for word in vocabulary.HELD_BACK.values() for made in said)


def test_labels_of_an_example_are_those_of_its_crop():
    for example in _examples(20):
        height, width = example.labels.shape
        picture = example.images[0]
        assert abs(width / height - picture.width / picture.height) < 0.05 * width / height
        assert all((example.labels == index + 1).any() for index in example.targets)


def test_replay_is_reproducible_plain_and_knows_its_kinds():
    view = bundled_view()
    first, again = (list(replay_samples(12, 4, view)) for _ in range(2))
    assert [(s.prompt, s.answer, s.options) for s in first] == [
        (s.prompt, s.answer, s.options) for s in again
    ]
    assert all(
        a.images[0].tobytes() == b.images[0].tobytes() for a, b in zip(first, again, strict=True)
    )
    for sample in replay_samples(8, 1, view, kinds=("caption",)):
        assert sample.prompt.startswith("Describe the object within the ") and not sample.options
    assert all(s.answer for s in replay_samples(5, 1, view, kinds=("relation",)))
    with pytest.raises(ValueError, match="kinds"):
        next(replay_samples(1, 0, view, kinds=("poem",)))


def test_labels_and_masks_agree():
    scene = sample_scene(np.random.default_rng(8), size=(256, 256))
    _, labels = paint_labels(scene)
    _, masks = paint(scene)
    for index, mask in enumerate(masks):
        assert np.array_equal(mask, labels == index + 1)
