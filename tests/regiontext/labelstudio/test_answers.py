"""Every kind of field: which options it has, what its results hold, what of a model's words it takes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regiontext.errors import QuestionError
from regiontext.labelstudio.answers import accepted, answer_of, value_fault, value_for
from regiontext.labelstudio.config import Field, parse_config
from regiontext.labelstudio.results import check_results, field_result, read_results, text_of
from regiontext.questions.templates import field_question

TREE = """<Choice value="animal"><Choice value="cat" alias="felis"/><Choice value="dog"/></Choice>
<View><Choice value="plant"/></View>"""


def field(tag: str) -> Field:
    config = parse_config(
        '<View><Image name="img" value="$image"/><Rectangle name="rect" toName="img"/>'
        f'<TextArea name="caption" toName="img" perRegion="true"/>{tag}</View>'
    )
    found = config.field("x")
    assert found is not None, config.unsupported
    return found


def of(kind: str, attributes: str = "", inner: str = TREE) -> Field:
    return field(f'<{kind} name="x" toName="img" perRegion="true" {attributes}>{inner}</{kind}>')


def test_a_tree_of_choices_offers_its_leaves() -> None:
    nested = of("Choices", 'allowNested="true"')
    assert nested.options == ("animal > felis", "animal > dog", "plant")
    assert nested.paths == (("animal", "felis"), ("animal", "dog"), ("plant",))


def test_without_allow_nested_the_inner_choices_are_not_there() -> None:
    plain = of("Choices")
    assert plain.options == ("animal", "plant") and plain.paths == ()


def test_a_taxonomy_offers_every_step_unless_only_leaves_count() -> None:
    assert of("Taxonomy").options == ("animal", "animal > felis", "animal > dog", "plant")
    assert of("Taxonomy").multiple and not of("Taxonomy", 'maxUsages="1"').multiple
    assert "animal" not in of("Taxonomy", 'leafsOnly="true"').options


@pytest.mark.parametrize(
    ("tag", "answer", "value"),
    [
        (of("Choices"), ("plant",), {"choices": ["plant"]}),
        (of("Choices", 'allowNested="true"'), ("plant",), {"choices": [["plant"]]}),
        (of("Taxonomy"), ("animal > dog", "plant"), {"taxonomy": [["animal", "dog"], ["plant"]]}),
        (of("Rating", 'maxRating="3"', ""), ("2",), {"rating": 2}),
        (of("Number", "", ""), ("2.5",), {"number": 2.5}),
        (of("Number", "", ""), ("7",), {"number": 7}),
        (of("TextArea", "", ""), ("a", "b"), {"text": ["a", "b"]}),
    ],
)
def test_an_answer_there_and_back(tag: Field, answer: tuple[str, ...], value: Any) -> None:
    assert value_for(tag, answer) == value
    assert answer_of(tag.type, value) == answer


@pytest.mark.parametrize(
    ("tag", "answer"),
    [
        (of("Taxonomy"), ("animal > bird",)),
        (of("Number", "", ""), ("many",)),
        (of("Number", "", ""), ()),
        (of("Rating", "", ""), ("1", "2")),
    ],
)
def test_what_a_field_cannot_say_is_refused(tag: Field, answer: tuple[str, ...]) -> None:
    with pytest.raises(QuestionError):
        value_for(tag, answer)


@pytest.mark.parametrize(
    ("words", "number"),
    [("about 12 legs", "12"), ("-3.50 m", "-3.5"), ("1,200", "1200"), ("it is 7.", "7")],
)
def test_a_number_is_found_in_the_words(words: str, number: str) -> None:
    assert accepted(of("Number", "", ""), words) == (number,)


@pytest.mark.parametrize("words", ["none", "12", "-1", ""])
def test_a_number_that_does_not_fit_is_no_answer(words: str) -> None:
    with pytest.raises(QuestionError, match="'x'"):
        accepted(of("Number", 'min="0" max="10"', ""), words)


@given(st.floats(-1e6, 1e6).map(lambda x: round(x, 3)))
def test_any_number_survives(number: float) -> None:
    tag = of("Number", "", "")
    (text,) = answer_of("number", {"number": number})
    assert value_for(tag, (text,)) == {"number": pytest.approx(number)}
    assert "e" in text or accepted(tag, text) == (text,)


def test_a_closed_question_has_the_paths_as_options_and_a_number_asks_for_one() -> None:
    assert field_question(of("Taxonomy")).options == of("Taxonomy").options
    number = field_question(of("Number", "", ""))
    assert number.kind == "open" and "number" in number.wording


@pytest.mark.parametrize(
    ("kind", "attributes", "good", "bad"),
    [
        ("Taxonomy", "", {"taxonomy": [["animal", "dog"]]}, {"taxonomy": [["animal", "cow"]]}),
        ("Choices", 'allowNested="true"', {"choices": [["plant"]]}, {"choices": ["plant"]}),
        ("Rating", 'maxRating="3"', {"rating": 3}, {"rating": 4}),
        ("Rating", "", {"rating": 3}, {"rating": "3"}),
        ("Number", "", {"number": 3}, {"number": None}),
        ("Number", "", {"number": 3}, {"number": float("nan")}),
    ],
)
def test_results_are_checked_against_the_config(
    kind: str, attributes: str, good: dict[str, Any], bad: dict[str, Any]
) -> None:
    inner = TREE if kind in ("Taxonomy", "Choices") else ""
    config = parse_config(
        '<View><Image name="img" value="$image"/><Rectangle name="rect" toName="img"/>'
        f'<{kind} name="x" toName="img" perRegion="true" {attributes}>{inner}</{kind}></View>'
    )
    shape = {
        "id": "r", "from_name": "rect", "to_name": "img", "type": "rectangle",
        "original_width": 10, "original_height": 10,
        "value": {"x": 1, "y": 1, "width": 9, "height": 9, "rotation": 0},
    }  # fmt: skip
    tag = config.field("x")
    assert tag is not None
    (answer,) = answer_of(tag.type, good)
    filled = field_result(shape, tag, [answer])
    valid, dropped = check_results([shape, filled], config)
    assert len(valid) == 2 and dropped == []
    read = read_results(valid)
    assert text_of(read.fields["r"]["x"]) == (answer,)
    wrong = filled | {"value": shape["value"] | bad}
    valid, dropped = check_results([shape, wrong], config)
    assert len(valid) == 1 and len(dropped) == 1


@pytest.mark.parametrize(
    ("choice", "given", "right"),
    [
        ("multiple", [["animal"], ["animal", "felis"], ["animal", "dog"]], True),
        ("single", [["animal"], ["animal", "dog"]], True),
        ("single", [["animal", "felis"], ["animal", "dog"]], False),
        ("multiple", [["animal", "cow"]], False),
        ("multiple", [["dog"]], False),
    ],
)
def test_a_branch_that_label_studio_ticks_with_its_choices_is_kept(
    choice: str, given: list[list[str]], right: bool
) -> None:
    tree = of("Choices", f'allowNested="true" choice="{choice}"')
    assert (value_fault("choices", {"choices": given}, tree) is None) == right
