from __future__ import annotations

import pytest

from regiontext.labelstudio.config import LabelingConfig, parse_config
from regiontext.questions import templates
from regiontext.questions.templates import (
    NO_RELATION,
    RELATIONS,
    candidate_pairs,
    labelled_relation_options,
    pair_questions,
    questions_hash,
    region_questions,
    relation_sentence_question,
)
from regiontext.region import Region

SIZE = (400, 300)
HEAD = """<View><Image name="image" value="$image"/>
<RectangleLabels name="shape" toName="image"><Label value="Person"/><Label value="Dog"/>
</RectangleLabels>"""


def config(*tags: str) -> LabelingConfig:
    return parse_config(HEAD + "".join(tags) + "</View>")


def text(name: str, extra: str = "") -> str:
    return f'<TextArea name="{name}" toName="image" perRegion="true" {extra}/>'


def choices(name: str, *values: str, extra: str = "") -> str:
    inner = "".join(f'<Choice value="{value}"/>' for value in values)
    return f'<Choices name="{name}" toName="image" perRegion="true" {extra}>{inner}</Choices>'


def region(id: str, x: float, *labels: str, y: float = 100, item_index: int = 0) -> Region:
    box = Region.from_box(id, (x, y, x + 40, y + 40), SIZE, labels)
    return Region(id, box.shape, SIZE, box.labels, box.polygons, item_index=item_index)


def wording(tag: str) -> str:
    (question,) = region_questions(config(tag), region("a", 0))
    return question.wording


@pytest.mark.parametrize(
    "name", ["caption", "Description", "region_text", "text", "caption_en", "objectDescription"]
)
def test_captions_are_described(name: str) -> None:
    assert wording(text(name)) == "Describe the object {mark}."


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        (text("material"), "What is the material of the object {mark}?"),
        (text("surface_finish"), "What is the surface finish of the object {mark}?"),
        (text("ocr_text"), "What is the ocr text of the object {mark}?"),
        (text("context"), "What is the context of the object {mark}?"),
        (choices("size", "s", "l"), "What is the size of the object {mark}?"),
        (choices("is_occluded", "yes", "no"), "Is the object {mark} occluded?"),
        (choices("isOccluded", "yes", "no"), "Is the object {mark} occluded?"),
        (choices("has_handle", "yes", "no"), "Does the object {mark} have handle?"),
        (choices("fault", "rust", "dent"), "What is the fault of the object {mark}?"),
        (text("damage", 'ask="What is broken?"'), "What is broken {mark}?"),
        (text("damage", 'ask="Is {mark} broken?"'), "Is {mark} broken?"),
    ],
)
def test_fields_are_asked_by_name_or_by_ask(tag: str, expected: str) -> None:
    assert wording(tag) == expected


def test_choices_are_closed_over_the_configs_own_values() -> None:
    tags = config(text("caption"), choices("size", "large", "small"))
    caption, size = region_questions(tags, region("r7", 0))
    assert (caption.kind, caption.options, caption.field) == ("open", (), "caption")
    assert (size.kind, size.options, size.field) == ("closed", ("large", "small"), "size")
    assert caption.region_ids == size.region_ids == ("r7",)


def test_fields_shown_for_other_labels_are_not_asked() -> None:
    tags = config(
        text("caption"),
        text("breed", 'visibleWhen="region-selected" whenTagName="shape" whenLabelValue="Dog"'),
    )
    asked = [q.field for q in region_questions(tags, region("a", 0, "Dog"))]
    assert asked == ["caption", "breed"]
    assert [q.field for q in region_questions(tags, region("a", 0, "Person"))] == ["caption"]


RELATED = (
    '<Relations><Relation value="walks" subject="Person" object="Dog"/>'
    '<Relation value="next to"/><Relation value="bites" subject="Dog"/></Relations>'
)


def test_relation_options_follow_the_labels() -> None:
    tags = config(RELATED)
    person, dog, thing = region("p", 0, "Person"), region("d", 90, "Dog"), region("t", 180)
    assert labelled_relation_options(tags, person, dog) == ("walks", "next to", NO_RELATION)
    assert labelled_relation_options(tags, dog, person) == ("next to", "bites", NO_RELATION)
    assert labelled_relation_options(tags, thing, person) == ("next to", NO_RELATION)
    strict = config(
        '<Relations><Relation value="walks" subject="Person" object="Dog"/></Relations>'
    )
    assert labelled_relation_options(strict, dog, person) == ()


def test_pairs_are_asked_only_in_the_allowed_direction() -> None:
    strict = config(
        '<Relations><Relation value="walks" subject="Person" object="Dog"/></Relations>'
    )
    regions = [region("d", 90, "Dog"), region("p", 0, "Person"), region("q", 200, "Person")]
    questions = pair_questions(strict, regions)
    assert [q.region_ids for q in questions] == [("p", "d"), ("q", "d")]
    assert {q.field for q in questions} == {RELATIONS}
    assert questions[0].options == ("walks", NO_RELATION)
    assert questions[0].wording == "How is the object {subject} related to the object {object}?"


def test_the_nearest_pairs_come_first_and_are_capped() -> None:
    tags = config('<Relations><Relation value="near"/></Relations>')
    regions = [region("a", 0), region("b", 300), region("c", 60)]
    order = [q.region_ids for q in pair_questions(tags, regions)]
    assert order == [("a", "c"), ("c", "a"), ("b", "c"), ("c", "b"), ("a", "b"), ("b", "a")]
    assert [q.region_ids for q in pair_questions(tags, regions, max_pairs=3)] == order[:3]
    assert pair_questions(tags, regions, max_pairs=0) == []
    assert pair_questions(tags, regions[:1]) == []


def test_regions_of_different_images_are_no_pair() -> None:
    tags = config('<Relations><Relation value="near"/></Relations>')
    assert candidate_pairs(tags, [region("a", 0), region("b", 60, item_index=1)]) == []


def test_without_relation_labels_there_are_pairs_but_no_closed_questions() -> None:
    tags = config('<TextArea name="relation_text" toName="image"/>')
    regions = [region("a", 0), region("b", 60)]
    assert pair_questions(tags, regions) == []
    pairs = candidate_pairs(tags, regions)
    assert [(a.id, b.id) for a, b in pairs] == [("a", "b"), ("b", "a")]
    question = relation_sentence_question(pairs[0], tags.relation_field or "")
    assert question.field == "relation_text" and question.region_ids == ("a", "b")
    assert question.wording == "Describe how the object {subject} relates to the object {object}."


def test_a_relation_field_may_have_its_own_wording() -> None:
    tags = config('<TextArea name="relations_text" toName="image" ask="What happens?"/>')
    assert tags.relation_field is not None
    pair = (region("a", 0), region("b", 60))
    assert relation_sentence_question(pair, tags.relation_field).wording.startswith("What happens?")


def test_the_questions_hash_covers_the_order_of_a_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = config(text("caption"))
    before = questions_hash(asked)
    monkeypatch.setattr(templates, "ORDER", ("evidence", "question", "options"))
    assert questions_hash(asked) != before


def test_the_questions_hash_covers_everything_asked() -> None:
    parts = [text("caption"), choices("size", "large", "small"), RELATED]
    base = questions_hash(config(*parts))
    assert questions_hash(config(*parts)) == base
    changes = [
        [text("caption", 'ask="What is {mark}?"'), *parts[1:]],
        [text("summary"), *parts[1:]],
        [parts[0], choices("size", "large", "tiny"), parts[2]],
        [parts[0], parts[2]],
        [*parts[:2], RELATED.replace("walks", "leads")],
        [*parts[:2], RELATED.replace('object="Dog"', 'object="Person"')],
        [*parts, '<TextArea name="relation_text" toName="image"/>'],
    ]
    hashes = [questions_hash(config(*change)) for change in changes]
    assert len({base, *hashes}) == len(changes) + 1
    # Labels of shapes are no question.
    assert questions_hash(parse_config(config(*parts).xml.replace("Person", "Human", 1))) == base
