"""What the ledger believes of Label Studio's page, checked in the page: regions neither lost nor brought back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from backend.fill import META
from backend.known import SEEN
from regiontext.labelstudio.decode import is_shape
from tests.backend.site import Site, running_site
from tests.backend.stubs import StubModel
from tests.browser.editor import Editor, sign_in
from tests.label_studio_server import LabelStudioServer

pytestmark = [pytest.mark.browser, pytest.mark.label_studio]

SIZE = (800, 600)
CAR, PERSON = "1", "2"
FIRST, SECOND, THIRD = (50, 50, 250, 200), (400, 50, 600, 200), (400, 350, 600, 500)
# Label Studio saves drafts at most every five seconds.
DRAFT_MS = 7000
XML = """<View>
  <Image name="img" value="$image"/>
  <RectangleLabels name="rect" toName="img" smart="true">
    <Label value="Car" hotkey="1"/><Label value="Person" hotkey="2"/>
  </RectangleLabels>
  <TextArea name="caption" toName="img" perRegion="true" editable="true" maxSubmissions="1"
            displayMode="region-list" rows="2"/>
</View>"""


@pytest.fixture(scope="module")
def stub() -> StubModel:
    numbers = iter(range(1, 1000))
    return StubModel(say=lambda prompt, options: f"caption {next(numbers)}")


@pytest.fixture(scope="module")
def site(
    label_studio: LabelStudioServer, stub: StubModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("backend")
    with running_site(label_studio, XML, folder, stub) as running:
        yield running


@pytest.fixture
def signed_in(browser: Browser, label_studio: LabelStudioServer, stub: StubModel) -> Iterator[Page]:
    stub.delay = 0.0
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    sign_in(page, label_studio.url, label_studio.email, label_studio.password)
    yield page
    context.close()


@pytest.fixture
def task(site: Site) -> int:
    (number,) = site.upload()
    return number


@pytest.fixture
def editor(signed_in: Page, label_studio: LabelStudioServer, site: Site, task: int) -> Editor:
    opened = Editor(signed_in, label_studio.url, site.project)
    opened.open(task, SIZE)
    return opened


def answered(editor: Editor, seconds: float = 10) -> Any:
    return editor.page.expect_response(
        lambda r: "interactive-annotating" in r.url, timeout=seconds * 1000
    )


def draft(site: Site, task: int) -> list[dict[str, Any]]:
    drafts = site.call("GET", f"/api/tasks/{task}/drafts")
    results: list[dict[str, Any]] = max(drafts, key=lambda d: d["updated_at"])["result"]
    return results


def test_boxes_of_different_labels_drawn_while_the_first_is_asked_about(
    editor: Editor, stub: StubModel
) -> None:
    editor.auto_annotation()
    stub.delay = 2.0
    editor.smart_box(FIRST, CAR)
    editor.smart_box(SECOND, PERSON)
    editor.smart_box(THIRD, CAR)
    captions = editor.wait_for_captions(3)
    assert len(set(captions)) == 3
    editor.page.wait_for_timeout(2500)
    assert editor.regions.count() == 3 and editor.caption_texts() == captions


def test_accepting_keeps_our_mark_and_the_suggestion_in_the_draft(
    editor: Editor, site: Site, task: int
) -> None:
    editor.auto_annotation()
    editor.smart_box(FIRST)
    editor.wait_for_captions(1)
    editor.page.wait_for_timeout(DRAFT_MS)
    results = draft(site, task)
    (shape,) = [item for item in results if is_shape(item)]
    (caption,) = [item for item in results if item["from_name"] == "caption"]
    assert shape["meta"] == {SEEN: 1}
    assert caption["meta"][META]["model_version"].startswith("stub-model@base")


def test_a_deleted_region_does_not_come_back_with_the_next_answer(editor: Editor) -> None:
    editor.auto_annotation()
    editor.smart_box(FIRST, CAR)
    editor.wait_for_captions(1)
    editor.page.wait_for_timeout(1600)
    editor.page.keyboard.press("Control+z")
    expect(editor.captions).to_have_count(0)
    editor.page.wait_for_timeout(300)
    for row in editor.regions.all():
        row.click()
        editor.page.keyboard.press("Backspace")
    expect(editor.regions).to_have_count(0)
    with answered(editor):
        editor.smart_box(SECOND, PERSON)
    editor.wait_for_captions(1)
    assert editor.regions.count() == 1


def test_a_correction_survives_the_next_box_although_no_draft_has_it(editor: Editor) -> None:
    editor.auto_annotation()
    editor.smart_box(FIRST, CAR)
    editor.wait_for_captions(1)
    editor.page.wait_for_timeout(1600)
    editor.rewrite(0, "my own words")
    with answered(editor):
        editor.smart_box(SECOND, PERSON)
    assert "my own words" in editor.wait_for_captions(2)


def test_boxes_of_one_label_are_asked_about_once_and_their_corrections_survive(
    editor: Editor, stub: StubModel
) -> None:
    """The page sends accepted regions along with the next of their label, for as long as it is open."""
    editor.auto_annotation()
    before = len(stub.asked)
    editor.smart_box(FIRST, CAR)
    editor.wait_for_captions(1)
    editor.page.wait_for_timeout(1800)
    editor.smart_box(SECOND, CAR)
    editor.wait_for_captions(2)
    editor.page.wait_for_timeout(1800)
    editor.rewrite(0, "my own words")
    editor.rewrite(1, "mine too")
    with answered(editor):
        editor.smart_box(THIRD, PERSON)
    captions = editor.wait_for_captions(3)
    assert {"my own words", "mine too"} < set(captions)
    assert len(stub.asked) == before + 3


def test_without_auto_accept_a_box_that_waits_survives_the_accepting_of_the_next(
    editor: Editor, site: Site, task: int
) -> None:
    editor.auto_annotation(accept=False)
    with answered(editor):
        editor.smart_box(FIRST, CAR)
    editor.page.wait_for_timeout(DRAFT_MS)
    (waiting,) = [item for item in draft(site, task) if is_shape(item)]
    assert SEEN not in waiting.get("meta", {})
    with answered(editor):
        editor.smart_box(SECOND, PERSON)
    editor.page.wait_for_timeout(500)
    editor.page.get_by_test_id("bottombar-accept-suggestions-button").click()
    captions = editor.wait_for_captions(2)
    assert len(set(captions)) == 2 and editor.regions.count() == 2
