"""Whatever goes wrong, what an annotator drew is in the page, in the draft and in what is submitted.

In the real editor, by mouse and keyboard; what goes wrong is the model, the time, the config, or who else is there.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import Response
from fastapi.responses import JSONResponse
from playwright.sync_api import expect

from tests.backend.site import running_site, serving, site_with_model_at
from tests.backend.waiting import wait_for
from tests.browser.workplace import (
    BOX,
    CEILING,
    OTHER_BOX,
    POINT,
    POLYGON,
    XML,
    Box,
    MoodyModel,
    Workplace,
    accept_suggestions,
    answered,
    shapes_in,
)
from tests.label_studio_server import LabelStudioServer, free_port

pytestmark = [pytest.mark.browser, pytest.mark.label_studio]

FIRST: Box = (40, 60, 200, 180)
SECOND: Box = (320, 60, 480, 180)
THIRD: Box = (560, 60, 720, 180)
FOURTH: Box = (40, 300, 200, 420)
ON_AND_OFF = pytest.mark.parametrize("accept", [True, False], ids=["auto-accept", "by hand"])


@ON_AND_OFF
def test_several_drawn_while_the_first_is_asked_about(
    accept: bool, workplace: Workplace, moody: MoodyModel, task: int
) -> None:
    editor = workplace.at_work(task, accept=accept)
    with moody.held_back():
        editor.smart_box(FIRST, BOX)
        editor.smart_box(SECOND, OTHER_BOX)
        editor.smart_box(THIRD, BOX)
        expect(editor.regions).to_have_count(3)
    if not accept:
        accept_suggestions(editor.page)
    editor.wait_for_captions(3, CEILING)
    workplace.assert_kept(editor, task, FIRST, SECOND, THIRD)


def test_two_tabs_that_ask_at_once(workplace: Workplace, moody: MoodyModel, task: int) -> None:
    here = workplace.at_work(task)
    there = workplace.editor(workplace.page(beside=here.page), task)
    with moody.held_back():
        here.page.bring_to_front()
        here.smart_box(FIRST, BOX)
        there.page.bring_to_front()
        there.smart_box(SECOND, BOX)
        here.page.bring_to_front()
        here.smart_box(THIRD, OTHER_BOX)
        there.page.bring_to_front()
        there.smart_box(FOURTH, OTHER_BOX)
        for tab in (here, there):
            expect(tab.regions).to_have_count(2)
    for tab, boxes in ((here, {FIRST, THIRD}), (there, {SECOND, FOURTH})):
        tab.page.bring_to_front()
        expect(tab.captions.nth(1)).to_be_visible(timeout=1000 * CEILING)
        tab.submit()
        kept = workplace.boxes_of(workplace.annotations(task)[-1]["result"])
        assert boxes <= kept <= {FIRST, SECOND, THIRD, FOURTH}


def test_two_annotators_who_ask_at_once(workplace: Workplace, moody: MoodyModel, task: int) -> None:
    here = workplace.at_work(task)
    there = workplace.editor(workplace.page(workplace.colleague()), task)
    there.auto_annotation()
    with moody.held_back():
        here.smart_box(FIRST, BOX)
        there.smart_box(SECOND, BOX)
        here.smart_box(THIRD, OTHER_BOX)
        there.smart_box(FOURTH, OTHER_BOX)
        for annotator in (here, there):
            expect(annotator.regions).to_have_count(2)
    for annotator, boxes in ((here, {FIRST, THIRD}), (there, {SECOND, FOURTH})):
        expect(annotator.captions.nth(1)).to_be_visible(timeout=1000 * CEILING)
        annotator.submit()
        kept = workplace.boxes_of(workplace.annotations(task)[-1]["result"])
        assert boxes <= kept <= {FIRST, SECOND, THIRD, FOURTH}
    first, second = workplace.annotations(task)
    assert first["completed_by"] != second["completed_by"]


def test_a_model_slower_than_the_time_budget(
    workplace: Workplace, label_studio: LabelStudioServer, tmp_path: Path
) -> None:
    model = MoodyModel()
    with running_site(label_studio, XML, tmp_path, model) as site:
        (task,) = site.upload()
        place = Workplace(workplace.browser, label_studio, site)
        editor = place.at_work(task)
        with model.held_back(), answered(editor.page) as answer:
            editor.smart_box(FIRST, BOX)
        (shape,) = shapes_in(answer.value.json()["data"]["result"]).values()
        assert shape["meta"]["text"][0].startswith("regiontext: ")
        expect(editor.regions).to_have_count(1)
        with answered(editor.page):
            editor.smart_box(SECOND, OTHER_BOX)
        place.assert_kept(editor, task, FIRST, SECOND)
        assert place.close() == []


NONSENSE: dict[str, Callable[[dict[str, Any]], Response]] = {
    "no JSON": lambda _: Response(b"\xff\xfe{garbage", media_type="application/json"),
    "no answer in it": lambda _: JSONResponse({"choices": []}),
    "another shape": lambda _: JSONResponse([1, "two", None]),
    "a list for text": lambda _: _completion(["a", {"b": 1}]),
    "NUL and surrogates": lambda _: Response(
        b'{"choices":[{"message":{"content":"a \\u0000 b \\ud800 c \\u202e"}}]}',
        media_type="application/json",
    ),
    "markup": lambda _: _completion('<img src=x onerror="throw 1"></textarea>\n```json {"x":'),
    "far too much": lambda _: _completion("blah " * 400_000),
    "nothing": lambda _: _completion(""),
    "500": lambda _: Response("it broke", 500),
    "not found": lambda _: Response("<html>nothing here</html>", 404),
}


def _completion(content: Any) -> Response:
    body = {"choices": [{"message": {"role": "assistant", "content": content}}]}
    return Response(json.dumps(body), media_type="application/json")


# The region list shows seven rows at a time.
@pytest.mark.parametrize("names", [list(NONSENSE)[:5], list(NONSENSE)[5:]], ids=["wire", "words"])
def test_a_model_that_answers_nonsense(
    names: list[str], workplace: Workplace, moody: MoodyModel, task: int
) -> None:
    editor = workplace.at_work(task)
    boxes: list[Box] = []
    for number, name in enumerate(names):
        row, column = divmod(number, 4)
        boxes.append((40 + 200 * column, 30 + 180 * row, 160 + 200 * column, 120 + 180 * row))
        moody.mood = NONSENSE[name]
        with answered(editor.page) as reply:
            editor.smart_box(boxes[-1], BOX if number % 2 else OTHER_BOX)
        assert "errors" not in reply.value.json(), name
        expect(editor.regions, name).to_have_count(len(boxes))
    moody.well_again()
    workplace.assert_kept(editor, task, *boxes)
    for item in workplace.submitted(task):
        if item["type"] == "textarea":
            assert all(len(text) < 5000 and "\0" not in text for text in item["value"]["text"])


XML_WITH_A_CHOICE = XML.replace(
    '<TextArea name="prompt"',
    """<Choices name="material" toName="img" perRegion="true"><Choice value="wood"/><Choice value="steel"/></Choices>
    <TextArea name="prompt\"""",
)


def test_a_model_that_is_down_and_comes_back_and_chooses_what_there_is_not(
    workplace: Workplace, label_studio: LabelStudioServer, tmp_path: Path
) -> None:
    port, model = free_port(), MoodyModel()
    model.say = lambda words, options: "plastic" if options else "a red car"
    url = f"http://127.0.0.1:{port}/v1"
    with site_with_model_at(url, label_studio, XML_WITH_A_CHOICE, tmp_path, model) as site:
        (task,) = site.upload()
        place = Workplace(workplace.browser, label_studio, site)
        editor = place.at_work(task)
        with answered(editor.page) as answer:
            editor.smart_box(FIRST, BOX)
        (shape,) = shapes_in(answer.value.json()["data"]["result"]).values()
        assert shape["meta"]["text"][0].startswith("regiontext: ")
        expect(editor.regions).to_have_count(1)
        with serving(model.app(), port):
            editor.smart_box(SECOND, OTHER_BOX)
            assert editor.wait_for_captions(1, CEILING) == ["a red car"]
        place.assert_kept(editor, task, FIRST, SECOND)
        assert not [i for i in place.submitted(task) if i["from_name"] == "material"]
        assert place.close() == []


def test_a_labeling_config_that_changed_meanwhile(
    workplace: Workplace, label_studio: LabelStudioServer, tmp_path: Path
) -> None:
    model = MoodyModel()
    with running_site(label_studio, XML, tmp_path, model, budget_s=60.0) as site:
        (task,) = site.upload()
        place = Workplace(workplace.browser, label_studio, site)
        editor = place.at_work(task)
        with model.held_back():
            editor.smart_box(FIRST, BOX)
            wait_for(lambda: model.waiting > 0, seconds=CEILING)
            changed = XML.replace('name="caption"', 'name="words"').replace(
                '<Label value="Person"/>', '<Label value="Human"/>'
            )
            where = f"/api/projects/{site.project}"
            site.call("PATCH", where, json={"label_config": changed})
            editor.smart_box(SECOND, OTHER_BOX)
            expect(editor.regions).to_have_count(2)
        with answered(editor.page):
            editor.smart_box(THIRD, BOX)
        site.call("PATCH", where, json={"label_config": XML})
        place.assert_kept(editor, task, FIRST, SECOND, THIRD)
        assert place.close() == []


@ON_AND_OFF
def test_pointing_at_what_no_draft_has_yet(
    accept: bool, workplace: Workplace, moody: MoodyModel, task: int
) -> None:
    """The backend cannot know the region: the click becomes one of its own, and neither is lost."""
    editor = workplace.editor(workplace.page(), task)
    editor.choose(POLYGON)
    editor.taps([(400, 300), (600, 300), (500, 480)], close=True)
    editor.auto_annotation(accept=accept)
    drafted = bool(shapes_in(workplace.draft(task)))
    editor.label(POINT)
    editor.smart_tool("key-point-tool")
    with answered(editor.page):
        editor.click(500, 340, control=True)
    if not accept:
        accept_suggestions(editor.page)
    editor.wait_for_captions(1, CEILING)
    editor.submit()
    kept = [shape["type"] for shape in shapes_in(workplace.submitted(task)).values()]
    assert sorted(kept) == (["polygonlabels"] if drafted else ["brushlabels", "polygonlabels"])
