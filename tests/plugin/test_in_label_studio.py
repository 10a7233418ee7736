"""The assistant inside a real Label Studio, by mouse and keyboard."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.drawing import Drawing
from tests.browser.scenes import SIZE
from tests.browser.stack import Stack
from tests.plugin.conftest import CONFIG, Desk
from tests.plugin.slow_model import WORDS, SlowModel

pytestmark = [pytest.mark.browser, pytest.mark.label_studio, pytest.mark.timeout(600)]

CARD = ".regiontext-card"
LINE = ".regiontext-line"
MARK = "[data-regiontext-mark]"

LOOSE = """
<View>
  <Image name="image" value="$image"/>
  <Labels name="kind" toName="image"><Label value="Thing"/></Labels>
  <MagicWand name="wand" toName="image"/>
  <Rectangle name="box" toName="image" canRotate="true"/>
  <TextArea name="caption" toName="image" perRegion="true" displayMode="region-list" editable="true"
            maxSubmissions="1" ask="Describe the object {mark}."/>
</View>
"""


def rectangle(desk: Desk) -> None:
    desk.box()


def ellipse(desk: Desk) -> None:
    desk.editor.choose("2")
    desk.editor.stroke([(150, 120), (190, 140), (220, 170)])


def polygon(desk: Desk) -> None:
    desk.editor.choose("3")
    desk.editor.taps([(80, 80), (200, 90), (150, 200)], close=True)


def brush(desk: Desk) -> None:
    desk.editor.choose("4")
    desk.editor.stroke([(80, 80), (200, 100), (210, 180)])


def keypoint(desk: Desk) -> None:
    desk.editor.choose("5")
    desk.editor.tap((150, 120))


def path(desk: Desk) -> None:
    desk.editor.choose("6")
    desk.editor.taps([(80, 80), (200, 90), (150, 200)], close=True)


def bitmask(desk: Desk) -> None:
    desk.editor.choose("7")
    desk.editor.stroke([(80, 80), (200, 100), (210, 180)])


TOOLS = [rectangle, ellipse, polygon, brush, keypoint, path, bitmask]


@pytest.mark.parametrize("draw", TOOLS, ids=lambda tool: tool.__name__)
def test_every_tool_has_its_region_written_about(draw: Callable[[Desk], None], desk: Desk) -> None:
    draw(desk)
    desk.captions(WORDS)
    expect(desk.page.locator(MARK)).not_to_have_count(0)
    desk.editor.submit()
    fields = {str(result["from_name"]): result["value"] for result in desk.stored()}
    assert fields["caption"]["text"] == [WORDS]  # type: ignore[index]
    assert fields["material"]["choices"] == ["other"]  # type: ignore[index]


@pytest.fixture(scope="module")
def loose(stack: Stack) -> int:
    with stack.api() as api:
        body = {"title": "labels and tools", "label_config": LOOSE}
        made = api.post("/api/projects/", json=body)
        made.raise_for_status()
        return int(made.json()["id"])


def test_a_single_line_that_is_being_rewritten_is_not_written_over(
    page: Page, open_task: Callable[..., Desk], loose: int, model: SlowModel
) -> None:
    desk = open_task(page, project=loose)
    desk.editor.label("1")
    desk.editor.tool("rectangle-tool")
    desk.editor.stroke([(100, 140), (180, 190), (260, 240)])
    desk.captions(WORDS)
    model.text, model.word_s = "what the model says now", 3.0
    desk.editor.turn_region((100, 140, 260, 240), 25)
    expect(page.locator("[data-regiontext-mark=waits]")).to_have_count(1)
    with page.expect_response("**/regiontext/unseen", timeout=60_000):
        page.locator("[data-testid=textarea-region-item] input").click()
        page.keyboard.press("Control+a")
        page.keyboard.type("my own words")
        model.word_s = 0.02
    page.keyboard.press("Enter")
    desk.captions("my own words")


def test_tools_that_are_chosen_apart_from_the_label(
    page: Page, open_task: Callable[..., Desk], loose: int
) -> None:
    """The magic wand, and the rectangle by three points."""
    desk = open_task(page, project=loose)
    desk.editor.label("1")
    desk.editor.tool("magicwand")
    desk.editor.stroke([(120, 100), (130, 110), (140, 120)])
    desk.captions(WORDS)
    desk.editor.label("1")
    desk.editor.tool("rectangle-3-point-tool")
    desk.editor.taps([(380, 280), (500, 310), (480, 400)])
    desk.captions(WORDS, WORDS)
    desk.editor.submit()
    wand, box = (r for r in desk.stored() if r["from_name"] in ("wand", "box"))
    assert wand["value"]["format"] == "rle" and box["value"]["rotation"] > 5  # type: ignore[index]
    assert [r["id"] for r in desk.stored() if r["from_name"] == "caption"] == [
        wand["id"],
        box["id"],
    ]


def test_a_region_that_is_turned_is_asked_about_again(desk: Desk, model: SlowModel) -> None:
    desk.box(100, 140, 260, 240)
    desk.captions(WORDS)
    model.text = "a turned car"
    desk.editor.turn_region((100, 140, 260, 240), 25)
    desk.captions("a turned car")


def test_a_region_that_gets_another_label_is_asked_about_again_while_its_text_is_the_models(
    desk: Desk, model: SlowModel
) -> None:
    desk.box(60, 100, 180, 220)
    desk.box(320, 100, 440, 220)
    desk.captions(WORDS, WORDS)
    desk.editor.rewrite(1, "my own words")
    model.text = "a boxed car"
    for middle in ((380, 160), (120, 160)):
        desk.page.keyboard.press("u")
        desk.editor.click(*middle)
        expect(desk.page.locator(f"{CARD} .regiontext-foot")).to_be_visible()
        desk.page.keyboard.press("8")
    desk.captions("a boxed car", "my own words")
    desk.editor.submit()
    said = {
        str(result["id"]): (result["value"]["rectanglelabels"])  # type: ignore[index]
        for result in desk.stored()
        if result["type"] == "rectanglelabels"
    }
    assert list(said.values()) == [["Crate"], ["Crate"]]


def test_what_is_drawn_before_the_assistant_is_awake_is_written_about(
    page: Page, open_task: Callable[..., Desk]
) -> None:
    held: list[Route] = []
    page.route("**/assistant.js", lambda route: held.append(route))
    desk = open_task(page)
    desk.box()
    expect(desk.editor.regions).to_have_count(1)
    while not held:
        page.wait_for_timeout(100)
    held.pop().continue_()
    desk.captions(WORDS)


def test_words_stream_into_the_field_before_they_are_its_value(
    desk: Desk, model: SlowModel
) -> None:
    model.word_s = 3.0
    desk.box()
    desk.words_on_their_way()
    desk.captions()
    assert desk.page.locator(CARD).inner_text().startswith("Region 1")
    model.word_s = 0.02
    desk.captions(WORDS)


def test_a_region_deleted_in_flight_is_gone(desk: Desk, model: SlowModel) -> None:
    model.word_s = 0.7
    desk.box()
    desk.words_on_their_way()
    desk.editor.click(130, 120)
    desk.page.keyboard.press("Backspace")
    expect(desk.editor.regions).to_have_count(0)
    desk.page.wait_for_timeout(4000)
    expect(desk.editor.regions).to_have_count(0)
    expect(desk.page.locator(CARD)).to_be_hidden()


def test_ten_regions_drawn_in_a_row_are_all_filled(desk: Desk) -> None:
    # The list of regions holds only the rows that fit.
    desk.page.set_viewport_size({"width": 1440, "height": 2000})
    desk.editor.fit()
    for at in range(10):
        x, y = 40 + 110 * (at % 5), 60 + 160 * (at // 5)
        desk.box(x, y, x + 80, y + 100)
    desk.captions(*[WORDS] * 10, seconds=90)


def test_undo_takes_the_text_with_its_region_and_redo_brings_both_back(desk: Desk) -> None:
    desk.box()
    desk.captions(WORDS)
    desk.box(300, 200, 420, 330)
    desk.captions(WORDS, WORDS)
    desk.page.keyboard.press("Control+z")
    expect(desk.editor.regions).to_have_count(1)
    desk.captions(WORDS)
    desk.page.keyboard.press("Control+z")
    expect(desk.editor.regions).to_have_count(0)
    desk.page.keyboard.press("Control+Shift+z")
    desk.captions(WORDS)
    desk.page.keyboard.press("Control+Shift+z")
    desk.captions(WORDS, WORDS)


def test_undo_in_flight_is_not_held_up(desk: Desk, model: SlowModel) -> None:
    model.word_s = 0.7
    desk.box()
    desk.words_on_their_way()
    desk.page.keyboard.press("Control+z")
    expect(desk.editor.regions).to_have_count(0)
    desk.page.wait_for_timeout(4000)
    expect(desk.editor.regions).to_have_count(0)


def test_a_submit_in_flight_stores_nothing_half(desk: Desk, model: SlowModel) -> None:
    model.word_s = 3.0
    desk.box()
    desk.words_on_their_way()
    desk.editor.submit()
    model.word_s = 0.02
    assert {result["from_name"] for result in desk.stored()} == {"box"}
    desk.page.wait_for_timeout(4000)
    assert {result["from_name"] for result in desk.stored()} == {"box"}


def test_a_model_that_is_away_is_one_quiet_line_until_it_is_back(
    desk: Desk, model: SlowModel
) -> None:
    model.away = True
    desk.box()
    expect(desk.page.locator(LINE)).to_contain_text("away", timeout=30_000)
    desk.box(300, 200, 420, 330)
    model.away = False
    desk.captions(WORDS, WORDS, seconds=60)
    expect(desk.page.locator(LINE)).to_be_hidden()


@pytest.mark.parametrize("arm", ["control", "holdout"])
def test_other_arms_get_nothing_and_no_word_about_it(
    arm: str, page: Page, open_task: Callable[..., Desk], model: SlowModel
) -> None:
    desk = open_task(page, arm)
    desk.box()
    page.wait_for_timeout(4000)
    desk.captions()
    expect(page.locator(CARD)).to_be_hidden()
    expect(page.locator(LINE)).to_be_hidden()
    assert page.locator("[data-testid=textarea-region-input]").get_attribute("placeholder") == (
        "What is it?"
    )
    assert not model.asked


def test_keys_ask_again_keep_and_walk_to_the_unsure_ones(desk: Desk, model: SlowModel) -> None:
    page = desk.page
    model.sure = 0.6
    desk.box()
    desk.captions(WORDS)
    desk.box(300, 200, 420, 330)
    desk.captions(WORDS, WORDS)
    page.keyboard.press("Tab")
    expect(page.locator(CARD)).to_contain_text("Region 1")
    page.keyboard.press("Tab")
    expect(page.locator(CARD)).to_contain_text("Region 2")
    model.text, model.sure = "a car", 0.99
    page.keyboard.press("Shift+S")
    desk.captions(WORDS, "a car")
    assert "Answer in a few words." in model.questions[-1]
    page.keyboard.press("Shift+W")
    page.keyboard.type("is it a taxi?")
    model.text = "a taxi"
    page.keyboard.press("Enter")
    desk.captions(WORDS, "a taxi")
    assert "is it a taxi?" in model.questions[-1]
    page.keyboard.press("Tab")
    expect(page.locator(CARD)).to_contain_text("Region 1")
    page.keyboard.press("Shift+K")
    expect(page.locator("[data-regiontext-mark=unsure]")).to_have_count(0)
    page.get_by_role("button", name="stone").click()
    desk.editor.submit()
    chosen = [result["value"] for result in desk.stored() if result["from_name"] == "material"]
    assert sorted(value["choices"][0] for value in chosen) == ["other", "stone"]  # type: ignore[index]


def test_the_user_and_the_project_can_turn_it_off(
    page: Page, stack: Stack, open_task: Callable[..., Desk], model: SlowModel
) -> None:
    desk = open_task(page)
    page.keyboard.press("Shift+O")
    expect(page.locator(LINE)).to_contain_text("off")
    desk.box()
    page.wait_for_timeout(2500)
    desk.captions()
    page.keyboard.press("Shift+O")
    desk.captions(WORDS)
    asked = len(model.asked)
    with stack.api() as api:
        config = CONFIG.replace("<View style", '<View assistant="off" style', 1)
        body = {"title": "without it", "label_config": config}
        made = api.post("/api/projects/", json=body)
        made.raise_for_status()
    quiet = open_task(page, project=int(made.json()["id"]))
    quiet.box()
    page.wait_for_timeout(2500)
    quiet.captions()
    assert len(model.asked) == asked


def test_the_stock_smart_tools_and_the_assistant_do_not_fight(
    page: Page, stack: Stack, open_task: Callable[..., Desk], model: SlowModel
) -> None:
    desk = open_task(page, project=stack.project)
    desk.editor.auto_annotation()
    desk.editor.smart_box((60, 60, 200, 180))
    desk.captions(WORDS)
    asked = len(model.questions)
    assert asked == 1
    desk.editor.choose("2")
    desk.editor.stroke([(400, 300), (440, 330), (480, 360)])
    desk.captions(WORDS, WORDS)
    page.wait_for_timeout(2000)
    desk.captions(WORDS, WORDS)
    assert len(model.questions) == asked + 1
    expect(desk.editor.regions).to_have_count(2)


def test_it_works_in_the_label_stream_and_from_one_task_to_the_next(
    page: Page, stack: Stack, project: int, open_task: Callable[..., Desk], model: SlowModel
) -> None:
    first = open_task(page)
    second = open_task(page, name="the next one")
    model.word_s = 0.5
    second.box()
    second.words_on_their_way()
    first.editor.open(first.task, SIZE)
    first.captions()
    page.wait_for_timeout(3000)
    first.captions()
    model.word_s = 0.02
    page.goto(f"{stack.url}/projects/{project}/data?labeling=1")
    expect(page.locator("canvas").first).to_be_visible(timeout=60_000)
    page.wait_for_timeout(1500)
    first.box()
    first.captions(WORDS)


def test_two_annotators_on_one_task_do_not_disturb_each_other(
    desk: Desk, browser: Browser, stack: Stack, project: int, model: SlowModel
) -> None:
    with stack.api() as api:
        invitation = api.get("/api/invite").json()["invite_url"]
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(stack.url + "/" + invitation.lstrip("/").removeprefix(stack.url + "/"))
    page.fill("input[name=email]", f"second-{desk.task}@example.com")
    page.fill("input[name=password]", "a-Real-passw0rd")
    page.keyboard.press("Enter")
    page.wait_for_function("!location.pathname.includes('signup')")
    other = Desk(Drawing(page, stack.url, project), desk.task, project, stack)
    other.editor.open(desk.task, SIZE)
    desk.box()
    desk.captions(WORDS)
    model.text = "another car"
    other.box(300, 200, 420, 330)
    other.captions("another car")
    desk.editor.submit()
    other.editor.submit()
    said = [r["value"]["text"] for r in desk.stored() if r["from_name"] == "caption"]  # type: ignore[index]
    assert sorted(said) == [[WORDS], ["another car"]]
    context.close()
