"""Every way a caption arrives in the real editor, by mouse and keyboard only, with auto-accept on and off.

A click of the smart keypoint where nothing is, which makes a mask, is in test_clicks.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from regiontext.labelstudio.leaks import leaked
from tests.backend.site import running_site
from tests.browser.drawing import Drawing, Point
from tests.browser.workplace import (
    BOX,
    CEILING,
    OTHER_BOX,
    POINT,
    SIZE,
    XML,
    MoodyModel,
    Workplace,
    accept_suggestions,
    answered,
    asked,
    shapes_in,
)
from tests.label_studio_server import LabelStudioServer

pytestmark = [pytest.mark.browser, pytest.mark.label_studio]

ON_AND_OFF = pytest.mark.parametrize("accept", [True, False], ids=["auto-accept", "by hand"])
PLACES: dict[str, tuple[Point, tuple[float, float, float, float]]] = {
    "rectanglelabels": ((100, 90), (30, 30, 170, 150)),
    "ellipselabels": ((270, 90), (190, 30, 345, 145)),
    "polygonlabels": ((420, 90), (348, 25, 495, 155)),
    "brushlabels": ((600, 90), (530, 60, 710, 120)),
    "bitmasklabels": ((100, 300), (30, 270, 210, 330)),
    "vectorlabels": ((320, 300), (220, 210, 430, 400)),
    "keypointlabels": ((540, 300), (500, 260, 580, 340)),
}
"""Of each shape that is drawn: a point on it, and a box drawn around it; px."""


DRAWN: list[dict[str, Any]] = json.loads(Path(__file__).with_name("every_shape.json").read_text())
"""A region of each, drawn by hand in the real editor and saved by it."""


@pytest.fixture
def every_shape(workplace: Workplace, task: int) -> int:
    """A task on which the annotator has drawn a region of every shape, without a caption."""
    body = {"result": DRAWN, "lead_time": 1.0}
    workplace.site.call("POST", f"/api/tasks/{task}/drafts", json=body)
    return task


def settle(editor: Drawing, *, accept: bool, captions: int) -> None:
    """Accept what is suggested if nothing else does, and wait until so many regions have a caption."""
    if not accept:
        accept_suggestions(editor.page)
    editor.wait_for_captions(captions, CEILING)


@ON_AND_OFF
@pytest.mark.parametrize(
    ("pointed", "framed"),
    [
        (
            ["ellipselabels", "polygonlabels", "brushlabels", "keypointlabels"],
            ["rectanglelabels", "bitmasklabels", "vectorlabels"],
        ),
        (["rectanglelabels"], ["brushlabels", "polygonlabels", "ellipselabels"]),
    ],
    ids=["most clicked", "most framed"],
)
def test_an_existing_region_is_filled_by_a_click_with_control_or_a_box_around_it(
    accept: bool,
    pointed: list[str],
    framed: list[str],
    workplace: Workplace,
    every_shape: int,
) -> None:
    """Bitmasks and paths take a click for themselves: those need a box."""
    editor = workplace.at_work(every_shape, accept=accept)
    filled = 0
    for name in pointed:
        editor.label(POINT)
        editor.smart_tool("key-point-tool")
        with answered(editor.page):
            editor.click(*PLACES[name][0], control=True)
        filled += 1
        settle(editor, accept=accept, captions=filled)
    for name in framed:
        editor.label(OTHER_BOX)
        editor.smart_tool("rectangle-tool")
        with answered(editor.page):
            editor.drag(PLACES[name][1])
        filled += 1
        settle(editor, accept=accept, captions=filled)
    expect(editor.regions).to_have_count(len(PLACES))
    editor.submit()
    results = workplace.submitted(every_shape)
    kinds = {id: shape["type"] for id, shape in shapes_in(results).items()}
    assert kinds == {id: shape["type"] for id, shape in shapes_in(DRAWN).items()}
    told = {kinds[item["id"]] for item in results if item["from_name"] == "caption"}
    assert told == {*pointed, *framed}


@ON_AND_OFF
def test_a_smart_rectangle_and_one_by_three_points(
    accept: bool, workplace: Workplace, task: int
) -> None:
    editor = workplace.at_work(task, accept=accept)
    with answered(editor.page):
        editor.smart_box((40, 60, 200, 180), BOX)
    settle(editor, accept=accept, captions=1)
    editor.label(OTHER_BOX)
    editor.smart_tool("rectangle-3-point-tool")
    with answered(editor.page):
        editor.taps([(320, 300), (520, 360), (480, 480)])
    settle(editor, accept=accept, captions=2)
    editor.submit()
    upright, leaning = sorted(
        (s["value"] for s in shapes_in(workplace.submitted(task)).values()),
        key=lambda value: float(value["x"]),
    )
    assert upright["rotation"] == 0 and leaning["rotation"] == pytest.approx(16.7, abs=2)


def test_a_wish_typed_into_a_region_that_waits(
    workplace: Workplace, moody: MoodyModel, task: int
) -> None:
    """Its text is the answer to the wish once that is accepted."""
    moody.say = lambda words, options: "red" if "colour" in words else "a car"
    editor = workplace.at_work(task, accept=False)
    with answered(editor.page):
        editor.smart_box((40, 60, 200, 180), BOX)
    box = editor.page.get_by_test_id("textarea-region-input").first
    box.click()
    editor.page.keyboard.type("what colour is it?")
    with answered(editor.page):
        editor.page.keyboard.press("Enter")
    settle(editor, accept=False, captions=1)
    assert editor.caption_texts() == ["red"]
    assert any("what colour is it?" in words for words in moody.prompts)


def test_a_wish_typed_while_the_answer_is_on_its_way(
    workplace: Workplace, moody: MoodyModel, task: int
) -> None:
    """With auto-accept on, a region waits only that long; the answer to the wish is the one that counts."""
    moody.say = lambda words, options: "red" if "colour" in words else "a car"
    editor = workplace.at_work(task)
    with moody.held_back():
        editor.smart_box((40, 60, 200, 180), BOX)
        expect(editor.regions).to_have_count(1)
        editor.page.get_by_test_id("textarea-region-input").first.click()
        editor.page.keyboard.type("what colour is it?")
        with asked(editor.page):
            editor.page.keyboard.press("Enter")
    expect(editor.captions).to_have_value("red", timeout=1000 * CEILING)
    expect(editor.regions).to_have_count(1)
    editor.submit()
    results = workplace.submitted(task)
    assert len(shapes_in(results)) == 1
    assert [i["value"]["text"] for i in results if i["from_name"] == "caption"] == [["red"]]


def say_to_all(editor: Drawing, words: str) -> None:
    """Type into the prompt field and wait for the answer."""
    area = editor.page.get_by_placeholder("prompt")
    area.click()
    editor.page.keyboard.type(words)
    with answered(editor.page):
        editor.page.keyboard.press("Shift+Enter")


def test_what_was_done_since_the_draft_stays_done_when_all_are_asked_about(
    workplace: Workplace, every_shape: int
) -> None:
    """One region deleted, one described by hand, and everything asked about at once."""
    editor = workplace.at_work(every_shape)
    editor.click(*PLACES["ellipselabels"][0])
    editor.page.keyboard.press("Backspace")
    expect(editor.regions).to_have_count(len(PLACES) - 1)
    editor.page.get_by_test_id("textarea-region-input").first.click()
    editor.page.keyboard.type("my own words")
    editor.page.keyboard.press("Enter")
    say_to_all(editor, "caption all")
    texts = editor.wait_for_captions(len(PLACES) - 1, CEILING)
    assert "my own words" in texts
    expect(editor.regions).to_have_count(len(PLACES) - 1)


@ON_AND_OFF
def test_an_instruction_in_words_renews_what_the_model_wrote(
    accept: bool, workplace: Workplace, moody: MoodyModel, every_shape: int
) -> None:
    """At once, before Label Studio has saved what it renews; what the annotator wrote stays."""
    moody.say = lambda words, options: "thing" if "in one word" in words else "a long caption"
    count = len(PLACES)
    editor = workplace.at_work(every_shape, accept=accept)
    editor.page.get_by_test_id("textarea-region-input").first.click()
    editor.page.keyboard.type("my own words")
    editor.page.keyboard.press("Enter")
    # Its region is selected by that, and the page would write its label into all others.
    editor.auto_annotation(accept=accept)
    editor.nothing_selected()
    for words, said in (("caption all", "a long caption"), ("in one word", "thing")):
        say_to_all(editor, words)
        if not accept:
            accept_suggestions(editor.page)
        wanted = sorted(["my own words", *[said] * (count - 1)])
        editor.page.wait_for_function(
            "([boxes, wanted]) => JSON.stringify([...document.querySelectorAll(boxes)]"
            ".map((box) => box.value).sort()) === JSON.stringify(wanted)",
            arg=["[data-testid=textarea-region-textarea]", wanted],
            timeout=1000 * CEILING,
        )
    editor.submit()
    results = workplace.submitted(every_shape)
    assert leaked(results) == [] and len(shapes_in(results)) == count


def test_relations_are_written_as_text_below_what_the_annotator_wrote(
    workplace: Workplace, moody: MoodyModel, every_shape: int
) -> None:
    moody.say = lambda words, options: "The car is near the tree." if "other" in words else "a car"
    editor = workplace.at_work(every_shape, accept=True)
    area = editor.page.get_by_test_id("textarea-control").last.locator("textarea").last
    area.click()
    editor.page.keyboard.type("My own line.")
    editor.page.keyboard.press("Shift+Enter")
    say_to_all(editor, "relations")
    editor.wait_for_captions(len(PLACES), CEILING)
    editor.submit()
    results = workplace.submitted(every_shape)
    (lines,) = [item["value"]["text"] for item in results if item["from_name"] == "relations"]
    assert lines[0] == "My own line." and len(lines) > 1
    assert not [item for item in results if item["type"] == "relation"]
    assert leaked(results) == []


def box(id: str, x: float) -> dict[str, Any]:
    value = {"x": x, "y": 10, "width": 20, "height": 20, "rotation": 0, "rectanglelabels": ["Car"]}
    return {
        "id": id,
        "from_name": "rect",
        "to_name": "img",
        "type": "rectanglelabels",
        "original_width": SIZE[0],
        "original_height": SIZE[1],
        "image_rotation": 0,
        "value": value,
    }


def test_opened_tasks_and_the_label_stream_show_what_was_predicted(
    workplace: Workplace, label_studio: LabelStudioServer, tmp_path: Path
) -> None:
    model = MoodyModel()
    with running_site(label_studio, XML, tmp_path, model) as site:
        tasks = site.upload(2)
        for task in tasks:
            boxes = [box("a", 10.0), box("b", 60.0)]
            body = {"task": task, "model_version": "detector", "result": boxes}
            site.call("POST", "/api/predictions", json=body)
        site.retrieve()
        place = Workplace(workplace.browser, label_studio, site)
        editor = place.editor(place.page(), tasks[0])
        assert len(set(editor.wait_for_captions(2, CEILING))) == 2
        page = place.page()
        page.goto(f"{label_studio.url}/projects/{site.project}/data")
        page.get_by_role("button", name=re.compile("^Label ")).first.click()
        stream = Drawing(page, label_studio.url, site.project)
        for _ in tasks:
            assert len(set(stream.wait_for_captions(2, CEILING))) == 2
            stream.submit()
        for task in tasks:
            results = place.submitted(task)
            assert sorted(shapes_in(results)) == ["a", "b"]
            assert sum(item["from_name"] == "caption" for item in results) == 2
        assert place.close() == []
