"""A label that is chosen while an answer arrives stays where it belongs, in the real editor, by mouse and keyboard.

Label Studio's page writes each chosen label into all that it accepts. It must not reach a text about the whole image:
from there it is chosen anew with every answer, and whatever is drawn next is relabelled.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

import plugin
from regiontext.labelstudio.leaks import is_bare, leaked
from regiontext.labelstudio.results import read_results
from tests.browser.test_arrival import DRAWN, say_to_all, settle
from tests.browser.workplace import (
    BOX,
    OTHER_BOX,
    POINT,
    MoodyModel,
    Workplace,
    answered,
)

pytestmark = [pytest.mark.browser, pytest.mark.label_studio]

ON_AND_OFF = pytest.mark.parametrize("accept", [True, False], ids=["auto-accept", "by hand"])
PAGE = Path(plugin.__file__).parent / "page"
KINDS = ("brushlabels", "polygonlabels")


@pytest.fixture
def two_drawn(workplace: Workplace, task: int) -> int:
    """A task on which the annotator has painted one region and outlined another."""
    ids = {item["id"] for item in DRAWN if item["type"] in KINDS}
    body = {"result": [item for item in DRAWN if item["id"] in ids], "lead_time": 1.0}
    workplace.site.call("POST", f"/api/tasks/{task}/drafts", json=body)
    return task


@ON_AND_OFF
def test_a_label_chosen_while_everything_is_asked_about(
    accept: bool, workplace: Workplace, two_drawn: int
) -> None:
    """What is drawn afterwards has the label it was drawn with, and a mask no label of a box."""
    editor = workplace.at_work(two_drawn, accept=accept)
    editor.label(BOX)
    say_to_all(editor, "caption all")
    settle(editor, accept=accept, captions=2)
    say_to_all(editor, "fill the rest")
    editor.auto_annotation(accept=accept)
    with answered(editor.page):
        editor.smart_box((40, 180, 200, 270), OTHER_BOX)
    settle(editor, accept=accept, captions=3)
    editor.label(POINT)
    editor.smart_tool("key-point-tool")
    with answered(editor.page):
        editor.click(700, 500)
    settle(editor, accept=accept, captions=4)
    editor.submit()
    results = workplace.submitted(two_drawn)
    assert not [item for item in results if is_bare(item)]
    prompts = [item for item in results if item["from_name"] == "prompt"]
    assert [item["value"]["text"] for item in prompts] == [["caption all", "fill the rest"]]
    kept = read_results(results).shapes
    assert sorted(shape["type"] for shape in kept.values()) == sorted(
        [*KINDS, "brushlabels", "rectanglelabels"]
    )
    assert _labels(results, "rect", without=[*_ids(DRAWN)]) == [["Person"]]
    assert _labels(results, "point", without=[]) == []


def test_a_page_whose_texts_have_a_label_already_relabels_nothing(
    workplace: Workplace, two_drawn: int
) -> None:
    """As it was saved by an older version: nothing is filled there, and what is drawn is kept as it is."""
    text = {"id": "p", "from_name": "prompt", "to_name": "img", "type": "textarea"}
    leak = text | {"from_name": "rect", "type": "rectanglelabels"}
    body = {
        "result": [
            *workplace.draft(two_drawn),
            text | {"value": {"text": ["caption all"]}},
            leak | {"value": {"rectanglelabels": ["Car"]}},
        ],
        "lead_time": 1.0,
    }
    (draft,) = workplace.site.call("GET", f"/api/tasks/{two_drawn}/drafts")
    workplace.site.call("PATCH", f"/api/drafts/{draft['id']}", json=body)
    editor = workplace.at_work(two_drawn)
    with answered(editor.page) as answer:
        editor.smart_box((40, 180, 200, 270), OTHER_BOX)
    assert answer.value.json()["data"] == {"result": None}
    expect(editor.regions).to_have_count(3)
    editor.submit()
    found = _labels(workplace.submitted(two_drawn), "rect", without=["p"])
    assert found == [["Person"]]


@ON_AND_OFF
def test_the_assistant_in_the_page_keeps_the_label_that_a_region_was_drawn_with(
    accept: bool, workplace: Workplace, moody: MoodyModel, two_drawn: int
) -> None:
    """Whatever is chosen for the next drawing while the answer is on its way."""
    editor = workplace.at_work(two_drawn, accept=accept)
    module = (PAGE / "adapter.js").read_text()
    keep = "keepLabels(); window.kept = true;"
    editor.page.add_script_tag(content=f"{module}\n{keep}", type="module")
    editor.page.wait_for_function("window.kept")
    with moody.held_back():
        editor.smart_box((40, 180, 200, 270), OTHER_BOX)
        editor.label(BOX)
        expect(editor.regions).to_have_count(3)
    settle(editor, accept=accept, captions=1)
    # To write into a region's field is to select it.
    editor.page.get_by_test_id("textarea-region-input").first.click()
    editor.page.keyboard.type("my own words")
    editor.page.keyboard.press("Enter")
    say_to_all(editor, "caption all")
    settle(editor, accept=accept, captions=3)
    editor.submit()
    results = workplace.submitted(two_drawn)
    assert _labels(results, "rect", without=[]) == [["Person"]]
    assert leaked(results) == []


def _ids(results: list[dict[str, Any]]) -> set[str]:
    return {item["id"] for item in results}


def _labels(results: list[dict[str, Any]], control: str, *, without: list[str]) -> list[list[str]]:
    """What a control has labelled, except of some regions."""
    mine = [item for item in results if item["from_name"] == control and item["id"] not in without]
    return [item["value"][item["type"]] for item in mine]
