"""Clicks with the smart keypoint become one mask with its caption, and Alt+click mends it: in the real editor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from regiontext.labelstudio.decode import decode_region, is_shape
from tests.backend.site import Site, running_site
from tests.backend.stub_sam import StubSam
from tests.browser.editor import Editor, sign_in
from tests.label_studio_server import LabelStudioServer

pytestmark = [pytest.mark.browser, pytest.mark.label_studio]

SIZE = (800, 600)
LABEL = "1"
# Label Studio saves drafts at most every five seconds.
DRAFT_SECONDS = 7
XML = """<View>
  <Image name="img" value="$image"/>
  <KeyPointLabels name="point" toName="img" smart="true"><Label value="Object" hotkey="1"/></KeyPointLabels>
  <BrushLabels name="mask" toName="img"><Label value="Object" hotkey="2"/></BrushLabels>
  <TextArea name="caption" toName="img" perRegion="true" editable="true" maxSubmissions="1"
            displayMode="region-list" rows="2"/>
</View>"""


@pytest.fixture(scope="module")
def stub() -> StubSam:
    numbers = iter(range(1, 1000))
    return StubSam(say=lambda prompt, options: f"caption {next(numbers)}")


@pytest.fixture(scope="module")
def site(
    label_studio: LabelStudioServer, stub: StubSam, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    with running_site(label_studio, XML, tmp_path_factory.mktemp("backend"), stub) as running:
        yield running


@pytest.fixture
def signed_in(browser: Browser, label_studio: LabelStudioServer) -> Iterator[Page]:
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
def editor_on_task(
    signed_in: Page, site: Site, task: int, label_studio: LabelStudioServer
) -> Editor:
    opened = Editor(signed_in, label_studio.url, site.project)
    opened.open(task, SIZE)
    return opened


def ask(editor: Editor, x: float, y: float, **keys: bool) -> None:
    """Click with the smart keypoint and wait for the answer."""
    editor.label(LABEL)
    editor.smart_tool("key-point-tool")
    with editor.page.expect_response(lambda r: "interactive-annotating" in r.url, timeout=20_000):
        editor.click(x, y, **keys)
    editor.page.wait_for_timeout(800)


def accept(editor: Editor) -> None:
    """Press the check mark at the bottom, which accepts what is suggested."""
    editor.page.get_by_test_id("bottombar-accept-suggestions-button").click()


def submitted(site: Site, task: int) -> list[dict[str, Any]]:
    (annotation,) = site.call("GET", f"/api/tasks/{task}")["annotations"]
    found: list[dict[str, Any]] = annotation["result"]
    return found


def test_with_auto_accept_a_click_is_a_mask_and_alt_click_mends_it(
    editor_on_task: Editor, site: Site, stub: StubSam, task: int
) -> None:
    """On an accepted region the page takes a click for itself unless Control is held."""
    editor = editor_on_task
    editor.auto_annotation()
    ask(editor, 200, 300)
    (first,) = editor.wait_for_captions(1)
    expect(editor.regions).to_have_count(1)
    ask(editor, 240, 300, alt=True, control=True)
    assert stub.clicked[-1]["labels"] == [1, 0]
    expect(editor.regions).to_have_count(1)
    (second,) = editor.wait_for_captions(1)
    assert first and second and first != second
    # From here on the mask is read from the draft, later from the annotation, as Label Studio wrote them.
    editor.page.wait_for_timeout(1000 * DRAFT_SECONDS)
    ask(editor, 160, 300, alt=True, control=True)
    assert stub.clicked[-1]["labels"] == [1, 0, 0]
    editor.submit()
    (shape,) = [item for item in submitted(site, task) if is_shape(item)]
    mask = decode_region(shape).mask
    assert shape["type"] == "brushlabels" and mask[300, 200]
    assert not mask[300, 240] and not mask[300, 160]
    editor.open(task, SIZE)
    editor.auto_annotation()
    ask(editor, 200, 255, alt=True, control=True)
    assert stub.clicked[-1]["labels"] == [1, 0, 0, 0]
    expect(editor.regions).to_have_count(1)


def test_without_auto_accept_alt_click_mends_what_waits_and_one_mask_is_accepted(
    editor_on_task: Editor, site: Site, stub: StubSam, task: int
) -> None:
    editor = editor_on_task
    editor.auto_annotation(accept=False)
    ask(editor, 200, 300)
    ask(editor, 240, 300, alt=True)
    ask(editor, 330, 300)
    assert stub.clicked[-1]["labels"] == [1, 0, 1]
    accept(editor)
    (caption,) = editor.wait_for_captions(1)
    assert caption
    expect(editor.regions).to_have_count(1)
    editor.submit()
    (shape,) = [item for item in submitted(site, task) if is_shape(item)]
    mask = decode_region(shape).mask
    assert (
        shape["type"] == "brushlabels" and mask[300, 200] and mask[300, 330] and not mask[300, 240]
    )
