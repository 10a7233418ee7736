"""What the store says became of each suggestion is what the person did, in a real Label Studio."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.plugin.conftest import Desk
from tests.plugin.slow_model import WORDS, SlowModel

pytestmark = [pytest.mark.browser, pytest.mark.label_studio, pytest.mark.timeout(600)]

RELATION = ".regiontext-relation"


def test_outcomes_are_what_the_person_did(desk: Desk) -> None:
    for at in range(3):
        desk.box(40 + 150 * at, 60, 150 + 150 * at, 180)
    desk.captions(WORDS, WORDS, WORDS)
    desk.editor.rewrite(1, "my own words")
    desk.empty(2)
    desk.submit()
    assert [desk.outcomes()[id, "caption"] for id in desk.ids()] == [
        "accepted",
        "edited",
        "cleared",
    ]
    assert {desk.outcomes()[id, "material"] for id in desk.ids()} == {"accepted"}
    # What was emptied is the annotator's: nothing is said about it again.
    desk.captions(WORDS, "my own words", "")


def test_what_is_typed_while_the_answer_streams_is_the_persons_own(
    desk: Desk, model: SlowModel
) -> None:
    model.word_s = 3.0
    desk.box()
    desk.words_on_their_way()
    # When the answer is there, and not taken, the page says so.
    with desk.page.expect_response("**/regiontext/unseen", timeout=60_000):
        desk.page.get_by_test_id("textarea-region-input").click()
        desk.page.keyboard.type("my own words")
        model.word_s = 0.02
    desk.page.keyboard.press("Enter")
    desk.captions("my own words")
    desk.editor._leave_inputs()
    desk.submit()
    (id,) = desk.ids()
    assert desk.outcomes()[id, "caption"] == "added"


@pytest.fixture
def related(desk: Desk, model: SlowModel) -> Desk:
    """Two boxes, and the arrow from the first to the second that one key asked for and another added."""
    model.relation = "left of"
    desk.box(60, 100, 180, 220)
    desk.box(320, 100, 440, 220)
    desk.captions(WORDS, WORDS)
    desk.editor.click(120, 160)
    desk.page.keyboard.press("Shift+L")
    offer = desk.page.locator(RELATION).first
    expect(offer).to_contain_text("1 → 2: left of")
    with desk.page.expect_response("**/regiontext/drawn") as noted:
        desk.page.keyboard.press("Shift+L")
    assert noted.value.status == 204
    expect(offer).to_have_attribute("data-taken", "true")
    return desk


def test_an_arrow_that_is_added_by_key_is_an_accepted_suggestion(related: Desk) -> None:
    related.submit()
    (arrow,) = related.arrows()
    assert arrow["labels"] == ["left of"] and arrow["direction"] == "right"
    assert related.relation_outcomes() == ["accepted"]


def test_an_arrow_that_gets_another_label_is_edited(related: Desk) -> None:
    related.relabel_arrow("left of", "above")
    related.submit()
    (arrow,) = related.arrows()
    assert arrow["labels"] == ["above"]
    assert related.relation_outcomes() == ["edited"]


def test_an_arrow_that_is_removed_is_cleared(related: Desk) -> None:
    related.remove_arrow()
    related.submit()
    assert related.arrows() == [] and related.relation_outcomes() == ["cleared"]


def test_an_arrow_with_a_region_that_is_deleted_is_discarded(related: Desk) -> None:
    related.editor.click(380, 160)
    related.page.keyboard.press("Backspace")
    expect(related.editor.regions).to_have_count(1)
    related.submit()
    assert related.arrows() == [] and related.relation_outcomes() == ["discarded"]


def test_an_offer_that_is_passed_over_is_no_outcome(desk: Desk, model: SlowModel) -> None:
    model.relation = "left of"
    desk.box(60, 100, 180, 220)
    desk.box(320, 100, 440, 220)
    desk.captions(WORDS, WORDS)
    desk.page.keyboard.press("Shift+L")
    expect(desk.page.locator(RELATION).first).to_contain_text("1 → 2: left of")
    desk.submit()
    assert desk.arrows() == [] and desk.relation_outcomes() == []


def test_other_arms_have_outcomes_without_suggestions(
    page: Page, open_task: Callable[..., Desk], model: SlowModel
) -> None:
    desk = open_task(page, "control")
    desk.box()
    desk.page.get_by_test_id("textarea-region-input").click()
    desk.page.keyboard.type("my own words")
    desk.page.keyboard.press("Enter")
    desk.captions("my own words")
    desk.editor._leave_inputs()
    desk.submit()
    (id,) = desk.ids()
    assert desk.outcomes() == {(id, "caption"): "added"}
    assert not model.asked
