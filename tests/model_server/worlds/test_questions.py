"""Questions about the generated world have one right answer, in words that the product uses."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from PIL import Image

from model_server.worlds import asking, pairs, vocabulary
from model_server.worlds.drawing import TRAINED_KINDS, half_hidden, training_view
from model_server.worlds.samples import Example, bundled_view, examples, replay_samples
from model_server.worlds.scenes import sample_scene
from regiontext.evidence import spatial
from regiontext.questions.wordings import WORDINGS
from regiontext.region import Region
from regiontext.relations import SPATIAL


def _examples(count: int, seed: int = 3, **options: object) -> list[Example]:
    return list(islice(examples(seed, bundled_view(), **options), count))  # type: ignore[arg-type]


def test_answers_are_among_the_options_and_agree_with_the_object():
    for example in _examples(60):
        picture = example.images[0]
        assert max(picture.size) <= bundled_view().max_side
        for turn in example.turns:
            assert "{" not in turn.prompt
            if turn.options:
                assert turn.answer in turn.options
                assert turn.prompt.endswith(f"Choose one: {', '.join(turn.options)}.")
            things = [example.objects[index] for index in example.targets]
            if turn.kind == "caption":
                assert turn.answer in [thing.caption for thing in things]
            elif turn.kind in ("attribute", "choice"):
                assert turn.answer in [thing.words[turn.attribute] for thing in things]
            elif turn.kind == "yesno":
                # "within the red triangle" names the mark, not the object.
                asked = re.sub(
                    r"\bthe (\w+ )?(rectangle|ellipse|triangle|scribble|mask|arrow|dots|point|patch)\b",
                    "",
                    turn.prompt.lower(),
                )
                told = f" {things[0].words[turn.attribute]}" in f" {asked}"
                assert turn.answer == ("yes" if told else "no"), turn.prompt


def test_a_size_that_cannot_be_seen_is_told():
    for example in _examples(40, vary=False):
        for turn in example.turns:
            if turn.attribute == "size" or turn.kind == "caption":
                assert " % of the image" in turn.prompt


def test_a_relation_question_has_exactly_one_right_option():
    a = Region.from_box("a", (10, 10, 40, 40), (200, 200))
    b = Region.from_box("b", (100, 20, 190, 120), (200, 200))
    holds = spatial(a, b)
    rng = np.random.default_rng(0)
    answers = set()
    for _ in range(200):
        asked = pairs.relation(rng, holds)
        right = [option for option in asked.question.options if option in holds]
        assert right == ([] if asked.answer == "no relation" else [asked.answer])
        answers.add(asked.answer)
    assert answers == {*holds, "no relation"} and set(holds) <= set(SPATIAL)


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
    for example in islice(examples(3, replace(bundled_view(), scope="crop")), 20):
        (labels,), (picture,) = example.labels, example.images
        height, width = labels.shape
        assert abs(width / height - picture.width / picture.height) < 0.05 * width / height
        assert all((labels == index + 1).any() for index in example.targets)


def test_of_a_pair_with_a_picture_each_the_labels_are_those_of_each_crop():
    for example in islice(examples(3, bundled_view(), training=False, kinds=("relation",)), 10):
        assert len(example.images) == len(example.labels) == 2
        assert example.members == ((0,), (1,)) and len(example.styles) == 2
        for picture, labels, target in zip(
            example.images, example.labels, example.targets, strict=True
        ):
            height, width = labels.shape
            assert abs(width / height - picture.width / picture.height) < 0.05 * width / height
            assert (labels == target + 1).any()


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


def test_yes_is_as_often_right_as_no_and_no_is_not_always_easy():
    rng = np.random.default_rng(0)
    words = {"size": "large", "colour": "red", "material": "wooden", "shape": "star"}
    asked = [asking.yes_no(rng, words, "colour", others=("blue", "red")) for _ in range(400)]
    assert 160 < sum(each.answer == "yes" for each in asked) < 240
    started = [each for each in asked if each.question.wording.startswith("Is")]
    assert all((" red" in e.question.wording) == (e.answer == "yes") for e in started)
    wrong = [each.question.wording for each in asked if each.answer == "no"]
    assert sum("blue" in text.lower() for text in wrong) > 0.4 * len(wrong)
    a_star = asking.yes_no(rng, words, "shape", plain=True).question.wording
    assert a_star.startswith("Is the object {mark} a")


def test_what_two_objects_share_is_known_and_asked_as_often_true_as_false():
    one = {"size": "large", "colour": "red", "material": "wooden", "shape": "star"}
    other = one | {"colour": "blue", "size": "small"}
    assert pairs.shared(one, other) == ("same material as", "same shape as")
    rng = np.random.default_rng(0)
    holds = ("larger than", *pairs.shared(one, other))
    asked = [pairs.pair_yes_no(rng, holds, among=pairs.compared(), kind="same") for _ in range(300)]
    assert 110 < sum(each.answer == "yes" for each in asked) < 190
    for each in asked:
        told = [said for said in pairs.compared() if said in each.question.wording]
        assert (told[0] in holds) == (each.answer == "yes")
    assert any("the same colour as the object {object}?" in a.question.wording for a in asked)


def test_training_marks_are_of_every_trained_kind_and_no_other():
    rng = np.random.default_rng(0)
    views = [training_view(rng, bundled_view()) for _ in range(600)]
    assert {view.kind for view in views} == set(TRAINED_KINDS) and "number" not in TRAINED_KINDS
    assert {view.scope for view in views} == {"each", "whole"}
    steady = [training_view(rng, bundled_view(), vary=False) for _ in range(50)]
    assert all(view.scope == "each" and view.context == 0.3 for view in steady)


def test_two_pictures_of_one_view_come_together():
    example = next(examples(0, replace(bundled_view(), scope="both")))
    assert len(example.images) == 2


def test_a_bar_over_a_region_leaves_most_of_it():
    rng = np.random.default_rng(0)
    plain = Image.new("RGB", (90, 60), (7, 8, 9))
    for _ in range(50):
        region = Region.from_box("r", (20, 10, 60, 50), plain.size)
        covered = np.asarray(half_hidden(rng, plain, [region]))
        hidden = (covered != (7, 8, 9)).any(axis=2)
        # A bar's edges are drawn, too.
        assert 0.02 < hidden[10:51, 20:61].mean() < 0.32
        assert hidden.sum() == hidden[10:51, 20:61].sum()
    assert (np.asarray(plain) == (7, 8, 9)).all()
