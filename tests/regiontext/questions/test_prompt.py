from __future__ import annotations

import pytest
from PIL import Image

from regiontext.errors import QuestionError
from regiontext.marks.view import Rendered, View, render
from regiontext.questions.prompt import prompt
from regiontext.questions.question import Question
from regiontext.region import Region

GREY = Image.new("RGB", (200, 150), (90, 100, 110))
A = Region.from_box("a", (10, 20, 60, 80), GREY.size)
B = Region.from_box("b", (100, 20, 150, 80), GREY.size)
CAPTION = Question("caption", "open", "Describe the object {mark}.", region_ids=("a",))


def test_an_open_question_names_the_mark() -> None:
    shown = render(GREY, [A], View(kind="arrow"))
    assert prompt(CAPTION, shown) == "Describe the object pointed to by the red arrow."


def test_evidence_and_options_follow() -> None:
    question = Question("state", "closed", "What state is {mark}?", ("new", "worn"), ("a",))
    shown = render(GREY, [A], View(evidence=True))
    assert prompt(question, shown) == (
        "What state is within the red rectangle? "
        "The region covers 10 % of the image, at the left. "
        "Choose one: new, worn."
    )


def test_a_pair_is_named_in_its_order() -> None:
    wording = "How is the object {subject} related to the object {object}?"
    question = Question("relations", "open", wording, region_ids=("a", "b"))
    assert prompt(question, render(GREY, [A, B], View())) == (
        "How is the object within the red rectangle related to the object within the blue "
        "rectangle?"
    )


def test_braces_in_the_wording_stay() -> None:
    question = Question("f", "open", "What is {this} at {mark}, 100 %?", region_ids=("a",))
    shown = Rendered((), ("there",), "", View())
    assert prompt(question, shown) == "What is {this} at there, 100 %?"


def test_a_view_of_other_regions_is_refused() -> None:
    with pytest.raises(QuestionError, match=r"names 1 region\(s\) and the view shows 2"):
        prompt(CAPTION, render(GREY, [A, B], View()))
