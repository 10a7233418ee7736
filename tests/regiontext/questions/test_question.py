from __future__ import annotations

from typing import Any

import pytest

from regiontext.errors import QuestionError
from regiontext.questions.question import Question

BASE: dict[str, Any] = {
    "field": "state",
    "kind": "closed",
    "wording": "What is the state of the object {mark}?",
    "options": ("new", "worn"),
    "region_ids": ("a",),
}


def test_the_hash_names_the_question_not_the_region() -> None:
    base = Question(**BASE).hash
    assert Question(**BASE | {"region_ids": ("b",)}).hash == base
    for change in (
        {"field": "wear"},
        {"wording": "How is the object {mark}?"},
        {"options": ("worn", "new")},
        {"kind": "open", "options": ()},
    ):
        assert Question(**BASE | change).hash != base


def test_options_do_not_run_into_each_other_in_the_hash() -> None:
    one = Question(**BASE | {"options": ("a, b",)})
    two = Question(**BASE | {"options": ("a", "b")})
    assert one.hash != two.hash


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "maybe"}, "maybe"),
        ({"options": ()}, "closed question on 'state' has 0 options"),
        ({"kind": "open"}, "open question on 'state' has 2 options"),
        ({"wording": "What state?"}, r"lacks \{mark\}"),
        ({"region_ids": ("a", "b")}, r"lacks \{subject\} and \{object\}"),
    ],
)
def test_questions_that_cannot_be_asked_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(QuestionError, match=message):
        Question(**BASE | change)


def test_a_question_knows_whether_it_is_about_a_pair() -> None:
    assert not Question(**BASE).pair
    wording = "How is the object {subject} related to the object {object}?"
    assert Question("relations", "open", wording, region_ids=("a", "b")).pair
    assert Question("relations", "open", wording).pair
